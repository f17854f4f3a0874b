"""Does a score rise with a setting, and how good is the best setting: statistics of a sweep.

Trends. `values` is `[seeds, arms]`: the runs of one seed in a row, the arms in the order of the setting. A seed is a
block, because runs of one seed share their random streams (see `tests`).

Selection bias. Of settings that are all alike, the one with the best mean of a few runs was lucky; its score, and its
lead over an arm that was not tuned, are too good (A. Patterson, S. Neumann, M. White and A. White, "Empirical Design in
Reinforcement Learning", JMLR 25, 2024, section 4). Two answers: bootstrap the sweep and the pick together, or run the
picked setting again on fresh seeds. The second is the better one, and costs runs.

The budget of a search. How good the best of k settings is depends on k (`best_of`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
import numpy.typing as npt
from scipy import special

from rlbench.analysis.stats.estimates import (
    ANYTHING,
    LEVEL,
    REPETITIONS,
    Array,
    Band,
    Estimate,
    Range,
    as_tasks,
    within,
)
from rlbench.analysis.stats.intervals import counts, mean_interval
from rlbench.analysis.stats.tests import EXACT_LIMIT, PERMUTATIONS, Alternative, share_as_extreme, signed, tie_of
from rlbench.errors import RlbenchError

_EXACT_PAGE = 12  # seeds up to which scipy enumerates Page's null distribution in a moment


def page_test(values: npt.ArrayLike, *, increasing: bool = True) -> float:
    """Return the one-sided p-value of Page's L, for scores that rise (or fall) with the order of the arms.

    E. B. Page, "Ordered hypotheses for multiple treatments", JASA 58, 1963, by `scipy.stats.page_trend_test`: ranks
    within a seed, ties share theirs. Several environments may be stacked as further rows, since ranks have no unit.

    Raises:
        RlbenchError: fewer than two seeds or three arms, or NaN.
    """
    from scipy import stats  # 0.6 s, which only claims of shares and of trends need

    table = _table(values)
    seeds, arms = table.shape
    method = "exact" if seeds <= _EXACT_PAGE and arms <= 8 else "asymptotic"
    predicted = np.arange(1, arms + 1) if increasing else np.arange(arms, 0, -1)
    return float(stats.page_trend_test(table, predicted_ranks=predicted, method=method).pvalue)


def rank_correlation(values: npt.ArrayLike, *, seed: int = 0, level: float = LEVEL) -> Estimate:
    """Return the mean over seeds of Spearman's correlation of score and order, the effect size of Page's L.

    Page's L is a linear function of it. A seed with all scores equal counts as 0.
    """
    from scipy import stats  # 0.6 s, which only claims of shares and of trends need

    table = _table(values)
    ranks = stats.rankdata(table, axis=1)
    centred = ranks - ranks.mean(1, keepdims=True)
    order = np.arange(table.shape[1]) - (table.shape[1] - 1) / 2
    size = np.sqrt((centred**2).sum(1) * (order**2).sum())
    each = np.divide(centred @ order, size, out=np.zeros(len(table)), where=size > 0)
    return mean_interval(each, seed=seed, level=level)


def linear_changes(values: npt.ArrayLike) -> Array:
    """Return by how much a straight line through each seed's scores rises from the first arm to the last, `[seeds]`.

    Arms are equally spaced, in the unit of the scores.
    """
    table = _table(values)
    arms = table.shape[1]
    order = np.arange(arms) - (arms - 1) / 2
    return np.asarray(np.einsum("sa,a->s", table, order) * (arms - 1) / (order**2).sum())


def contrast_test(
    values: npt.ArrayLike, *, alternative: Alternative = "two-sided", seed: int = 0, repetitions: int = PERMUTATIONS
) -> float:
    """Return the p-value of no linear trend, by permuting the arms within each seed.

    The statistic is Student's t of `linear_changes`. All permutations are tried where there are at most
    `EXACT_LIMIT`. In contrast to Page's test it weighs sizes, not ranks.
    """
    table = np.sort(_table(values), axis=1)
    changes, exact = _permuted_changes(table, seed, repetitions)
    tie = tie_of(list(table))
    seen, permuted = (signed(_student(part), alternative) for part in (linear_changes(values)[None], changes))
    return share_as_extreme(float(seen[0]), permuted, exact, tie)


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


@dataclass(frozen=True)
class Selection:
    """The setting with the highest mean of a sweep.

    `naive` is its mean with the interval that ignores the pick, `optimism` by how much picking raises such a mean on
    average, and `corrected` the mean without it, with an interval that knows of the pick. `settings` is the size of the
    sweep.
    """

    picked: str
    settings: int
    naive: Estimate
    optimism: float
    corrected: Estimate


def pick_best(
    sweep: Mapping[str, npt.ArrayLike],
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
    possible: Range = ANYTHING,
) -> Selection:
    """Pick the setting with the highest mean and estimate its true mean by bootstrapping sweep and pick together.

    `sweep` holds the scores of the runs, `[runs]`, of every setting by name; of equal means the first name in the
    alphabet is picked. In each bootstrap sample of the whole sweep the best setting is picked anew; the mean that it
    was picked for, less its mean in the data, is what picking adds, its average the `optimism` (R. J. Tibshirani and
    R. Tibshirani, Annals of Applied Statistics 3, 2009), and its quantiles give the basic bootstrap interval of the
    picked setting's true mean. Where the best setting stands out, picking adds little and this corrects too much: the
    interval ends at the wider of its own and the naive one's. Resampled deviations are widened by sqrt(n / (n - 1)).

    Raises:
        RlbenchError: fewer than two settings, or one with fewer than two runs, or a score that is not finite.
    """
    names = sorted(sweep)
    runs = [np.sort(as_tasks(np.asarray(sweep[name], np.float64))[0]) for name in names]
    if len(names) < 2 or min(len(own) for own in runs) < 2:
        raise RlbenchError("A pick is among at least two settings, of at least two runs each.")
    means = np.array([own.mean() for own in runs])
    drawn = counts(tuple(map(len, runs)), seed, repetitions)
    resampled = np.stack(
        [
            mean + np.sqrt(len(own) / (len(own) - 1)) * np.einsum("bn,n->b", times / len(own), own - mean)
            for own, mean, times in zip(runs, means, drawn, strict=True)
        ],
        axis=1,
    )
    best = resampled.argmax(1)
    gain = resampled[np.arange(repetitions), best] - means[best]
    winner = int(means.argmax())
    naive = mean_interval(runs[winner], seed=seed, level=level, repetitions=repetitions, possible=possible)
    below, above = np.quantile(gain, [(1 - level) / 2, (1 + level) / 2])
    optimism = float(gain.mean())
    low, high = naive.point - float(above), naive.point - float(below)
    ends = naive.point - optimism, min(low, naive.low), max(high, naive.high)
    n, smallest = sum(map(len, runs)), min(map(len, runs))
    corrected = Estimate(*ends, level, n, "bootstrap of sweep and pick", smallest, "best of a sweep")
    return Selection(names[winner], len(names), naive, optimism, within(corrected, possible))


def best_of(runs: npt.ArrayLike, *, seed: int = 0, level: float = LEVEL, repetitions: int = REPETITIONS) -> Band:
    """Return the score to expect of the best of 1, 2, ..., n settings that are tried at random, `[n]`.

    `runs` is `[settings, seeds]`. The best is picked by the mean over all seeds but one and scored by that one, which
    leaves no selection bias, on average over which one it is; the expectation over all choices of k of the n settings
    is exact (J. Dodge et al., "Show Your Work", EMNLP 2019, with choices without replacement). The band is a percentile
    bootstrap of the settings, which are the unit here: other settings, not other seeds.

    Raises:
        RlbenchError: fewer than two settings or seeds, or a score that is not finite.
    """
    table = np.asarray(runs, np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise RlbenchError(f"The best of settings needs two settings and two seeds of each, not {table.shape}.")
    settings, seeds = table.shape
    rank, tried = np.arange(1, settings + 1), np.arange(1, settings + 1)[:, None]
    # With k tried, the best has rank r with probability C(r - 1, k - 1) / C(n, k).
    logarithm = _log_choose(rank - 1, tried - 1) - _log_choose(settings, tried)
    chance = np.exp(logarithm)  # [tried, rank]
    (drawn,) = counts((settings,), seed, repetitions)
    samples = np.repeat(np.tile(np.arange(settings), repetitions), drawn.ravel()).reshape(repetitions, settings)
    samples = np.concatenate([np.arange(settings)[None], samples])
    lines = np.zeros((len(samples), settings))
    for one in range(seeds):
        picked, scored = np.delete(table, one, axis=1).mean(1)[samples], table[:, one][samples]
        order = np.argsort(picked, axis=1, kind="stable")
        picked, scored = np.take_along_axis(picked, order, 1), np.take_along_axis(scored, order, 1)
        lines += _tied(picked, scored) @ chance.T / seeds
    low, high = np.quantile(lines[1:], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Band(lines[0], low, high, level, settings, "bootstrap of the settings", settings, "best of k settings")


def _log_choose(n: npt.ArrayLike, k: npt.ArrayLike) -> Array:
    """Return log(n over k), -inf where k is larger."""
    n, k = np.asarray(n, np.float64), np.asarray(k, np.float64)
    inside = np.maximum(n - k, 0.0)
    whole = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(inside + 1)
    return np.asarray(np.where(k <= n, whole, -np.inf))


def _tied(picked: Array, scored: Array) -> Array:
    """Return scores, `[rows, settings]` in the order of `picked`; those that are picked alike have their mean."""
    rows = np.arange(len(picked))[:, None]
    fresh = np.concatenate([np.ones((len(picked), 1), bool), picked[:, 1:] != picked[:, :-1]], axis=1)
    group = np.cumsum(fresh, axis=1) - 1 + rows * picked.shape[1]
    sums, sizes = (np.bincount(group.ravel(), weight.ravel(), picked.size) for weight in (scored, np.ones_like(scored)))
    return np.asarray((sums / np.maximum(sizes, 1.0))[group])
