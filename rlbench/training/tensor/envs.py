"""Environments as the torch engine sees them: on the device where they can be, else stepped on the CPU and moved."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import gymnasium
import torch
from gymnasium.envs import classic_control

from rlbench.records import Environment
from rlbench.training import envs as environments
from rlbench.training.envs import ActionSpec, EnvBatch, Failure, copy_seeds
from rlbench.training.envs.classic import DYNAMICS, is_known, time_limit
from rlbench.training.envs.classic.batch import Starts
from rlbench.training.envs.gymnasium import make_one
from rlbench.training.envs.spaces import action_spec
from rlbench.training.state import State, joined, part, plain, put
from rlbench.training.tensor.acrobot import Acrobot
from rlbench.training.tensor.dynamics import CartPole, MountainCar, MountainCarContinuous, Pendulum, TensorDynamics

Tensor = torch.Tensor

_RESIDENT: dict[type, type[TensorDynamics]] = {
    classic_control.AcrobotEnv: Acrobot,
    classic_control.CartPoleEnv: CartPole,
    classic_control.MountainCarEnv: MountainCar,
    classic_control.Continuous_MountainCarEnv: MountainCarContinuous,
    classic_control.PendulumEnv: Pendulum,
}
_AHEAD = 64  # initial states that wait for each copy


class TensorStep(NamedTuple):
    """What `rlbench.training.envs.Step` is, as tensors: `[R, N, O]`, `[R, N, O]`, and `[R, N]` three times."""

    observation: Tensor
    next_observation: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor


class TensorEnvs(Protocol):
    """What `rlbench.training.envs.EnvBatch` is, for tensors on one device."""

    observation_size: int
    action: ActionSpec
    replicas: int
    num_envs: int
    failures: dict[int, Failure]

    def reset(self, seeds: Sequence[int]) -> Tensor:
        """Start all copies anew, from one seed per replica; return the observations [R, N, O]."""
        ...

    def step(self, action: Tensor) -> TensorStep:
        """Advance all copies by one step; `action` is the learner's, [R, N] or [R, N, K]."""
        ...

    def state(self, replica: int) -> State:
        """Return where the copies of one replica are; as `EnvBatch` does."""
        ...

    def restore(self, replica: int, state: State) -> None:
        """Bring the copies of one replica, after a reset, to where `state` found them; as `EnvBatch` does."""
        ...

    def close(self) -> None:
        """Release what the environments hold."""
        ...


def make(
    environment: Environment, replicas: int, num_envs: int, device: torch.device, *, remember: bool = False
) -> TensorEnvs:
    """Return `replicas` x `num_envs` copies of an environment for a device, to be reset before the first step.

    On the CPU they are the batches that follow Gymnasium to the bit. Only with `remember` may they be asked for their
    state. Raises RlbenchError as `rlbench.training.envs.make` does.
    """
    if device.type != "cpu":
        template = make_one(environment)
        try:
            if is_known(template):
                return ResidentBatch(template, replicas, num_envs, device)
        finally:
            with contextlib.suppress(Exception):
                template.close()
    return HostBatch(environments.make(environment, replicas, num_envs, remember=remember), device)


def is_resident(environment: Environment) -> bool:
    """Return whether an environment can be stepped on a GPU; RlbenchError if it cannot be made at all."""
    template = make_one(environment)
    try:
        return is_known(template)
    finally:
        with contextlib.suppress(Exception):
            template.close()


class HostBatch:
    """Environments that are stepped on the CPU, whose numbers are moved to and fro; implements `TensorEnvs`."""

    def __init__(self, batch: EnvBatch, device: torch.device) -> None:
        self._batch, self._device = batch, device
        self.observation_size, self.action = batch.observation_size, batch.action
        self.replicas, self.num_envs = batch.replicas, batch.num_envs
        self.failures = batch.failures

    def reset(self, seeds: Sequence[int]) -> Tensor:
        """Start all copies anew, from one seed per replica; return the observations [R, N, O]."""
        return torch.from_numpy(self._batch.reset(seeds)).to(self._device)

    def step(self, action: Tensor) -> TensorStep:
        """Advance all copies by one step; `action` is the learner's, [R, N] or [R, N, K]."""
        step = self._batch.step(action.cpu().numpy())
        return TensorStep(*(torch.from_numpy(array).to(self._device) for array in step))

    def state(self, replica: int) -> State:
        """Return where the copies of one replica are."""
        return self._batch.state(replica)

    def restore(self, replica: int, state: State) -> None:
        """Bring the copies of one replica, after a reset, to where `state` found them."""
        self._batch.restore(replica, state)

    def close(self) -> None:
        """Close the environments."""
        self._batch.close()


class ResidentBatch:
    """R x N copies of a classic-control environment whose states stay on the device; implements `TensorEnvs`."""

    def __init__(self, template: gymnasium.Env[Any, Any], replicas: int, num_envs: int, device: torch.device) -> None:
        """Prepare the copies of `template`, an instance that `rlbench.training.envs.classic.is_known` accepts."""
        assert template.spec is not None
        assert template.observation_space.shape is not None
        env: Any = template.unwrapped
        self.observation_size = template.observation_space.shape[0]
        self.action = action_spec(template.action_space, template.spec.id)
        self.replicas, self.num_envs = replicas, num_envs
        self.failures: dict[int, Failure] = {}
        self._device = device
        self._dynamics = _RESIDENT[type(env)](env, device)
        self._exact = DYNAMICS[type(env)](env)
        self._limit = time_limit(template)
        self._bounds = [
            None if bound is None else torch.as_tensor(bound, device=device)
            for bound in (self.action.start, self.action.low, self.action.high)
        ]

    def reset(self, seeds: Sequence[int]) -> Tensor:
        """Start all copies anew, from one seed per replica; return the observations [R, N, O]."""
        copies = [seed for replica in range(self.replicas) for seed in copy_seeds(seeds[replica], self.num_envs)]
        ahead = Starts(self._exact, copies, self.observation_size, _AHEAD)
        self._starts = TensorStarts(ahead, self._device)
        everyone = torch.ones(len(copies), dtype=torch.bool, device=self._device)
        self._elapsed = torch.zeros(len(copies), dtype=torch.int64, device=self._device)  # [M]
        self._state = self._starts.take(everyone)  # [S, M]
        return self._shaped(self._dynamics.observe(self._state))

    def step(self, action: Tensor) -> TensorStep:
        """Advance all copies by one step; `action` is the learner's, [R, N] or [R, N, K]."""
        sent = self._sent(action).flatten(0, 1)
        state, reward, terminated = self._dynamics.advance(self._state, sent)
        truncated = self._elapsed + 1 >= self._limit
        ended = terminated | truncated
        self._elapsed = (self._elapsed + 1).masked_fill(ended, 0)
        self._state = torch.where(ended, self._starts.take(ended), state)
        outcome = self._dynamics.observe(self._state), self._dynamics.observe(state), reward, terminated, truncated
        return TensorStep(*(self._shaped(one) for one in outcome))

    def state(self, replica: int) -> State:
        """Return where the copies of one replica are."""
        own = self._own(replica)
        here = {"state": plain(self._state[:, own]), "elapsed": plain(self._elapsed[own])}
        return here | joined(starts=self._starts.state(own))

    def restore(self, replica: int, state: State) -> None:
        """Put the copies of one replica, after a reset, where `state` found them."""
        own = self._own(replica)
        put(self._state, (slice(None), own), state["state"], "state")
        put(self._elapsed, own, state["elapsed"], "elapsed")
        self._starts.restore(own, part(state, "starts"))

    def close(self) -> None:
        """Nothing is held."""

    def _own(self, replica: int) -> slice:
        return slice(replica * self.num_envs, (replica + 1) * self.num_envs)

    def _sent(self, action: Tensor) -> Tensor:
        """Return the environment's actions, as `ActionSpec.to_environment` does."""
        start, low, high = self._bounds
        if start is not None:
            return action + start
        assert low is not None
        assert high is not None
        return torch.minimum(torch.maximum(action, low), high)

    def _shaped(self, one: Tensor) -> Tensor:
        return one.reshape(self.replicas, self.num_envs, *one.shape[1:])


class TensorStarts:
    """Initial states of M copies on a device, drawn ahead on the CPU from each copy's own stream.

    Only every `starts.spare` steps, when a copy might have used up its own, does this wait for the device.
    """

    def __init__(self, starts: Starts, device: torch.device) -> None:
        self._starts = starts
        self._queue = torch.from_numpy(starts.states).to(device, copy=True)  # [M, Q, S]
        self._copies = torch.arange(len(starts.used), device=device)
        self._used = torch.zeros_like(self._copies)  # [M]
        self._calls = 0

    def take(self, who: Tensor) -> Tensor:
        """Return an initial state for every copy, `[S, M]`; only those in `who` `[M]` use theirs up."""
        if self._calls == self._starts.spare:
            self._refill()
        self._calls += 1
        states = self._queue[self._copies, self._used]
        self._used = self._used + who
        return states.T

    def state(self, own: slice) -> State:
        """Return what some copies' next initial states are."""
        self._refill()  # which only draws earlier what would be drawn later
        return self._starts.state(own)

    def restore(self, own: slice, state: State) -> None:
        """Let these copies take their initial states from where `state` found them."""
        self._starts.restore(own, state)
        put(self._queue, own, state["states"], "states")
        self._used[own] = 0

    def _refill(self) -> None:
        self._starts.used[:] = self._used.cpu().numpy()
        self._starts.refill()
        self._queue.copy_(torch.from_numpy(self._starts.states))
        self._used.zero_()
        self._calls = 0
