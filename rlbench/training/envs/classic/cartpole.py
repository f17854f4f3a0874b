"""CartPole: balance a pole on a cart that is pushed left or right (Barto, Sutton and Anderson, 1983)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.training.envs.batch import Flags, Floats, Observations
from rlbench.training.envs.classic.dynamics import Dynamics


class CartPole(Dynamics):
    """`gymnasium.envs.classic_control.CartPoleEnv`; state: position, velocity, angle, angular velocity."""

    options = frozenset({"sutton_barto_reward"})
    variables = 4

    def __init__(self, env: gymnasium.Env[Any, Any], copies: int) -> None:
        """Read the constants from `env`."""
        super().__init__(env, copies)
        self._env: Any = env
        kwargs = env.spec.kwargs if env.spec else {}
        self._sutton_barto = bool(kwargs.get("sutton_barto_reward", False))
        self._rates = np.empty_like(self.state)

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw the four variables uniformly from [-0.05, 0.05]."""
        return generator.uniform(low=-0.05, high=0.05, size=(4,))

    def advance(self, action: npt.NDArray[Any]) -> tuple[Floats, Flags]:
        """Take one Euler step of `tau` seconds."""
        env, rates = self._env, self._rates
        x, x_dot, theta, theta_dot = self.state
        force = np.where(action == 1, env.force_mag, -env.force_mag)
        cos, sin = np.cos(theta), np.sin(theta)
        temp = (force + env.polemass_length * np.square(theta_dot) * sin) / env.total_mass
        rates[0] = x_dot
        rates[2] = theta_dot
        rates[3] = (env.gravity * sin - cos * temp) / (
            env.length * (4.0 / 3.0 - env.masspole * np.square(cos) / env.total_mass)
        )
        rates[1] = temp - env.polemass_length * rates[3] * cos / env.total_mass
        self.state += env.tau * rates
        terminated = (np.abs(x) > env.x_threshold) | (np.abs(theta) > env.theta_threshold_radians)
        if self._sutton_barto:
            return np.where(terminated, -1.0, 0.0), terminated
        return np.ones(len(x)), terminated

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        """Return the state itself."""
        return state.T.astype(np.float32, order="C")
