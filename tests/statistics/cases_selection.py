"""The best of a sweep: how much too good it looks, and what its interval covers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats

from rlbench.analysis.stats.estimates import LEVEL
from rlbench.analysis.stats.sweeps import pick_best
from tests.statistics.calibration import BIAS, BOUNDS, COVERAGE, Row, case, row
from tests.statistics.distributions import SIZES, Array

SETTINGS = 8
TRUTHS = {
    "8 equal settings": np.zeros(SETTINGS),
    "8 settings, one better by 1": np.array([1.0] + [0.0] * (SETTINGS - 1)),
}


@case(full=2_000, fast=60)
def best_of_a_sweep(simulations: int) -> Iterator[Row]:
    """Normal scores with a spread of 1; the true value is that of the setting that was picked."""
    for data, truths in TRUTHS.items():
        for n in SIZES:
            errors: dict[str, list[float]] = {"best of a sweep, as it looks": [], "best of a sweep": []}
            hits = dict.fromkeys(errors, 0)
            for simulation in range(simulations):
                rng = np.random.default_rng([n, simulation])
                found = pick_best({str(k): t + rng.normal(size=n) for k, t in enumerate(truths)}, repetitions=1_000)
                truth = truths[int(found.picked)]
                for name, estimate in zip(errors, (found.naive, found.corrected), strict=True):
                    errors[name].append(estimate.point - truth)
                    hits[name] += int(estimate.low <= truth <= estimate.high)
            for name, values in errors.items():
                yield row(COVERAGE, name, data, n, hits[name], simulations, LEVEL)
                yield _bias(name, data, n, np.array(values))


def _bias(name: str, data: str, n: int, errors: Array) -> Row:
    mean, half = errors.mean(), stats.norm.ppf((1 + BOUNDS) / 2) * errors.std(ddof=1) / np.sqrt(errors.size)
    return Row(BIAS, name, data, n, errors.size, float(mean), float(mean - half), float(mean + half), 0.0)
