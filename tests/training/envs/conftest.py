"""Environments made for the tests: every transition can be recognised in what it returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces


class Ledger(gymnasium.Env[Any, Any]):
    """Observation: (episode, step, last action, seed's last three digits); the reward is the step number.

    Action 3 raises, action 4 makes observation and reward NaN, and so does the environment's own clock:
    `fail_at` counts the steps of this instance over all episodes. A seed in `bad_seeds` makes `reset` raise.
    """

    def __init__(self, length: int = 4, fail_at: int = 0, bad_seeds: tuple[int, ...] = ()) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2, 2), np.float64)
        self.action_space = spaces.Discrete(5)
        self.length, self.fail_at, self.bad_seeds = length, fail_at, bad_seeds
        self.episode, self.total, self.mark = -1, 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.mark = seed % 1000
        if seed in self.bad_seeds:
            raise RuntimeError(f"seed {seed} is cursed")
        self.episode, self.time = self.episode + 1, 0
        return self._observe(-1), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        self.total += 1
        if action == 3 or self.total == self.fail_at:
            raise RuntimeError(f"broken in step {self.total}")
        reward = np.nan if action == 4 else float(self.time)
        return self._observe(np.nan if action == 4 else action), reward, self.time == self.length, False, {}

    def _observe(self, action: float) -> Any:
        return np.array([[self.episode, self.time], [action, self.mark]], np.float64)


class Echo(gymnasium.Env[Any, Any]):
    """Any action space; keeps what it receives in `received`, for all instances together."""

    received: ClassVar[list[Any]] = []

    def __init__(self, action_space: Any = None, observation_space: Any = None) -> None:
        self.action_space = action_space if action_space is not None else spaces.Discrete(2)
        self.observation_space = observation_space if observation_space is not None else spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(np.asarray(action)), f"{action!r} is not in {self.action_space}"
        Echo.received.append(action)
        return self.observation_space.sample(), 0.0, False, False, {}


def _needs_package() -> None:
    raise gymnasium.error.DependencyNotInstalled("Box3D is not installed, run `pip install box3d`")


TEST_ENVIRONMENTS: dict[str, tuple[Any, int | None]] = {
    "rlbench-test/Ledger-v0": (Ledger, None),
    "rlbench-test/LimitedLedger-v0": (Ledger, 3),
    "rlbench-test/Echo-v0": (Echo, None),
    "rlbench-test/NeedsPackage-v0": (_needs_package, None),
}


@pytest.fixture(autouse=True)
def test_environments() -> Iterator[None]:
    """Register the environments of this file for one test."""
    for identifier, (entry_point, limit) in TEST_ENVIRONMENTS.items():
        gymnasium.register(identifier, entry_point=entry_point, max_episode_steps=limit)
    Echo.received.clear()
    yield
    for identifier in TEST_ENVIRONMENTS:
        del gymnasium.registry[identifier]


@pytest.fixture
def received() -> list[Any]:
    """What the instances of the echo environment have received, in order."""
    return Echo.received
