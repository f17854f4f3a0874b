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

from rlbench.functional.compiled import inlined, kernel
from rlbench.functional.losses import weighted_mean

if TYPE_CHECKING:
    from rlbench.data import Params
    from rlbench.improve.compiled import Problem
    from rlbench.improve.minibatches import Batch

Array = npt.NDArray[Any]

_NONE = np.empty((0, 0), np.float32)


_NAMES = ("samples", "value_loss", "grad_norm", "clip_fraction", "clip_killed")
_GRAD_NORM, _CLIP_FRACTION, _CLIP_KILLED = map(_NAMES.index, _NAMES[2:])


@inlined
def _add(sums: Array, counts: Array, name: int, replica: int, value: float) -> None:
    sums[name, replica] += value
    counts[name, replica] += 1


@kernel
def _add_all(sums: Array, counts: Array, name: int, values: Array, active: Array) -> None:
    for r in range(len(active)):
        if active[r]:
            _add(sums, counts, name, r, values[r])


@kernel
def _add_step(
    sums: Array,
    counts: Array,
    log_prob: Array,
    old_log_prob: Array,
    slope: Array,
    advantage: Array,
    weight: Array,
    band: Array,
    norm: Array,
    active: Array,
) -> None:
    """Add one gradient step of the policy; an empty `slope` or `weight` `[R, B]` stands for none."""
    for r in range(len(log_prob)):
        if not active[r]:
            continue
        total, outside, killed = 0, 0, 0
        for b in range(log_prob.shape[1]):
            if weight.size > 0 and not weight[r, b] > 0:
                continue
            total += 1
            outside += abs(np.exp(log_prob[r, b] - old_log_prob[r, b]) - np.float32(1)) > band[r]
            if slope.size > 0:
                killed += slope[r, b] == 0 and advantage[r, b] != 0
        _add(sums, counts, _GRAD_NORM, r, norm[r])
        _add(sums, counts, _CLIP_FRACTION, r, outside / max(total, 1))
        if slope.size > 0:
            _add(sums, counts, _CLIP_KILLED, r, killed / max(total, 1))


class Meter:
    """Sums over the gradient steps of one update, per replica, of the measures in `_NAMES`."""

    def __init__(self, replicas: int) -> None:
        self._sums = np.zeros((len(_NAMES), replicas))
        self._counts = np.zeros((len(_NAMES), replicas), np.int64)

    def add(self, name: str, values: Array, active: Array) -> None:
        """Add one measurement per replica, `[R]`, of the replicas in `active` `[R]`."""
        _add_all(self._sums, self._counts, _NAMES.index(name), values, active)

    def add_policy_step(
        self, batch: Batch, log_prob: Array, slope: Array | None, band: Array, norm: Array, active: Array
    ) -> None:
        """Add clip fractions and gradient norm `[R]` of one step; `slope` `[R, B]` is the surrogate's at `log_prob`.

        Without a slope the surrogate does not depend on the log-probability, and there is nothing to kill.
        """
        _add_step(
            self._sums, self._counts, log_prob, batch.old_log_prob, _NONE if slope is None else slope,
            batch.advantage, _NONE if batch.weight is None else batch.weight, band, norm, active,
        )  # fmt: skip

    def mean(self, name: str) -> Array:
        """Return the mean per replica `[R]`; NaN where nothing was measured."""
        sums, counts = self.total(name), self.count(name)
        result: Array = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
        return result

    def total(self, name: str) -> Array:
        """Return the sum of the measurements of each replica, `[R]`."""
        total: Array = self._sums[_NAMES.index(name)]
        return total

    def count(self, name: str) -> Array:
        """Return how often each replica was measured, `[R]`."""
        count: Array = self._counts[_NAMES.index(name)]
        return count


@kernel
def _add_samples(
    log_prob: Array, old_log_prob: Array, kl: Array, entropy: Array, band: Array, sums: Array, peaks: Array
) -> None:
    """Add a batch to the sums of kl, entropy and outside_band `[3, R]` and to the peaks of kl and ratio `[2, R]`."""
    for r in range(len(log_prob)):
        for b in range(log_prob.shape[1]):
            ratio = np.exp(log_prob[r, b] - old_log_prob[r, b])
            sums[0, r] += kl[r, b]
            sums[1, r] += entropy[r, b]
            sums[2, r] += abs(ratio - np.float32(1)) > band[r]
            peaks[0, r] = np.maximum(peaks[0, r], kl[r, b])
            peaks[1, r] = np.maximum(peaks[1, r], ratio)


def measure_update(problem: Problem, params: Params) -> dict[str, Array]:
    """Return the measures after the update, one number per replica, `[R]` each."""
    if not problem.reference:
        problem.full()
    replicas = len(problem.alive)
    sums, peaks, surrogate = np.zeros((3, replicas)), np.full((2, replicas), -np.inf), np.zeros(replicas)
    for batch in problem.reference:
        leaves, mean_surrogate = problem.evaluate(params, batch)
        log_prob, kl, entropy = (leaves.array(name) for name in ("log_prob", "kl", "entropy"))
        _add_samples(log_prob, batch.old_log_prob, kl, entropy, problem.band, sums, peaks)
        surrogate += mean_surrogate
    means = dict(zip(("kl", "entropy", "outside_band"), sums / problem.size, strict=True))
    return {
        **means,
        "surrogate": surrogate / len(problem.reference),
        "kl_max": peaks[0],
        "ratio_max": peaks[1],
    }


def explained_variance(value: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> Array:
    """Return 1 - Var(target - value) / Var(target) over the last axis; NaN where the target is constant."""
    variance = _variance(target, weight)
    left = _variance(target - value, weight)
    return torch.where(variance > 0, 1 - left / variance, torch.nan).cpu().numpy()


def _variance(x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    return weighted_mean((x - weighted_mean(x, weight)).square(), weight).squeeze(-1)
