"""Collect a rollout of R replicas x N environment copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.algorithm import Algorithm
from rlbench.data import Estimates, Trajectory
from rlbench.functional import networks
from rlbench.functional.distributions import Family
from rlbench.functional.losses import standardise
from rlbench.functional.networks import ActorCritic
from rlbench.improve.minibatches import Rollout
from rlbench.training.envs import EnvBatch
from rlbench.training.envs.classic import ClassicBatch
from rlbench.training.envs.classic.play import Policy
from rlbench.training.envs.normalize import ObservationNormalizer, RewardNormalizer
from rlbench.training.noise import Streams
from rlbench.training.recording import EpisodeLog
from rlbench.training.state import Saved

Array = npt.NDArray[Any]


@dataclass(eq=False)
class Experience:
    """What one rollout saw; time first.

    observation [T, R, N, obs], action [T, R, N] or [T, R, N, K], reward [T, R, N] (normalised, if that is on),
    terminated and ended bool [T, R, N], last_observation [R, N, obs]; `cuts[r]` holds (t, n, final observation
    `[k, obs]`) of the k episodes of replica r that a time limit cut.
    """

    observation: Array
    action: Array
    reward: Array
    terminated: Array
    ended: Array
    last_observation: Array
    cuts: dict[int, tuple[Array, Array, Array]]


class Collector(Saved):
    """Steps the environments with the current policies; keeps the state that lasts from rollout to rollout."""

    ROWS, PARTS = ("_now",), ("_envs", "episodes", "_observations", "_rewards")

    def __init__(
        self,
        envs: EnvBatch,
        family: Family,
        network: ActorCritic,
        algorithms: Sequence[Algorithm],
        seeds: Sequence[int],
        streams: Streams,
        start: Array | None = None,
    ) -> None:
        """Begin where the environments are reset to, or with `start` `[R, N, obs]` where they are already."""
        first = algorithms[0]
        self._envs, self._family, self._network, self._streams = envs, family, network, streams
        self._observations = (
            ObservationNormalizer(envs.replicas, envs.observation_size) if first.normalize_observation else None
        )
        gammas = np.array([algorithm.gamma for algorithm in algorithms])
        self._rewards = RewardNormalizer(envs.replicas, envs.num_envs, gammas) if first.normalize_reward else None
        self.episodes = EpisodeLog(envs.replicas, envs.num_envs)
        self.step = 0  # environment steps of each run so far, all copies together
        self._now = self._normalise(envs.reset(seeds) if start is None else start)

    def collect(self, params: Array, horizon: int, alive: Array) -> Experience:
        """Return the experience of `horizon` steps of every copy under the policies `params` `[R, P]`."""
        shape = (horizon, self._envs.num_envs)
        noise = np.stack([self._family.draw_noise(rng, shape) for rng in self._streams.actions], axis=1)
        plain = self._observations is None and self._rewards is None
        if plain and self._family.sampler and isinstance(self._envs, ClassicBatch):
            experience, earned = self._play(self._envs, self._family.sampler, params, noise)
        else:
            experience, earned = self._walk(params, noise)
        self.episodes.add(self.step, earned, experience.ended, alive)
        self.step += horizon * self._envs.num_envs
        return experience

    def _play(
        self, envs: ClassicBatch, sampler: Callable[..., None], params: Array, noise: Array
    ) -> tuple[Experience, Array]:
        """Return a rollout by one compiled loop, and the rewards `[T, R, N]` in double precision."""
        network, family = self._network, self._family
        policy = Policy(params, *network.policy.plan, network.outputs, network.policy.end)
        record = envs.play(networks.forward, sampler, policy, noise, family.head_size, self._now)
        shape = noise.shape[:3]
        cuts = record.cuts[0]
        times, replicas, copies = np.unravel_index(record.cut_at[:cuts], shape)
        finals = record.cut_observation[:cuts]
        own = {r: np.flatnonzero(replicas == r) for r in dict.fromkeys(replicas.tolist())}
        return Experience(
            observation=record.observation.reshape(*shape, -1),
            action=family.actions(record.action.reshape(*shape, -1)),
            reward=record.reward.reshape(shape).astype(np.float32),
            terminated=record.terminated.reshape(shape),
            ended=record.ended.reshape(shape),
            last_observation=self._now.copy(),
            cuts={r: (times[rows], copies[rows], finals[rows]) for r, rows in own.items()},
        ), record.reward.reshape(shape)

    def _walk(self, params: Array, noise: Array) -> tuple[Experience, Array]:
        """Return a rollout step by step, in whatever environment, and the rewards as the environment paid them."""
        shape = noise.shape[:3]
        observation = np.empty((*shape, self._envs.observation_size), np.float32)
        reward, earned = np.empty(shape, np.float32), np.empty(shape)
        terminated, ended = np.empty(shape, bool), np.empty(shape, bool)
        actions: list[Array] = []
        cuts: dict[int, list[tuple[int, int, Array]]] = {}
        for t in range(len(noise)):
            observation[t] = self._now
            head = self._network.forward(params, self._now, value=False).head
            actions.append(self._family.sample(head, noise[t]))
            step = self._envs.step(actions[-1])
            earned[t], terminated[t] = step.reward, step.terminated
            np.logical_or(step.terminated, step.truncated, out=ended[t])
            reward[t] = step.reward if self._rewards is None else self._rewards.apply(step.reward, ended[t])
            self._now = self._normalise(step.observation)
            if step.truncated.any():
                self._note_cuts(cuts, t, step.truncated & ~step.terminated, step.next_observation)
        stacked = _stack_cuts(cuts)
        return Experience(observation, np.stack(actions), reward, terminated, ended, self._now, stacked), earned

    def _normalise(self, observation: Array) -> Array:
        return observation if self._observations is None else self._observations.update_and_apply(observation)

    def _note_cuts(self, cuts: dict[int, list[tuple[int, int, Array]]], t: int, cut: Array, final: Array) -> None:
        """Keep the final observations of episodes that a time limit cut: their value is bootstrapped from there."""
        seen = final if self._observations is None else self._observations.apply(final)
        for r, n in zip(*np.nonzero(cut), strict=True):
            cuts.setdefault(int(r), []).append((t, int(n), seen[r, n].copy()))


def _stack_cuts(cuts: dict[int, list[tuple[int, int, Array]]]) -> dict[int, tuple[Array, Array, Array]]:
    stacked = {}
    for r, own in cuts.items():
        times, copies, finals = zip(*own, strict=True)
        stacked[r] = (np.array(times), np.array(copies), np.stack(finals))
    return stacked


def estimate(algorithm: Algorithm, network: ActorCritic, params: Array, experience: Experience) -> Rollout:
    """Return the samples of a rollout with the algorithm's advantages and value targets, n = T N per replica."""
    return samples(algorithm, experience, trajectory(network, params, experience))


def trajectory(network: ActorCritic, params: Array, experience: Experience) -> Trajectory:
    """Return rewards and ends of a rollout with the values that the networks `params` `[R, P]` give its states."""
    time_steps, replicas, copies = experience.reward.shape
    value = network.forward(params, _flat(experience.observation), policy=False).value  # [R, T N]
    values = value.reshape(replicas, time_steps, copies).transpose(1, 0, 2)  # [T, R, N]
    return Trajectory(
        reward=_tensor(experience.reward),
        value=_tensor(values),
        next_value=_tensor(_next_values(network, params, experience, values)),
        terminated=_tensor(experience.terminated),
        ended=_tensor(experience.ended),
    )


def samples(algorithm: Algorithm, experience: Experience, trajectory: Trajectory) -> Rollout:
    """Return the samples of a rollout whose `trajectory` is known, as `estimate` does."""
    with torch.no_grad():
        estimates = Estimates(*algorithm.advantages(trajectory))
        advantage, target, value = (
            _tensor(_flat(one.numpy())) for one in (estimates.advantage, estimates.target, trajectory.value)
        )
        weight = None if estimates.weight is None else _tensor(_flat(estimates.weight.numpy()))
        if algorithm.normalize_advantage == "batch":
            advantage = standardise(advantage, weight)
    observation, action = _flat(experience.observation), _tensor(_flat(experience.action))
    return Rollout(observation, action, advantage, target, value, weight)


def _next_values(network: ActorCritic, params: Array, experience: Experience, values: Array) -> Array:
    """Return V of every true successor `[T, R, N]`: the next state, or the final observation where an episode was cut.

    Where an episode terminated, the number is that of the next episode's first state; its weight is zero.
    """
    last = network.forward(params, experience.last_observation, policy=False).value  # [R, N]
    following = np.concatenate([values[1:], last[None]])
    for r, (times, copies, finals) in experience.cuts.items():
        # One replica at a time: how many cuts others have must not decide how this one's products round.
        following[times, r, copies] = network.forward(params[r : r + 1], finals[None], policy=False).value[0]
    return following


def _flat(array: Array) -> Array:
    """Return `[T, R, N, ...]` as `[R, T N, ...]`."""
    moved = np.moveaxis(array, 1, 0)
    return np.ascontiguousarray(moved).reshape(moved.shape[0], -1, *moved.shape[3:])


def _tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
