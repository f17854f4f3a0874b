"""Claim 36: PPO handles huge action spaces, such as the 50,000 words of a language model."""

from rlbench import Claim, Measurement
from toy_bandit import ID, RATES, label, measure

ARMS = [label(actions) for actions in RATES]
SOURCE = "Part 10, “handles high-dimensional action spaces”, “50k tokens”"

EXPERIMENT = Measurement(
    name="many-actions",
    question="Does PPO handle 50,000 actions?",
    design=(
        "A bandit shows a context, and PPO chooses among 10 to 50,000 actions, each good in some contexts and bad in "
        "others; the number of trials is the same, with learning rates tuned to the number of actions. Scores "
        "are 0 for choosing at random and 1 for always choosing the best action; every seed has other actions."
    ),
    measure=measure,
    arms=ARMS,
    environments=[ID],
    seeds=10,
    claims=[
        Claim(
            "PPO handles 50,000 actions: at the end it has at least half of what the best policy has over a random one",
            [ARMS[-1]],
            "above",
            "score:last",
            smallest_effect=0.05,
            bound=0.5,
            id="36a",
            source=SOURCE,
            known="Hsu et al. 2020 name many discrete actions among the cases in which PPO fails: it gets stuck in "
            "sub-optimal ones.",
        ),
        Claim(
            "The more actions, the worse PPO's score after the same number of trials",
            ARMS,
            "decreasing",
            "score:last",
            smallest_effect=0.1,
            id="36b",
            source=SOURCE,
            known="Hsu et al. 2020 name many discrete actions among the cases in which PPO fails.",
        ),
        Claim(
            "With ten actions the same number of trials is enough: PPO ends above 0.9",
            [ARMS[0]],
            "above",
            "score:last",
            bound=0.9,
            id="36c",
            source="Our own, so that 36a and 36b can be about the number of actions",
        ),
    ],
)
