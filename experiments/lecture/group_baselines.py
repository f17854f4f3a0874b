"""Does a group of texts replace the value network, as language models are trained now? No claim of the lecture."""

from typing import Any

from rlbench import Arm, Environment, Experiment
from toy_language import ID, LENGTH

TEXTS = 64
"""Texts that every update learns from; they answer one question, so they are one group."""
SHARED: dict[str, Any] = {
    "horizon": TEXTS * LENGTH, "minibatches": 4, "epochs": 4, "gamma": 1.0, "lr": 1e-3, "entropy_coef": 0.01,
    "anneal_lr": False,
}  # fmt: skip

EXPERIMENT = Experiment(
    name="group-baselines",
    question="Does a group of texts replace the value network?",
    design=(
        "A policy learns to write texts of twelve words in two toy languages, and is paid by their true quality, which "
        f"is known after the last word. PPO has a value network; GRPO takes the mean of {TEXTS} texts off their "
        "returns and divides by their deviation; RLOO compares each text with the others, without dividing, and makes "
        "one pass over them."
    ),
    arms=[
        Arm("ppo-clip", "PPO-Clip", gae_lambda=0.95, **SHARED),
        Arm("grpo", "GRPO", **SHARED),
        Arm("grpo", "RLOO", **(SHARED | {"epochs": 1, "normalize_advantage": "none"}), leave_one_out=True),
        Arm("reinforce", "REINFORCE", horizon=TEXTS * LENGTH, gamma=1.0, lr=1e-3, entropy_coef=0.01, anneal_lr=False),
    ],
    environments=[Environment(ID, {"world": world, "reward": "gold"}) for world in (0, 1)],
    seeds=10,
    steps=TEXTS * LENGTH * 128,
    baseline="PPO-Clip",
)
