"""Acrobot: swing a two-link pendulum up by its middle joint (Sutton, 1996).

The equations are Gymnasium's default, those of "the book" (Sutton and Barto, Reinforcement Learning, 1998).
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.training.envs.batch import Flags, Floats, Observations
from rlbench.training.envs.classic.dynamics import Dynamics, squares

GRAVITY = 9.8


class Acrobot(Dynamics):
    """`gymnasium.envs.classic_control.AcrobotEnv`; state: the two joint angles and their velocities."""

    variables = 4

    def __init__(self, env: gymnasium.Env[Any, Any], copies: int) -> None:
        """Read the constants from `env` and fold those that Gymnasium multiplies first."""
        super().__init__(env, copies)
        constants: Any = env
        self._dt = constants.dt
        self._torques = np.array(constants.AVAIL_TORQUE, np.float64)
        self._fastest = np.array([[constants.MAX_VEL_1], [constants.MAX_VEL_2]])
        m1, m2, l1 = constants.LINK_MASS_1, constants.LINK_MASS_2, constants.LINK_LENGTH_1
        lc1, lc2, self._inertia = constants.LINK_COM_POS_1, constants.LINK_COM_POS_2, constants.LINK_MOI
        self._m1_lc1, self._m2, self._lc2 = m1 * lc1**2, m2, lc2**2
        self._links = l1**2 + lc2**2
        self._d_const = m2 * lc2**2 + self._inertia
        # factors of cos(theta2), of gravity on link 1 and of gravity on link 2
        self._cos_factors = np.array([[2 * l1 * lc2], [(m1 * lc1 + m2 * l1) * GRAVITY], [m2 * lc2 * GRAVITY]])
        # factors of velocity1^2, velocity2^2 and velocity2 * velocity1, all times sin(theta2)
        self._spin_factors = np.array([[m2 * l1 * lc2], [-m2 * l1 * lc2], [2 * m2 * l1 * lc2]])
        self._angles = np.empty((3, copies))
        self._spin = np.empty((3, copies))
        self._to_square = np.empty((3, copies))

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw the four variables uniformly from [-0.1, 0.1], in single precision."""
        return generator.uniform(low=-0.1, high=0.1, size=(4,)).astype(np.float32)

    def advance(self, action: npt.NDArray[Any]) -> tuple[Floats, Flags]:
        """Take one Runge-Kutta step of `dt` seconds, wrap the angles to [-pi, pi], bound the velocities."""
        torque = self._torques.take(action, mode="clip")
        state = self._runge_kutta(self.state, torque)
        angles, velocities = state[:2], state[2:]
        while (over := angles > np.pi).any():
            angles[over] -= 2 * np.pi
        while (under := angles < -np.pi).any():
            angles[under] += 2 * np.pi
        np.clip(velocities, -self._fastest, self._fastest, out=velocities)
        self.state = state
        terminated: Flags = -np.cos(state[0]) - np.cos(state[1] + state[0]) > 1.0
        return np.where(terminated, 0.0, -1.0), terminated

    def _runge_kutta(self, state: Floats, torque: Floats) -> Floats:
        dt = self._dt
        k1 = self._derivative(state, torque)
        k2 = self._derivative(state + dt / 2.0 * k1, torque)
        k3 = self._derivative(state + dt / 2.0 * k2, torque)
        k4 = self._derivative(state + dt * k3, torque)
        after: Floats = state + dt / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)
        return after

    def _derivative(self, state: Floats, torque: Floats) -> Floats:
        theta1, theta2, velocity1, velocity2 = state
        angles, spin, to_square = self._angles, self._spin, self._to_square
        angles[0] = theta2
        angles[1] = theta1
        np.add(theta1, theta2, out=angles[2])
        angles[1:] -= np.pi / 2
        cos2, gravity1, phi2 = self._cos_factors * np.cos(angles)
        d1 = self._m1_lc1 + self._m2 * (self._links + cos2) + self._inertia + self._inertia
        d2 = self._m2 * (self._lc2 + 0.5 * cos2) + self._inertia

        to_square[:2] = state[2:]
        to_square[2] = d2
        squared = squares(to_square)
        spin[:2] = squared[:2]
        spin[2] = velocity2
        spin *= self._spin_factors
        spin[2] *= velocity1
        spin *= np.sin(theta2)
        phi1 = spin[1] - spin[2] + gravity1 + phi2

        derivative = np.empty_like(state)
        derivative[:2] = state[2:]
        acceleration1, acceleration2 = derivative[2:]
        torque2 = torque + d2 / d1 * phi1 - spin[0] - phi2
        np.divide(torque2, self._d_const - squared[2] / d1, out=acceleration2)
        np.divide(-(d2 * acceleration2 + phi1), d1, out=acceleration1)
        return derivative

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        """Return cosine and sine of each angle and the velocities; computed in the dtype of `state`."""
        observation = np.empty((state.shape[1], 6), np.float32)
        observation[:, 0:4:2] = np.cos(state[:2]).T
        observation[:, 1:4:2] = np.sin(state[:2]).T
        observation[:, 4:] = state[2:].T
        return observation
