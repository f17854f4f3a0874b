"""The batched fast path of Gymnasium's classic-control environments: compiled loops over all copies at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.envs import classic_control
from gymnasium.utils.seeding import np_random
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from rlbench.functional.compiled import exact
from rlbench.training.envs.batch import Flags, Observations, Step, copy_seeds
from rlbench.training.envs.classic.acrobot import Acrobot
from rlbench.training.envs.classic.cartpole import CartPole
from rlbench.training.envs.classic.dynamics import Dynamics, rounds_as_numpy
from rlbench.training.envs.classic.mountain_car import MountainCar, MountainCarContinuous
from rlbench.training.envs.classic.pendulum import Pendulum
from rlbench.training.envs.spaces import action_spec


@exact
def _count_ends(elapsed: npt.NDArray[Any], limit: int, terminated: Flags, truncated: Flags) -> int:
    """Add a step to every copy [M], fill `truncated`, set the clocks of ended copies to 0; return how many ended."""
    ended = 0
    for m in range(len(elapsed)):
        elapsed[m] += 1
        truncated[m] = elapsed[m] >= limit
        if terminated[m] or truncated[m]:
            elapsed[m] = 0
            ended += 1
    return ended


DYNAMICS: dict[type, type[Dynamics]] = {
    classic_control.AcrobotEnv: Acrobot,
    classic_control.CartPoleEnv: CartPole,
    classic_control.MountainCarEnv: MountainCar,
    classic_control.Continuous_MountainCarEnv: MountainCarContinuous,
    classic_control.PendulumEnv: Pendulum,
}


def supports(template: gymnasium.Env[Any, Any]) -> bool:
    """Say whether the fast path reproduces this instance.

    It must be one of the classes above, neither derived nor wrapped in anything that changes what it does,
    made with options that the fast path knows.
    """
    dynamics = DYNAMICS.get(type(template.unwrapped))
    if dynamics is None or template.spec is None or not set(template.spec.kwargs) <= dynamics.options:
        return False
    if not rounds_as_numpy():
        return False
    layer = template
    while isinstance(layer, gymnasium.Wrapper):
        if type(layer) not in (OrderEnforcing, PassiveEnvChecker, TimeLimit):
            return False
        layer = layer.env
    return True


class ClassicBatch:
    """R x N copies of a classic-control environment in one array program; implements `EnvBatch`."""

    def __init__(self, template: gymnasium.Env[Any, Any], replicas: int, num_envs: int) -> None:
        """Prepare the copies of `template`, an instance that `supports` accepts."""
        assert template.spec is not None
        self.action = action_spec(template.action_space, template.spec.id)
        self.replicas = replicas
        self.num_envs = num_envs
        self.failures: dict[int, str] = {}
        copies = replicas * num_envs
        env = template.unwrapped
        self._dynamics = DYNAMICS[type(env)](env, copies)
        self._limit = template.spec.max_episode_steps or int(np.iinfo(np.int64).max)
        self._elapsed = np.zeros(copies, np.int64)  # [M] steps of the running episodes
        self._generators: list[np.random.Generator] = []
        assert template.observation_space.shape is not None
        self.observation_size = template.observation_space.shape[0]
        self._shape = (replicas, num_envs)

    def reset(self, seeds: Sequence[int]) -> Observations:
        """Start all copies anew, from one seed per replica; return the observations [R, N, O]."""
        copies = [seed for replica in range(self.replicas) for seed in copy_seeds(seeds[replica], self.num_envs)]
        self._generators = [np_random(seed)[0] for seed in copies]
        self._elapsed[:] = 0
        observation = self._dynamics.restart(np.arange(len(copies)), self._generators)
        return observation.reshape(*self._shape, -1)

    def step(self, action: npt.NDArray[Any]) -> Step:
        """Advance all copies by one step; `action` is as `ActionSpec` says, [R, N] or [R, N, K]."""
        sent = self.action.to_environment(action)
        following = np.empty((len(self._elapsed), self.observation_size), np.float32)
        reward, terminated = np.empty(self._shape), np.empty(self._shape, np.bool_)
        truncated = np.empty(self._shape, np.bool_)
        self._dynamics.advance(
            sent.reshape(-1, *self.action.shape), following, reward.reshape(-1), terminated.reshape(-1)
        )
        observation = following
        if _count_ends(self._elapsed, self._limit, terminated.reshape(-1), truncated.reshape(-1)):
            copies = np.flatnonzero(terminated | truncated)
            observation = following.copy()
            observation[copies] = self._dynamics.restart(copies, [self._generators[copy] for copy in copies])
        rows = (*self._shape, self.observation_size)
        return Step(observation.reshape(rows), following.reshape(rows), reward, terminated, truncated)

    def close(self) -> None:
        """Nothing is held."""
