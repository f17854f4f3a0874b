"""What is measured of every update of every algorithm, by one definition each, so that algorithms compare.

After the update, over all samples of the rollout (the columns of the `updates` table):
    kl, kl_max          mean and largest KL(old || new) over states, analytic, nats
    entropy             mean entropy of the new policy, nats
    outside_band        share of samples with |ratio - 1| > band
    ratio_max           largest ratio
    surrogate           mean surrogate of the samples that count
Before the update:
    explained_variance  1 - Var(target - V) / Var(target), of the samples that count
    mean_return         mean return of the episodes that ended in the rollout (else the last known)
As means over all gradient steps of the update:
    clip_fraction       share of the minibatch with |ratio - 1| > band
    clip_killed         share whose surrogate has no gradient with respect to the log-probability although the
                        advantage is not zero: what a clip switches off
    value_loss          mean 0.5 (V - target)^2, after value clipping if that is on
    grad_norm           norm of the gradient with respect to the policy's parameters, before it is clipped
Besides: `lr`, `progress`, and `gradient_steps`, the gradients of policy or value computed in the run so far.
The band is the algorithm's `clip`, or 0.2 without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.functional.compiled import kernel
from rlbench.functional.surrogates import weighted_mean

if TYPE_CHECKING:
    from rlbench.data import Params
    from rlbench.improve.batches import Batch
    from rlbench.improve.problem import Problem

Array = npt.NDArray[Any]

_NONE = np.empty((0, 0), np.float32)


@kernel
def _accumulate(sums: Array, counts: Array, values: Array, active: Array) -> None:
    for r in range(len(sums)):
        if active[r]:
            sums[r] += values[r]
            counts[r] += 1


@kernel
def _count_clipped(
    log_prob: Array, old_log_prob: Array, slope: Array, advantage: Array, weight: Array, band: Array, shares: Array
) -> None:
    """Fill `shares` `[2, R]`: of the samples that count, those outside the band and those without gradient.

    An empty `slope` or `weight` `[R, B]` stands for none.
    """
    for r in range(len(log_prob)):
        total, outside, killed = 0, 0, 0
        for b in range(log_prob.shape[1]):
            if weight.size > 0 and not weight[r, b] > 0:
                continue
            total += 1
            outside += abs(np.exp(log_prob[r, b] - old_log_prob[r, b]) - np.float32(1)) > band[r]
            if slope.size > 0:
                killed += slope[r, b] == 0 and advantage[r, b] != 0
        shares[0, r], shares[1, r] = outside / max(total, 1), killed / max(total, 1)


class Meter:
    """Sums over the gradient steps of one update, per replica."""

    def __init__(self, replicas: int) -> None:
        self._sums: dict[str, Array] = {}
        self._counts: dict[str, Array] = {}
        self._replicas = replicas

    def add(self, name: str, values: Array, active: Array) -> None:
        """Add one measurement per replica, `[R]`, of the replicas in `active` `[R]`."""
        if name not in self._sums:
            self._sums[name] = np.zeros(self._replicas)
            self._counts[name] = np.zeros(self._replicas, np.int64)
        _accumulate(self._sums[name], self._counts[name], values, active)

    def mean(self, name: str) -> Array:
        """Return the mean per replica `[R]`; NaN where nothing was measured."""
        if name not in self._sums:
            return np.full(self._replicas, np.nan)
        counts = self._counts[name]
        result: Array = np.divide(self._sums[name], counts, out=np.full(self._replicas, np.nan), where=counts > 0)
        return result

    def total(self, name: str) -> Array:
        """Return the sum of the measurements of each replica, `[R]`."""
        return self._sums.get(name, np.zeros(self._replicas))

    def count(self, name: str) -> Array:
        """Return how often each replica was measured, `[R]`."""
        return self._counts.get(name, np.zeros(self._replicas, np.int64))

    def clipping(self, batch: Batch, log_prob: Array, slope: Array | None, band: Array, active: Array) -> None:
        """Add the clip fractions of one gradient step; `slope` `[R, B]` is the surrogate's gradient at `log_prob`.

        Without a slope the surrogate does not depend on the log-probability, and there is nothing to kill.
        """
        shares = np.empty((2, len(log_prob)))
        _count_clipped(
            log_prob, batch.old_log_prob, _NONE if slope is None else slope, batch.advantage,
            _NONE if batch.weight is None else batch.weight, band, shares,
        )  # fmt: skip
        self.add("clip_fraction", shares[0], active)
        if slope is not None:
            self.add("clip_killed", shares[1], active)


def measure_update(problem: Problem, params: Params) -> dict[str, Array]:
    """Return the measures after the update, one number per replica, `[R]` each."""
    if not problem.reference:
        problem.full()
    sums: dict[str, Array] = {}
    peaks: dict[str, Array] = {}
    with torch.no_grad():
        for batch in problem.reference:
            x = problem.policy_samples(params, batch)
            distance = (x.ratio - 1).abs()
            for name, values in (
                ("kl", x.kl),
                ("entropy", x.entropy),
                ("outside_band", (distance > problem.algorithm.band).to(torch.float32)),
                ("surrogate", weighted_mean(problem.algorithm.surrogate(x), x.weight)),
            ):
                sums[name] = sums.get(name, 0) + values.mean(-1).numpy().astype(np.float64)
            for name, values in (("kl_max", x.kl), ("ratio_max", x.ratio)):
                peaks[name] = np.maximum(peaks.get(name, -np.inf), values.amax(-1).numpy())
    return {name: total / len(problem.reference) for name, total in sums.items()} | peaks


def explained_variance(value: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> Array:
    """Return 1 - Var(target - value) / Var(target) over the last axis; NaN where the target is constant."""
    variance = _variance(target, weight)
    left = _variance(target - value, weight)
    return torch.where(variance > 0, 1 - left / variance, torch.nan).numpy()


def _variance(x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    return weighted_mean((x - weighted_mean(x, weight)).square(), weight).squeeze(-1)
