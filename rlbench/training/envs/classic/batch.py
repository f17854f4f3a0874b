"""Whole rollouts in one compiled loop: policy, environment, record; of classic control and of MuJoCo's tasks.

The loop is handed its parts as functions: the network's forward pass, the family's sampler, the environment's
`advance`, and what squashes actions and takes in running moments. They are the very functions that the step-by-step
path calls, with the same shapes, so both paths give the same numbers to the bit.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.utils.seeding import np_random
from gymnasium.wrappers import TimeLimit
from numba import njit, types

from rlbench.functional.compiled import exact_inlined
from rlbench.functional.distributions import Family
from rlbench.functional.likelihoods import squash
from rlbench.functional.networks import ActorCritic
from rlbench.training.envs.base import (
    Failure,
    Flags,
    ObservationEncoder,
    Observations,
    Step,
    action_spec,
    copy_seeds,
)
from rlbench.training.envs.classic.dynamics import Dynamics
from rlbench.training.envs.normalize import CLIP, EPSILON, ObservationNormalizer, RewardNormalizer, take_in
from rlbench.training.state import Array, State, from_generators, joined, part, put, to_generators


class CompiledPolicy(NamedTuple):
    """The policies' networks in the parameters `flat` `[R, P]`, as the compiled loop is told of them.

    offset, sizes, activation  of the stack, see `rlbench.functional.networks`
    outputs, free              the head begins with `outputs` numbers of the network; parameters from `free` on follow
    """

    flat: Array
    offset: int
    sizes: Array
    activation: int
    outputs: int
    free: int


class Copies(NamedTuple):
    """M = R N copies of an environment: states, constants, time, and the start states drawn beforehand.

    `state` `[M, S]`, `constants` `[C]`, `elapsed` `[M]` steps of the episodes under way, `limit` on them, `bounds`
    `[2, K]` on what the environment receives, to which actions are cut or, with `squash`, squashed; `starts`
    `[M, Q, S]` and their observations `[M, Q, O]`, of which each copy has used the first `used` `[M]`.
    """

    state: Array
    constants: Array
    elapsed: Array
    limit: int
    bounds: Array
    squash: bool
    starts: Array
    start_observations: Array
    used: Array


class Scales(NamedTuple):
    """The running statistics of a rollout that is normalised, see `rlbench.training.envs.normalize`.

    Moments of observations `[R, O]`, or `[0, 0]` where they stay as they are; of discounted returns `[R, 1]`, or
    `[0, 0]`; how many samples each pair has seen `[2]`; the running returns `[R, N]` and their discounts `[R]`.
    """

    mean: Array
    variance: Array
    return_mean: Array
    return_variance: Array
    counts: Array
    returns: Array
    discounts: Array


class Record(NamedTuple):
    """What happened: observation `[T, M, O]`, action `[T, M, K]`, reward, terminated and ended `[T, M]`.

    Observations are as the policy saw them; `scaled` `[T, M]` is the reward that is learnt from where rewards are
    normalised, else `[0, M]`.

    `truncated_at` holds t M + m of the episodes that the time limit cut, `final_observation` `[C, O]` their final
    observations, `truncations` `[1]` how many there are.
    """

    observation: Array
    action: Array
    reward: Array
    scaled: Array
    terminated: Array
    ended: Array
    truncated_at: Array
    final_observation: Array
    truncations: Array


def _array(kind: Any, dimensions: int) -> Any:
    return types.Array(kind, dimensions, "C")


def _named(record: type[Any], *kinds: Any) -> Any:
    return types.NamedTuple(kinds, record)  # type: ignore[no-untyped-call]


_F4, _F8, _I8, _B1 = types.float32, types.float64, types.int64, types.boolean
_FORWARD = types.FunctionType(
    types.none(_array(_F4, 2), _I8, _array(_I8, 1), _I8, _array(_F4, 3), _array(_F4, 2), _array(_F4, 3))
)
_SAMPLE = types.FunctionType(types.none(_array(_F4, 2), _array(_F4, 2), _array(_F8, 2)))
_ADVANCE = types.FunctionType(
    types.none(_array(_F8, 2), _array(_F8, 2), _array(_F8, 1), _array(_F4, 2), _array(_F8, 1), _array(_B1, 1))
)
_POLICY = _named(CompiledPolicy, _array(_F4, 2), _I8, _array(_I8, 1), _I8, _I8, _I8)
_COPIES = _named(
    Copies,
    *(_array(_F8, 2), _array(_F8, 1), _array(_I8, 1), _I8, _array(_F8, 2), _B1),
    *(_array(_F8, 3), _array(_F4, 3), _array(_I8, 1)),
)
_SQUASH = types.FunctionType(types.none(_array(_F8, 2), _array(_F8, 1), _array(_F8, 1), _array(_F8, 2)))
_TAKE_IN = types.FunctionType(types.none(_array(_F8, 3), _array(_F8, 2), _array(_F8, 2), _F8))
_SCALES = _named(Scales, *[_array(_F8, 2)] * 4, _array(_F8, 1), _array(_F8, 2), _array(_F8, 1))
_RECORD = _named(
    Record,
    *(_array(_F4, 3), _array(_F8, 3), _array(_F8, 2), _array(_F8, 2), _array(_B1, 2), _array(_B1, 2)),
    *(_array(_I8, 1), _array(_F4, 2), _array(_I8, 1)),
)


@exact_inlined
def _standardised(value: float, mean: float, variance: float) -> float:
    """Return what `rlbench.training.envs.normalize` makes of a number."""
    scaled: float = np.minimum(np.maximum((value - mean) / math.sqrt(variance + EPSILON), -CLIP), CLIP)
    return scaled


def _rollout(
    forward: Any,
    sample: Any,
    advance: Any,
    take_in: Any,
    squash: Any,
    first: int,
    policy: CompiledPolicy,
    copies: Copies,
    scales: Scales,
    noise: Array,
    now: Array,
    head: Array,
    record: Record,
) -> int:
    """Go on from step `first` of a rollout; return the step reached, before T where a copy's starts are used up.

    `noise` is `[T, M, Z]`, `now` `[R, N, O]` where the policy acts next, before and after, `head` `[M, H]` scratch.
    """
    replicas, each, width = now.shape
    horizon: int = len(noise)
    many, spare = replicas * each, copies.starts.shape[1]
    hidden = np.empty((replicas, each * policy.sizes[1:-1].sum()), np.float32)
    out = np.empty((replicas, each, policy.sizes[-1]), np.float32)
    following, raw = np.empty((many, width), np.float32), np.empty((replicas, each, width))
    earned = np.empty((replicas, each, 1))
    sent = np.empty((many, record.action.shape[2]))
    for t in range(first, horizon):
        for m in range(many):
            if copies.used[m] == spare:
                return t
        forward(policy.flat, policy.offset, policy.sizes, policy.activation, now, hidden, out)
        for m in range(many):
            r, n = m // each, m % each
            for k in range(policy.outputs):
                head[m, k] = out[r, n, k]
            for k in range(policy.outputs, head.shape[1]):
                head[m, k] = policy.flat[r, policy.free + k - policy.outputs]
            for k in range(width):
                record.observation[t, m, k] = now[r, n, k]
        action = record.action[t]
        sample(head, noise[t], action)
        if copies.squash:
            squash(action, copies.bounds[0], copies.bounds[1], sent)
        else:
            for m in range(many):
                for k in range(action.shape[1]):
                    sent[m, k] = np.minimum(np.maximum(action[m, k], copies.bounds[0, k]), copies.bounds[1, k])
        terminated, cut = record.terminated[t], record.truncations[0]
        advance(copies.state, sent, copies.constants, following, record.reward[t], terminated)
        for m in range(many):
            r, n = m // each, m % each
            copies.elapsed[m] += 1
            truncated = copies.elapsed[m] >= copies.limit
            record.ended[t, m] = terminated[m] or truncated
            if truncated and not terminated[m]:
                record.truncated_at[record.truncations[0]] = t * many + m
                record.final_observation[record.truncations[0]] = following[m]
                record.truncations[0] += 1
            if record.ended[t, m]:
                copies.elapsed[m] = 0
                copies.state[m] = copies.starts[m, copies.used[m]]
                now[r, n] = copies.start_observations[m, copies.used[m]]
                copies.used[m] += 1
            else:
                now[r, n] = following[m]
        if len(scales.return_mean):
            for m in range(many):
                r, n = m // each, m % each
                scales.returns[r, n] = scales.returns[r, n] * scales.discounts[r] + record.reward[t, m]
                earned[r, n, 0] = scales.returns[r, n]
            take_in(earned, scales.return_mean, scales.return_variance, scales.counts[1])
            scales.counts[1] += each
            for m in range(many):
                r, n = m // each, m % each
                record.scaled[t, m] = _standardised(record.reward[t, m], 0.0, scales.return_variance[r, 0])
                if record.ended[t, m]:
                    scales.returns[r, n] = 0.0
        if len(scales.mean):
            raw[:] = now
            take_in(raw, scales.mean, scales.variance, scales.counts[0])
            scales.counts[0] += each
            for r in range(replicas):
                for n in range(each):
                    for k in range(width):
                        now[r, n, k] = _standardised(now[r, n, k], scales.mean[r, k], scales.variance[r, k])
            for c in range(cut, record.truncations[0]):
                r = (record.truncated_at[c] % many) // each
                for k in range(width):
                    final = record.final_observation[c, k]
                    record.final_observation[c, k] = _standardised(final, scales.mean[r, k], scales.variance[r, k])
    return horizon


@cache
def compiled_rollout() -> Callable[..., int]:
    """Return `_rollout`, compiled; only when it is needed, since loading it takes a third of a second.

    Its signature is given so that functions are arguments like others; without one it would be compiled anew for each.
    """
    arguments = (
        *(_FORWARD, _SAMPLE, _ADVANCE, _TAKE_IN, _SQUASH, _I8, _POLICY, _COPIES, _SCALES),
        *(_array(_F4, 3), _array(_F4, 3), _array(_F4, 2), _RECORD),
    )
    compiled: Callable[..., int] = njit(_I8(*arguments), cache=True, nogil=True, error_model="numpy")(_rollout)
    return compiled


_QUEUES = ("states", "observations", "used")


class Starts:
    """Start states of M copies, drawn ahead from each copy's own generator, in the order in which they are used."""

    def __init__(self, dynamics: Dynamics, seeds: Sequence[int], observation_size: int) -> None:
        self._dynamics, self.spare = dynamics, dynamics.spare
        self._generators = [np_random(seed)[0] for seed in seeds]
        first = np.stack([self._draw(generator, self.spare) for generator in self._generators])  # [M, Q, S]
        self.states = first.astype(np.float64)
        self.observations = np.stack([dynamics.observe(rows) for rows in first])  # [M, Q, O]
        self.used = np.zeros(len(seeds), np.int64)

    def refill(self) -> None:
        """Draw as many as were used."""
        for m in np.flatnonzero(self.used):
            used = int(self.used[m])
            fresh = self._draw(self._generators[m], used)
            self.states[m] = np.concatenate([self.states[m, used:], fresh])
            self.observations[m] = np.concatenate([self.observations[m, used:], self._dynamics.observe(fresh)])
        self.used[:] = 0

    def take(self, copies: Array) -> tuple[Array, Observations]:
        """Return the next start states [K, S] of K copies and their observations [K, O]."""
        if (self.used[copies] == self.spare).any():
            self.refill()
        at = self.used[copies]
        self.used[copies] += 1
        return self.states[copies, at], self.observations[copies, at]

    def state(self, own: slice) -> State:
        arrays = {name: getattr(self, name)[own].copy() for name in _QUEUES}
        return arrays | {"generators": from_generators(self._generators[own])}

    def restore(self, own: slice, state: State) -> None:
        for name in _QUEUES:
            put(getattr(self, name), own, state[name], name)
        to_generators(state["generators"], self._generators[own])

    def _draw(self, generator: np.random.Generator, count: int) -> Array:
        return np.stack([self._dynamics.draw(generator) for _ in range(count)])


def time_limit(template: gymnasium.Env[Any, Any]) -> int:
    """Return after how many steps an episode is cut: the least of its wrappers' limits, or as good as never."""
    limits, layer = [int(np.iinfo(np.int64).max)], template
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, TimeLimit):
            limits.append(layer._max_episode_steps)
        layer = layer.env
    return min(limits)


class ClassicBatch:
    """R x N copies of an environment that `Dynamics` computes, in one array program; implements `EnvBatch`."""

    def __init__(self, dynamics: Dynamics, template: gymnasium.Env[Any, Any], replicas: int, num_envs: int) -> None:
        """Prepare the copies of `template`, which `dynamics` reproduces."""
        assert template.spec is not None
        self.action = action_spec(template.action_space, template.spec.id)
        self.observation = ObservationEncoder.of(template.observation_space, template.spec.id)
        self.observation_size = self.observation.size
        self.replicas, self.num_envs = replicas, num_envs
        self.failures: dict[int, Failure] = {}
        self._dynamics = dynamics
        self._shape = (replicas, num_envs)
        self._limit = time_limit(template)
        self._elapsed = np.zeros(replicas * num_envs, np.int64)  # [M] steps of the running episodes
        self._state = np.empty((0, 0))  # [M, S], from the first reset on
        self._starts: Starts

    def reset(self, seeds: Sequence[int]) -> Observations:
        copies = [seed for replica in range(self.replicas) for seed in copy_seeds(seeds[replica], self.num_envs)]
        self._starts = Starts(self._dynamics, copies, self.observation_size)
        self._elapsed[:] = 0
        self._state, observation = self._starts.take(np.arange(len(copies)))
        return observation.reshape(*self._shape, -1)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of a state's numbers."""
        return self._dynamics.variables

    @property
    def states(self) -> Array:
        """The states of all copies, `[R, N, S]`, as `Dynamics` has them."""
        return self._state.reshape(*self._shape, -1).copy()

    def place(self, states: Array) -> Observations:
        """Put every copy, after a reset, into a state `[R, N, S]` where its episode begins; return the observations."""
        self._state = np.array(states, np.float64, order="C").reshape(len(self._elapsed), -1)
        self._elapsed[:] = 0
        return self._dynamics.observe(self._state).reshape(*self._shape, -1)

    def step(self, action: npt.NDArray[Any]) -> Step:
        sent = self.action.to_environment(action).astype(np.float64).reshape(len(self._elapsed), -1)
        following = np.empty((len(self._elapsed), self.observation_size), np.float32)
        reward, terminated = np.empty(len(self._elapsed)), np.empty(len(self._elapsed), np.bool_)
        self._dynamics.advance(self._state, sent, self._dynamics.constants, following, reward, terminated)
        self._elapsed += 1
        truncated: Flags = self._elapsed >= self._limit
        ended = np.flatnonzero(terminated | truncated)
        observation = following
        if len(ended):
            observation = following.copy()
            self._state[ended], observation[ended] = self._starts.take(ended)
            self._elapsed[ended] = 0
        rows = (*self._shape, self.observation_size)
        return Step(
            observation.reshape(rows),
            following.reshape(rows),
            reward.reshape(self._shape),
            terminated.reshape(self._shape),
            truncated.reshape(self._shape),
        )

    def rollout(
        self,
        network: ActorCritic,
        params: Array,
        family: Family,
        noise: Array,
        now: Observations,
        observations: ObservationNormalizer | None = None,
        rewards: RewardNormalizer | None = None,
    ) -> Record:
        """Return the record of T steps under the policies `params` `[R, P]`, whose family has a sampler.

        `noise` is `[T, R, N, Z]`; `now` `[R, N, O]` is where the copies are, before and after, as the policy sees it.
        What normalises observations and rewards goes on with every step.
        """
        assert family.sampler is not None
        stack = network.policy
        policy = CompiledPolicy(params, *stack.plan, network.outputs, stack.end)
        horizon, many = len(noise), len(self._elapsed)
        width = 1 if self.action.kind == "categorical" else self.action.sizes[0]
        truncations = many * (horizon // self._limit + 1)
        record = Record(
            np.empty((horizon, many, self.observation_size), np.float32),
            np.empty((horizon, many, width)),
            np.empty((horizon, many)),
            np.empty((horizon if rewards else 0, many)),
            np.empty((horizon, many), np.bool_),
            np.empty((horizon, many), np.bool_),
            np.empty(truncations, np.int64),
            np.empty((truncations, self.observation_size), np.float32),
            np.zeros(1, np.int64),
        )
        low, high = self.action.low, self.action.high
        bounds = np.array([[-np.inf] * width if low is None else low, [np.inf] * width if high is None else high])
        copies = Copies(
            self._state, self._dynamics.constants, self._elapsed, self._limit,
            bounds.astype(np.float64), self.action.kind == "squashed",
            self._starts.states, self._starts.observations, self._starts.used,
        )  # fmt: skip
        none, moments = np.empty((0, 0)), [each.moments if each else None for each in (observations, rewards)]
        of_observations, of_rewards = ((each.mean, each.variance) if each else (none, none) for each in moments)
        counts = np.array([each.count if each else 0.0 for each in moments])
        returns = (rewards.returns, rewards.gamma) if rewards else (none, np.empty(0))
        scales = Scales(*of_observations, *of_rewards, counts, *returns)
        head, flat_noise = np.empty((many, family.head_size), np.float32), noise.reshape(horizon, many, -1)
        reached = 0
        while reached < horizon:
            self._starts.refill()
            reached = compiled_rollout()(
                stack.pass_forward, family.sampler, self._dynamics.advance, take_in, squash,
                reached, policy, copies, scales, flat_noise, now, head, record,
            )  # fmt: skip
        for each, count in zip(moments, scales.counts.tolist(), strict=True):
            if each:
                each.count = count
        return record

    def state(self, replica: int) -> State:
        own = self._own(replica)
        here = {"state": self._state[own].copy(), "elapsed": self._elapsed[own].copy()}
        return here | joined(starts=self._starts.state(own))

    def restore(self, replica: int, state: State) -> None:
        own = self._own(replica)
        put(self._state, own, state["state"], "state")
        put(self._elapsed, own, state["elapsed"], "elapsed")
        self._starts.restore(own, part(state, "starts"))

    def close(self) -> None:
        """Nothing is held."""

    def _own(self, replica: int) -> slice:
        return slice(replica * self.num_envs, (replica + 1) * self.num_envs)
