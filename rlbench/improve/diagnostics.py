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

from rlbench.functional.surrogates import weighted_mean

if TYPE_CHECKING:
    from rlbench.data import Params, Samples
    from rlbench.improve.problem import Problem

Array = npt.NDArray[Any]


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
        if active.all():
            self._sums[name] += values
        else:
            self._sums[name][active] += values[active]
        self._counts[name] += active

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

    def clipping(self, x: Samples, slope: Array | None, band: float | torch.Tensor, active: Array) -> None:
        """Add the clip fractions of one gradient step; `slope` `[R, B]` is the surrogate's gradient at `log_prob`."""
        outside = np.abs(x.ratio.detach().numpy() - np.float32(1)) > np.asarray(band)
        # Without a slope the surrogate does not depend on the log-probability, and there is nothing to kill.
        killed = None if slope is None else (slope == 0) & (x.advantage.numpy() != 0)
        total: Array | int = outside.shape[-1]
        if x.weight is not None:
            counts = (x.weight > 0).numpy()
            total = np.maximum(np.count_nonzero(counts, axis=-1), 1)
            outside &= counts
            killed = None if killed is None else killed & counts
        self.add("clip_fraction", np.count_nonzero(outside, axis=-1) / total, active)
        if killed is not None:
            self.add("clip_killed", np.count_nonzero(killed, axis=-1) / total, active)


def measure_update(problem: Problem, params: Params) -> dict[str, Array]:
    """Return the measures after the update, one number per replica, `[R]` each."""
    if not problem.reference:
        problem.full()
    sums: dict[str, torch.Tensor] = {}
    peaks: dict[str, torch.Tensor] = {}
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
                share = values.mean(-1).to(torch.float64)
                sums[name] = sums[name] + share if name in sums else share
            for name, values in (("kl_max", x.kl), ("ratio_max", x.ratio)):
                peak = values.amax(-1)
                peaks[name] = torch.maximum(peaks[name], peak) if name in peaks else peak
    means = {name: total / len(problem.reference) for name, total in sums.items()}
    return {name: values.cpu().numpy() for name, values in (means | peaks).items()}


def explained_variance(value: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> Array:
    """Return 1 - Var(target - value) / Var(target) over the last axis; NaN where the target is constant."""
    variance = _variance(target, weight)
    left = _variance(target - value, weight)
    return torch.where(variance > 0, 1 - left / variance, torch.nan).cpu().numpy()


def _variance(x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    return weighted_mean((x - weighted_mean(x, weight)).square(), weight).squeeze(-1)
