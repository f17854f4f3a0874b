"""The samples of a rollout, and the minibatches that are gathered from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.functional.surrogates import standardise

Array = npt.NDArray[Any]


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
class Batch(Rollout):
    """Some samples of every replica, in the shapes of `Rollout` with B for n.

    `old_head` `[R, B, H]` and `old_log_prob` `[R, B]` describe the policy that acted. Advantages are standardised if
    the algorithm wants that per minibatch.
    """

    old_head: Array
    old_log_prob: torch.Tensor

    @property
    def shares(self) -> Array:
        """Each sample's share in a mean over its replica's samples: `[R, B]`, or `[R, 1]` where all are equal."""
        if self.weight is None:
            replicas, size = self.advantage.shape
            return np.full((replicas, 1), 1 / size, np.float32)
        shares: Array = (self.weight / self.weight.sum(-1, keepdim=True).clamp(min=1e-8)).numpy()
        return shares


def gather(
    rollout: Rollout, old_heads: Array, old_log_probs: Array, order: Array, *, standardised: bool
) -> Iterator[Batch]:
    """Yield the batches of an order `[M, R, B]` of sample indices, gathered in one go."""
    rows = np.arange(order.shape[1])[:, None]

    def take(values: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(values.numpy()[rows, order])

    observation = rollout.observation[rows, order]
    weight = None if rollout.weight is None else take(rollout.weight)
    tensors = (rollout.action, rollout.advantage, rollout.target, rollout.old_value)
    action, advantage, target, old_value = (take(values) for values in tensors)
    if standardised:
        advantage = standardise(advantage, weight)
    old_head, old_log_prob = old_heads[rows, order], torch.from_numpy(old_log_probs[rows, order])
    for k in range(len(order)):
        yield Batch(
            observation=observation[k],
            action=action[k],
            advantage=advantage[k],
            target=target[k],
            old_value=old_value[k],
            weight=None if weight is None else weight[k],
            old_head=old_head[k],
            old_log_prob=old_log_prob[k],
        )
