"""Pendulum: swing up and hold a pendulum with a torque that is too weak to lift it at once."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.functional.compiled import exact
from rlbench.training.envs.batch import Flags, Floats, Observations
from rlbench.training.envs.classic.dynamics import TWO, Dynamics


@exact
def _advance(
    state: Floats,
    action: npt.NDArray[Any],
    constants: Floats,
    single: npt.NDArray[Any],
    observation: Observations,
    reward: Floats,
) -> None:
    """Take one semi-implicit Euler step of `dt` seconds; the reward is minus the cost before it."""
    fall, dt, max_speed, two = constants
    max_torque, lever, thousandth, single_two = single
    for m in range(len(state)):
        theta, velocity = state[m]
        torque = min(max(action[m, 0], -max_torque), max_torque)
        angle = ((theta + math.pi) % (2 * math.pi)) - math.pi
        effort = thousandth * math.pow(torque, single_two)
        cost = math.pow(angle, two) + 0.1 * math.pow(velocity, two) + effort
        pull = fall * math.sin(theta) + lever * torque
        faster = min(max(velocity + pull * dt, -max_speed), max_speed)
        after = theta + faster * dt
        state[m, 0], state[m, 1] = after, faster
        reward[m] = -cost
        observation[m, 0], observation[m, 1], observation[m, 2] = math.cos(after), math.sin(after), faster


class Pendulum(Dynamics):
    """`gymnasium.envs.classic_control.PendulumEnv`; state: angle (0 is upright) and angular velocity."""

    options = frozenset({"g"})
    variables = 2

    def __init__(self, env: gymnasium.Env[Any, Any], copies: int) -> None:
        """Read the constants from `env`; those that meet the action are in its single precision."""
        super().__init__(env, copies)
        c: Any = env
        self._constants = np.array([3 * c.g / (2 * c.l), c.dt, c.max_speed, TWO], np.float64)
        self._single = np.array([c.max_torque, 3.0 / (c.m * c.l**2), 0.001, TWO], np.float32)

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw the angle uniformly from [-pi, pi] and the velocity from [-1, 1]."""
        high = np.array([np.pi, 1.0])
        return generator.uniform(low=-high, high=high)

    def advance(self, action: npt.NDArray[Any], observation: Observations, reward: Floats, terminated: Flags) -> None:
        """Take one step; an episode never ends by itself."""
        _advance(self.state, action, self._constants, self._single, observation, reward)
        terminated[:] = False

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        """Return cosine and sine of the angle, and the velocity."""
        observation = np.empty((len(state), 3), np.float32)
        observation[:, 0] = np.cos(state[:, 0])
        observation[:, 1] = np.sin(state[:, 0])
        observation[:, 2] = state[:, 1]
        return observation
