"""The equations of Gymnasium's classic-control environments in torch, over M copies at once, on any device.

States are float64 as Gymnasium's, and the order of operations is Gymnasium's, too; but sines, cosines and powers round
as the device does, so that episodes follow Gymnasium closely and not to the bit. `rlbench.training.envs.classic` does.

Here and in all that is done at every step, numbers are chosen by arithmetic or `masked_fill`: `torch.where` copies a
Python number to the device and waits for it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch

Tensor = torch.Tensor


class TensorDynamics(ABC):
    """One environment's equations. `state` is `[S, M]`, `action` `[M]` or `[M, A]`, already within its bounds."""

    def __init__(self, env: Any, device: torch.device) -> None:
        """Read the constants from `env`, an unwrapped instance made with the user's options."""
        self._env = env

    @abstractmethod
    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next state, the reward and whether the episode is over."""

    def observe(self, state: Tensor) -> Tensor:
        """Return the observations `[M, O]`, single precision; by default the state itself."""
        return state.T.to(torch.float32)


class CartPole(TensorDynamics):
    """`gymnasium.envs.classic_control.CartPoleEnv`; state: position, velocity, angle, angular velocity."""

    def __init__(self, env: Any, device: torch.device) -> None:
        """Read the constants from `env`."""
        super().__init__(env, device)
        self._costs = bool(env.spec.kwargs.get("sutton_barto_reward", False)) if env.spec else False

    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take one Euler step of `tau` seconds."""
        env = self._env
        x, x_dot, theta, theta_dot = state
        force = (2 * (action == 1) - 1) * env.force_mag
        cos, sin = theta.cos(), theta.sin()
        push = (force + env.polemass_length * theta_dot.square() * sin) / env.total_mass
        inertia = env.length * (4.0 / 3.0 - env.masspole * cos.square() / env.total_mass)
        theta_acc = (env.gravity * sin - cos * push) / inertia
        x_acc = push - env.polemass_length * theta_acc * cos / env.total_mass
        state = state + env.tau * torch.stack([x_dot, x_acc, theta_dot, theta_acc])
        terminated = (state[0].abs() > env.x_threshold) | (state[2].abs() > env.theta_threshold_radians)
        reward = -terminated.to(state.dtype) if self._costs else torch.ones_like(x)
        return state, reward, terminated


class MountainCar(TensorDynamics):
    """`gymnasium.envs.classic_control.MountainCarEnv`; state: position and velocity."""

    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Push left, not at all or right; each step costs 1."""
        env = self._env
        position, velocity = state
        velocity = velocity + ((action - 1) * env.force + (3 * position).cos() * -env.gravity)
        position, velocity, terminated = _drive(env, position, velocity)
        return torch.stack([position, velocity]), -torch.ones_like(position), terminated


class MountainCarContinuous(TensorDynamics):
    """`gymnasium.envs.classic_control.Continuous_MountainCarEnv`; state: position, velocity, 1 at the start.

    Gymnasium keeps the state in single precision, save for the first step of an episode; so both are computed.
    """

    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Push with a force in [-1, 1]; arriving pays 100, effort costs a tenth of the squared action."""
        push, fresh = action[:, 0], state[2] == 1
        double, single = self._step(state[:2], push), self._step(state[:2].to(torch.float32), push)
        chosen = (torch.where(fresh, a.to(b.dtype), b) for a, b in zip(double, single, strict=True))
        position, velocity, terminated = chosen
        effort = push.to(torch.float64).square() * 0.1
        reward = 100.0 * terminated.to(torch.float64) - effort
        return torch.stack([position, velocity, torch.zeros_like(velocity)]).to(torch.float64), reward, terminated

    def observe(self, state: Tensor) -> Tensor:
        """Return position and velocity."""
        return super().observe(state[:2])

    def _step(self, state: Tensor, push: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        env = self._env
        position, velocity = state
        force = push.clamp(env.min_action, env.max_action)
        slope = (0.0025 * (3 * position).to(torch.float64).cos()).to(torch.float32)
        return _drive(env, position, velocity + (force * env.power - slope))


class Pendulum(TensorDynamics):
    """`gymnasium.envs.classic_control.PendulumEnv`; state: angle (0 is upright) and angular velocity."""

    def advance(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take one semi-implicit Euler step of `dt` seconds; the reward is minus the cost before it."""
        env = self._env
        theta, velocity = state
        torque = action[:, 0].clamp(-env.max_torque, env.max_torque)  # single precision
        angle = (theta + math.pi) % (2 * math.pi) - math.pi
        cost = angle.square() + 0.1 * velocity.square() + 0.001 * torque.square()
        pull = 3 * env.g / (2 * env.l) * theta.sin() + 3.0 / (env.m * env.l**2) * torque
        faster = (velocity + pull * env.dt).clamp(-env.max_speed, env.max_speed)
        state = torch.stack([theta + faster * env.dt, faster])
        return state, -cost, torch.zeros_like(cost, dtype=torch.bool)

    def observe(self, state: Tensor) -> Tensor:
        """Return cosine and sine of the angle, and the velocity."""
        theta, velocity = state
        return torch.stack([theta.cos(), theta.sin(), velocity], -1).to(torch.float32)


def _drive(env: Any, position: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bound the velocity, move the car, stop it at the left wall; say where it has arrived."""
    velocity = velocity.clamp(-env.max_speed, env.max_speed)
    position = (position + velocity).clamp(env.min_position, env.max_position)
    velocity = velocity.masked_fill((position == env.min_position) & (velocity < 0), 0.0)
    return position, velocity, (position >= env.goal_position) & (velocity >= env.goal_velocity)
