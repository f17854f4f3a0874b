"""What is benchmarked: two settings of CartPole-v1, five algorithms, and packs of 1 to 100 replicas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ENVIRONMENT = "CartPole-v1"
MUJOCO = ("HalfCheetah-v5", "Hopper-v5")
ALGORITHMS = ("reinforce", "trpo", "ppo-clip", "ppo-penalty", "ppo-adaptive")
REPLICAS = (1, 5, 10, 20, 50, 100)
JOB_SEEDS = 10
JOB_STEPS = 100_000
WORKERS = 2


@dataclass(frozen=True)
class Setting:
    """Rollout and minibatches; the networks are two of 64 x 64 tanh units."""

    horizon: int
    num_envs: int
    epochs: int
    minibatches: int

    @property
    def rollout(self) -> int:
        """Environment steps of one rollout, all copies together."""
        return self.horizon * self.num_envs

    @property
    def title(self) -> str:
        """The setting in words."""
        return (
            f"{self.num_envs} x {self.horizon} steps, minibatch {self.rollout // self.minibatches}, "
            f"{self.epochs} epochs"
        )


SETTINGS = {"a": Setting(2048, 1, 10, 32), "b": Setting(128, 4, 4, 4)}


def fields(algorithm: str, setting: Setting) -> dict[str, Any]:
    """Return the fields that put an algorithm into a setting, at equal epochs.

    REINFORCE takes its one gradient step on the policy; its epochs are those in which the value is fitted.
    """
    value = "value_" if algorithm == "reinforce" else ""
    return {
        "horizon": setting.horizon,
        "num_envs": setting.num_envs,
        f"{value}epochs": setting.epochs,
        f"{value}minibatches": setting.minibatches,
    }


def train(algorithm: Any, setting: Setting, replicas: int, steps: int, seeds: Sequence[int] = ()) -> float:
    """Train one pack in this process and return the seconds of the training loop, set-up left out.

    `algorithm` is a name or a class. Every replica must finish: a pack in which some fail early would look fast.
    """
    from rlbench import registry
    from rlbench.algorithm import configure
    from rlbench.records import Environment
    from rlbench.training.trainer import train as train_pack

    cls = registry.load(algorithm) if isinstance(algorithm, str) else algorithm
    one = configure(cls, fields(cls.name, setting), "benchmark")
    records = train_pack([one] * replicas, Environment(ENVIRONMENT), steps, seeds or range(replicas))
    assert all(record.status == "finished" for record in records)
    return sum(record.seconds for record in records)
