"""CartPole: balance a pole on a cart that is pushed left or right (Barto, Sutton and Anderson, 1983)."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.functional.compiled import exact
from rlbench.training.envs.batch import Flags, Floats, Observations
from rlbench.training.envs.classic.dynamics import Dynamics


@exact
def _advance(
    state: Floats,
    action: Floats,
    constants: Floats,
    observation: Observations,
    reward: Floats,
    terminated: Flags,
) -> None:
    """Take one Euler step of `tau` seconds; every step that does not end the episode is worth the same."""
    gravity, masspole, total_mass, length, polemass_length, force_mag, tau, far, leaning, on_way, at_end = constants
    for m in range(len(state)):
        x, x_dot, theta, theta_dot = state[m]
        force = force_mag if action[m, 0] == 1 else -force_mag
        cos, sin = math.cos(theta), math.sin(theta)
        temp = (force + polemass_length * (theta_dot * theta_dot) * sin) / total_mass
        angular = (gravity * sin - cos * temp) / (length * (4.0 / 3.0 - masspole * (cos * cos) / total_mass))
        linear = temp - polemass_length * angular * cos / total_mass
        state[m, 0] = x + tau * x_dot
        state[m, 1] = x_dot + tau * linear
        state[m, 2] = theta + tau * theta_dot
        state[m, 3] = theta_dot + tau * angular
        terminated[m] = abs(state[m, 0]) > far or abs(state[m, 2]) > leaning
        reward[m] = at_end if terminated[m] else on_way
        for k in range(4):
            observation[m, k] = state[m, k]


class CartPole(Dynamics):
    """`gymnasium.envs.classic_control.CartPoleEnv`; state: position, velocity, angle, angular velocity."""

    options = frozenset({"sutton_barto_reward"})
    advance = staticmethod(_advance)

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """Read the constants from `env`."""
        names = (
            *("gravity", "masspole", "total_mass", "length", "polemass_length", "force_mag", "tau"),
            *("x_threshold", "theta_threshold_radians"),
        )
        kwargs = env.spec.kwargs if env.spec else {}
        rewards = (0.0, -1.0) if kwargs.get("sutton_barto_reward", False) else (1.0, 1.0)
        self.constants = np.array([*(getattr(env, name) for name in names), *rewards], np.float64)

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw the four variables uniformly from [-0.05, 0.05]."""
        return generator.uniform(low=-0.05, high=0.05, size=(4,))

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        """Return the state itself."""
        return state.astype(np.float32)
