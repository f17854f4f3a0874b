"""Pendulum: swing up and hold a pendulum with a torque that is too weak to lift it at once."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.training.envs.batch import Flags, Floats, Observations
from rlbench.training.envs.classic.dynamics import Dynamics, squares


class Pendulum(Dynamics):
    """`gymnasium.envs.classic_control.PendulumEnv`; state: angle (0 is upright) and angular velocity."""

    options = frozenset({"g"})
    variables = 2

    def __init__(self, env: gymnasium.Env[Any, Any], copies: int) -> None:
        """Read the constants from `env`."""
        super().__init__(env, copies)
        self._env: Any = env
        self._squared = np.empty((2, copies))

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw the angle uniformly from [-pi, pi] and the velocity from [-1, 1]."""
        high = np.array([np.pi, 1.0])
        return generator.uniform(low=-high, high=high)

    def advance(self, action: npt.NDArray[Any]) -> tuple[Floats, Flags]:
        """Take one semi-implicit Euler step of `dt` seconds; the reward is minus the cost before it."""
        env = self._env
        theta, velocity = self.state
        torque = np.clip(action, -env.max_torque, env.max_torque)[:, 0]
        effort = np.array([value**2 for value in torque])  # single precision, by numpy's scalars: see `squares`
        self._squared[0] = ((theta + np.pi) % (2 * np.pi)) - np.pi
        self._squared[1] = velocity
        angle_squared, velocity_squared = squares(self._squared)
        cost = angle_squared + 0.1 * velocity_squared + 0.001 * effort
        pull = 3 * env.g / (2 * env.l) * np.sin(theta) + 3.0 / (env.m * env.l**2) * torque
        faster = np.clip(velocity + pull * env.dt, -env.max_speed, env.max_speed)
        self.state[0] = theta + faster * env.dt
        self.state[1] = faster
        return -cost, np.zeros(len(cost), np.bool_)

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        """Return cosine and sine of the angle, and the velocity."""
        observation = np.empty((state.shape[1], 3), np.float32)
        observation[:, 0] = np.cos(state[0])
        observation[:, 1] = np.sin(state[0])
        observation[:, 2] = state[1]
        return observation
