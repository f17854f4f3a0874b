"""MountainCar, discrete and continuous: leave a valley with an engine that is too weak (Moore, 1990)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.training.envs.batch import Flags, Floats, Observations
from rlbench.training.envs.classic.dynamics import Dynamics, cosines


class _MountainCar(Dynamics):
    options = frozenset({"goal_velocity"})
    variables = 2

    def __init__(self, env: gymnasium.Env[Any, Any], copies: int) -> None:
        """Read the constants from `env`."""
        super().__init__(env, copies)
        self._env: Any = env

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw the position uniformly from [-0.6, -0.4]; the car stands still."""
        return np.array([generator.uniform(low=-0.6, high=-0.4), 0.0])

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        """Return the state itself."""
        return state.T.astype(np.float32, order="C")

    def _move(
        self, position: npt.NDArray[Any], velocity: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Bound the velocity, move the car and stop it at the left wall, in the dtype of the state."""
        env = self._env
        velocity = np.clip(velocity, -env.max_speed, env.max_speed)
        position = np.clip(position + velocity, env.min_position, env.max_position)
        velocity[(position == env.min_position) & (velocity < 0)] = 0
        return position, velocity

    def _arrived(self, position: npt.NDArray[Any], velocity: npt.NDArray[Any]) -> Flags:
        env = self._env
        arrived: Flags = (position >= env.goal_position) & (velocity >= env.goal_velocity)
        return arrived


class MountainCar(_MountainCar):
    """`gymnasium.envs.classic_control.MountainCarEnv`; state: position and velocity."""

    def advance(self, action: npt.NDArray[Any]) -> tuple[Floats, Flags]:
        """Push left, not at all or right; each step costs 1."""
        env = self._env
        position, velocity = self.state
        velocity = velocity + ((action - 1) * env.force + cosines(3 * position) * -env.gravity)
        position, velocity = self._move(position, velocity)
        self.state[0], self.state[1] = position, velocity
        return np.full(len(position), -1.0), self._arrived(position, velocity)


class MountainCarContinuous(_MountainCar):
    """`gymnasium.envs.classic_control.Continuous_MountainCarEnv`; state: position and velocity.

    Gymnasium keeps the state in single precision, save for the first step of an episode, which starts in
    double precision; so this computes those copies' step a second time.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], copies: int) -> None:
        """Read the constants from `env`."""
        super().__init__(env, copies)
        self._fresh: list[int] = []  # the copies whose next step is the first of an episode

    def restart(self, copies: npt.NDArray[np.intp], generators: Sequence[np.random.Generator]) -> Observations:
        """Give K copies new initial states, each from its generator; return their observations [K, O]."""
        self._fresh = copies.tolist()
        return super().restart(copies, generators)

    def advance(self, action: npt.NDArray[Any]) -> tuple[Floats, Flags]:
        """Push with a force in [-1, 1]; arriving pays 100, effort costs a tenth of the squared action."""
        push = action[:, 0]
        position, velocity, terminated = self._step(self.state.astype(np.float32), push)
        if self._fresh:
            fresh = self._fresh
            position[fresh], velocity[fresh], terminated[fresh] = self._step(self.state[:, fresh], push[fresh])
            self._fresh = []
        self.state[0], self.state[1] = position, velocity
        # the square of a single-precision number is exact in double precision
        effort = np.square(push.astype(np.float64)) * 0.1
        return np.where(terminated, 100.0, 0.0) - effort, terminated

    def _step(
        self, state: npt.NDArray[Any], push: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Flags]:
        env = self._env
        position, velocity = state
        force = np.clip(push, env.min_action, env.max_action)
        slope = (0.0025 * cosines(3 * position)).astype(np.float32)
        position, velocity = self._move(position, velocity + (force * env.power - slope))
        return position, velocity, self._arrived(position, velocity)
