"""The samples of a rollout as torch tensors on any device, their minibatches, and what autograd sees of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch

from rlbench.data import Samples
from rlbench.functional.distributions import Distribution
from rlbench.functional.families import Family
from rlbench.functional.surrogates import standardise

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


def gather(
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
