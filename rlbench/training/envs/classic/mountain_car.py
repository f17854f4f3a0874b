"""MountainCar, discrete and continuous: leave a valley with an engine that is too weak (Moore, 1990)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

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
    action: Floats,
    constants: Floats,
    observation: Observations,
    reward: Floats,
    terminated: Flags,
) -> None:
    """Push left, not at all or right; each step costs 1."""
    force, gravity = constants[5:]
    for m in range(len(state)):
        position, velocity = state[m]
        faster = velocity + ((action[m, 0] - 1) * force + math.cos(3 * position) * -gravity)
        state[m, 0], state[m, 1], terminated[m] = _move(position, faster, constants[:5])
        reward[m] = -1.0
        observation[m, 0], observation[m, 1] = state[m, 0], state[m, 1]


@exact
def _advance_continuous(
    state: Floats,
    action: Floats,
    constants: Floats,
    observation: Observations,
    reward: Floats,
    terminated: Flags,
) -> None:
    """Push with a force in [-1, 1]; arriving pays 100, effort costs a tenth of the squared action.

    In single precision but for the first step of an episode, which `state[2]` tells.
    """
    single_constants = constants.astype(np.float32)
    min_action, max_action, power = single_constants[5:]
    for m in range(len(state)):
        push = np.float32(action[m, 0])
        force = min(max(push, min_action), max_action) * power
        if state[m, 2] == 1.0:
            position, velocity = state[m, 0], state[m, 1]
            slope = np.float32(0.0025 * math.cos(3.0 * position))
            after = _move(position, velocity + np.float64(force - slope), constants[:5])
            state[m, 0], state[m, 1], terminated[m] = np.float32(after[0]), np.float32(after[1]), after[2]
        else:
            single, speed = np.float32(state[m, 0]), np.float32(state[m, 1])
            slope = np.float32(0.0025 * math.cos(np.float64(np.float32(3) * single)))
            state[m, 0], state[m, 1], terminated[m] = _move(single, speed + (force - slope), single_constants[:5])
        state[m, 2] = 0.0
        # the square of a single-precision number is exact in double precision
        effort = np.float64(push) * np.float64(push) * 0.1
        reward[m] = (100.0 if terminated[m] else 0.0) - effort
        observation[m, 0], observation[m, 1] = state[m, 0], state[m, 1]


class _MountainCar(Dynamics):
    options = frozenset({"goal_velocity"})
    _engine: ClassVar[tuple[str, ...]]

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """Read the constants from `env`."""
        bounds = ("max_speed", "min_position", "max_position", "goal_position", "goal_velocity")
        self.constants = np.array([getattr(env, name) for name in (*bounds, *self._engine)], np.float64)

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        """Return position and velocity."""
        return state[:, :2].astype(np.float32)


class MountainCar(_MountainCar):
    """`gymnasium.envs.classic_control.MountainCarEnv`; state: position and velocity."""

    advance = staticmethod(_advance)
    _engine = ("force", "gravity")

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw the position uniformly from [-0.6, -0.4]; the car stands still."""
        return np.array([generator.uniform(low=-0.6, high=-0.4), 0.0])


class MountainCarContinuous(_MountainCar):
    """`gymnasium.envs.classic_control.Continuous_MountainCarEnv`; state: position, velocity, whether just reset.

    Gymnasium keeps the state in single precision, save for the first step of an episode, which starts in
    double precision.
    """

    advance = staticmethod(_advance_continuous)
    _engine = ("min_action", "max_action", "power")

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw the position uniformly from [-0.6, -0.4]; the car stands still."""
        return np.array([generator.uniform(low=-0.6, high=-0.4), 0.0, 1.0])
