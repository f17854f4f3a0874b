"""The samples of a rollout, and the minibatches that are gathered from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.data import Samples
from rlbench.functional.compiled import kernel
from rlbench.functional.distributions import Distribution, Family
from rlbench.functional.losses import standardise

Array = npt.NDArray[Any]

_NONE = np.empty((0, 0, 0), np.float32)


@dataclass(eq=False)
class Rollout:
    """The samples of one rollout, flattened to n = T N per replica.

    `observation` `[R, n, obs]`, `action` `[R, n]` or `[R, n, K]`, the rest `[R, n]`; `weight` is None if all samples
    count.
    """

    observation: Array
    action: torch.Tensor
    advantage: torch.Tensor
    target: torch.Tensor
    old_value: torch.Tensor
    weight: torch.Tensor | None


@dataclass(eq=False)
class Batch:
    """Some samples of every replica, in the shapes of `Rollout` with B for n, as arrays.

    `old_head` `[R, B, H]` and `old_log_prob` `[R, B]` describe the policy that acted. Advantages are standardised if
    the algorithm wants that per minibatch. `shares` `[R, B]` is each sample's share in a mean over its replica's
    samples.
    """

    observation: Array
    action: Array
    advantage: Array
    target: Array
    old_value: Array
    weight: Array | None
    shares: Array
    old_head: Array
    old_log_prob: Array


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
    """Do in place what `rlbench.functional.losses.standardise` does, `[M, R, B]`; an empty weight is none."""
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


def gather(
    rollout: Rollout, old_heads: Array, old_log_probs: Array, order: Array, *, standardised: bool
) -> Iterator[Batch]:
    """Yield the batches of an order `[M, R, B]` of sample indices, gathered in one go."""
    tensors = (rollout.action, rollout.advantage, rollout.target, rollout.old_value)
    action, advantage, target, old_value = (take(values.numpy(), order) for values in tensors)
    weight = None if rollout.weight is None else take(rollout.weight.numpy(), order)
    if standardised:
        _standardise(advantage, _NONE if weight is None else weight)
    observation = take(rollout.observation, order)
    old_head, old_log_prob = take(old_heads, order), take(old_log_probs, order)
    shares = _shares(weight, order.shape)
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


def _shares(weight: Array | None, shape: tuple[int, ...]) -> Array:
    """Return the shares `[M, R, B]` of samples with these weights."""
    if weight is None:
        return np.full(shape, 1 / shape[-1], np.float32)
    # torch's sum, as in `weighted_mean`: both must agree on which samples count how much.
    total = torch.from_numpy(weight).sum(-1, keepdim=True).clamp(min=1e-8).numpy()
    shares: Array = weight / total
    return shares


Tensor = torch.Tensor


@dataclass(eq=False)
class TensorRollout:
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
class TensorBatch(TensorRollout):
    """Some samples of every replica, in the shapes of `TensorRollout` with B for n.

    `old_head` `[R, B, H]` and `old_log_prob` `[R, B]` describe the policy that acted. Advantages are standardised if
    the algorithm wants that per minibatch.
    """

    old_head: Tensor
    old_log_prob: Tensor

    @cached_property
    def shares(self) -> Tensor:
        """Each sample's share in a mean over its replica's samples: `[R, B]`, or `[R, 1]` where all are equal."""
        if self.weight is None:
            return torch.full_like(self.advantage[:, :1], 1 / self.advantage.shape[1])
        return self.weight / self.weight.sum(-1, keepdim=True).clamp(min=1e-8)

    def samples(self, terms: HeadTerms) -> Samples:
        """Return the batch as an algorithm's author sees it."""
        return Samples(
            advantage=self.advantage,
            old_log_prob=self.old_log_prob,
            old_value=self.old_value,
            target=self.target,
            weight=self.weight,
            terms=terms,
        )


class HeadTerms:
    """The `Terms` of one batch, by autograd from policy heads `[R, B, H]` and values `[R, B]`."""

    def __init__(self, family: Family, batch: TensorBatch, head: Tensor, value: Tensor) -> None:
        self.head, self._family, self._batch, self._value = head, family, batch, value

    @cached_property
    def policy(self) -> Distribution:
        """The policy being optimised."""
        return self._family.build(self.head)

    def log_prob(self) -> Tensor:
        """Return the log-probabilities, `[R, B]`."""
        return self.policy.log_prob(self._batch.action)

    def entropy(self) -> Tensor:
        """Return the entropies, `[R, B]`."""
        return self.policy.entropy()

    def kl(self) -> Tensor:
        """Return KL(old || new), `[R, B]`."""
        return self.policy.kl_from(self._family.build(self._batch.old_head))

    def value(self) -> Tensor:
        """Return the values, `[R, B]`."""
        return self._value


def gather_tensors(
    rollout: TensorRollout, old_head: Tensor, old_log_prob: Tensor, order: Tensor, *, standardised: bool
) -> Iterator[TensorBatch]:
    """Yield the batches of an order `[M, R, B]` of sample indices, gathered in one go."""
    rows = torch.arange(order.shape[1], device=order.device)[:, None]

    def take(values: Tensor) -> Tensor:
        return values[rows, order]

    weight = None if rollout.weight is None else take(rollout.weight)
    advantage = take(rollout.advantage)
    if standardised:
        advantage = standardise(advantage, weight)
    others = (rollout.observation, rollout.action, rollout.target, rollout.old_value, old_head, old_log_prob)
    observation, action, target, old_value, heads, log_probs = (take(values) for values in others)
    for k in range(len(order)):
        yield TensorBatch(
            observation=observation[k],
            action=action[k],
            advantage=advantage[k],
            target=target[k],
            old_value=old_value[k],
            weight=None if weight is None else weight[k],
            old_head=heads[k],
            old_log_prob=log_probs[k],
        )
