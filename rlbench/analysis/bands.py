"""Intervals along a line: learning curves `[runs, points]` and performance profiles; the unit is the training run.

As in `intervals`, whose methods these are at every point, the seed is honoured and the order of the runs does not
matter. "Pointwise": each point is covered with probability `level`, the whole line with less. A `simultaneous` band
covers the whole line with probability `level`, and is wider.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rlbench.analysis import resampling, statistics
from rlbench.analysis.estimates import (
    ANYTHING,
    BAND_REPETITIONS,
    LEVEL,
    NO_RUN,
    NO_SPREAD,
    ONE_RUN,
    Band,
    Range,
    blank,
    one_task_each,
    within,
)
from rlbench.analysis.proportions import mean_of_intervals, wilson
from rlbench.analysis.statistics import Array, Scores
from rlbench.errors import RlbenchError

Curves = Array | Sequence[npt.ArrayLike]


def curve_band(
    curves: Curves,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = BAND_REPETITIONS,
    simultaneous: bool = False,
    possible: Range = ANYTHING,
) -> Band:
    """Bootstrap-t interval of the mean curve; Student's t with fewer than five runs.

    `curves` is one array `[runs, points]`, or one per task, then the mean over tasks is meant. The `simultaneous`
    band stretches the pointwise one until max |t| over the points stays inside with probability `level`, see
    `resampling.sup_t`; with one run there is none of either.
    """
    tasks = _curves(curves)
    band = mean_band(tasks, [], seed, level, repetitions, simultaneous=simultaneous)
    return within(band, possible)


def iqm_band(
    curves: Curves,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = BAND_REPETITIONS,
    possible: Range = ANYTHING,
) -> Band:
    """Sample-efficiency curve [Agarwal 2021]: the IQM of the runs at each point, with a pointwise interval.

    `curves` as in `curve_band`; runs of several tasks are pooled, so their scores must be normalised. At each point
    the interval is that of `intervals.bootstrap`.
    """
    from rlbench.analysis.intervals import bootstrap

    tasks = _curves(curves)
    points = [
        bootstrap([task[:, point] for task in tasks], seed=seed, level=level, repetitions=repetitions)
        for point in range(tasks[0].shape[1])
    ]
    if not points:
        return blank(np.empty(0), level, tasks, NO_RUN, "IQM")
    point, low, high = (np.array([getattr(one, end) for one in points]) for end in ("point", "low", "high"))
    method = next((one.method for one in points if one.method != NO_SPREAD), NO_SPREAD)
    band = Band(point, low, high, level, points[0].n, method, points[0].smallest, points[0].quantity)
    return within(band, possible)


def profile_band(scores: Scores, thresholds: npt.ArrayLike, *, level: float = LEVEL) -> Band:
    """Pointwise Wilson interval of the performance profile at `thresholds`, `[points]`.

    Closed form, over several tasks combined by `mean_of_intervals`; not zero where all runs, or none, pass.
    """
    tau = np.atleast_1d(np.asarray(thresholds, np.float64))
    tasks = one_task_each(scores)
    smallest, name = min(task.size for task in tasks), "performance profile"
    if smallest == 0:
        return blank(np.full(tau.shape, np.nan), level, tasks, NO_RUN, name)
    shares = [statistics.performance_profile(task, tau) for task in tasks]
    if smallest == 1:
        return blank(np.mean(shares, axis=0), level, tasks, ONE_RUN, name)
    ends = [wilson(share, task.size, level) for share, task in zip(shares, tasks, strict=True)]
    point, low, high = mean_of_intervals(shares, [low for low, _ in ends], [high for _, high in ends])
    return Band(point, low, high, level, sum(map(len, tasks)), "Wilson, pointwise", smallest, name)


def mean_band(
    plus: Sequence[Array],
    minus: Sequence[Array],
    seed: int,
    level: float,
    repetitions: int,
    *,
    simultaneous: bool = False,
) -> Band:
    """Band of the mean over the tasks `plus` minus the mean over the tasks `minus`, each `[runs, points]`."""
    groups = [*plus, *minus]
    weights = [1.0 / len(plus)] * len(plus) + [-1.0 / max(len(minus), 1)] * len(minus)
    n, smallest = sum(map(len, groups)), min(map(len, groups))
    name = "difference of means" if minus else "mean"
    if smallest == 0:
        return blank(np.full(groups[0].shape[1], np.nan), level, groups, NO_RUN, name)
    if smallest == 1:
        point = sum(weight * group.mean(0) for weight, group in zip(weights, groups, strict=True))
        return blank(np.asarray(point), level, groups, ONE_RUN, name)
    point, error, quantile = resampling.student(groups, weights, level)
    if not error.any():
        return Band(point, point, point, level, n, NO_SPREAD, smallest, name)
    if smallest < resampling.FEWEST:
        low, high, method = point - quantile * error, point + quantile * error, "Welch t" if minus else "Student t"
    else:
        low, high = resampling.bootstrap_t(groups, weights, seed, level, repetitions)
        method = "bootstrap-t"
    if simultaneous:
        stretch = np.maximum(resampling.sup_t(groups, weights, seed, level, repetitions) / quantile, 1.0)
        low, high = point - (point - low) * stretch, point + (high - point) * stretch
    return Band(point, low, high, level, n, method, smallest, name, simultaneous)


def _curves(curves: Curves) -> list[Array]:
    """Return the curves of each task, `[runs, points]`, rows in the order of their values and not of the table."""
    several = not isinstance(curves, np.ndarray) and all(np.ndim(task) == 2 for task in curves)
    tasks = [np.asarray(task, np.float64) for task in (curves if several else [curves])]
    if not tasks or any(task.ndim != 2 for task in tasks):
        raise RlbenchError("A curve band needs curves as an array [runs, points], or one such array per task.")
    if len({task.shape[1] for task in tasks}) > 1:
        raise RlbenchError("A curve band over several tasks needs curves with the same number of points in each.")
    if not all(np.isfinite(task).all() for task in tasks):
        raise RlbenchError("A curve band was asked of curves with NaN or infinity; select the used runs first.")
    return [task[np.lexsort(task.T[::-1])] if task.shape[1] else task for task in tasks]
