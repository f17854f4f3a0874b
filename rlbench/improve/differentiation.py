"""A surrogate and its derivative on one batch: replayed where it was recorded, else by autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.data import Samples
from rlbench.functional.losses import weighted_mean
from rlbench.improve.leaves import LEAVES, Leaves
from rlbench.improve.minibatches import Batch
from rlbench.improve.replay import Replay

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm

Array = npt.NDArray[Any]
Objective = Callable[[Samples], torch.Tensor]


class Differentiation:
    """Objectives of one algorithm, hyper fields `[R, 1]`, on batches of any size."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm = algorithm
        self._replays: dict[tuple[int, bool], Replay | None] = {}

    def __call__(self, batch: Batch, leaves: Leaves, objective: Objective | None = None) -> torch.Tensor:
        """Return an objective `[R, 1]`, by default the mean surrogate, leaving its gradients at the leaves."""
        if objective is None and (replay := self._replay(batch)) is not None:
            inputs = {name: leaves.array(name) if name in LEAVES else getattr(batch, name) for name in replay.inputs}
            share = batch.shares if batch.weight is not None else batch.shares[:, :1]
            surrogate, slopes = replay(self._algorithm, inputs, share)
            leaves.take_slopes(slopes)
            return torch.from_numpy(np.vecdot(surrogate, batch.shares)[:, None])
        x = samples(batch, leaves)
        result = objective(x) if objective else weighted_mean(self._algorithm.surrogate(x), x.weight)
        if result.requires_grad:
            # Replicas share no parameter, so the gradient of the sum holds each replica's own gradient.
            result.sum().backward()  # type: ignore[no-untyped-call]
        return result.detach()

    def _replay(self, batch: Batch) -> Replay | None:
        """Return the recorded surrogate for batches of this size; None leaves the surrogate to autograd."""
        key = (batch.advantage.shape[1], batch.weight is not None)
        if key not in self._replays:
            self._replays[key] = Replay.record(self._algorithm, key[0], weighted=key[1])
        return self._replays[key]


def samples(batch: Batch, leaves: Leaves) -> Samples:
    """Return a batch as an algorithm sees it."""
    return Samples(
        advantage=torch.from_numpy(batch.advantage),
        old_log_prob=torch.from_numpy(batch.old_log_prob),
        old_value=torch.from_numpy(batch.old_value),
        target=torch.from_numpy(batch.target),
        weight=None if batch.weight is None else torch.from_numpy(batch.weight),
        terms=leaves,
    )
