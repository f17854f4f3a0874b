"""R x N copies of a classic-control environment: step by step, or a whole rollout in one compiled loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.utils.seeding import np_random

from rlbench.training.envs.batch import Failure, Flags, Observations, Step, copy_seeds
from rlbench.training.envs.classic.dynamics import Dynamics
from rlbench.training.envs.classic.play import Copies, Policy, Record, player
from rlbench.training.envs.classic.shipped import time_limit
from rlbench.training.envs.spaces import action_spec
from rlbench.training.state import State, from_generators, joined, part, put, to_generators

Array = npt.NDArray[Any]

_QUEUES = ("states", "observations", "used")
_SPARE = 16  # start states that are drawn ahead for every copy


class Starts:
    """Start states of M copies, drawn ahead from each copy's own generator, in the order in which they are used."""

    def __init__(self, dynamics: Dynamics, seeds: Sequence[int], observation_size: int, spare: int = _SPARE) -> None:
        self._dynamics, self.spare = dynamics, spare
        self._generators = [np_random(seed)[0] for seed in seeds]
        first = np.stack([self._draw(generator, spare) for generator in self._generators])  # [M, Q, S]
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
        """Return what some copies' next start states are."""
        arrays = {name: getattr(self, name)[own].copy() for name in _QUEUES}
        return arrays | {"generators": from_generators(self._generators[own])}

    def restore(self, own: slice, state: State) -> None:
        """Let these copies draw their start states from where `state` found them."""
        for name in _QUEUES:
            put(getattr(self, name), own, state[name], name)
        to_generators(state["generators"], self._generators[own])

    def _draw(self, generator: np.random.Generator, count: int) -> Array:
        return np.stack([self._dynamics.draw(generator) for _ in range(count)])


class ClassicBatch:
    """R x N copies of a classic-control environment in one array program; implements `EnvBatch`."""

    def __init__(self, dynamics: Dynamics, template: gymnasium.Env[Any, Any], replicas: int, num_envs: int) -> None:
        """Prepare the copies of `template`, which `dynamics` reproduces."""
        assert template.spec is not None
        assert template.observation_space.shape is not None
        self.action = action_spec(template.action_space, template.spec.id)
        self.observation_size = template.observation_space.shape[0]
        self.replicas, self.num_envs = replicas, num_envs
        self.failures: dict[int, Failure] = {}
        self._dynamics = dynamics
        self._shape = (replicas, num_envs)
        self._limit = time_limit(template)
        self._elapsed = np.zeros(replicas * num_envs, np.int64)  # [M] steps of the running episodes
        self._state = np.empty((0, 0))  # [M, S], from the first reset on
        self._starts: Starts

    def reset(self, seeds: Sequence[int]) -> Observations:
        """Start all copies anew, from one seed per replica; return the observations [R, N, O]."""
        copies = [seed for replica in range(self.replicas) for seed in copy_seeds(seeds[replica], self.num_envs)]
        self._starts = Starts(self._dynamics, copies, self.observation_size)
        self._elapsed[:] = 0
        self._state, observation = self._starts.take(np.arange(len(copies)))
        return observation.reshape(*self._shape, -1)

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
        """Advance all copies by one step; `action` is as `ActionSpec` says, [R, N] or [R, N, K]."""
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

    def play(
        self,
        forward: Callable[..., None],
        sample: Callable[..., None],
        policy: Policy,
        noise: Array,
        head_size: int,
        now: Observations,
    ) -> Record:
        """Return the record of T steps under a policy of compiled functions, see `rlbench.training.envs.classic.play`.

        `noise` is `[T, R, N, Z]`; `now` `[R, N, O]` is where the copies are, before and after.
        """
        horizon, many = len(noise), len(self._elapsed)
        width = 1 if self.action.kind == "categorical" else self.action.sizes[0]
        cuts = many * (horizon // self._limit + 1)
        record = Record(
            np.empty((horizon, many, self.observation_size), np.float32),
            np.empty((horizon, many, width)),
            np.empty((horizon, many)),
            np.empty((horizon, many), np.bool_),
            np.empty((horizon, many), np.bool_),
            np.empty(cuts, np.int64),
            np.empty((cuts, self.observation_size), np.float32),
            np.zeros(1, np.int64),
        )
        low, high = self.action.low, self.action.high
        bounds = np.array([[-np.inf] * width if low is None else low, [np.inf] * width if high is None else high])
        copies = Copies(
            self._state, self._dynamics.constants, self._elapsed, self._limit, bounds.astype(np.float64),
            self._starts.states, self._starts.observations, self._starts.used,
        )  # fmt: skip
        head, flat_noise, reached = np.empty((many, head_size), np.float32), noise.reshape(horizon, many, -1), 0
        while reached < horizon:
            self._starts.refill()
            reached = player()(
                forward, sample, self._dynamics.advance, reached, policy, copies, flat_noise, now, head, record
            )
        return record

    def state(self, replica: int) -> State:
        """Return where the copies of one replica are."""
        own = self._own(replica)
        here = {"state": self._state[own].copy(), "elapsed": self._elapsed[own].copy()}
        return here | joined(starts=self._starts.state(own))

    def restore(self, replica: int, state: State) -> None:
        """Put the copies of one replica, after a reset, where `state` found them."""
        own = self._own(replica)
        put(self._state, own, state["state"], "state")
        put(self._elapsed, own, state["elapsed"], "elapsed")
        self._starts.restore(own, part(state, "starts"))

    def close(self) -> None:
        """Nothing is held."""

    def _own(self, replica: int) -> slice:
        return slice(replica * self.num_envs, (replica + 1) * self.num_envs)
