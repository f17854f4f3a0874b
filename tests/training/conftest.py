"""Small environments with every kind of space, and some that break at a known step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from rlbench import Environment
from rlbench.algorithm import Algorithm
from rlbench.records import RunRecord
from rlbench.training.envs import copy_seeds
from rlbench.training.trainer import train


class Walk(gymnasium.Env[Any, Any]):
    """A random walk that actions push; it ends beyond 2, or after eleven steps; any kind of action will do."""

    def __init__(self, action_space: Any = None, discrete: bool = False) -> None:
        self.action_space = action_space if action_space is not None else spaces.Discrete(3)
        self.discrete = discrete
        self.observation_space = spaces.Discrete(9) if discrete else spaces.Box(-np.inf, np.inf, (3,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place, self.time = self.np_random.normal(), 0
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        push = float(np.mean(np.asarray(action, np.float64))) - 0.5
        self.place += 0.3 * push + 0.2 * self.np_random.normal()
        return self._observe(), 1.0 - self.place**2, abs(self.place) > 2, False, {}

    def get_state(self) -> Any:
        return [self.place, self.time]

    def set_state(self, state: Any) -> None:
        self.place, self.time = state

    def _observe(self) -> Any:
        if self.discrete:
            return int(np.clip(np.floor(2 * self.place + 4.5), 0, 8))
        return np.array([self.place, self.place**2, self.time / 10], np.float32)


class Fragile(Walk):
    """A walk whose copies of one seed break in their own step `at`: they raise, or return NaN."""

    def __init__(self, broken_seed: int, at: int, how: str, num_envs: int = 1) -> None:
        super().__init__()
        self.cursed, self.at, self.how, self.total = copy_seeds(broken_seed, num_envs), at, how, 0
        self.fragile = False

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None:
            self.fragile = seed in self.cursed
        return super().reset(seed=seed, options=options)

    def get_state(self) -> Any:
        return [self.fragile, self.total, *super().get_state()]

    def set_state(self, state: Any) -> None:
        self.fragile, self.total, *walk = state
        super().set_state(walk)

    def step(self, action: Any) -> Any:
        self.total += 1
        observation, reward, *rest = super().step(action)
        if self.fragile and self.total == self.at:
            if self.how == "raises":
                raise RuntimeError("the motor is on fire")
            if self.how == "observation":
                observation = observation * np.float32(np.nan)
            else:
                reward = float(self.how)
        return observation, reward, *rest


ENVIRONMENTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "rlbench-train/Walk-v0": (Walk, {}),
    "rlbench-train/MultiDiscrete-v0": (Walk, {"action_space": spaces.MultiDiscrete([2, 3])}),
    "rlbench-train/MultiBinary-v0": (Walk, {"action_space": spaces.MultiBinary(3)}),
    "rlbench-train/Box-v0": (Walk, {"action_space": spaces.Box(-1.0, 2.0, (3,), np.float32)}),
    "rlbench-train/DiscreteObservation-v0": (Walk, {"discrete": True}),
    "rlbench-train/Fragile-v0": (Fragile, {}),
}


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    """Register the environments of this file for one test."""
    for identifier, (entry_point, kwargs) in ENVIRONMENTS.items():
        gymnasium.register(identifier, entry_point=entry_point, max_episode_steps=11, kwargs=kwargs)
    yield
    for identifier in ENVIRONMENTS:
        del gymnasium.registry[identifier]


@pytest.fixture
def same_runs() -> Callable[[RunRecord, RunRecord], None]:
    """Return an assertion that two records hold the same numbers, bit for bit."""

    def check(a: RunRecord, b: RunRecord) -> None:
        assert (a.status, a.reason, a.steps, a.gradient_steps, a.samples) == (
            b.status,
            b.reason,
            b.steps,
            b.gradient_steps,
            b.samples,
        )
        for left, right in ((a.episodes, b.episodes), (a.updates, b.updates)):
            assert list(left) == list(right)
            for name in left:
                np.testing.assert_array_equal(left[name], right[name], err_msg=name, strict=True)

    return check


@pytest.fixture
def train_on() -> Callable[..., list[RunRecord]]:
    """Return a function that trains algorithms for some updates on an environment by id."""

    def run(
        algorithms: Sequence[Algorithm], identifier: str, updates: int, seeds: Sequence[int], **options: Any
    ) -> Any:
        steps = updates * algorithms[0].samples_per_update
        return train(algorithms, Environment(identifier, options), steps, seeds)

    return run
