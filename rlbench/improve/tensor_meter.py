"""What `rlbench.improve.diagnostics` measures, on the device that trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.functional.surrogates import weighted_mean

if TYPE_CHECKING:
    from rlbench.data import Params, Samples
    from rlbench.improve.tensor_problem import TensorProblem

Array = npt.NDArray[Any]


class TensorMeter:
    """Sums over the gradient steps of one update, per replica; they leave the device when they are asked for."""

    def __init__(self, replicas: int, device: torch.device) -> None:
        self._zeros = torch.zeros(replicas, dtype=torch.float64, device=device)
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, torch.Tensor] = {}

    def add(self, name: str, values: torch.Tensor, active: torch.Tensor) -> None:
        """Add one measurement per replica, `[R]`, of the replicas in `active`, bool `[R]`."""
        counted = torch.where(active, values.to(torch.float64), self._zeros)
        self._sums[name] = self._sums.get(name, self._zeros) + counted
        self._counts[name] = self._counts.get(name, self._zeros.to(torch.int64)) + active

    def mean(self, name: str) -> Array:
        """Return the mean per replica `[R]`; NaN where nothing was measured."""
        with np.errstate(invalid="ignore"):
            means: Array = self.total(name) / self.count(name)
        return means

    def total(self, name: str) -> Array:
        """Return the sum of the measurements of each replica, `[R]`."""
        total: Array = self._sums.get(name, self._zeros).cpu().numpy()
        return total

    def count(self, name: str) -> Array:
        """Return how often each replica was measured, `[R]`."""
        count: Array = self._counts.get(name, self._zeros.to(torch.int64)).cpu().numpy()
        return count

    def clipping(
        self, x: Samples, slope: torch.Tensor | None, band: float | torch.Tensor, active: torch.Tensor
    ) -> None:
        """Add the clip fractions of one gradient step; `slope` `[R, B]` is the surrogate's gradient at `log_prob`."""
        counts = torch.ones_like(x.advantage, dtype=torch.bool) if x.weight is None else x.weight > 0
        total = counts.sum(-1).clamp(min=1).to(torch.float64)
        outside = ((x.ratio.detach() - 1).abs() > band) & counts
        self.add("clip_fraction", outside.sum(-1) / total, active)
        if slope is not None:  # else the surrogate does not depend on the log-probability: there is nothing to kill
            killed = (slope == 0) & (x.advantage != 0) & counts
            self.add("clip_killed", killed.sum(-1) / total, active)


def measure_update(problem: TensorProblem, params: Params) -> dict[str, Array]:
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
