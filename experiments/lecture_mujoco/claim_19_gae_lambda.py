"""Claim 19 on MuJoCo: lambda of generalised advantage estimation."""

from mujoco_arms import EFFECT, SEEDS, STEPS, TASKS, ppo
from rlbench import Claim, Experiment

VALUES = [0.0, 0.9, 0.95, 1.0]
ARMS = [f"gae_lambda={value:g}" for value in VALUES]

EXPERIMENT = Experiment(
    name="mujoco-gae-lambda",
    question="On MuJoCo, is lambda 0.95 the sweet spot of advantage estimation?",
    design=(
        "PPO-Clip with four values of lambda from 0 (one step of reward, then the critic) to 1 (the whole return), "
        "everything else the lecture's defaults."
    ),
    arms=[ppo(label, gae_lambda=value) for label, value in zip(ARMS, VALUES, strict=True)],
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
            known="Andrychowicz et al. 2021 find 0.9 best.",
        ),
        Claim(
            "No other value of these is noticeably better than 0.95",
            ["gae_lambda=0.95", *(arm for arm in ARMS if arm != "gae_lambda=0.95")],
            "not-less",
            smallest_effect=EFFECT,
            over="mean",
            id="19b",
            source="Part 3, “sweet spot”",
            known="Andrychowicz et al. 2021 find 0.9 best.",
        ),
    ],
)
