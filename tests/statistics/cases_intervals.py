"""Coverage of the intervals of one arm, and of the difference of means of two arms with the same distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from rlbench.analysis.stats import estimates as st
from rlbench.analysis.stats import intervals as iv
from rlbench.analysis.stats.estimates import Estimate
from rlbench.analysis.stats.intervals import mean_band
from tests.statistics.calibration import COVERAGE, Row, case, row
from tests.statistics.distributions import ALL, SIZES, Array, Distribution

REPETITIONS = 1_000
TASKS = 3  # where there are several
FROM_THREE = (3, 4, *SIZES[1:])  # below five runs other methods are used, and of four the IQM leaves two
Experiment = Callable[[np.random.Generator, Distribution, int], Estimate]


def coverage(
    name: str, distribution: Distribution, n: int, simulations: int, truth: float, experiment: Experiment
) -> Row:
    """Count how often the estimate of a simulated experiment of `n` runs holds the truth, up to rounding."""
    hits = 0
    for simulation in range(simulations):
        estimate = experiment(np.random.default_rng([n, simulation]), distribution, n)
        hits += estimate.low - 1e-6 <= truth <= estimate.high + 1e-6
    return row(COVERAGE, name, distribution.name, n, hits, simulations, iv.LEVEL)


def arm(rng: np.random.Generator, distribution: Distribution, n: int, tasks: int) -> list[Array]:
    """Return the scores of one arm, `[n]` for each task."""
    return [distribution.draw(rng, (n,)) for _ in range(tasks)]


@case(full=20_000, fast=1_000)
def means_and_their_differences(simulations: int) -> Iterator[Row]:
    """Mean of one arm, difference of the means of two; the simulations are points of one band."""
    for distribution in ALL:
        mean = distribution.between(0, 1)
        for n in FROM_THREE:
            rng = np.random.default_rng(n)
            x, y = (distribution.draw(rng, (n, simulations)) for _ in range(2))
            for name, plus, minus, truth in (
                ("mean", x, [], mean),
                ("difference of means", x, [y], 0.0),
            ):
                band = mean_band([plus], minus, repetitions=REPETITIONS)
                hits = ((band.low - 1e-9 <= truth) & (truth <= band.high + 1e-9)).sum()
                yield row(COVERAGE, name, distribution.name, n, hits, simulations, iv.LEVEL)


def _iqm(tasks: int, rng: np.random.Generator, distribution: Distribution, n: int) -> Estimate:
    return iv.bootstrap(arm(rng, distribution, n, tasks), repetitions=REPETITIONS)


def _median(tasks: int, rng: np.random.Generator, distribution: Distribution, n: int) -> Estimate:
    return iv.bootstrap(arm(rng, distribution, n, tasks), st.median, repetitions=REPETITIONS)


@case(full=3_000, fast=60)
def robust_statistics(simulations: int) -> Iterator[Row]:
    """IQM and median, of one task and of several."""
    for distribution in ALL:
        middle, median = distribution.between(0.25, 0.75), float(distribution.quantile(np.array(0.5)))
        for tasks in (1, TASKS):
            several = "" if tasks == 1 else f", {tasks} tasks"
            for name, truth, experiment in (("IQM", middle, _iqm), ("median", median, _median)):
                for n in FROM_THREE:
                    yield coverage(f"{name}{several}", distribution, n, simulations, truth, partial(experiment, tasks))
