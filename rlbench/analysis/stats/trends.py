"""Does a score rise with a setting, and is the best setting an inner one: tests over an ordered list of arms.

`values` is `[seeds, arms]`: the runs of one seed in a row, the arms in the order of the setting (doses). A seed is a
block, because runs of one seed share their random streams (see `permutation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from math import factorial

import numpy as np
import numpy.typing as npt
from scipy import stats

from rlbench.analysis.stats import intervals
from rlbench.analysis.stats.estimates import LEVEL, Estimate
from rlbench.analysis.stats.families import Alternative, permutation_test
from rlbench.analysis.stats.permutation import EXACT_LIMIT, REPETITIONS, share_as_extreme, tie_of
from rlbench.analysis.stats.statistics import Array, Scores
from rlbench.errors import RlbenchError

_EXACT_PAGE = 12  # seeds up to which scipy enumerates Page's null distribution in a moment


def page_test(values: npt.ArrayLike, *, increasing: bool = True) -> float:
    """Return the one-sided p-value of Page's L, for scores that rise (or fall) with the order of the arms.

    E. B. Page, "Ordered hypotheses for multiple treatments", JASA 58, 1963, by `scipy.stats.page_trend_test`: ranks
    within a seed, ties share theirs. Several environments may be stacked as further rows, since ranks have no unit.

    Raises:
        RlbenchError: fewer than two seeds or three arms, or NaN.
    """
    table = _table(values)
    seeds, arms = table.shape
    method = "exact" if seeds <= _EXACT_PAGE and arms <= 8 else "asymptotic"
    predicted = np.arange(1, arms + 1) if increasing else np.arange(arms, 0, -1)
    return float(stats.page_trend_test(table, predicted_ranks=predicted, method=method).pvalue)


def rank_correlation(values: npt.ArrayLike, *, seed: int = 0, level: float = LEVEL) -> Estimate:
    """Return the mean over seeds of Spearman's correlation of score and order, the effect size of Page's L.

    Page's L is a linear function of it. A seed with all scores equal counts as 0.
    """
    table = _table(values)
    ranks = stats.rankdata(table, axis=1)
    centred = ranks - ranks.mean(1, keepdims=True)
    order = np.arange(table.shape[1]) - (table.shape[1] - 1) / 2
    size = np.sqrt((centred**2).sum(1) * (order**2).sum())
    each = np.divide(centred @ order, size, out=np.zeros(len(table)), where=size > 0)
    return intervals.mean_interval(each, seed=seed, level=level)


def linear_changes(values: npt.ArrayLike) -> Array:
    """Return by how much a straight line through each seed's scores rises from the first arm to the last, `[seeds]`.

    Arms are equally spaced, in the unit of the scores.
    """
    table = _table(values)
    arms = table.shape[1]
    order = np.arange(arms) - (arms - 1) / 2
    return np.asarray(np.einsum("sa,a->s", table, order) * (arms - 1) / (order**2).sum())


def contrast_test(
    values: npt.ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    seed: int = 0,
    repetitions: int = REPETITIONS,
) -> float:
    """Return the p-value of no linear trend, by permuting the arms within each seed.

    The statistic is Student's t of `linear_changes`. All permutations are tried where there are at most
    `EXACT_LIMIT`. In contrast to Page's test it weighs sizes, not ranks.
    """
    table = np.sort(_table(values), axis=1)
    changes, exact = _permuted_changes(table, seed, repetitions)
    tie = tie_of(list(table))
    seen, permuted = (_student(part) for part in (linear_changes(values)[None], changes))
    if alternative == "two-sided":
        return share_as_extreme(abs(float(seen[0])), np.abs(permuted), exact, tie)
    sign = 1.0 if alternative == "greater" else -1.0
    return share_as_extreme(sign * float(seen[0]), sign * permuted, exact, tie)


def interior_test(
    values: Sequence[npt.ArrayLike],
    best: int,
    *,
    margin: float = 0.0,
    paired: bool = False,
    seed: int = 0,
    repetitions: int = REPETITIONS,
) -> float:
    """Return the p-value of "the arm `best` does not beat both ends by more than `margin`".

    `values` are one array `[runs]` per arm, in the order of the setting. An intersection-union test: the larger of
    the two one-sided p-values, without correction, since both must be small (R. L. Berger, "Multiparameter hypothesis
    testing and acceptance sampling", Technometrics 24, 1982).

    Raises:
        RlbenchError: `best` is not an inner arm.
    """
    if not 0 < best < len(values) - 1:
        raise RlbenchError(f"The best of {len(values)} ordered arms must be an inner one, not number {best + 1}.")
    inner, ends = np.asarray(values[best], np.float64), (values[0], values[-1])
    options = {"paired": paired, "seed": seed, "repetitions": repetitions}
    return max(
        non_inferiority_test(inner, np.asarray(end, np.float64), -margin, **options)  # type: ignore[arg-type]
        for end in ends
    )


def _permuted_changes(table: Array, seed: int, repetitions: int) -> tuple[Array, bool]:
    """Return the linear changes of every seed with its arms permuted, `[rows, seeds]`, and whether those are all."""
    seeds, arms = table.shape
    if factorial(arms) ** seeds > EXACT_LIMIT:
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        mixed = rng.permuted(table[None].repeat(repetitions, axis=0), axis=2)
        return linear_changes(mixed.reshape(-1, arms)).reshape(repetitions, seeds), False
    ways = np.array(list(permutations(range(arms))))
    changes = linear_changes(table[:, ways].reshape(-1, arms)).reshape(seeds, len(ways))
    grid = np.indices([len(ways)] * seeds).reshape(seeds, -1)
    return np.asarray(changes[np.arange(seeds)[:, None], grid].T), True


def _student(changes: Array) -> Array:
    """Return Student's t of `[rows, seeds]`; infinite for equal changes other than 0."""
    mean, error = changes.mean(1), changes.std(1, ddof=1) / np.sqrt(changes.shape[1])
    scale = np.abs(changes).max(1)
    mean = np.where(np.abs(mean) <= 1e-12 * scale, 0.0, mean)
    flat = error <= 1e-7 * scale
    certain = np.where(mean == 0, 0.0, np.copysign(np.inf, mean))
    return np.asarray(np.where(flat, certain, mean / np.where(flat, 1.0, error)))


def _table(values: npt.ArrayLike) -> Array:
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 3:
        raise RlbenchError(
            f"A trend test needs at least two seeds and three ordered arms, not an array of shape {table.shape}."
        )
    if not np.isfinite(table).all():
        raise RlbenchError("A trend test was asked of scores with NaN or infinity; select the used runs first.")
    return table


# Tests whose null hypothesis is a difference: equivalence, non-inferiority, superiority by a margin.
#
# A difference that was not found is not a difference that is absent: to support "about the same", the null hypothesis
# to be rejected is that the arms differ by at least the smallest effect of interest.
#
# Each is made of one-sided permutation tests of a shifted arm: to ask whether an arm scores more than its baseline
# minus the margin, the margin is added to its runs and they are permuted with the baseline's. That is exact where the
# distributions differ by a shift alone. False positives in per cent at the margin, of one such test at 5 %, for n = 3 |
# 5 | 10 | 20 (1,500 samples, standard error 0.6):
#
#                                     shifted permutation      Welch's t
#     normal                          6.0 | 5.1 | 4.6 | 3.8    4.2 | 4.9 | 4.7 | 4.1
#     lognormal                       6.0 | 4.7 | 4.7 | 4.3    2.4 | 2.8 | 3.5 | 3.6
#     bimodal, 20 % failures          4.5 | 5.0 | 4.7 | 6.9    1.5 | 2.9 | 4.6 | 6.4
#     cut off at a ceiling            5.5 | 4.9 | 4.4 | 4.5    3.1 | 4.1 | 4.0 | 4.1
#     three tied values               2.7 | 2.2 | 3.4 | 3.5    3.4 | 5.1 | 6.3 | 5.5
#     ceiling against lognormal       17 | 13 | 12 | 8         15 | 13 | 12 | 8
#
# The permutation test is at its level where Welch's is too careful, and so finds more; neither is right for a few runs
# of two differently skewed arms, which is why a verdict also asks an interval (`verdicts`).


def equivalence_test(
    scores: Scores,
    baseline: Scores,
    margin: float,
    *,
    paired: bool = False,
    seed: int = 0,
    repetitions: int = REPETITIONS,
) -> float:
    """Return the p-value of means that differ by at least `margin`; small: they are equivalent.

    Two one-sided tests, of which the larger p counts: D. J. Schuirmann, Journal of Pharmacokinetics and
    Biopharmaceutics 15, 1987. Scores as in `tests.permutation_test`; over several tasks the mean difference per task.

    Raises:
        RlbenchError: `margin` is not above 0.
    """
    if not margin > 0:
        raise RlbenchError(f"An equivalence test needs a margin above 0, not {margin}.")
    more = non_inferiority_test(scores, baseline, margin, paired=paired, seed=seed, repetitions=repetitions)
    less = non_inferiority_test(baseline, scores, margin, paired=paired, seed=seed, repetitions=repetitions)
    return max(more, less)


def non_inferiority_test(
    scores: Scores,
    baseline: Scores,
    margin: float,
    *,
    paired: bool = False,
    seed: int = 0,
    repetitions: int = REPETITIONS,
) -> float:
    """Return the one-sided p-value of a mean that is lower than the baseline's by at least `margin`.

    Small: the arm is at worst less than `margin` below. A margin of 0 is the one-sided test of a higher mean, a
    negative one asks for superiority by its size. Where lower is better, exchange the two sides.
    """
    return permutation_test(
        scores,
        baseline,
        paired=paired,
        alternative="greater",
        shift=-margin,
        seed=seed,
        repetitions=repetitions,
    )
