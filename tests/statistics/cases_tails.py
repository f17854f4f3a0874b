"""Coverage of what is said of bad runs, of times that not all runs reached, and of whole curves."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from rlbench.analysis.stats import intervals, survival
from rlbench.analysis.stats import intervals as iv
from rlbench.analysis.stats.estimates import Estimate
from tests.statistics.calibration import COVERAGE, Row, case, row
from tests.statistics.cases_intervals import REPETITIONS, coverage
from tests.statistics.distributions import ALL, NORMAL, SIZES, Array, Distribution

BUDGET = 2.0  # in units of the median time to a threshold
POINTS = 50
_U = (np.arange(2_000) + 0.5) / 2_000


def _cvar(share: float, rng: np.random.Generator, distribution: Distribution, n: int) -> Estimate:
    return survival.cvar_interval(distribution.draw(rng, (n,)), share, repetitions=REPETITIONS)


@case(full=1_500, fast=40)
def worst_runs(simulations: int) -> Iterator[Row]:
    """Mean of the worst quarter and of the worst half, where the interval is given at all."""
    for share in (survival.SHARE, 0.5):
        for distribution in ALL:
            truth = distribution.between(0, share)
            for n in (n for n in SIZES if n * share >= survival.FEWEST_BAD_RUNS):
                yield coverage(f"CVaR, worst {share:g}", distribution, n, simulations, truth, partial(_cvar, share))


@case(full=20_000, fast=1_000)
def tolerance(simulations: int) -> Iterator[Row]:
    """How often the tolerance interval holds 90 % of the runs; nothing is resampled, so any distribution will do."""
    for side, n in (("low", 29), ("low", 60), ("both", 46), ("both", 100)):
        rng = np.random.default_rng(n)
        hits = 0
        for _ in range(simulations):
            found = survival.tolerance_interval(rng.random(n), side=side)
            hits += min(found.high, 1.0) - found.low >= survival.CONTENT
        yield row(COVERAGE, f"tolerance interval ({side})", "any", n, hits, simulations, 0.95)


def _times(rng: np.random.Generator, n: int, spread: float) -> tuple[Array, Array]:
    """Return log-normal times to a threshold around a median of 1, censored at the budget."""
    time = np.exp(spread * NORMAL.draw(rng, (n,)))
    return np.minimum(time, BUDGET), time < BUDGET


@case(full=4_000, fast=80)
def restricted_means(simulations: int) -> Iterator[Row]:
    """Restricted mean of times of which a quarter or less never reached the threshold."""
    for spread in (0.5, 1.0):
        truth = NORMAL.mean_of(lambda u, s=spread: np.minimum(np.exp(s * u), BUDGET))
        never = float((np.exp(spread * NORMAL.quantile((np.arange(1000) + 0.5) / 1000)) >= BUDGET).mean())
        data = f"lognormal, {never:.0%} censored".replace("%", " %")
        for n in SIZES:
            hits = 0
            for simulation in range(simulations):
                rng = np.random.default_rng([n, simulation])
                found = survival.restricted_mean_interval(*_times(rng, n, spread), BUDGET, repetitions=REPETITIONS)
                hits += found.low <= truth <= found.high
            yield row(COVERAGE, "restricted mean", data, n, hits, simulations, iv.LEVEL)


def _curves(rng: np.random.Generator, n: int, kind: str) -> tuple[Array, Array]:
    """Return smooth learning curves `[n, POINTS]` and their true mean."""
    progress = np.linspace(0.0, 1.0, POINTS)
    if kind == "normal":
        draws = rng.normal(size=(n, 4))
        waves = np.stack([np.cos(np.pi * k * progress) for k in range(4)])
        return progress + draws @ waves / 2, progress
    noise = 0.03 * rng.normal(size=(n, POINTS))  # of the episodes that a point of a curve averages
    return _logistic(progress, NORMAL.draw(rng, (n,))) + noise, _logistic(progress, NORMAL.quantile(_U)).mean(0)


def _logistic(progress: Array, z: Array) -> Array:
    """Return curves that rise from 0 to 1, each around a middle that is normal from run to run, `[runs, points]`."""
    return np.asarray(1 / (1 + np.exp(-15 * (progress - 0.5 - 0.15 * z[:, None]))))


@case(full=1_000, fast=40)
def whole_curves(simulations: int) -> Iterator[Row]:
    """How often a simultaneous band holds the whole curve, and the pointwise one for comparison."""
    for kind in ("normal", "logistic"):
        truth = _curves(np.random.default_rng(0), 2, kind)[1]
        for n in SIZES:
            hits = {True: 0, False: 0}
            for simulation in range(simulations):
                curves, _ = _curves(np.random.default_rng([n, simulation]), n, kind)
                for simultaneous in hits:
                    band = intervals.curve_band(curves, repetitions=500, simultaneous=simultaneous)
                    hits[simultaneous] += bool(((band.low <= truth) & (truth <= band.high)).all())
            for simultaneous, count in hits.items():
                name = f"whole curve, {'simultaneous' if simultaneous else 'pointwise'} band"
                yield row(COVERAGE, name, f"{kind} curves", n, count, simulations, iv.LEVEL)
