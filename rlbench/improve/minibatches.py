"""The samples of a rollout, the minibatches that are gathered from them, and the policy that acted on them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.data import Params, Problem
from rlbench.functional.compiled import kernel
from rlbench.functional.distributions import Family
from rlbench.functional.returns import normalised_weights

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm
    from rlbench.improve.diagnostics import Meter

Array = npt.NDArray[Any]
Tensor = torch.Tensor
Own = Any
"""An array or a tensor, as an engine has them."""

_NONE = np.empty((0, 0, 0), np.float32)


@dataclass(eq=False)
class Rollout:
    """The samples of one rollout, flattened to n = T N per replica.

    `observation` `[R, n, obs]`, `action` `[R, n]` or `[R, n, K]`, the rest `[R, n]`; `weight` is None if all samples
    count.
    """

    observation: Tensor
    action: Tensor
    advantage: Tensor
    target: Tensor
    old_value: Tensor
    weight: Tensor | None

    def to(self, device: torch.device) -> Rollout:
        """Return the samples on a device."""
        moved: Any = {name: None if x is None else x.to(device) for name, x in vars(self).items()}
        return Rollout(**moved)


@dataclass(eq=False)
class Batch:
    """Some samples of every replica, in the shapes of `Rollout` with B for n, as an engine has them.

    `old_head` `[R, B, H]` and `old_log_prob` `[R, B]` describe the policy that acted. Advantages are standardised if
    the algorithm wants that per minibatch. `shares` `[R, B]` is each sample's share in a mean over its replica's
    samples.
    """

    observation: Own
    action: Own
    advantage: Own
    target: Own
    old_value: Own
    weight: Own | None
    shares: Own
    old_head: Own
    old_log_prob: Own


class BaseProblem(Problem):
    """What both engines share of a `Problem`: shuffled minibatches, and what the acting policy did on them.

    meter       what is measured of the gradient steps
    reference   the batches of the first epoch, on which the update is measured when it is over
    """

    def __init__(
        self,
        algorithm: Algorithm,
        network: Any,
        family: Family,
        params: Params,
        optimizer: Any,
        rollout: Rollout,
        *,
        lr: Own,
        alive: Own,
        permute: Callable[[int], Array],
        progress: float,
        meter: Meter,
    ) -> None:
        self.algorithm, self.params, self.progress, self.alive, self.meter = algorithm, params, progress, alive, meter
        self.policy_size: int = network.policy_size
        self.reference: list[Batch] = []
        self._network, self._family, self._optimizer = network, family, optimizer
        self._rollout, self._lr, self._permute = rollout, lr, permute
        # As the engine's own once, not in every epoch.
        parts = (rollout.observation, rollout.action, rollout.advantage, rollout.target, rollout.old_value)
        self._parts = [self._own(part) for part in parts]
        self._weight = None if rollout.weight is None else self._own(rollout.weight)
        self._old: list[Own] = []  # heads [R, n, H] and log-probabilities [R, n] of the acting policy
        self._equal: Own | None = None  # weights of samples that all count alike, of the last order

    @property
    def size(self) -> int:
        """The number of samples per replica, n."""
        return self._rollout.observation.shape[1]

    def full(self) -> Batch:
        return next(self.minibatches(epochs=1, count=1))

    def minibatches(self, *, epochs: int, count: int) -> Iterator[Batch]:
        # All permutations are drawn at once: where a replica stops early, how many it draws must not depend on whether
        # another one of its pack goes on. And they are sent to a device at once.
        orders = np.stack([self._order(count) for _ in range(epochs)])
        for order in self._own(torch.from_numpy(orders)):
            if not self._old:
                self._evaluate_old_policy(order)
            yield from self._gather(order)

    @abstractmethod
    def measure(self, params: Params) -> dict[str, Array]:
        """Return the measures after the update, one number per replica, `[R]` each."""

    @abstractmethod
    def _own(self, tensor: Tensor) -> Own:
        """Return a tensor of the CPU or of the device as the engine's own."""

    @abstractmethod
    def _take(self, values: Own, order: Own) -> Own:
        """Return `[M, R, B, ...]`, the samples of `values` `[R, n, ...]` at the indices `order` `[M, R, B]`."""

    @abstractmethod
    def _in_order(self, parts: Sequence[Own], order: Own) -> Own:
        """Return what belongs to the indices `order` `[M, R, B]`, M arrays `[R, B, ...]`, as `[R, n, ...]`."""

    @abstractmethod
    def _standardise(self, advantage: Own, weight: Own | None) -> Own:
        """Do what `rlbench.functional.returns.standardise` does, `[M, R, B]`; `advantage` is used up."""

    @abstractmethod
    def _act(self, observation: Own, action: Own) -> tuple[Own, Own]:
        """Return the acting policy's heads `[R, B, H]`, and its log-probabilities of the actions `[R, B]`."""

    def _column(self, coefficient: float | Tensor) -> Own:
        """Return a coefficient as `[R, 1]`."""
        column = torch.as_tensor(coefficient, dtype=torch.float32, device=self.params.device)
        return self._own(column.expand(len(self.params), 1).contiguous())

    def _order(self, count: int) -> Array:
        """Return sample indices `[count, R, B]`: in order for a single batch, else shuffled per replica."""
        replicas = len(self.params)
        if count == 1:
            return np.tile(np.arange(self.size), (1, replicas, 1))
        return self._permute(self.size).reshape(replicas, count, -1).transpose(1, 0, 2)

    def _evaluate_old_policy(self, order: Own) -> None:
        """Note heads and log-probabilities of the acting policy, in the very batches of the first epoch.

        A matrix product of another shape may round differently; evaluated in the same batches, the ratio of the first
        step is exactly 1 for every sample.
        """
        seen, done = (self._take(part, order) for part in self._parts[:2])
        acted = [self._act(observation, action) for observation, action in zip(seen, done, strict=True)]
        self._old = [self._in_order(parts, order) for parts in zip(*acted, strict=True)]
        self.reference = list(self._gather(order))

    def _shares(self, advantage: Own, weight: Own | None) -> Own:
        if weight is not None:
            return self._own(normalised_weights(torch.as_tensor(advantage), torch.as_tensor(weight)))
        if self._equal is None or self._equal.shape != advantage.shape:
            self._equal = self._own(normalised_weights(torch.as_tensor(advantage), None))
        return self._equal

    def _gather(self, order: Own) -> Iterator[Batch]:
        """Yield the batches of an order `[M, R, B]` of sample indices, gathered in one go."""
        observation, action, advantage, target, old_value, old_head, old_log_prob = (
            self._take(values, order) for values in (*self._parts, *self._old)
        )
        weight = None if self._weight is None else self._take(self._weight, order)
        if self.algorithm.normalize_advantage == "minibatch":
            advantage = self._standardise(advantage, weight)
        shares = self._shares(advantage, weight)
        for m in range(len(order)):
            yield Batch(
                observation=observation[m],
                action=action[m],
                advantage=advantage[m],
                target=target[m],
                old_value=old_value[m],
                weight=None if weight is None else weight[m],
                shares=shares[m],
                old_head=old_head[m],
                old_log_prob=old_log_prob[m],
            )


@kernel
def _take_rows(values: Array, order: Array, out: Array) -> None:
    for m in range(order.shape[0]):
        for r in range(order.shape[1]):
            for b in range(order.shape[2]):
                for k in range(values.shape[2]):
                    out[m, r, b, k] = values[r, order[m, r, b], k]


@kernel
def _take_numbers(values: Array, order: Array, out: Array) -> None:
    for m in range(order.shape[0]):
        for r in range(order.shape[1]):
            for b in range(order.shape[2]):
                out[m, r, b] = values[r, order[m, r, b]]


def take(values: Array, order: Array) -> Array:
    """Return `[M, R, B, ...]`, the samples of `values` `[R, n, ...]` at the indices `order` `[M, R, B]`."""
    out = np.empty(order.shape + values.shape[2:], values.dtype)
    (_take_numbers if values.ndim == 2 else _take_rows)(values, order, out)
    return out


@kernel
def _standardise(x: Array, weight: Array) -> None:
    """Do in place what `rlbench.functional.returns.standardise` does, `[M, R, B]`; an empty weight is none."""
    for m in range(x.shape[0]):
        for r in range(x.shape[1]):
            row = x[m, r]
            total, count, squares = 0.0, 0.0, 0.0
            for b in range(len(row)):
                share = np.float64(weight[m, r, b]) if weight.size > 0 else 1.0
                total += share * row[b]
                count += share
            mean = total / max(count, 1e-8)
            for b in range(len(row)):
                share = np.float64(weight[m, r, b]) if weight.size > 0 else 1.0
                squares += share * (row[b] - mean) * (row[b] - mean)
            deviation = np.sqrt(squares / max(count - 1, 1.0)) + 1e-8
            for b in range(len(row)):
                row[b] = (row[b] - mean) / deviation


def standardise_(advantage: Array, weight: Array | None) -> Array:
    """Do in place what `rlbench.functional.returns.standardise` does, `[M, R, B]`, and return the array."""
    _standardise(advantage, _NONE if weight is None else weight)
    return advantage
