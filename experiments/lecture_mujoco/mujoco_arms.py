"""What these experiments share: the lecture's default PPO-Clip, two MuJoCo tasks, the budget and the seeds."""

from __future__ import annotations

from typing import Any

from rlbench import Arm

TASKS = ["HalfCheetah-v5", "Hopper-v5"]
STEPS = 300_000
SEEDS = 10

EFFECT = 0.05
"""The smallest difference of interest, as in the lecture's experiments on small tasks."""

SCALED: dict[str, Any] = {"normalize_observation": True, "normalize_reward": True}
"""What nearly every published PPO does on these tasks: standardised observations, rewards in units of the return."""

DEFAULTS: dict[str, Any] = SCALED | {
    "lr": 3e-4, "gamma": 0.99, "gae_lambda": 0.95, "entropy_coef": 0.01, "value_coef": 1.0, "epochs": 4,
    "horizon": 2048, "minibatches": 32, "anneal_lr": False,
}  # fmt: skip
"""The lecture's part 9, as in its experiments on small tasks."""

PPO = "PPO defaults"


def ppo(label: str, **changes: Any) -> Arm:
    """Return the lecture's default PPO-Clip with some fields changed."""
    return Arm("ppo-clip", label, **(DEFAULTS | changes))
