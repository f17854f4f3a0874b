"""Rollouts of R replicas x N environment copies, and the samples that an update learns from.

The same for both engines: environments are stepped on the CPU, and returns and advantages are computed there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from rlbench.algorithm import Algorithm
from rlbench.data import Estimates, Trajectory
from rlbench.functional.distributions import Family
from rlbench.functional.networks import ActorCritic
from rlbench.functional.returns import standardise
from rlbench.improve.minibatches import Rollout
from rlbench.training.envs import EnvBatch
from rlbench.training.envs.classic import ClassicBatch
from rlbench.training.envs.normalize import ObservationNormalizer, RewardNormalizer
from rlbench.training.noise import Streams
from rlbench.training.recording import EpisodeLog
from rlbench.training.state import Array, Saved


class Network(Protocol):
    """What a rollout needs of policy and value; see `ActorCritic` and `TensorNetwork`."""

    def act(self, family: Family, flat: Any, observation: Array, noise: Array, /) -> Array: ...

    def values(self, flat: Any, observation: Array, /) -> Array: ...


@dataclass(eq=False)
class Experience:
    """What one rollout saw; time first.

    observation [T, R, N, obs], action [T, R, N] or [T, R, N, K], reward [T, R, N] (normalised, if that is on),
    terminated and ended bool [T, R, N], last_observation [R, N, obs]; `truncations[r]` holds (t, n, final observation
    `[k, obs]`) of the k episodes of replica r that a time limit cut.
    """

    observation: Array
    action: Array
    reward: Array
    terminated: Array
    ended: Array
    last_observation: Array
    truncations: dict[int, tuple[Array, Array, Array]]

    def nonfinite(self) -> tuple[Array, Array]:
        """Return which replicas' policies acted NaN, and which environments returned NaN or infinity, bool `[R]`."""
        acted: Array = np.zeros(self.reward.shape[1], bool)
        if np.issubdtype(self.action.dtype, np.floating):
            # An environment that is given NaN raises or returns NaN, and is not to blame.
            sane = np.isfinite(self.observation).all(axis=-1)
            wrong: Array = np.asarray(~np.isfinite(self.action).all(axis=-1) & sane)  # [T, R, N]
            acted = np.asarray(wrong.any(axis=(0, 2)))
        sums = self.reward.sum(axis=(0, 2), dtype=np.float64) + self.observation.sum(axis=(0, 2, 3), dtype=np.float64)
        # Also what is only bootstrapped from: the state after the rollout, and final observations.
        sums += self.last_observation.sum(axis=(1, 2), dtype=np.float64)
        for replica, (_, _, finals) in self.truncations.items():
            sums[replica] += finals.sum(dtype=np.float64)
        return acted, ~np.isfinite(sums)


class Collector(Saved):
    """Steps the environments with the current policies; keeps the state that lasts from rollout to rollout."""

    ROWS, PARTS = ("_now",), ("_envs", "episodes", "_observations", "_rewards")

    def __init__(
        self,
        envs: EnvBatch,
        family: Family,
        network: Network,
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

    def collect(self, params: Any, horizon: int, alive: Array) -> Experience:
        """Return the experience of `horizon` steps of every copy under the policies `params` `[R, P]`."""
        shape = (horizon, self._envs.num_envs)
        noise = np.stack([self._family.draw_noise(rng, shape) for rng in self._streams.actions], axis=1)
        built_in = isinstance(self._network, ActorCritic) and isinstance(self._envs, ClassicBatch)
        if built_in and self._family.sampler:
            experience, earned = self._fused(params, noise)
        else:
            experience, earned = self._stepwise(params, noise)
        self.episodes.add(self.step, earned, experience.ended, alive)
        self.step += horizon * self._envs.num_envs
        return experience

    def _fused(self, params: Array, noise: Array) -> tuple[Experience, Array]:
        """Return a rollout by one compiled loop, and the rewards `[T, R, N]` in double precision."""
        envs, network, family = self._envs, self._network, self._family
        assert isinstance(envs, ClassicBatch)
        assert isinstance(network, ActorCritic)
        record = envs.rollout(network, params, family, noise, self._now, self._observations, self._rewards)
        shape = noise.shape[:3]
        count = record.truncations[0]
        times, replicas, copies = np.unravel_index(record.truncated_at[:count], shape)
        finals = record.final_observation[:count]
        own = {r: np.flatnonzero(replicas == r) for r in dict.fromkeys(replicas.tolist())}
        return Experience(
            observation=record.observation.reshape(*shape, -1),
            action=family.actions(record.action.reshape(*shape, -1)),
            reward=(record.reward if self._rewards is None else record.scaled).reshape(shape).astype(np.float32),
            terminated=record.terminated.reshape(shape),
            ended=record.ended.reshape(shape),
            last_observation=self._now.copy(),
            truncations={r: (times[rows], copies[rows], finals[rows]) for r, rows in own.items()},
        ), record.reward.reshape(shape)

    def _stepwise(self, params: Any, noise: Array) -> tuple[Experience, Array]:
        """Return a rollout step by step, in whatever environment, and the rewards as the environment paid them."""
        shape = noise.shape[:3]
        observation = np.empty((*shape, self._envs.observation_size), np.float32)
        reward, earned = np.empty(shape, np.float32), np.empty(shape)
        terminated, ended = np.empty(shape, bool), np.empty(shape, bool)
        actions: list[Array] = []
        truncated: dict[int, list[tuple[int, int, Array]]] = {}
        for t in range(len(noise)):
            observation[t] = self._now
            actions.append(self._network.act(self._family, params, self._now, noise[t]))
            step = self._envs.step(actions[-1])
            earned[t], terminated[t] = step.reward, step.terminated
            np.logical_or(step.terminated, step.truncated, out=ended[t])
            reward[t] = step.reward if self._rewards is None else self._rewards.apply(step.reward, ended[t])
            self._now = self._normalise(step.observation)
            if step.truncated.any():
                # Final observations are kept: the value of an episode that a time limit cut is bootstrapped from there.
                final = step.next_observation
                final = final if self._observations is None else self._observations.apply(final)
                for r, n in zip(*np.nonzero(step.truncated & ~step.terminated), strict=True):
                    truncated.setdefault(int(r), []).append((t, int(n), final[r, n].copy()))
        truncations = {}
        for r, entries in truncated.items():
            times, copies, finals = zip(*entries, strict=True)
            truncations[r] = (np.array(times), np.array(copies), np.stack(finals))
        return Experience(observation, np.stack(actions), reward, terminated, ended, self._now, truncations), earned

    @property
    def statistics(self) -> Array:
        """What observations are shifted and divided by, `[R, 2, O]`; `[R, 2, 0]` where they are not normalised."""
        if self._observations is None:
            return np.empty((self._envs.replicas, 2, 0))
        return self._observations.statistics

    def _normalise(self, observation: Array) -> Array:
        return observation if self._observations is None else self._observations.update_and_apply(observation)


def estimate(
    algorithm: Algorithm,
    network: Network,
    params: Any,
    experience: Experience,
    family: Family | None = None,
    acting: Any = None,
) -> Rollout:
    """Return the samples of a rollout with the algorithm's advantages and value targets, n = T N per replica.

    `acting` are the parameters of the policies that acted, where they are others than `params`.
    """
    return samples(algorithm, experience, trajectory(network, params, experience, family, acting))


def trajectory(
    network: Network, params: Any, experience: Experience, family: Family | None = None, acting: Any = None
) -> Trajectory:
    """Return rewards and ends of a rollout with the values that the networks `params` `[R, P]` give its states.

    Where an episode terminated, the next value is that of the next episode's first state; its weight is zero. Only with
    the `family` of the policies are the log-probabilities of the actions known.
    """
    time_steps, replicas, copies = experience.reward.shape
    value = network.values(params, _flat(experience.observation))  # [R, T N]
    values = value.reshape(replicas, time_steps, copies).transpose(1, 0, 2)  # [T, R, N]
    following = np.concatenate([values[1:], network.values(params, experience.last_observation)[None]])
    if isinstance(network, ActorCritic):
        for r, (times, at, finals) in experience.truncations.items():
            # One replica at a time: how many truncations others have must not decide how this one's products round.
            following[times, r, at] = network.values(params[r : r + 1], finals[None])[0]
    elif experience.truncations:
        # Of every step, whether it was cut or not, so that shapes do not depend on what happened.
        successor = np.concatenate([experience.observation[1:], experience.last_observation[None]])
        for r, (times, at, finals) in experience.truncations.items():
            successor[times, r, at] = finals
        value = network.values(params, _flat(successor)).reshape(replicas, time_steps, copies)
        for r, (times, at, _) in experience.truncations.items():
            following[times, r, at] = value[r, times, at]
    known: dict[str, Any] = {}
    if family is not None:
        known["acted"] = partial(_log_prob, network, params if acting is None else acting, experience, family)
    if family is not None and acting is not None:
        known["improved"] = partial(_log_prob, network, params, experience, family)
    return Trajectory(
        reward=_tensor(experience.reward),
        value=_tensor(values),
        next_value=_tensor(following),
        terminated=_tensor(experience.terminated),
        ended=_tensor(experience.ended),
        observation=_tensor(experience.observation),
        action=_tensor(experience.action),
        **known,
    )


def _log_prob(network: Any, params: Any, experience: Experience, family: Family) -> torch.Tensor:
    """Return the log-probabilities of the actions of a rollout under the policies of `params`, `[T, R, N]`."""
    observation, action = _flat(experience.observation), _flat(experience.action)
    if isinstance(network, ActorCritic):
        found = family.likelihood(network.forward(params, observation, value=False).head).log_prob(action)
    else:
        with torch.no_grad():
            head = network.forward(params, _tensor(observation).to(params.device), value=False).head
            found = family.build(head).log_prob(_tensor(action).to(params.device)).cpu().numpy()
    steps, replicas, copies = experience.reward.shape
    return _tensor(found.reshape(replicas, steps, copies).transpose(1, 0, 2))


def samples(algorithm: Algorithm, experience: Experience, trajectory: Trajectory) -> Rollout:
    """Return the samples of a rollout whose `trajectory` is known, as `estimate` does."""
    with torch.no_grad():
        estimates = Estimates(*algorithm.advantages(trajectory))
        advantage, target, value = (
            _tensor(_flat(x.numpy())) for x in (estimates.advantage, estimates.target, trajectory.value)
        )
        weight = None if estimates.weight is None else _tensor(_flat(estimates.weight.numpy()))
        if algorithm.normalize_advantage == "batch":
            advantage = standardise(advantage, weight)
    observation, action = _tensor(_flat(experience.observation)), _tensor(_flat(experience.action))
    return Rollout(observation, action, advantage, target, value, weight)


def _flat(array: Array) -> Array:
    """Return `[T, R, N, ...]` as `[R, T N, ...]`."""
    moved = np.moveaxis(array, 1, 0)
    return np.ascontiguousarray(moved).reshape(moved.shape[0], -1, *moved.shape[3:])


def _tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
