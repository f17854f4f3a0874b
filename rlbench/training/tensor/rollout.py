"""Collect a rollout of R replicas x N environment copies as tensors, and make samples of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rlbench.algorithm import Algorithm
from rlbench.data import Estimates, Trajectory
from rlbench.functional.distributions import Family
from rlbench.functional.losses import standardise
from rlbench.functional.torch_networks import TensorNetwork
from rlbench.improve.minibatches import TensorRollout
from rlbench.training.noise import Streams
from rlbench.training.recording import Array, EpisodeLog
from rlbench.training.state import Saved
from rlbench.training.tensor.envs import TensorEnvs
from rlbench.training.tensor.normalize import TensorObservationNormalizer, TensorRewardNormalizer

Tensor = torch.Tensor


@dataclass(eq=False)
class TensorExperience:
    """What one rollout saw; time first, on the device that trains.

    observation and following (the true successor, before a reset) `[T, R, N, obs]`, last_observation `[R, N, obs]`;
    action `[T, R, N]` or `[T, R, N, K]`; reward (normalised, if that is on), terminated and ended `[T, R, N]`.
    """

    observation: Tensor
    following: Tensor
    last_observation: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    ended: Tensor

    def faults(self) -> tuple[Tensor, Tensor]:
        """Return which replicas' policies acted NaN on sane observations, and whose environment returned NaN, `[R]`."""
        wild = torch.zeros_like(self.ended[0, :, 0])
        if self.action.is_floating_point():
            sane = self.observation.isfinite().all(-1)
            wild = (~self.action.isfinite().all(-1) & sane).any(-1).any(0)
        sound = self.reward.isfinite().all(-1).all(0) & self.last_observation.isfinite().all(-1).all(-1)
        # Also what is only bootstrapped from: final observations of episodes that were cut.
        whole = self.following.isfinite().all(-1) | ~self.ended | self.terminated
        sound &= (self.observation.isfinite().all(-1) & whole).all(-1).all(0)
        return wild, ~sound


class TensorCollector(Saved):
    """Steps the environments with the current policies; keeps the state that lasts from rollout to rollout."""

    ROWS, PARTS = ("_now",), ("_envs", "episodes", "_observations", "_rewards")

    def __init__(
        self,
        envs: TensorEnvs,
        family: Family,
        network: TensorNetwork,
        algorithms: Sequence[Algorithm],
        seeds: Sequence[int],
        streams: Streams,
        device: torch.device,
    ) -> None:
        first, replicas = algorithms[0], envs.replicas
        self._envs, self._family, self._network, self._streams = envs, family, network, streams
        self._device = device
        self._observations = (
            TensorObservationNormalizer(replicas, envs.observation_size, device)
            if first.normalize_observation
            else None
        )
        gammas = [algorithm.gamma for algorithm in algorithms]
        self._rewards = TensorRewardNormalizer(envs.num_envs, gammas, device) if first.normalize_reward else None
        self.episodes = EpisodeLog(replicas, envs.num_envs)
        self.step = 0  # environment steps of each run so far, all copies together
        self._now = self._seen(envs.reset(seeds))

    def collect(self, params: Tensor, horizon: int, alive: Array) -> TensorExperience:
        """Return the experience of `horizon` steps of every copy under the policies `params` `[R, P]`."""
        shape = (horizon, self._envs.replicas, self._envs.num_envs)
        drawn = np.stack([self._family.draw_noise(rng, (horizon, shape[2])) for rng in self._streams.actions], axis=1)
        noise = torch.from_numpy(drawn).to(self._device)
        observation = torch.empty(*shape, self._envs.observation_size, device=self._device)
        following, reward = torch.empty_like(observation), torch.empty(shape, device=self._device)
        own_reward = torch.empty(shape, dtype=torch.float64, device=self._device)
        terminated = torch.empty(shape, dtype=torch.bool, device=self._device)
        ended = torch.empty_like(terminated)
        actions: list[Tensor] = []
        for t in range(horizon):
            observation[t] = self._now
            actions.append(self._family.sample_tensor(self._network.heads(params, self._now), noise[t]))
            step = self._envs.step(actions[-1])
            terminated[t] = step.terminated
            ended[t] = step.terminated | step.truncated
            own_reward[t] = step.reward
            reward[t] = step.reward if self._rewards is None else self._rewards.apply(step.reward, ended[t])
            self._now = self._seen(step.observation)
            following[t] = (
                step.next_observation if self._observations is None else self._observations.apply(step.next_observation)
            )
        self.episodes.add(self.step, own_reward.cpu().numpy(), ended.cpu().numpy(), alive)
        self.step += horizon * shape[2]
        return TensorExperience(observation, following, self._now, torch.stack(actions), reward, terminated, ended)

    def _seen(self, observation: Tensor) -> Tensor:
        return observation if self._observations is None else self._observations.update_and_apply(observation)


def estimate(
    algorithm: Algorithm, network: TensorNetwork, params: Tensor, experience: TensorExperience
) -> TensorRollout:
    """Return the samples of a rollout with the algorithm's advantages and value targets, n = T N per replica."""
    time_steps, replicas, copies = experience.reward.shape
    shape = (replicas, time_steps, copies)
    observation = _flat(experience.observation)
    value = network.values(params, observation)  # [R, T N]
    values = value.reshape(shape).transpose(0, 1)  # [T, R, N]
    following = torch.cat([values[1:], network.values(params, experience.last_observation)[None]])
    cut = experience.ended & ~experience.terminated
    if bool(cut.any()):
        # Of every step, whether cut or not, so that shapes do not depend on what happened.
        finals = network.values(params, _flat(experience.following)).reshape(shape).transpose(0, 1)
        following = torch.where(cut, finals, following)
    trajectory = Trajectory(experience.reward, values.contiguous(), following, experience.terminated, experience.ended)
    with torch.no_grad():
        estimates = Estimates(*algorithm.advantages(trajectory))
        advantage, target = _flat(estimates.advantage), _flat(estimates.target)
        weight = None if estimates.weight is None else _flat(estimates.weight)
        if algorithm.normalize_advantage == "batch":
            advantage = standardise(advantage, weight)
    return TensorRollout(observation, _flat(experience.action), advantage, target, value, weight)


def _flat(tensor: Tensor) -> Tensor:
    """Return `[T, R, N, ...]` as `[R, T N, ...]`."""
    return tensor.transpose(0, 1).flatten(1, 2).contiguous()
