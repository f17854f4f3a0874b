"""Claims 19 and 32b: lambda of generalised advantage estimation."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, sweep
from rlbench import Claim, Experiment

VALUES = [0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0]
ARMS = [f"gae_lambda={value:g}" for value in VALUES]

EXPERIMENT = Experiment(
    name="gae-lambda",
    question="Is lambda 0.95 the sweet spot of advantage estimation?",
    design=(
        "PPO-Clip with seven values of lambda from 0 (one step of reward, then the critic) to 1 (the whole return), "
        "everything else the lecture's defaults. Compared is the area under the learning curve, averaged over the "
        "tasks."
    ),
    arms=sweep("gae_lambda", VALUES),
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    baseline="gae_lambda=0.95",
    claims=[
        Claim(
            "0.95 is better than both extremes, 0 and 1",
            ARMS,
            "peak",
            best="gae_lambda=0.95",
            over="mean",
            id="19a",
            source="Part 3, “sweet spot”",
            known="Andrychowicz et al. 2021 find 0.9 best; Tianshou sees no difference between 0.9 and 0.95; rl-zoo "
            "uses 0.8 to 1.",
        ),
        Claim(
            "No other value is noticeably better than 0.95",
            ["gae_lambda=0.95", *(arm for arm in ARMS if arm != "gae_lambda=0.95")],
            "not-less",
            smallest_effect=EFFECT,
            over="mean",
            id="19b",
            source="Part 3, “sweet spot”",
            known="Andrychowicz et al. 2021 find 0.9 best.",
        ),
        Claim(
            "Within 0.9 to 0.98 tuning lambda makes a noticeable difference",
            ["gae_lambda=0.9", "gae_lambda=0.98"],
            "different",
            smallest_effect=EFFECT,
            over="mean",
            id="32b",
            source="Part 9, “sample inefficient”",
        ),
    ],
)
