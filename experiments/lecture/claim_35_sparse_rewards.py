"""Claims 35a and 35b: PPO copes with a reward that comes once, at the end of a sequence."""

from lecture_arms import EFFECT, SEEDS
from rlbench import Claim, Environment, Measurement
from toy_spelling import ID, REWARDS, measure

DENSE, TERMINAL = REWARDS

EXPERIMENT = Measurement(
    name="sparse-rewards",
    question="Does PPO learn as well from one reward at the end of a sequence as from a reward for every token?",
    design=(
        "PPO with the lecture's defaults answers four prompts with 8, 16 or 32 letters and gets the share of right "
        "ones, either letter by letter or in one sum at the end; every seed has other answers. Scores are 0 for "
        "guessing and 1 for the whole answer, budgets are equal in letters."
    ),
    measure=measure,
    arms=[DENSE, TERMINAL],
    environments=[Environment(ID, {"length": length}) for length in (8, 16, 32)],
    seeds=SEEDS,
    claims=[
        Claim(
            "With the reward at the end PPO learns about as fast as with a reward for every token",
            [TERMINAL, DENSE],
            "not-less",
            "score:mean",
            smallest_effect=EFFECT,
            paired=True,
            id="35a",
            source="Part 10, “works with sparse rewards (only at end of sequence)”",
        ),
        Claim(
            "With the reward at the end PPO gets at least half of the answer right by the end of training",
            [TERMINAL],
            "above",
            "score:last",
            smallest_effect=EFFECT,
            bound=0.5,
            id="35b",
            source="Part 10, “works with sparse rewards (only at end of sequence)”",
        ),
    ],
)
