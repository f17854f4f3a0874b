"""The samples of a rollout, the minibatches that are gathered from them, and what both engines share of a `Problem`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rlbench.data import Params, Problem, Samples, Terms
from rlbench.functional.compiled import Array, kernel
from rlbench.functional.distributions import Family
from rlbench.functional.returns import normalised_weights
from rlbench.improve.diagnostics import Meter

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm

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
    shares: Own
    old_head: Own
    old_log_prob: Own
    weight: Own | None = None


class BaseProblem(Problem):
    """What both engines share of a `Problem`: coefficients, shuffled minibatches, what the acting policy did on them.

    meter       what is measured of the gradient steps
    reference   the batches of the first epoch, on which the update is measured when it is over
    band        half-width of the clip range, `[R]`
    """

    def __init__(
        self,
        algorithm: Algorithm,
        network: Any,
        family: Family,
        params: Own,
        optimizer: Any,
        rollout: Rollout,
        *,
        lr: Own,
        alive: Own,
        permute: Callable[[int], Array],
        progress: float = 0.0,
        memory: dict[str, Tensor] | None = None,
        again: Callable[[Params], Rollout] | None = None,
        shift: Callable[[tuple[int, ...]], Array] | None = None,
    ) -> None:
        self.algorithm, self.params = algorithm, torch.as_tensor(params)
        self.progress, self.alive = progress, self._own(torch.as_tensor(alive))
        self.memory = {} if memory is None else memory
        self._again, self._shift = again, shift
        self.policy_size: int = network.policy_size
        self.size = rollout.observation.shape[1]  # n
        self.meter = self._start_meter()
        self.reference: list[Batch] = []
        self.band = self._column(algorithm.band)[:, 0]
        self._network, self._family, self._optimizer = network, family, optimizer
        self._lr, self._permute = self._own(torch.as_tensor(lr)), permute
        self._value_lr = self._lr * self._column(algorithm.value_lr_factor)
        self._eps, self._max_norm = self._column(algorithm.adam_eps), self._column(algorithm.max_grad_norm)
        self._entropy_coef, self._value_coef = self._column(algorithm.entropy_coef), self._column(algorithm.value_coef)
        self._value_clip = self._column(algorithm.value_clip)
        # Which terms there are at all is asked of a device once, here.
        self._has_bonus = bool(torch.as_tensor(algorithm.entropy_coef).any())
        self._mean_noise = self._column(algorithm.mean_noise)
        self._shifts = family.log_std_size > 0 and bool(torch.as_tensor(algorithm.mean_noise).any())
        self._clips = bool((torch.as_tensor(algorithm.value_clip) < np.inf).any())
        # As the engine's own once, not in every epoch; soon also heads and log-probabilities of the acting policy.
        self._whole = {name: self._own(part) for name, part in vars(rollout).items() if part is not None}
        self._equal: Own | None = None  # shares of samples that all count alike, of the last order

    def full(self) -> Batch:
        return next(self.minibatches(epochs=1, count=1))

    def reestimate(self, params: Params) -> None:
        assert self._again is not None
        rollout = self._again(params)
        for name in ("advantage", "target", "weight"):
            if (part := getattr(rollout, name)) is not None:
                self._whole[name] = self._own(part)

    def minibatches(self, *, epochs: int, count: int) -> Iterator[Batch]:
        # All permutations are drawn at once: where a replica stops early, how many it draws must not depend on whether
        # another one of its pack goes on. And they are sent to a device at once.
        orders = np.stack([self._order(count) for _ in range(epochs)])
        for order in self._own(torch.from_numpy(orders)):
            if "old_head" not in self._whole:
                self._evaluate_old_policy(order)
            yield from self._gather(order)

    def usable(self, batch: Batch) -> Own:
        return self.alive if batch.weight is None else self.alive & (batch.weight > 0).any(-1)

    def mask(self, condition: Tensor) -> Own:
        return self._own(condition[:, 0])

    def none_left(self, going: Own) -> bool:
        return self.params.device.type == "cpu" and not bool(going.any())

    @abstractmethod
    def measure(self, params: Params) -> dict[str, Array]:
        """Return the measures after the update, one number per replica, `[R]` each."""

    @abstractmethod
    def _start_meter(self) -> Meter:
        """Return a meter of R replicas."""

    @abstractmethod
    def _own(self, tensor: Tensor) -> Own:
        """Return a tensor of the CPU or of the device as the engine's own."""

    @abstractmethod
    def _tensor(self, own: Own) -> Tensor:
        """Return what `_own` made as a tensor."""

    @abstractmethod
    def _take(self, values: Own, order: Own) -> Own:
        """Return `[M, R, B, ...]`, the samples of `values` `[R, n, ...]` at the indices `order` `[M, R, B]`."""

    @abstractmethod
    def _standardise(self, advantage: Own, weight: Own | None) -> Own:
        """Do what `rlbench.functional.returns.standardise` does, `[M, R, B]`; `advantage` is used up."""

    @abstractmethod
    def _act(self, observation: Own, action: Own) -> tuple[Own, Own]:
        """Return the acting policy's heads `[R, B, H]`, and its log-probabilities of the actions `[R, B]`."""

    def _column(self, coefficient: float | Tensor) -> Own:
        """Return a coefficient as `[R, 1]`."""
        column, shape = torch.as_tensor(coefficient, dtype=torch.float32), (len(self.params), 1)
        return self._own(column if column.shape == shape else column.expand(shape).contiguous())

    def _shifted(self, head: Own) -> Own:
        """Return heads `[R, B, H]` with their means moved at random, where `mean_noise` says so."""
        if not self._shifts:
            return head
        assert self._shift is not None
        size = self._family.log_std_size
        moved = head + 0
        moved[..., :size] += self._mean_noise[..., None] * self._own(
            torch.from_numpy(self._shift((head.shape[1], size)))
        )
        return moved

    def _samples(self, batch: Batch, terms: Terms) -> Samples:
        """Return a batch as an algorithm sees it."""
        return Samples(
            advantage=self._tensor(batch.advantage),
            old_log_prob=self._tensor(batch.old_log_prob),
            old_value=self._tensor(batch.old_value),
            target=self._tensor(batch.target),
            weight=None if batch.weight is None else self._tensor(batch.weight),
            terms=terms,
        )

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
        seen, done = (self._take(self._whole[name], order) for name in ("observation", "action"))
        acted = [self._act(observation, action) for observation, action in zip(seen, done, strict=True)]
        taken = self._tensor(order).transpose(0, 1).flatten(1)  # [R, n]
        places = torch.empty_like(taken).scatter_(
            1, taken, torch.arange(self.size, device=taken.device).expand_as(taken)
        )
        for name, parts in zip(("old_head", "old_log_prob"), zip(*acted, strict=True), strict=True):
            stacked = torch.stack([self._tensor(part) for part in parts], 1).flatten(1, 2)  # [R, n, ...]
            self._whole[name] = self._take(self._own(stacked), self._own(places[None]))[0]
        self.reference = list(self._gather(order))

    def _gather(self, order: Own) -> Iterator[Batch]:
        """Yield the batches of an order `[M, R, B]` of sample indices, gathered in one go."""
        taken = {name: self._take(values, order) for name, values in self._whole.items()}
        advantage, weight = taken["advantage"], taken.get("weight")
        if self.algorithm.normalize_advantage == "minibatch":
            taken["advantage"] = self._standardise(advantage, weight)
        if weight is not None:
            taken["shares"] = self._own(normalised_weights(self._tensor(advantage), self._tensor(weight)))
        else:
            if self._equal is None or self._equal.shape != advantage.shape:
                self._equal = self._own(normalised_weights(self._tensor(advantage), None))
            taken["shares"] = self._equal
        for m in range(len(order)):
            yield Batch(**{name: values[m] for name, values in taken.items()})


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
