"""Intervals of statistics of run scores, and bands along a line; the unit of every one is the training run.

Scores are given as in `estimates`, one array `[runs]` per task; lines are learning curves `[runs, points]` and
performance profiles. Several tasks are strata: runs are resampled within their own task. `possible` is the range of the
scores themselves, such as (0, 500): no interval leaves what follows from it.

* Means, differences of means and mean curves: bootstrap-t, since the percentile bootstrap is too narrow with few runs;
  below five runs Student's t or Welch's, since resamples of so few repeat each other.
* IQM, median and other statistics: percentile bootstrap, which is what the literature reports [Agarwal 2021], with its
  tails moved out for few runs, see `tail_share`. The IQM of one task with fewer than five runs: the t of trimmed means.
* Probability of improvement and performance profile: closed forms, see `estimates`.

A pointwise band covers each point with probability `level`, and a `simultaneous` one the whole line. `Estimate.method`
names what was done, degenerate cases included; "no spread: zero width" (all runs are equal, as at a score's ceiling, or
all that the statistic looks at) is no proof that more seeds would be alike, too.

Every random number comes from `seed`, and results do not depend on the order of the runs. Each task (and each arm of a
difference) has its own random stream, so that one does not shift the other, and work is cut into pieces of bounded
memory, whose size does not change the numbers.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TypedDict, Unpack

import numpy as np
import numpy.typing as npt
from scipy import special

from rlbench.analysis.stats import estimates
from rlbench.analysis.stats.estimates import ANYTHING, LEVEL, NO_SPREAD, Array, Band, Estimate, Range, Scores
from rlbench.errors import RlbenchError

Counts = npt.NDArray[np.int32]

FEWEST = 5  # runs per group below which most resamples repeat each other, and bootstrap-t is not used
CAP = 3.0  # quantiles of bootstrap-t go no further out than so many times those of Student's t
ONE_SIDED_SKEW = 0.8  # share of the nominal tails that bootstrap-t cuts off where no second arm cancels the skew
_CELLS = 2_000_000  # numbers held at a time


def resamples(tasks: Sequence[Array], seed: int, repetitions: int) -> Iterator[list[Array]]:
    """Yield stratified bootstrap samples in pieces: per task `[piece, runs]`, drawn with replacement."""
    streams = _streams(seed, len(tasks))
    piece = max(1, _CELLS // sum(task.size for task in tasks))
    for start in range(0, repetitions, piece):
        size = min(piece, repetitions - start)
        yield [task[rng.integers(0, task.size, (size, task.size))] for task, rng in zip(tasks, streams, strict=True)]


@lru_cache(maxsize=8)
def counts(sizes: tuple[int, ...], seed: int, repetitions: int) -> tuple[Counts, ...]:
    """Return how often each run is in each stratified bootstrap sample: per group `[repetitions, runs]`.

    They depend on nothing else, so that the arms of an experiment, and the points of a curve, share them.
    """
    drawn = []
    for n, rng in zip(sizes, _streams(seed, len(sizes)), strict=True):
        times = np.zeros((repetitions, n), np.int32)
        piece = max(1, _CELLS // n)
        for start in range(0, repetitions, piece):
            part = times[start : start + piece]
            chosen = rng.integers(0, n, part.shape) + np.arange(0, part.size, n)[:, None]
            part[:] = np.bincount(chosen.ravel(), minlength=part.size).reshape(part.shape)
        times.flags.writeable = False
        drawn.append(times)
    return tuple(drawn)


def iqm_values(tasks: Sequence[Array], drawn: Sequence[Counts]) -> Array:
    """Return the IQM of every bootstrap sample, `[repetitions]`; `tasks` are `[runs]` each, `drawn` their `counts`.

    Nothing is sorted again: with the runs of all tasks in order, c_i of the sample's N scores are among the first i
    runs, and those of them that are not cut off are c_i limited to [N / 4, 3 N / 4], up to rounding. The loop is over
    runs, not over repetitions.
    """
    pooled = np.concatenate(tasks)
    times = [group[:, run] for group in drawn for run in range(group.shape[1])]
    order = np.argsort(pooled, kind="stable")
    ordered = pooled[order] - pooled.mean()
    n = pooled.size
    cut = n // 4
    upto = np.zeros(len(drawn[0]), np.int32)
    total = np.full(len(upto), (n - cut) * ordered[-1] - cut * ordered[0])
    for run, step in zip(order[:-1], np.diff(ordered), strict=True):
        upto += times[run]
        if step:
            total -= np.clip(upto, cut, n - cut) * step
    return np.asarray(total / (n - 2 * cut) + pooled.mean())


def student(groups: Sequence[Array], weights: Sequence[float], level: float) -> tuple[Array, Array, Array]:
    """Return the weighted sum of the group means, its standard error and the t quantile; each `[points]`.

    `groups` are `[runs, points]`. Degrees of freedom by B. L. Welch (Biometrika 34, 1947) and Satterthwaite;
    for one group Student's n - 1.
    """
    point = sum(weight * _resampled_mean(group) for weight, group in zip(weights, groups, strict=True))
    parts = np.stack(
        [
            weight**2 * (_centred(group) ** 2).sum(0) / (len(group) - 1) / len(group)
            for weight, group in zip(weights, groups, strict=True)
        ]
    )
    variance = parts.sum(0)
    degrees_of_freedom = np.array([len(group) - 1 for group in groups])[:, None]
    spread = np.where(variance > 0, variance, 1.0)
    normalised = parts / spread
    welch = 1.0 / np.where(variance > 0, (normalised**2 / degrees_of_freedom).sum(0), 1.0)
    return np.asarray(point), np.sqrt(variance), special.stdtrit(welch, (1 + level) / 2)


def bootstrap_t(
    groups: Sequence[Array], weights: Sequence[float], seed: int, level: float, repetitions: int
) -> tuple[Array, Array]:
    """Interval of the weighted sum of group means by the studentised bootstrap; low and high, `[points]`.

    B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5; equal tails. A
    resample without any spread gives an infinite t; the quantiles are limited to `CAP` times Student's, since
    with a few nearly equal runs and an outlier they would otherwise leave every possible score behind. Nor do
    they stay within Student's, on either side: with skewed scores the bootstrap's short side is too short, most
    of all in a difference, where the skews of both arms cancel. Where they do not, in the mean of one arm, the tails
    are moved out (`ONE_SIDED_SKEW`). Both were chosen by the coverage that they give, see `docs/calibration.md`.
    """
    point, error, quantile = student(groups, weights, level)
    drawn = counts(tuple(map(len, groups)), seed, repetitions)
    low, high = np.empty_like(point), np.empty_like(point)
    width = max(1, _CELLS // repetitions)
    tail = (1 - level) / 2 * (1.0 if min(weights) < 0 else ONE_SIDED_SKEW)
    for start in range(0, point.size, width):
        part = slice(start, start + width)
        t = _resampled_t([group[:, part] for group in groups], weights, drawn, error[part])
        below = np.quantile(t, tail, axis=0, method="lower")
        above = np.quantile(t, 1 - tail, axis=0, method="higher")
        least, most = quantile[part], CAP * quantile[part]
        low[part] = point[part] - np.clip(above, least, most) * error[part]
        high[part] = point[part] - np.clip(below, -most, -least) * error[part]
    return low, high


def sup_t(groups: Sequence[Array], weights: Sequence[float], seed: int, level: float, repetitions: int) -> float:
    """Return the `level` quantile of max |t| over the points of a weighted sum of mean curves `[runs, points]`.

    J. L. Montiel Olea and M. Plagborg-Moller, "Simultaneous confidence bands", Journal of Applied Econometrics 34,
    2019: t is drawn as a Gaussian process with the runs' own covariance. With few runs its denominator is as uncertain
    at each point: so whole experiments of Gaussian curves with that covariance are drawn, and t computed from each.
    Points without spread have no t.
    """
    _, error, _ = student(groups, weights, level)
    spread = np.flatnonzero(error > 0)
    streams = _streams(seed, len(groups))
    shift = np.zeros((repetitions, spread.size))
    variance = np.zeros_like(shift)
    for group, weight, rng in zip(groups, weights, streams, strict=True):
        n = len(group)
        factor = weight * _factor(group[:, spread] / error[spread])  # [directions, points]
        piece = max(1, _CELLS // (n * factor.size))
        for start in range(0, repetitions, piece):
            part = slice(start, min(start + piece, repetitions))
            normal = rng.normal(size=(part.stop - start, n, len(factor)))
            curves = np.einsum("bnd,dp->bnp", normal, factor)
            shift[part] += curves.mean(1)
            variance[part] += curves.var(1, ddof=1) / n
    return float(np.quantile((np.abs(shift) / np.sqrt(variance)).max(1, initial=0.0), level))


def _factor(group: Array) -> Array:
    """Return a root of the covariance of curves `[runs, points]`: fewest rows, `[directions, points]`."""
    _, size, direction = np.linalg.svd(_centred(group) / np.sqrt(len(group) - 1), full_matrices=False)
    kept = np.cumsum(size**2) <= (1 - 1e-4) * (size**2).sum()
    count = min(int(kept.sum()) + 1, len(size))
    return np.asarray(size[:count, None] * direction[:count])


def _resampled_t(groups: Sequence[Array], weights: Sequence[float], drawn: Sequence[Counts], error: Array) -> Array:
    """Return t of each bootstrap sample around the observed means; `[repetitions, points]`."""
    shift = np.zeros((len(drawn[0]), error.size))
    variance = np.zeros_like(shift)
    for group, weight, times in zip(groups, weights, drawn, strict=True):
        n, centred = len(group), _centred(group)
        frequency = times / n  # [repetitions, runs]
        # einsum adds in a fixed order, where a threaded matrix product may not: the same bytes on every run.
        moved = np.einsum("bn,np->bp", frequency, centred)
        square = np.einsum("bn,np->bp", frequency, centred**2) - moved**2
        shift = shift + weight * moved
        variance = variance + weight**2 * np.maximum(square, 0.0) / (n - 1)
    flat = variance <= 1e-12 * error**2
    infinite = np.where(np.abs(shift) <= 1e-9 * error, 0.0, np.copysign(np.inf, shift))  # the mean of equal runs rounds
    return np.asarray(np.where(flat, infinite, shift / np.sqrt(np.where(flat, 1.0, variance))))


def _resampled_mean(group: Array) -> Array:
    """Mean over runs; of equal runs exactly their value, without rounding. `[runs, points]` to `[points]`."""
    return np.asarray(np.where(np.ptp(group, axis=0) == 0, group[0], group.mean(0)))


def _centred(group: Array) -> Array:
    return group - _resampled_mean(group)


def _streams(seed: int, count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(sequence) for sequence in np.random.SeedSequence(seed).spawn(count)]


Curves = Array | Sequence[npt.ArrayLike]


class Resampling(TypedDict, total=False):
    """How an interval is computed: the seed of the resampled runs, how many samples, and the level."""

    seed: int
    level: float
    repetitions: int


def curve_band(
    curves: Curves, *, simultaneous: bool = False, possible: Range = ANYTHING, **how: Unpack[Resampling]
) -> Band:
    """Bootstrap-t interval of the mean curve; Student's t with fewer than five runs.

    `curves` is one array `[runs, points]`, or one per task, then the mean over tasks is meant. The `simultaneous` band
    stretches the pointwise one until max |t| over the points stays inside with probability `level`, see `sup_t`; with
    one run there is none of either.
    """
    usual: Resampling = {"repetitions": estimates.BAND_REPETITIONS}
    return estimates.within(mean_band(_curves(curves), [], simultaneous=simultaneous, **usual | how), possible)


def iqm_band(curves: Curves, *, possible: Range = ANYTHING, **how: Unpack[Resampling]) -> Band:
    """Sample-efficiency curve [Agarwal 2021]: the IQM of the runs at each point, with the interval of `bootstrap`.

    `curves` as in `curve_band`; runs of several tasks are pooled, so their scores must be normalised.
    """
    tasks, usual = _curves(curves), Resampling(repetitions=estimates.BAND_REPETITIONS)
    points = [bootstrap([task[:, at] for task in tasks], **usual | how) for at in range(tasks[0].shape[1])]
    if not points:
        return estimates.without_interval(np.empty(0), tasks, how.get("level", LEVEL), estimates.NO_RUN, "IQM")
    point, low, high = (np.array([getattr(each, end) for each in points]) for end in ("point", "low", "high"))
    first, method = points[0], next((each.method for each in points if each.method != NO_SPREAD), NO_SPREAD)
    band = Band(point, low, high, first.level, first.n, method, first.smallest, first.quantity)
    return estimates.within(band, possible)


def profile_band(scores: Scores, thresholds: npt.ArrayLike, *, level: float = LEVEL) -> Band:
    """Pointwise Wilson interval of the performance profile at `thresholds`, `[points]`.

    Closed form, over several tasks combined by `mean_of_intervals`; not zero where all runs, or none, pass.
    """
    tau, tasks = np.atleast_1d(np.asarray(thresholds, np.float64)), estimates.one_task_each(scores)
    name = "performance profile"
    if few := estimates.too_few(tasks, tau.size, level, name, lambda: estimates.performance_profile(tasks, tau)):
        return few
    shares = [estimates.performance_profile(task, tau) for task in tasks]
    sides = [estimates.wilson(share, task.size, level) for share, task in zip(shares, tasks, strict=True)]
    ends, sizes = estimates.mean_of_intervals(shares, *zip(*sides, strict=True)), [task.size for task in tasks]
    return Band(*ends, level, sum(sizes), "Wilson, pointwise", min(sizes), name)


def mean_band(
    plus: Sequence[Array],
    minus: Sequence[Array],
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = estimates.REPETITIONS,
    simultaneous: bool = False,
) -> Band:
    """Band of the mean over the tasks `plus` minus the mean over the tasks `minus`, each `[runs, points]`."""
    groups = [*plus, *minus]
    weights = [1.0 / len(plus)] * len(plus) + [-1.0 / max(len(minus), 1)] * len(minus)
    n, smallest = sum(map(len, groups)), min(map(len, groups))
    name = "difference of means" if minus else "mean"

    def means() -> Array:
        return np.asarray(sum(weight * group.mean(0) for weight, group in zip(weights, groups, strict=True)))

    if few := estimates.too_few(groups, groups[0].shape[1], level, name, means):
        return few
    point, error, quantile = student(groups, weights, level)
    if not error.any():
        return Band(point, point, point, level, n, NO_SPREAD, smallest, name)
    if smallest < FEWEST:
        low, high, method = point - quantile * error, point + quantile * error, "Welch t" if minus else "Student t"
    else:
        low, high = bootstrap_t(groups, weights, seed, level, repetitions)
        method = "bootstrap-t"
    if simultaneous:
        stretch = np.maximum(sup_t(groups, weights, seed, level, repetitions) / quantile, 1.0)
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
    statistic: estimates.Statistic = estimates.iqm,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = estimates.REPETITIONS,
    possible: Range = ANYTHING,
) -> Estimate:
    """Interval of any statistic of `estimates`, by the stratified percentile bootstrap with its tails moved out.

    The ends are quantiles of the statistic over resampled runs, see `tail_share` for which. `possible` is the range
    of the statistic.
    """
    tasks = estimates.one_task_each(scores)
    sizes, middle = [task.size for task in tasks], statistic is estimates.iqm
    n, smallest = sum(sizes), min(sizes)
    name = "IQM" if middle else getattr(statistic, "__name__", "statistic").replace("_", " ")
    if few := estimates.too_few(tasks, 1, level, name, lambda: statistic(tasks)):
        return few.at(0)
    point = float(statistic(tasks))
    if all(np.ptp(task) == 0 for task in tasks):
        return Estimate(point, point, point, level, n, NO_SPREAD, smallest, name)
    if middle and len(tasks) == 1 and smallest < FEWEST and (half := _trimmed_t(tasks[0], level)):
        student_t = Estimate(point, point - half, point + half, level, n, "trimmed t", smallest, name)
        return estimates.within(student_t, possible)
    if middle:
        values = iqm_values(tasks, counts(tuple(sizes), seed, repetitions))
    else:
        values = np.concatenate([statistic(sample) for sample in resamples(tasks, seed, repetitions)])
    tail = tail_share(level, sizes)
    low, high = np.quantile(values, [tail, 1 - tail])
    method = NO_SPREAD if low == high else "percentile bootstrap"
    return estimates.within(Estimate(point, float(low), float(high), level, n, method, smallest, name), possible)


def mean_interval(
    scores: Scores, baseline: Scores | None = None, *, possible: Range = ANYTHING, **how: Unpack[Resampling]
) -> Estimate:
    """Bootstrap-t interval of the mean of the task means, less that of a baseline where there is one (unpaired).

    Student's t, or Welch's, where a task has fewer than five runs of an arm.
    """
    x, y = estimates.one_task_each(scores), [] if baseline is None else estimates.one_task_each(baseline)
    if baseline is not None:
        estimates.check_same_tasks(x, y)
        possible = possible[0] - possible[1], possible[1] - possible[0]
    keys = (tuple(task.tobytes() for task in side) for side in (x, y))
    return estimates.within(_mean(*keys, **how), possible)


@lru_cache(maxsize=1024)
def _mean(x: tuple[bytes, ...], y: tuple[bytes, ...], **how: Unpack[Resampling]) -> Estimate:
    # Remembered: figures, tables and sentences ask for the same.
    plus, minus = ([np.frombuffer(task, np.float64)[:, None] for task in side] for side in (x, y))
    return mean_band(plus, minus, **how).at(0)


def improvement_interval(scores: Scores, baseline: Scores, *, level: float = LEVEL) -> Estimate:
    """Interval of the probability of improvement from the variance of the runs' placements (`placement_interval`).

    Closed form: nothing is resampled. Over several tasks combined by `mean_of_intervals`. It stays honest where
    one arm wins every pair of runs: ten against ten such runs give 0.72 to 1, not 1 to 1. With one run on a side
    there is no interval.
    """
    x, y = estimates.one_task_each(scores), estimates.one_task_each(baseline)
    estimates.check_same_tasks(x, y)
    groups, name = [*x, *y], "probability of improvement"
    if few := estimates.too_few(groups, 1, level, name, lambda: estimates.probability_of_improvement(x, y)):
        return few.at(0)
    parts = [estimates.placement_interval(a, b, level) for a, b in zip(x, y, strict=True)]
    point, low, high = map(float, estimates.mean_of_intervals(*zip(*parts, strict=True)))
    sizes = [group.size for group in groups]
    return Estimate(point, low, high, level, sum(sizes), "placements, Wilson", min(sizes), name)


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
