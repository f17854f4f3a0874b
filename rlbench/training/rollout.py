"""Collect a rollout of R replicas x N environment copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlbench.algorithm import Algorithm
from rlbench.functional.families import Family
from rlbench.functional.networks import ActorCritic
from rlbench.training.envs import EnvBatch
from rlbench.training.envs.normalize import ObservationNormalizer, RewardNormalizer
from rlbench.training.episodes import EpisodeLog
from rlbench.training.noise import Streams

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


class Collector:
    """Steps the environments with the current policies; keeps the state that lasts from rollout to rollout."""

    def __init__(
        self,
        envs: EnvBatch,
        family: Family,
        network: ActorCritic,
        algorithms: Sequence[Algorithm],
        seeds: Sequence[int],
        streams: Streams,
    ) -> None:
        first = algorithms[0]
        self._envs, self._family, self._network, self._streams = envs, family, network, streams
        self._observations = (
            ObservationNormalizer(envs.replicas, envs.observation_size) if first.normalize_observation else None
        )
        gammas = np.array([algorithm.gamma for algorithm in algorithms])
        self._rewards = RewardNormalizer(envs.replicas, envs.num_envs, gammas) if first.normalize_reward else None
        self.episodes = EpisodeLog(envs.replicas, envs.num_envs)
        self.step = 0  # environment steps of each run so far, all copies together
        self._now = self._normalise(envs.reset(seeds))

    def collect(self, params: Array, horizon: int, alive: Array) -> Experience:
        """Return the experience of `horizon` steps of every copy under the policies `params` `[R, P]`."""
        shape = (horizon, self._envs.replicas, self._envs.num_envs)
        noise = np.stack([self._family.draw_noise(rng, (horizon, shape[2])) for rng in self._streams.actions], axis=1)
        observation = np.empty((*shape, self._envs.observation_size), np.float32)
        reward, earned = np.empty(shape, np.float32), np.empty(shape)  # what is learnt from, what the environment paid
        terminated, ended = np.empty(shape, bool), np.empty(shape, bool)
        actions: list[Array] = []
        cuts: dict[int, list[tuple[int, int, Array]]] = {}
        for t in range(horizon):
            observation[t] = self._now
            head = self._network.forward(params, self._now, value=False).head
            actions.append(self._family.sample(head, noise[t]))
            step = self._envs.step(actions[-1])
            earned[t], terminated[t] = step.reward, step.terminated
            np.logical_or(step.terminated, step.truncated, out=ended[t])
            if self._rewards is not None:
                reward[t] = self._rewards.apply(step.reward, ended[t])
            self._now = self._normalise(step.observation)
            if step.truncated.any():
                self._note_cuts(cuts, t, step.truncated & ~step.terminated, step.next_observation)
        if self._rewards is None:
            reward[:] = earned
        self.episodes.add(self.step, earned, ended, alive)
        self.step += horizon * shape[2]
        return Experience(observation, np.stack(actions), reward, terminated, ended, self._now, _stack_cuts(cuts))

    def _normalise(self, observation: Array) -> Array:
        return observation if self._observations is None else self._observations.update_and_apply(observation)

    def _note_cuts(self, cuts: dict[int, list[tuple[int, int, Array]]], t: int, cut: Array, final: Array) -> None:
        """Keep the final observations of episodes that a time limit cut: their value is bootstrapped from there."""
        seen = final if self._observations is None else self._observations.apply(final)
        for r, n in zip(*np.nonzero(cut), strict=True):
            cuts.setdefault(int(r), []).append((t, int(n), seen[r, n].copy()))


def _stack_cuts(cuts: dict[int, list[tuple[int, int, Array]]]) -> dict[int, tuple[Array, Array, Array]]:
    stacked = {}
    for r, rows in cuts.items():
        times, copies, finals = zip(*rows, strict=True)
        stacked[r] = (np.array(times), np.array(copies), np.stack(finals))
    return stacked
