"""Probe environments: each has a known answer and fails only if one thing is wrong.

After A. L. Jones, "Debugging RL, Without the Agonizing Pain" (2021), and rejax's test environments. An agent
that solves the first but not the second has a wrong discount, and so on down the list:

| id (rlbench/...)       | what it needs            | observation      | answer                           |
|------------------------|--------------------------|------------------|----------------------------------|
| ProbeConstantReward-v0 | a value                  | always 0         | value 1                          |
| ProbeDiscount-v0       | the discount             | 0, then 1        | value of 0: gamma; of 1: 1       |
| ProbeAction-v0         | the gradient's sign      | always 0         | action 1, return 1               |
| ProbeContext-v0        | action by observation    | -1 or 1, by lot  | the observation's sign, return 1 |
| ProbeTruncation-v0     | bootstrap at truncation  | always 0         | value 1 / (1 - gamma)            |
| ProbeContinuous-v0     | a Gaussian policy        | always 0         | action 0.5, return 0             |
"""

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete

Observation = npt.NDArray[np.float32]
Outcome = tuple[Observation, float, bool, bool, dict[str, Any]]


def _observe(value: float) -> Observation:
    return np.array([value], np.float32)


class Probe(gymnasium.Env[Observation, Any]):
    """One step per episode, one observation, two actions that do nothing; the base of the others."""

    def __init__(self) -> None:
        self.observation_space = Box(-1.0, 1.0, (1,), np.float32)
        self.action_space: gymnasium.Space[Any] = Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        return _observe(0.0), {}


class ConstantReward(Probe):
    """Reward 1 and the end, whatever the action: the value of the only state is 1."""

    def step(self, action: Any) -> Outcome:
        return _observe(0.0), 1.0, True, False, {}


class Discount(Probe):
    """Two steps, reward 1 on the second: the first state is worth gamma, the second 1."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        self._second = False
        return super().reset(seed=seed)

    def step(self, action: Any) -> Outcome:
        ended, self._second = self._second, True
        return _observe(1.0), float(ended), ended, False, {}


class Action(Probe):
    """Reward 1 for action 1 and -1 for action 0."""

    def step(self, action: Any) -> Outcome:
        return _observe(0.0), 1.0 if action == 1 else -1.0, True, False, {}


class Context(Probe):
    """The observation, -1 or 1 by chance, says which action is right: reward 1 for that one, else -1."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self._right = int(self.np_random.integers(2))
        return _observe(2.0 * self._right - 1.0), {}

    def step(self, action: Any) -> Outcome:
        return _observe(0.0), 1.0 if action == self._right else -1.0, True, False, {}


class Truncation(Probe):
    """Reward 1 at each step and no end of its own; a time limit of five steps cuts the episodes.

    The value is 1 / (1 - gamma) only if a truncated episode bootstraps; without that it stays below 5.
    """

    def step(self, action: Any) -> Outcome:
        return _observe(0.0), 1.0, False, False, {}


class Continuous(Probe):
    """One action in [-1, 1]; the reward is minus its squared distance to 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)

    def step(self, action: Any) -> Outcome:
        return _observe(0.0), -float((action[0] - 0.5) ** 2), True, False, {}


PROBES: dict[str, tuple[type[Probe], int | None]] = {  # id -> class, time limit
    "rlbench/ProbeConstantReward-v0": (ConstantReward, None),
    "rlbench/ProbeDiscount-v0": (Discount, None),
    "rlbench/ProbeAction-v0": (Action, None),
    "rlbench/ProbeContext-v0": (Context, None),
    "rlbench/ProbeTruncation-v0": (Truncation, 5),
    "rlbench/ProbeContinuous-v0": (Continuous, None),
}


def register_probes() -> None:
    """Register the probes with Gymnasium, once per process; calling it again does nothing."""
    for identifier, (probe, limit) in PROBES.items():
        if identifier not in gymnasium.registry:
            gymnasium.register(identifier, entry_point=f"{__name__}:{probe.__name__}", max_episode_steps=limit)
