"""Claim 24: the learning rate."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, sweep
from rlbench import Claim, Experiment

VALUES = [1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
DEFAULT, TINY, LARGE = "lr=0.0003", "lr=1e-06", "lr=0.01"

EXPERIMENT = Experiment(
    name="learning-rate",
    question="Is 1e-2 too much, 1e-6 too little, and 3e-4 right nearly everywhere?",
    design=(
        "PPO-Clip with eight learning rates from 1e-6 to 3e-2, everything else the lecture's defaults. Compared are "
        "the area under the learning curve, the drop from its highest point to its end, and how far an update moves "
        "the policy."
    ),
    arms=sweep("lr", VALUES),
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    baseline=DEFAULT,
    claims=[
        Claim(
            "1e-2 is unstable: it loses more of what it learnt than 3e-4",
            [LARGE, DEFAULT],
            "greater",
            "drop_normalised",
            over="mean",
            id="24a",
            source="Part 6, gotcha 3",
        ),
        Claim(
            "1e-2 violates the trust region in spite of the clip: on every task more than a tenth of its updates pass "
            "a divergence of 0.05",
            [LARGE],
            "above",
            "kl:share>0.05",
            bound=0.1,
            id="24b",
            source="Part 6, gotcha 3",
            known="Wang et al. 2019 show that the divergence is unbounded even where the ratio is bounded.",
        ),
        Claim(
            "1e-6 is too slow: it learns less than 3e-4",
            [TINY, DEFAULT],
            "less",
            smallest_effect=EFFECT,
            over="mean",
            id="24c",
            source="Part 6, gotcha 3",
        ),
        Claim(
            "3e-4 is the sweet spot: no other rate learns noticeably faster on average",
            [DEFAULT, *(f"lr={value:g}" for value in VALUES if value != 3e-4)],
            "not-less",
            smallest_effect=EFFECT,
            over="mean",
            id="24d",
            source="Part 6, gotcha 3",
            known="Andrychowicz et al. 2021 call 3e-4 a safe default; Tianshou's REINFORCE wants 1e-3; rl-zoo's rates "
            "for PPO range from 2e-5 to 1e-3.",
        ),
        Claim(
            "1e-4 is fine, too: it learns not noticeably less than 3e-4",
            ["lr=0.0001", DEFAULT],
            "not-less",
            smallest_effect=EFFECT,
            over="mean",
            id="24e",
            source="Part 6, gotcha 3, “can tune 1e-4 to 1e-3”",
        ),
        Claim(
            "1e-3 is fine, too: it learns not noticeably less than 3e-4",
            ["lr=0.001", DEFAULT],
            "not-less",
            smallest_effect=EFFECT,
            over="mean",
            id="24f",
            source="Part 6, gotcha 3, “can tune 1e-4 to 1e-3”",
        ),
    ],
)
