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

from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np
import torch

from rlbench.data import Samples
from rlbench.functional.compiled import Array, inlined, kernel
from rlbench.functional.returns import weighted_mean

Tensor = torch.Tensor

METERED = ("clip_fraction", "clip_killed", "value_loss", "grad_norm")
"""The columns of the updates that are means over gradient steps."""
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
    grad: Array,
    advantage: Array,
    weight: Array,
    band: Array,
    norm: Array,
    active: Array,
) -> None:
    """Add one gradient step of the policy; an empty `grad` or `weight` `[R, B]` stands for none."""
    for r in range(len(log_prob)):
        if not active[r]:
            continue
        total, outside, killed = 0, 0, 0
        for b in range(log_prob.shape[1]):
            if weight.size > 0 and not weight[r, b] > 0:
                continue
            total += 1
            outside += abs(np.exp(log_prob[r, b] - old_log_prob[r, b]) - np.float32(1)) > band[r]
            if grad.size > 0:
                killed += grad[r, b] == 0 and advantage[r, b] != 0
        _add(sums, counts, _GRAD_NORM, r, norm[r])
        _add(sums, counts, _CLIP_FRACTION, r, outside / max(total, 1))
        if grad.size > 0:
            _add(sums, counts, _CLIP_KILLED, r, killed / max(total, 1))


class Meter:
    """Sums over the gradient steps of one update, per replica, of what is in `METERED` and of the samples processed."""

    def __init__(self, replicas: int) -> None:
        self._sums: Any = np.zeros((len(_NAMES), replicas))
        self._counts: Any = np.zeros((len(_NAMES), replicas), np.int64)

    def add(self, name: str, values: Any, active: Any) -> None:
        """Add one measurement per replica, `[R]`, of the replicas in `active` `[R]`."""
        _add_all(self._sums, self._counts, _NAMES.index(name), values, active)

    def add_policy_step(self, batch: Any, log_prob: Any, grad: Any | None, band: Any, norm: Any, active: Any) -> None:
        """Add clip fractions and gradient norm `[R]` of one step on a `Batch`; `log_prob` and `grad` are `[R, B]`.

        `grad` is the gradient of the surrogate by `log_prob`; without one the surrogate does not depend on it, and
        there is nothing to kill. `band` is `[R]`.
        """
        weight = _NONE if batch.weight is None else batch.weight
        _add_step(
            self._sums, self._counts, log_prob, batch.old_log_prob, _NONE if grad is None else grad,
            batch.advantage, weight, band, norm, active,
        )  # fmt: skip

    def mean(self, name: str) -> Array:
        """Return the mean per replica `[R]`; NaN where nothing was measured."""
        sums, counts = self.total(name), self.count(name)
        result: Array = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
        return result

    def total(self, name: str) -> Array:
        """Return the sum of the measurements of each replica, `[R]`."""
        return self._row(self._sums, name)

    def count(self, name: str) -> Array:
        """Return how often each replica was measured, `[R]`."""
        return self._row(self._counts, name)

    def _row(self, table: Any, name: str) -> Array:
        row: Array = table[_NAMES.index(name)]
        return row


class TensorMeter(Meter):
    """The same of tensors; the sums leave their device when they are asked for."""

    def __init__(self, replicas: int, device: torch.device) -> None:
        self._sums = torch.zeros(len(_NAMES), replicas, dtype=torch.float64, device=device)
        self._counts = torch.zeros(len(_NAMES), replicas, dtype=torch.int64, device=device)

    def _row(self, table: Tensor, name: str) -> Array:
        return table[_NAMES.index(name)].cpu().numpy()

    def add(self, name: str, values: Tensor, active: Tensor) -> None:
        row = _NAMES.index(name)
        # A product would make NaN of what does not count.
        self._sums[row] += values.to(torch.float64).masked_fill(~active, 0.0)
        self._counts[row] += active

    def add_policy_step(
        self, batch: Any, log_prob: Tensor, grad: Tensor | None, band: Tensor, norm: Tensor, active: Tensor
    ) -> None:
        counts = torch.ones_like(log_prob, dtype=torch.bool) if batch.weight is None else batch.weight > 0
        total = counts.sum(-1).clamp(min=1).to(torch.float64)
        outside = (((log_prob - batch.old_log_prob).exp() - 1).abs() > band[:, None]) & counts
        self.add("grad_norm", norm, active)
        self.add("clip_fraction", outside.sum(-1) / total, active)
        if grad is not None:
            self.add("clip_killed", ((grad == 0) & (batch.advantage != 0) & counts).sum(-1) / total, active)


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


def measure_arrays(parts: Iterable[tuple[Array, Array, Array, Array, Array]], band: Array) -> dict[str, Array]:
    """Return the measures after the update, one number per replica, `[R]` each.

    `parts` are (log_prob, old_log_prob, kl, entropy) `[R, B]` and the mean surrogate `[R]` of equal batches; `band`
    is `[R]`.
    """
    replicas, size, batches = len(band), 0, 0
    sums, peaks, surrogate = np.zeros((3, replicas)), np.full((2, replicas), -np.inf), np.zeros(replicas)
    for log_prob, old_log_prob, kl, entropy, mean_surrogate in parts:
        _add_samples(log_prob, old_log_prob, kl, entropy, band, sums, peaks)
        surrogate += mean_surrogate
        size, batches = size + log_prob.shape[1], batches + 1
    kl_mean, entropy_mean, outside = sums / size
    return {
        "kl": kl_mean,
        "entropy": entropy_mean,
        "outside_band": outside,
        "surrogate": surrogate / batches,
        "kl_max": peaks[0],
        "ratio_max": peaks[1],
    }


def measure_tensors(parts: Iterable[tuple[Samples, Tensor]], band: Tensor) -> dict[str, Array]:
    """Return the same of tensors: `parts` are the samples and the mean surrogates `[R, 1]` of equal batches."""
    means: dict[str, list[Tensor]] = {name: [] for name in ("kl", "entropy", "outside_band", "surrogate")}
    peaks: dict[str, list[Tensor]] = {"kl_max": [], "ratio_max": []}
    for x, surrogate in parts:
        outside = ((x.ratio - 1).abs() > band[:, None]).to(torch.float32)
        for name, values in zip(means, (x.kl, x.entropy, outside, surrogate), strict=True):
            means[name].append(values.mean(-1).to(torch.float64))
        for name, values in zip(peaks, (x.kl, x.ratio), strict=True):
            peaks[name].append(values.amax(-1))
    found = {name: reduce(torch.add, values) / len(values) for name, values in means.items()}
    found |= {name: reduce(torch.maximum, values) for name, values in peaks.items()}
    return {name: values.cpu().numpy() for name, values in found.items()}


def explained_variance(value: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> Array:
    """Return 1 - Var(target - value) / Var(target) over the last axis; NaN where the target is constant."""
    variance = _variance(target, weight)
    left = _variance(target - value, weight)
    return torch.where(variance > 0, 1 - left / variance, torch.nan).cpu().numpy()


def _variance(x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    return weighted_mean((x - weighted_mean(x, weight)).square(), weight).squeeze(-1)
