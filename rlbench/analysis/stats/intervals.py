"""Intervals for statistics of run scores, and bands along a line; the unit of every one is the training run.

Scores are given as in `statistics`, one array `[runs]` per task; lines are learning curves `[runs, points]` and
performance profiles. Random numbers come from `seed` alone and results do not depend on the order of the runs. Several
tasks are strata: runs are resampled within their own task. `possible`, where it is given, is the range of the scores
themselves, such as (0, 500): no interval leaves what follows from it. What each of them covers is measured:
`docs/calibration.md` holds the table, and `coverage` says, beside an interval, where it covers less than it promises.

* Means, differences of means and mean curves: bootstrap-t, since the percentile bootstrap is too narrow with
  few runs; below five runs Student's t or Welch's, since resamples of so few repeat each other.
* IQM, median and other statistics: percentile bootstrap, which is what the literature reports [Agarwal 2021], with
  its tails moved out for few runs, see `tail_share`. The IQM of one task with fewer than five runs: the t of trimmed
  means.
* Probability of improvement and performance profile: closed forms, see `proportions`.

A pointwise band covers each point with probability `level`, the whole line with less. A `simultaneous` band covers the
whole line with probability `level`, and is wider. `Estimate.method` names what was done, degenerate cases included:
"one run: no interval", "no run", "no spread: zero width" (all runs equal, as at a score's ceiling, or all that the
statistic looks at; that such runs are all alike in these seeds is not proof that more seeds would be).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

from rlbench.analysis.stats import proportions, resampling, statistics
from rlbench.analysis.stats.estimates import (
    ANYTHING,
    BAND_REPETITIONS,
    LEVEL,
    NO_RUN,
    NO_SPREAD,
    ONE_RUN,
    REPETITIONS,
    Band,
    Estimate,
    Range,
    blank,
    difference_range,
    one_task_each,
    two_arms,
    within,
)
from rlbench.analysis.stats.proportions import mean_of_intervals, wilson
from rlbench.analysis.stats.statistics import Array, Scores, Statistic
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


def bootstrap(
    scores: Scores,
    statistic: Statistic = statistics.iqm,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
    possible: Range = ANYTHING,
) -> Estimate:
    """Interval of any statistic of `statistics`, by the stratified percentile bootstrap with its tails moved out.

    The ends are quantiles of the statistic over resampled runs, see `tail_share` for which. `possible` is the range
    of the statistic.
    """
    return within(_interval(one_task_each(scores), statistic, seed, level, repetitions), possible)


def mean_interval(
    scores: Scores,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
    possible: Range = ANYTHING,
) -> Estimate:
    """Bootstrap-t interval of the mean of the task means; Student's t with fewer than five runs in a task."""
    return within(_mean(_bytes(one_task_each(scores)), (), seed, level, repetitions), possible)


def difference_interval(
    scores: Scores,
    baseline: Scores,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
    possible: Range = ANYTHING,
) -> Estimate:
    """Bootstrap-t interval of mean(scores) - mean(baseline), unpaired.

    Welch's t where a task has fewer than five runs of an arm. Over several tasks it is the mean over tasks of
    the difference of means.
    """
    x, y = two_arms(scores, baseline)
    return within(_mean(_bytes(x), _bytes(y), seed, level, repetitions), difference_range(possible))


def improvement_interval(scores: Scores, baseline: Scores, *, level: float = LEVEL) -> Estimate:
    """Interval of the probability of improvement from the variance of the runs' placements, see `proportions`.

    Closed form: nothing is resampled. Over several tasks combined by `mean_of_intervals`. It stays honest where
    one arm wins every pair of runs: ten against ten such runs give 0.72 to 1, not 1 to 1. With one run on a side
    there is no interval.
    """
    x, y = two_arms(scores, baseline)
    name = "probability of improvement"
    n = sum(task.size for task in (*x, *y))
    smallest = min(task.size for task in (*x, *y))
    if smallest == 0:
        return Estimate(np.nan, np.nan, np.nan, level, n, NO_RUN, smallest, name)
    if smallest == 1:
        point = float(statistics.probability_of_improvement(x, y))
        return Estimate(point, np.nan, np.nan, level, n, ONE_RUN, smallest, name)
    parts = [proportions.placement_interval(a, b, level) for a, b in zip(x, y, strict=True)]
    point, low, high = (float(end) for end in proportions.mean_of_intervals(*zip(*parts, strict=True)))
    return Estimate(point, low, high, level, n, "placements, Wilson", smallest, name)


def tail_share(level: float, sizes: Sequence[int]) -> float:
    """Return which share of the bootstrap distribution is cut off at each end of a percentile interval.

    The plain percentile interval cuts (1 - level) / 2, and with few runs is too narrow, as a normal quantile would be
    in place of Student's: the "expanded" percentile interval of T. Hesterberg, "What teachers should know about the
    bootstrap", The American Statistician 69, 2015, section 3.2, cuts Phi(-t sqrt(n / (n - 1))) instead, where t is
    Student's quantile and n the runs of a task. So does this one with several tasks. With one task the steps of a
    statistic of so few sorted scores widen it by themselves: there the factor is left out. These choices were made by
    the coverage that they give, see `docs/calibration.md`.
    """
    quantile = special.stdtrit(sum(sizes) - len(sizes), 1 - (1 - level) / 2)
    factor = np.sqrt(min(sizes) / (min(sizes) - 1)) if len(sizes) > 1 else 1.0
    return float(special.ndtr(-factor * quantile))


@lru_cache(maxsize=1024)
def _mean(x: tuple[bytes, ...], y: tuple[bytes, ...], seed: int, level: float, repetitions: int) -> Estimate:
    """Interval of the mean of `x` less that of `y`; remembered: figures, tables and sentences ask for the same."""
    plus, minus = ([np.frombuffer(task, np.float64)[:, None] for task in side] for side in (x, y))
    return mean_band(plus, minus, seed, level, repetitions).at(0)


def _bytes(tasks: Sequence[Array]) -> tuple[bytes, ...]:
    return tuple(task.tobytes() for task in tasks)


def _interval(tasks: Sequence[Array], statistic: Statistic, seed: int, level: float, repetitions: int) -> Estimate:
    sizes = [task.size for task in tasks]
    n, smallest = sum(sizes), min(sizes)
    middle = statistic is statistics.iqm
    name = "IQM" if middle else getattr(statistic, "__name__", "statistic").replace("_", " ")
    if smallest == 0:
        return Estimate(np.nan, np.nan, np.nan, level, n, NO_RUN, smallest, name)
    point = float(statistic(tasks))
    if smallest == 1:
        return Estimate(point, np.nan, np.nan, level, n, ONE_RUN, smallest, name)
    if all(np.ptp(task) == 0 for task in tasks):
        return Estimate(point, point, point, level, n, NO_SPREAD, smallest, name)
    if middle and len(tasks) == 1 and smallest < resampling.FEWEST and (half := _trimmed_t(tasks[0], level)):
        return Estimate(point, point - half, point + half, level, n, "trimmed t", smallest, name)
    if middle:
        values = resampling.iqm_values(tasks, resampling.counts(sizes, seed, repetitions))
    else:
        values = np.concatenate([statistic(sample) for sample in resampling.resamples(tasks, seed, repetitions)])
    tail = tail_share(level, sizes)
    low, high = np.quantile(values, [tail, 1 - tail])
    method = NO_SPREAD if low == high else "percentile bootstrap"
    return Estimate(point, float(low), float(high), level, n, method, smallest, name)


def _trimmed_t(scores: Array, level: float) -> float:
    """Return half the width of an interval of the IQM of runs in order.

    From the winsorised variance s^2 of n scores, of which h are not cut off: the mean has the variance
    (n - 1) s^2 / (h (h - 1)), with h - 1 degrees of freedom. J. W. Tukey and D. H. McLaughlin, Sankhya A 25, 1963. Of
    three runs it is Student's t of their mean.
    """
    n, cut = scores.size, scores.size // 4
    kept = n - 2 * cut
    winsorised = np.clip(scores, scores[cut], scores[n - cut - 1])
    variance = float(winsorised.var(ddof=1)) * (n - 1) / (kept * (kept - 1))
    return float(special.stdtrit(kept - 1, (1 + level) / 2) * np.sqrt(variance))
