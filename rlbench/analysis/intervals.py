"""Intervals for statistics of run scores, by resampling whole training runs; every random number comes from `seed`.

Runs are resampled with replacement within each task (the stratified bootstrap of [Agarwal 2021], see
`statistics`). Results do not depend on the order of the runs: scores are sorted before resampling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from rlbench.analysis import statistics
from rlbench.analysis.statistics import Array, Scores, as_tasks

LEVEL = 0.95
REPETITIONS = 10_000


@dataclass(frozen=True)
class Estimate:
    """A number with its interval: `low` and `high` are NaN where no interval exists, and `method` says why.

    `n` counts the training runs the estimate rests on, of all tasks and both arms together.
    """

    point: float
    low: float
    high: float
    level: float
    n: int
    method: str


@dataclass(frozen=True, eq=False)
class Band:
    """A line with a pointwise interval: `point`, `low` and `high` are `[points]`; otherwise as `Estimate`."""

    point: Array
    low: Array
    high: Array
    level: float
    n: int
    method: str


def bootstrap(
    scores: Scores,
    statistic: Callable[[Sequence[Array]], Array] = statistics.iqm,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
) -> Estimate:
    """Percentile interval of any statistic of `statistics`."""
    tasks = [np.sort(task) for task in as_tasks(scores)]
    point = float(statistic(tasks))
    n = sum(task.size for task in tasks)
    if min(task.size for task in tasks) < 2:
        return Estimate(point, np.nan, np.nan, level, n, "one run: no interval")
    values = np.concatenate([statistic(sample) for sample in _resamples(tasks, seed, repetitions)])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(point, float(low), float(high), level, n, "percentile bootstrap")


def bootstrap_difference(
    scores: Scores,
    baseline: Scores,
    statistic: Callable[[Sequence[Array]], Array] = statistics.iqm,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
) -> Estimate:
    """Percentile interval of statistic(scores) - statistic(baseline)."""
    x = as_tasks(scores)
    return bootstrap(
        [*x, *as_tasks(baseline)],
        lambda tasks: statistic(tasks[: len(x)]) - statistic(tasks[len(x) :]),
        seed=seed,
        level=level,
        repetitions=repetitions,
    )


def mean_interval(scores: Scores, *, level: float = LEVEL) -> Estimate:
    """Student-t interval of the mean (of the task means)."""
    return _welch([np.sort(task) for task in as_tasks(scores)], [], level)


def difference_interval(scores: Scores, baseline: Scores, *, level: float = LEVEL) -> Estimate:
    """Welch-t interval of mean(scores) - mean(baseline)."""
    return _welch([np.sort(t) for t in as_tasks(scores)], [np.sort(t) for t in as_tasks(baseline)], level)


def improvement_interval(
    scores: Scores, baseline: Scores, *, seed: int = 0, level: float = LEVEL, repetitions: int = REPETITIONS
) -> Estimate:
    """Interval of the probability of improvement."""
    x = as_tasks(scores)
    return bootstrap(
        [*x, *as_tasks(baseline)],
        lambda tasks: statistics.probability_of_improvement(tasks[: len(x)], tasks[len(x) :]),
        seed=seed,
        level=level,
        repetitions=repetitions,
    )


def curve_band(curves: npt.ArrayLike, *, level: float = LEVEL) -> Band:
    """Pointwise interval of the mean curve; `curves` is `[runs, points]` of one arm on one environment."""
    runs = np.asarray(curves, np.float64)
    n = runs.shape[0]
    point = runs.mean(0)
    if n < 2:
        none = np.full(point.shape, np.nan)
        return Band(point, none, none, level, n, "one run: no interval")
    half = stats.t.ppf((1 + level) / 2, n - 1) * runs.std(0, ddof=1) / np.sqrt(n)
    return Band(point, point - half, point + half, level, n, "Student t, pointwise")


def profile_band(
    scores: Scores,
    thresholds: npt.ArrayLike,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = 2_000,
) -> Band:
    """Pointwise percentile interval of the performance profile at `thresholds`, `[points]`."""
    tasks = [np.sort(task) for task in as_tasks(scores)]
    point = statistics.performance_profile(tasks, thresholds)
    n = sum(task.size for task in tasks)
    if min(task.size for task in tasks) < 2:
        none = np.full(point.shape, np.nan)
        return Band(point, none, none, level, n, "one run: no interval")
    values = np.concatenate(
        [statistics.performance_profile(s, thresholds) for s in _resamples(tasks, seed, repetitions)]
    )
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Band(point, low, high, level, n, "percentile bootstrap, pointwise")


def _resamples(tasks: Sequence[Array], seed: int, repetitions: int) -> Iterator[list[Array]]:
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(len(tasks))]
    for start in range(0, repetitions, 1000):
        chunk = min(1000, repetitions - start)
        yield [
            task[rng.integers(0, task.size, (chunk, task.size))]
            for task, rng in zip(tasks, streams, strict=True)
        ]


def _welch(x: list[Array], y: list[Array], level: float) -> Estimate:
    point = float(statistics.mean(x) - (statistics.mean(y) if y else 0.0))
    tasks = [*x, *y]
    n = sum(task.size for task in tasks)
    if min(task.size for task in tasks) < 2:
        return Estimate(point, np.nan, np.nan, level, n, "one run: no interval")
    parts = np.array([task.var(ddof=1) / task.size for task in tasks]) / len(x) ** 2
    if parts.sum() == 0:
        return Estimate(point, point, point, level, n, "no spread: zero width")
    df = parts.sum() ** 2 / sum(p**2 / (task.size - 1) for p, task in zip(parts, tasks, strict=True))
    half = float(stats.t.ppf((1 + level) / 2, df) * np.sqrt(parts.sum()))
    return Estimate(point, point - half, point + half, level, n, "Welch t" if y else "Student t")
