"""Intervals for statistics of run scores; the unit of every one is the training run.

Scores are given as in `statistics`, one array `[runs]` per task. Random numbers come from `seed` alone and results
do not depend on the order of the runs. Several tasks are strata: runs are resampled within their own task.

What each of them covers is measured: `docs/calibration.md` holds the table for n = 3 (some: 4), 5, 10 and 20 runs and
five kinds of scores, and `coverage` says, beside an interval, where it covers less than it promises.

Which one is used where:

* Means, differences of means and mean curves: bootstrap-t, since the percentile bootstrap is too narrow with
  few runs; below five runs Student's t or Welch's, since resamples of so few repeat each other.
* IQM, median and other statistics: percentile bootstrap, which is what the literature reports [Agarwal 2021], with
  its tails moved out for few runs, see `tail_share`. The IQM of one task with fewer than five runs: the t of trimmed
  means.
* Optimality gap: the mean of max(target - score, 0), so as a mean.
* Probability of improvement and performance profile: closed forms, see `proportions`.

`possible`, where it is given, is the range of the scores themselves, such as (0, 500): no interval leaves what
follows from it.

`Estimate.method` names what was done, degenerate cases included: "one run: no interval", "no run", "no spread: zero
width" (all runs equal, as at a score's ceiling, or all that the statistic looks at; that such runs are all alike in
these seeds is not proof that more seeds would be).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy import special

from rlbench.analysis import proportions, resampling, statistics
from rlbench.analysis.bands import mean_band
from rlbench.analysis.estimates import (
    ANYTHING,
    LEVEL,
    NO_RUN,
    NO_SPREAD,
    ONE_RUN,
    REPETITIONS,
    Estimate,
    Range,
    difference_range,
    one_task_each,
    two_arms,
    within,
)
from rlbench.analysis.statistics import Array, Scores, Statistic

__all__ = [
    "LEVEL",
    "NO_RUN",
    "NO_SPREAD",
    "ONE_RUN",
    "REPETITIONS",
    "Estimate",
    "bootstrap",
    "bootstrap_difference",
    "difference_interval",
    "improvement_interval",
    "mean_interval",
    "optimality_gap_interval",
    "tail_share",
]


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
    return within(_interval(one_task_each(scores), [], statistic, seed, level, repetitions), possible)


def bootstrap_difference(
    scores: Scores,
    baseline: Scores,
    statistic: Statistic = statistics.iqm,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
    possible: Range = ANYTHING,
) -> Estimate:
    """Interval of statistic(scores) - statistic(baseline), unpaired, both arms resampled: otherwise as `bootstrap`.

    `possible` is the range of the statistic of one arm.
    """
    x, y = two_arms(scores, baseline)
    return within(_interval(x, y, statistic, seed, level, repetitions), difference_range(possible))


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


def optimality_gap_interval(
    scores: Scores,
    target: float = 1.0,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
    possible: Range = ANYTHING,
) -> Estimate:
    """Interval of `statistics.optimality_gap`: that of the mean of max(target - score, 0)."""
    gaps = [np.maximum(target - task, 0.0) for task in one_task_each(scores)]
    range_of_gaps = (max(target - possible[1], 0.0), max(target - possible[0], 0.0))
    estimate = mean_interval(gaps, seed=seed, level=level, repetitions=repetitions, possible=range_of_gaps)
    return replace(estimate, quantity="optimality gap")


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


def tail_share(level: float, sizes: Sequence[int], *, several_tasks: bool, difference: bool) -> float:
    """Return which share of the bootstrap distribution is cut off at each end of a percentile interval.

    The plain percentile interval cuts (1 - level) / 2, and with few runs is too narrow, as a normal quantile would be
    in place of Student's: the "expanded" percentile interval of T. Hesterberg, "What teachers should know about the
    bootstrap", The American Statistician 69, 2015, section 3.2, cuts Phi(-t sqrt(n / (n - 1))) instead, where t is
    Student's quantile and n the runs of a task. So does this one with several tasks. With one task the steps of a
    statistic of so few sorted scores widen it by themselves: there the factor is left out for one arm, and in a
    difference of two arms nothing is moved. These choices were made by the coverage that they give, see
    `docs/calibration.md`.
    """
    plain = (1 - level) / 2
    if difference and not several_tasks:
        return plain
    quantile = special.stdtrit(sum(sizes) - len(sizes), 1 - plain)
    factor = np.sqrt(min(sizes) / (min(sizes) - 1)) if several_tasks else 1.0
    return float(special.ndtr(-factor * quantile))


@lru_cache(maxsize=1024)
def _mean(x: tuple[bytes, ...], y: tuple[bytes, ...], seed: int, level: float, repetitions: int) -> Estimate:
    """Interval of the mean of `x` less that of `y`; remembered: figures, tables and sentences ask for the same."""
    plus, minus = ([np.frombuffer(task, np.float64)[:, None] for task in side] for side in (x, y))
    return mean_band(plus, minus, seed, level, repetitions).at(0)


def _bytes(tasks: Sequence[Array]) -> tuple[bytes, ...]:
    return tuple(task.tobytes() for task in tasks)


def _interval(
    x: Sequence[Array], y: Sequence[Array], statistic: Statistic, seed: int, level: float, repetitions: int
) -> Estimate:
    """Interval of the statistic of `x`, less that of `y` if there is one."""
    tasks = [*x, *y]
    sizes = [task.size for task in tasks]
    n, smallest = sum(sizes), min(sizes)
    middle = statistic is statistics.iqm
    named = "IQM" if middle else getattr(statistic, "__name__", "statistic").replace("_", " ")
    name = f"difference of {named}s" if y else named
    if smallest == 0:
        return Estimate(np.nan, np.nan, np.nan, level, n, NO_RUN, smallest, name)
    point = float(statistic(x)) - (float(statistic(y)) if y else 0.0)
    if smallest == 1:
        return Estimate(point, np.nan, np.nan, level, n, ONE_RUN, smallest, name)
    if all(np.ptp(task) == 0 for task in tasks):
        return Estimate(point, point, point, level, n, NO_SPREAD, smallest, name)
    if middle and len(x) == 1 and smallest < resampling.FEWEST and (half := _trimmed_t(tasks, level)):
        return Estimate(point, point - half, point + half, level, n, "trimmed t", smallest, name)
    values = _values(x, y, statistic, seed, repetitions)
    tail = tail_share(level, sizes, several_tasks=len(x) > 1, difference=bool(y))
    low, high = np.quantile(values, [tail, 1 - tail])
    method = NO_SPREAD if low == high else "percentile bootstrap"
    return Estimate(point, float(low), float(high), level, n, method, smallest, name)


def _values(x: Sequence[Array], y: Sequence[Array], statistic: Statistic, seed: int, repetitions: int) -> Array:
    """Return the statistic of `x`, less that of `y`, in every bootstrap sample; `[repetitions]`."""
    tasks = [*x, *y]
    if statistic is statistics.iqm:
        drawn = resampling.counts([task.size for task in tasks], seed, repetitions)
        values = resampling.iqm_values(x, drawn[: len(x)])
        return values - resampling.iqm_values(y, drawn[len(x) :]) if y else values
    pieces = [
        statistic(sample[: len(x)]) - (statistic(sample[len(x) :]) if y else 0.0)
        for sample in resampling.resamples(tasks, seed, repetitions)
    ]
    return np.concatenate(pieces)


def _trimmed_t(groups: Sequence[Array], level: float) -> float:
    """Return half the width of an interval of the IQM of one group of runs in order, or of the difference of two.

    From the winsorised variance s^2 of n scores, of which h are not cut off: a group adds (n - 1) s^2 / (h (h - 1)) to
    the variance, with h - 1 degrees of freedom. J. W. Tukey and D. H. McLaughlin, Sankhya A 25, 1963; for two groups
    K. K. Yuen, Biometrika 61, 1974. Of three runs it is Student's t of their mean.
    """
    parts, freedom = [], []
    for scores in groups:
        n, cut = scores.size, scores.size // 4
        kept = n - 2 * cut
        winsorised = np.clip(scores, scores[cut], scores[n - cut - 1])
        parts.append(float(winsorised.var(ddof=1)) * (n - 1) / (kept * (kept - 1)))
        freedom.append(kept - 1)
    variance = sum(parts)
    if variance == 0:
        return 0.0
    welch = variance**2 / sum(part**2 / df for part, df in zip(parts, freedom, strict=True))
    return float(special.stdtrit(welch, (1 + level) / 2) * np.sqrt(variance))
