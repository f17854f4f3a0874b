"""A toy of huge action spaces: a contextual bandit whose actions are points on a sphere, as many as a vocabulary has.

A context is a random point of the unit sphere in four dimensions, each action a fixed one, and the reward is the cosine
between the two. So every action is good in some contexts and bad in the opposite ones, and of more actions the best is
better: nothing gets harder with their number but to find and to represent them. The policy sees the context, not the
actions' points; like a language model it has one output per action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete

from rlbench import Environment
from toy_curves import learning_curve

Array = npt.NDArray[Any]

ID = "toys/Bandit-v0"
RATES = {10: 1e-2, 100: 1e-2, 1000: 1e-2, 10_000: 3e-2, 50_000: 3e-2}
"""Numbers of actions, and for each the learning rate that ended best of 3e-3, 1e-2 and 3e-2 on seeds 100 and 101, for
10,000 on seed 100 alone; for 50,000, where 3e-3 learns nothing in the budget, it is that of 10,000."""
STEPS = 3072
SETTINGS: Mapping[str, Any] = {
    "horizon": 16, "num_envs": 8, "epochs": 4, "minibatches": 4, "hidden": (64,), "anneal_lr": False
}  # fmt: skip
"""Rollouts of 128 keep what 50,000 actions need in memory small."""
DIMENSIONS = 4
CONTEXTS = 4096
"""Random contexts by which the best possible return is computed."""


_SCALES: dict[tuple[int, int], float] = {}  # the copies of an environment share what takes a second; see `scale`


def points(world: int, actions: int) -> Array:
    """Return the actions' points `[actions, 4]`; a larger set holds the smaller ones of the same world."""
    drawn = np.random.default_rng([world, DIMENSIONS]).standard_normal((actions, DIMENSIONS))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def scale(world: int, actions: int) -> float:
    """Return 1 over `best`, computed once; a dictionary, since this file travels by value, which a cache cannot."""
    if (world, actions) not in _SCALES:
        _SCALES[world, actions] = 1 / best(world, actions)
    return _SCALES[world, actions]


def best(world: int, actions: int) -> float:
    """Return the expected reward of the best action, over contexts; that of a random one is 0 by symmetry."""
    drawn = np.random.default_rng([world, CONTEXTS]).standard_normal((CONTEXTS, DIMENSIONS))
    contexts = np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)
    known = points(world, actions).T
    return float(np.mean([(part @ known).max(axis=1).mean() for part in np.split(contexts, 64)]))


class Bandit(gymnasium.Env[Array, np.int64]):
    """One step per episode: the reward is the cosine of context and action, in units of the best policy's mean.

    world    which points the actions are
    actions  how many
    """

    def __init__(self, world: int = 0, actions: int = 10) -> None:
        self.observation_space = Box(-1.0, 1.0, (DIMENSIONS,), np.float32)
        self.action_space = Discrete(actions)
        self._points, self._scale = points(world, actions), scale(world, actions)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Draw a context."""
        super().reset(seed=seed)
        drawn = self.np_random.standard_normal(DIMENSIONS)
        self._context = np.asarray(drawn / np.sqrt(drawn @ drawn), np.float32)
        return self._context.copy(), {}

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """End with the action's reward."""
        return self._context.copy(), self._scale * float(self._points[action] @ self._context), True, False, {}


def register() -> None:
    """Make the environment known to Gymnasium; calling it again does nothing."""
    if ID not in gymnasium.registry:
        gymnasium.register(ID, entry_point=Bandit)


def label(actions: int) -> str:
    """Return the name of an arm."""
    return f"{actions:,} actions"


def measure(environment: Environment, seed: int) -> dict[str, dict[str, list[float]]]:
    """Return the learning curves with each number of actions; every seed has other actions."""
    register()
    curves = {}
    for actions, rate in RATES.items():
        placed = Environment(ID, {"world": seed, "actions": actions})
        curves[label(actions)] = {"score": learning_curve(placed, seed, STEPS, {**SETTINGS, "lr": rate})}
    return curves


register()
