"""Intervals for statistics of run scores; the unit of every one is the training run.

Scores are given as in `statistics`, curves as `[runs, points]`. Random numbers come from `seed` alone and
results do not depend on the order of the runs. Several tasks are strata: runs are resampled within their own
task.

What an interval of nominally 95 % covers, in per cent, for n = 3 | 5 | 10 | 20 runs per arm, measured with 2,000
samples per number (standard error 0.5 to 1). `bimodal`: a fifth of the runs collapsed; `ceiling`: normal, but cut
off at a third of a standard deviation above the mean.

                                  normal             lognormal          bimodal            ceiling
    mean_interval                 96 | 95 | 95 | 95  84 | 88 | 91 | 93  74 | 75 | 90 | 98  87 | 94 | 96 | 97
    difference_interval           97 | 96 | 95 | 95  98 | 97 | 92 | 91  98 | 99 | 93 | 94  97 | 98 | 95 | 94
    bootstrap of the mean         76 | 85 | 90 | 92  63 | 72 | 81 | 86  51 | 66 | 88 | 92  72 | 81 | 89 | 91
    bootstrap of the IQM          76 | 90 | 93 | 95  74 | 90 | 94 | 94  75 | 90 | 94 | 95  75 | 90 | 92 | 94
    bootstrap_difference, IQM     82 | 93 | 96 | 95  81 | 93 | 95 | 95  81 | 94 | 96 | 97  86 | 93 | 93 | 94
    improvement_interval at 0.5   91 | 94 | 95 | 95  90 | 94 | 95 | 96  91 | 94 | 95 | 95  91 | 95 | 94 | 96

In the differences both arms have the distribution named. The hard case is an arm at the ceiling against one with a
long upper tail, where the skews add: difference_interval 93 | 93 | 92 for n = 5 | 10 | 20, Welch's t 87 | 88 | 88.

Which one is used where:

* Means, differences of means and mean curves: bootstrap-t, since the percentile bootstrap is too narrow with
  few runs; below five runs Student's t or Welch's, since resamples of so few repeat each other.
* IQM, median and other statistics: percentile bootstrap, which is what the literature reports [Agarwal 2021];
  too narrow with fewer than ten runs, as the table says.
* Probability of improvement and performance profile: closed forms, see `proportions`.

`Estimate.method` names what was done, degenerate cases included: "one run: no interval", "no
run", "no spread: zero width" (all runs equal, as at a score's ceiling; that such runs are all alike in these
seeds is not proof that more seeds would be).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlbench.analysis import resampling, statistics
from rlbench.analysis.proportions import mean_of_intervals, newcombe, wilson
from rlbench.analysis.statistics import Array, Scores, Statistic
from rlbench.errors import RlbenchError

LEVEL = 0.95
REPETITIONS = 10_000
BAND_REPETITIONS = 2_000  # for each point of a curve

NO_RUN = "no run"
ONE_RUN = "one run: no interval"
NO_SPREAD = "no spread: zero width"


@dataclass(frozen=True)
class Estimate:
    """A number with its interval: `low` and `high` are NaN where no interval exists, and `method` says why.

    `n` counts the training runs it rests on, of all tasks and both arms together.
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
    statistic: Statistic = statistics.iqm,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
) -> Estimate:
    """Percentile interval of any statistic of `statistics`, by the stratified bootstrap."""
    tasks = _tasks(scores)
    n = sum(task.size for task in tasks)
    smallest = min(task.size for task in tasks)
    if smallest == 0:
        return Estimate(np.nan, np.nan, np.nan, level, n, NO_RUN)
    point = float(statistic(tasks))
    if smallest == 1:
        return Estimate(point, np.nan, np.nan, level, n, ONE_RUN)
    if all(np.ptp(task) == 0 for task in tasks):
        return Estimate(point, point, point, level, n, NO_SPREAD)
    values = np.concatenate([statistic(sample) for sample in resampling.resamples(tasks, seed, repetitions)])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(point, float(low), float(high), level, n, "percentile bootstrap")


def bootstrap_difference(
    scores: Scores,
    baseline: Scores,
    statistic: Statistic = statistics.iqm,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
) -> Estimate:
    """Percentile interval of statistic(scores) - statistic(baseline), both arms resampled."""
    x, y = _both(scores, baseline)
    return bootstrap(
        [*x, *y],
        lambda tasks: statistic(tasks[: len(x)]) - statistic(tasks[len(x) :]),
        seed=seed,
        level=level,
        repetitions=repetitions,
    )


def mean_interval(scores: Scores, *, seed: int = 0, level: float = LEVEL, repetitions: int = REPETITIONS) -> Estimate:
    """Bootstrap-t interval of the mean of the task means; Student's t with fewer than five runs in a task."""
    tasks = _tasks(scores)
    band = _mean_band([task[:, None] for task in tasks], [], seed, level, repetitions)
    return _single(band)


def difference_interval(
    scores: Scores,
    baseline: Scores,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
) -> Estimate:
    """Bootstrap-t interval of mean(scores) - mean(baseline), unpaired.

    Welch's t where a task has fewer than five runs of an arm. Over several tasks it is the mean over tasks of
    the difference of means.
    """
    x, y = _both(scores, baseline)
    band = _mean_band([task[:, None] for task in x], [task[:, None] for task in y], seed, level, repetitions)
    return _single(band)


def improvement_interval(scores: Scores, baseline: Scores, *, level: float = LEVEL) -> Estimate:
    """Newcombe's interval of the probability of improvement, see `proportions`.

    Closed form: nothing is resampled. Over several tasks combined by `mean_of_intervals`. It stays honest
    where one arm wins every pair of runs: ten against ten such runs give 0.80 to 1, not 1 to 1. With one run
    on a side there is no interval.
    """
    x, y = _both(scores, baseline)
    n = sum(task.size for task in (*x, *y))
    smallest = min(task.size for task in (*x, *y))
    if smallest == 0:
        return Estimate(np.nan, np.nan, np.nan, level, n, NO_RUN)
    shares = [float(statistics.probability_of_improvement(a, b)) for a, b in zip(x, y, strict=True)]
    if smallest == 1:
        return Estimate(float(np.mean(shares)), np.nan, np.nan, level, n, ONE_RUN)
    ends = [newcombe(p, a.size, b.size, level) for p, a, b in zip(shares, x, y, strict=True)]
    point, low, high = mean_of_intervals(shares, [low for low, _ in ends], [high for _, high in ends])
    return Estimate(float(point), float(low), float(high), level, n, "Newcombe")


def curve_band(
    curves: Array | Sequence[npt.ArrayLike],
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = BAND_REPETITIONS,
) -> Band:
    """Pointwise bootstrap-t interval of the mean curve; Student's t with fewer than five runs.

    `curves` is one array `[runs, points]`, or one per task, then the mean over tasks is meant. "Pointwise":
    each point is covered with probability `level`, the whole curve with less.
    """
    several = not isinstance(curves, np.ndarray) and all(np.ndim(task) == 2 for task in curves)
    tasks = [np.asarray(task, np.float64) for task in (curves if several else [curves])]
    if not tasks or any(task.ndim != 2 for task in tasks):
        raise RlbenchError("A curve band needs curves as an array [runs, points], or one such array per task.")
    if not all(np.isfinite(task).all() for task in tasks):
        raise RlbenchError("A curve band was asked of curves with NaN or infinity; select the used runs first.")
    # Rows in the order of their values, so that the order of the runs does not matter.
    ordered = [task[np.lexsort(task.T[::-1])] if task.shape[1] else task for task in tasks]
    return _mean_band(ordered, [], seed, level, repetitions)


def profile_band(scores: Scores, thresholds: npt.ArrayLike, *, level: float = LEVEL) -> Band:
    """Pointwise Wilson interval of the performance profile at `thresholds`, `[points]`.

    Closed form, over several tasks combined by `mean_of_intervals`; not zero where all runs, or none, pass.
    """
    tau = np.atleast_1d(np.asarray(thresholds, np.float64))
    tasks = _tasks(scores)
    n = sum(task.size for task in tasks)
    if min(task.size for task in tasks) == 0:
        return _blank(np.full(tau.shape, np.nan), level, n, NO_RUN)
    shares = [statistics.performance_profile(task, tau) for task in tasks]
    if min(task.size for task in tasks) == 1:
        return _blank(np.mean(shares, axis=0), level, n, ONE_RUN)
    ends = [wilson(share, task.size, level) for share, task in zip(shares, tasks, strict=True)]
    point, low, high = mean_of_intervals(shares, [low for low, _ in ends], [high for _, high in ends])
    return Band(point, low, high, level, n, "Wilson, pointwise")


def _mean_band(plus: Sequence[Array], minus: Sequence[Array], seed: int, level: float, repetitions: int) -> Band:
    """Band of mean over `plus` minus mean over `minus`, groups `[runs, points]`."""
    groups = [*plus, *minus]
    weights = [1.0 / len(plus)] * len(plus) + [-1.0 / max(len(minus), 1)] * len(minus)
    n, smallest = sum(map(len, groups)), min(map(len, groups))
    if smallest == 0:
        return _blank(np.full(groups[0].shape[1], np.nan), level, n, NO_RUN)
    if smallest == 1:
        point = sum(weight * group.mean(0) for weight, group in zip(weights, groups, strict=True))
        return _blank(np.asarray(point), level, n, ONE_RUN)
    point, error, quantile = resampling.student(groups, weights, level)
    if not error.any():
        return Band(point, point, point, level, n, NO_SPREAD)
    if smallest < resampling.FEWEST:
        half, method = quantile * error, "Welch t" if minus else "Student t"
        return Band(point, point - half, point + half, level, n, method)
    low, high = resampling.bootstrap_t(groups, weights, seed, level, repetitions)
    return Band(point, low, high, level, n, "bootstrap-t")


def _single(band: Band) -> Estimate:
    return Estimate(float(band.point[0]), float(band.low[0]), float(band.high[0]), band.level, band.n, band.method)


def _blank(point: Array, level: float, n: int, method: str) -> Band:
    nothing = np.full(point.shape, np.nan)
    return Band(point, nothing, nothing, level, n, method)


def _tasks(scores: Scores) -> list[Array]:
    """Return the sorted scores of each task, `[runs]`; tasks without runs are allowed here."""
    tasks = statistics.as_tasks(scores, allow_empty=True)
    if any(task.ndim != 1 for task in tasks):
        raise RlbenchError("An interval needs one score per run: one array [runs] per task.")
    return [np.sort(task) for task in tasks]


def _both(scores: Scores, baseline: Scores) -> tuple[list[Array], list[Array]]:
    x, y = _tasks(scores), _tasks(baseline)
    statistics.check_same_tasks(x, y)
    return x, y
