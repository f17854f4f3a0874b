"""MountainCar, discrete and continuous: leave a valley with an engine that is too weak (Moore, 1990)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.functional.compiled import exact, exact_inlined
from rlbench.training.envs.batch import Flags, Floats, Observations
from rlbench.training.envs.classic.dynamics import Dynamics

Real = Any
"""A float or a `np.float32`; the arithmetic keeps its precision."""


@exact_inlined
def _move(position: Real, velocity: Real, bounds: npt.NDArray[Any]) -> tuple[Real, Real, bool]:
    """Bound the velocity, move the car and stop it at the left wall; say whether it has arrived."""
    max_speed, min_position, max_position, goal_position, goal_velocity = bounds
    velocity = min(max(velocity, -max_speed), max_speed)
    position = min(max(position + velocity, min_position), max_position)
    if position == min_position and velocity < 0:
        velocity = velocity * 0
    return position, velocity, position >= goal_position and velocity >= goal_velocity


@exact
def _advance(
    state: Floats,
    action: npt.NDArray[Any],
    engine: Floats,
    bounds: Floats,
    observation: Observations,
    reward: Floats,
    terminated: Flags,
) -> None:
    """Take one step of the discrete car."""
    force, gravity = engine
    for m in range(len(state)):
        position, velocity = state[m]
        faster = velocity + ((action[m] - 1) * force + math.cos(3 * position) * -gravity)
        state[m, 0], state[m, 1], terminated[m] = _move(position, faster, bounds)
        reward[m] = -1.0
        observation[m, 0], observation[m, 1] = state[m, 0], state[m, 1]


@exact
def _advance_continuous(
    state: Floats,
    action: npt.NDArray[Any],
    fresh: Flags,
    engine: npt.NDArray[Any],
    bounds: Floats,
    single_bounds: npt.NDArray[Any],
    observation: Observations,
    reward: Floats,
    terminated: Flags,
) -> None:
    """Take one step of the continuous car, in single precision but for the first of an episode."""
    min_action, max_action, power, three = engine
    for m in range(len(state)):
        push = action[m, 0]
        force = min(max(push, min_action), max_action) * power
        if fresh[m]:
            position, velocity = state[m]
            slope = np.float32(0.0025 * math.cos(3.0 * position))
            after = _move(position, velocity + np.float64(force - slope), bounds)
            state[m, 0], state[m, 1] = np.float32(after[0]), np.float32(after[1])
            terminated[m] = after[2]
        else:
            single, speed = np.float32(state[m, 0]), np.float32(state[m, 1])
            slope = np.float32(0.0025 * math.cos(np.float64(three * single)))
            state[m, 0], state[m, 1], terminated[m] = _move(single, speed + (force - slope), single_bounds)
        fresh[m] = False
        # the square of a single-precision number is exact in double precision
        effort = np.float64(push) * np.float64(push) * 0.1
        reward[m] = (100.0 if terminated[m] else 0.0) - effort
        observation[m, 0], observation[m, 1] = state[m, 0], state[m, 1]


class _MountainCar(Dynamics):
    options = frozenset({"goal_velocity"})
    variables = 2

    def __init__(self, env: gymnasium.Env[Any, Any], copies: int) -> None:
        """Read the constants from `env`."""
        super().__init__(env, copies)
        names = ("max_speed", "min_position", "max_position", "goal_position", "goal_velocity")
        self._bounds = np.array([getattr(env, name) for name in names], np.float64)

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw the position uniformly from [-0.6, -0.4]; the car stands still."""
        return np.array([generator.uniform(low=-0.6, high=-0.4), 0.0])

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        """Return the state itself."""
        return state.astype(np.float32)


class MountainCar(_MountainCar):
    """`gymnasium.envs.classic_control.MountainCarEnv`; state: position and velocity."""

    def __init__(self, env: gymnasium.Env[Any, Any], copies: int) -> None:
        """Read the constants from `env`."""
        super().__init__(env, copies)
        constants: Any = env
        self._engine = np.array([constants.force, constants.gravity], np.float64)

    def advance(self, action: npt.NDArray[Any], observation: Observations, reward: Floats, terminated: Flags) -> None:
        """Push left, not at all or right; each step costs 1."""
        _advance(self.state, action, self._engine, self._bounds, observation, reward, terminated)


class MountainCarContinuous(_MountainCar):
    """`gymnasium.envs.classic_control.Continuous_MountainCarEnv`; state: position and velocity.

    Gymnasium keeps the state in single precision, save for the first step of an episode, which starts in
    double precision.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], copies: int) -> None:
        """Read the constants from `env`."""
        super().__init__(env, copies)
        constants: Any = env
        self._engine = np.array([constants.min_action, constants.max_action, constants.power, 3.0], np.float32)
        self._single_bounds = self._bounds.astype(np.float32)
        self._fresh = np.zeros(copies, np.bool_)  # the copies whose next step is the first of an episode

    def restart(self, copies: npt.NDArray[np.intp], generators: Sequence[np.random.Generator]) -> Observations:
        """Give K copies new initial states, each from its generator; return their observations [K, O]."""
        self._fresh[copies] = True
        return super().restart(copies, generators)

    def advance(self, action: npt.NDArray[Any], observation: Observations, reward: Floats, terminated: Flags) -> None:
        """Push with a force in [-1, 1]; arriving pays 100, effort costs a tenth of the squared action."""
        _advance_continuous(
            self.state, action, self._fresh, self._engine, self._bounds, self._single_bounds,
            observation, reward, terminated,
        )  # fmt: skip
