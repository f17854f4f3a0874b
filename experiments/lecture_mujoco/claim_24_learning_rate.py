"""Claim 24 on MuJoCo: the learning rate."""

from mujoco_arms import EFFECT, SEEDS, STEPS, TASKS, ppo
from rlbench import Claim, Experiment

VALUES = [1e-4, 3e-4, 1e-3, 1e-2]
ARMS = [f"lr={value:g}" for value in VALUES]
DEFAULT = "lr=0.0003"

EXPERIMENT = Experiment(
    name="mujoco-learning-rate",
    question="On MuJoCo, is 1e-2 too much, and 3e-4 right?",
    design="PPO-Clip with four learning rates, everything else the lecture's defaults.",
    arms=[ppo(label, lr=value) for label, value in zip(ARMS, VALUES, strict=True)],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    baseline=DEFAULT,
    claims=[
        Claim(
            "1e-2 is unstable: it loses more of what it learnt than 3e-4",
            ["lr=0.01", DEFAULT],
            "greater",
            "drop_normalised",
            over="mean",
            id="24a",
            source="Part 6, gotcha 3",
        ),
        Claim(
            "3e-4 is the sweet spot: no other of these rates learns noticeably faster on average",
            [DEFAULT, *(arm for arm in ARMS if arm != DEFAULT)],
            "not-less",
            smallest_effect=EFFECT,
            over="mean",
            id="24d",
            source="Part 6, gotcha 3",
            known="Andrychowicz et al. 2021 call 3e-4 a safe default; rl-zoo's rates for PPO range from 2e-5 to 1e-3.",
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
