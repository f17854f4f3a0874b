"""Coverage of the intervals of probabilities: of improvement and of collapse."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats
from scipy.special import ndtri

from rlbench.analysis.stats import intervals as iv
from rlbench.analysis.stats.estimates import wilson
from tests.statistics.calibration import COVERAGE, Row, case, row
from tests.statistics.distributions import ALL, NORMAL, SIZES, Array, Distribution, shifted

SHARES = (0.05, 0.2, 0.5)  # true probabilities of a collapse
_GRID = (np.arange(20_000) + 0.5) / 20_000


def _fifth_lost(level: float) -> Distribution:
    """Normal scores around `level` with a spread of 0.5, a fifth of them lost: around -10."""

    def quantile(u: Array) -> Array:
        lost = u < 0.2
        inside = np.clip(np.where(lost, u / 0.2, (u - 0.2) / 0.8), 1e-16, 1 - 1e-16)
        return np.asarray(np.where(lost, -10 + 0.3 * ndtri(inside), level + 0.5 * ndtri(inside)))

    return Distribution("a fifth lost", quantile)


def _narrow(u: Array) -> Array:
    return np.asarray(0.5 * ndtri(u))


_BASE = Distribution("normal", _narrow)
PAIRS: list[tuple[str, Distribution, Distribution]] = [
    *((f"{one.name}, p = 0.5", one, one) for one in ALL),
    *((f"normal, p = {p}", shifted(NORMAL, float(np.sqrt(2) * stats.norm.ppf(p))), NORMAL) for p in (0.75, 0.95, 0.99)),
    ("other spread (5 : 1), p = 0.5", Distribution("wide", lambda u: np.asarray(5 * ndtri(u))), NORMAL),
    ("a fifth lost, else better", _fifth_lost(10.0), NORMAL),
    ("a fifth lost, else equal", _fifth_lost(0.0), _BASE),
    ("a fifth lost, else worse", _fifth_lost(-0.7), _BASE),
]


def superiority(x: Distribution, y: Distribution) -> float:
    """Return P(X > Y) + P(X = Y) / 2."""
    ordered = np.sort(y.quantile(_GRID))
    scores = x.quantile(_GRID)
    below = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    return float(below.mean() / 2 / ordered.size)


@case(full=4_000, fast=150)
def probability_of_improvement(simulations: int) -> Iterator[Row]:
    """Arms of the same and of different distributions, among them those of which a fifth of the runs collapse."""
    for data, first, second in PAIRS:
        truth = superiority(first, second)
        for n in SIZES:
            rng = np.random.default_rng(n)
            x, y = first.draw(rng, (simulations, n)), second.draw(rng, (simulations, n))
            ends = [iv.improvement_interval(a, b) for a, b in zip(x, y, strict=True)]
            hits = sum(one.low - 1e-4 <= truth <= one.high + 1e-4 for one in ends)
            yield row(COVERAGE, "probability of improvement", data, n, hits, simulations, iv.LEVEL)


@case(full=100_000, fast=5_000)
def collapse_probability(simulations: int) -> Iterator[Row]:
    """Wilson's and Clopper and Pearson's interval of a share of runs."""
    for n in SIZES:
        rng = np.random.default_rng(n)
        wilsons = np.array([wilson(k / n, n, iv.LEVEL) for k in range(n + 1)], np.float64)
        exact = np.array([stats.binomtest(k, n).proportion_ci(iv.LEVEL, "exact") for k in range(n + 1)])
        for share in SHARES:
            k = rng.binomial(n, share, simulations)
            for name, ends in (
                ("share of runs (Wilson)", wilsons[k]),
                ("share of runs (Clopper-Pearson)", exact[k]),
            ):
                hits = ((ends[:, 0] <= share) & (share <= ends[:, 1])).sum()
                yield row(COVERAGE, name, f"share {share}", n, hits, simulations, iv.LEVEL)
