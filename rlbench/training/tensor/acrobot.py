"""Acrobot in torch: swing a two-link pendulum up by its middle joint, as "the book" has it (Sutton and Barto, 1998)."""

from __future__ import annotations

import math
from typing import Any

import torch

from rlbench.training.tensor.dynamics import Tensor, TensorDynamics

_GRAVITY = 9.8


class Acrobot(TensorDynamics):
    """`gymnasium.envs.classic_control.AcrobotEnv`; state: the two joint angles and their velocities."""

    def __init__(self, env: Any, device: torch.device) -> None:
        """Read the constants from `env`."""
        super().__init__(env, device)
        self._torques = torch.tensor(env.AVAIL_TORQUE, dtype=torch.float64, device=device)

    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take one Runge-Kutta step of `dt` seconds, wrap the angles to [-pi, pi], bound the velocities."""
        env, dt, torque = self._env, self._env.dt, self._torques[action]
        k1 = self._derivative(state, torque)
        k2 = self._derivative(state + dt / 2.0 * k1, torque)
        k3 = self._derivative(state + dt / 2.0 * k2, torque)
        k4 = self._derivative(state + dt * k3, torque)
        theta1, theta2, velocity1, velocity2 = state + dt / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)
        theta1, theta2 = _wrapped(theta1), _wrapped(theta2)
        velocity1 = velocity1.clamp(-env.MAX_VEL_1, env.MAX_VEL_1)
        velocity2 = velocity2.clamp(-env.MAX_VEL_2, env.MAX_VEL_2)
        terminated = -theta1.cos() - (theta2 + theta1).cos() > 1.0
        reward = terminated.to(torch.float64) - 1.0
        return torch.stack([theta1, theta2, velocity1, velocity2]), reward, terminated

    def _derivative(self, state: Tensor, torque: Tensor) -> Tensor:
        env = self._env
        m1, m2, l1 = env.LINK_MASS_1, env.LINK_MASS_2, env.LINK_LENGTH_1
        lc1, lc2, inertia = env.LINK_COM_POS_1, env.LINK_COM_POS_2, env.LINK_MOI
        theta1, theta2, velocity1, velocity2 = state
        cos2, sin2 = theta2.cos(), theta2.sin()
        d1 = m1 * lc1**2 + m2 * (l1**2 + lc2**2 + 2 * l1 * lc2 * cos2) + inertia + inertia
        d2 = m2 * (lc2**2 + l1 * lc2 * cos2) + inertia
        phi2 = m2 * lc2 * _GRAVITY * (theta1 + theta2 - math.pi / 2.0).cos()
        phi1 = (
            -m2 * l1 * lc2 * velocity2.square() * sin2
            - 2 * m2 * l1 * lc2 * velocity2 * velocity1 * sin2
            + (m1 * lc1 + m2 * l1) * _GRAVITY * (theta1 - math.pi / 2).cos()
            + phi2
        )
        acceleration2 = (torque + d2 / d1 * phi1 - m2 * l1 * lc2 * velocity1.square() * sin2 - phi2) / (
            m2 * lc2**2 + inertia - d2.square() / d1
        )
        acceleration1 = -(d2 * acceleration2 + phi1) / d1
        return torch.stack([velocity1, velocity2, acceleration1, acceleration2])

    def observe(self, state: Tensor) -> Tensor:
        """Return cosine and sine of each angle and the velocities."""
        theta1, theta2, velocity1, velocity2 = state
        columns = [theta1.cos(), theta1.sin(), theta2.cos(), theta2.sin(), velocity1, velocity2]
        return torch.stack(columns, -1).to(torch.float32)


def _wrapped(angle: Tensor) -> Tensor:
    """Return an angle in [-pi, pi]."""
    turns = ((angle - math.pi) / (2 * math.pi)).ceil()
    return angle - 2 * math.pi * turns
