"""Tests of "no difference" between two arms, and the correction for making several of them.

The permutation test assumes nothing but that under the null hypothesis the runs of both arms come from one
distribution (per environment). Its statistic is studentised, so that it also holds its level asymptotically
where only the means agree: E. Chung and J. P. Romano, "Exact and asymptotically robust permutation tests",
Annals of Statistics 41, 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import combinations
from math import comb, prod

import numpy as np
import numpy.typing as npt

from rlbench.analysis.statistics import Array, Scores, as_tasks, check_same_tasks

EXACT_LIMIT = 20_000  # splits up to which all of them are tried
REPETITIONS = 9_999


def permutation_test(scores: Scores, baseline: Scores, *, seed: int = 0, repetitions: int = REPETITIONS) -> float:
    """Two-sided p-value of equal scores, unpaired and stratified: runs change arms within their task only.

    The statistic is the sum over tasks of the difference of means over its standard error (Welch's t for one
    task). All splits are tried where there are at most `EXACT_LIMIT`; otherwise p = (1 + exceeding) /
    (1 + repetitions) over random ones (B. Phipson and G. K. Smyth, 2010), never 0. NaN without runs on a
    side.
    """
    x, y = as_tasks(scores, allow_empty=True), as_tasks(baseline, allow_empty=True)
    check_same_tasks(x, y)
    if min(task.size for task in (*x, *y)) == 0:
        return float("nan")
    pairs = [_standardised(np.sort(a), np.sort(b)) for a, b in zip(x, y, strict=True)]
    exact = _splits(x, y) <= EXACT_LIMIT
    streams = np.random.SeedSequence(seed).spawn(len(pairs))
    parts = []
    for (pooled, n, scale), stream in zip(pairs, streams, strict=True):
        members = _all_members(n, pooled.size) if exact else _random_members(n, pooled.size, repetitions, stream)
        parts.append(_difference(pooled, members, n, scale))
    outer = np.add.outer if exact else np.add
    shift = reduce(lambda a, b: np.ravel(outer(a, b)), [part[0] for part in parts])
    variance = reduce(lambda a, b: np.ravel(outer(a, b)), [part[1] for part in parts])
    total = sum(scale**2 for *_, scale in pairs)
    t = _studentise(shift, variance, total)
    # The first split is the observed one. Equal splits summed in another order may differ in the last bits.
    extreme = t >= t[0] * (1 - 1e-9)
    return float(extreme.mean())


def smallest_p(scores: Scores, baseline: Scores, repetitions: int = REPETITIONS) -> float:
    """Smallest p-value `permutation_test` can give with so many runs; 1 with one run against one, NaN with
    none.

    With equal numbers each split has a mirror image of the same size, so that at least two are as extreme.
    """
    x, y = as_tasks(scores, allow_empty=True), as_tasks(baseline, allow_empty=True)
    check_same_tasks(x, y)
    if min(task.size for task in (*x, *y)) == 0:
        return float("nan")
    splits = _splits(x, y)
    if splits > EXACT_LIMIT:
        return 1.0 / (repetitions + 1)
    mirrored = all(a.size == b.size for a, b in zip(x, y, strict=True))
    return (2.0 if mirrored else 1.0) / splits


def holm(p_values: npt.ArrayLike) -> Array:
    """Return the p-values adjusted for being so many, in the order given; NaN stays NaN and does not count.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6,
    1979: holds the probability of any false positive in the family, whatever the dependence between the
    tests.
    """
    p = np.asarray(p_values, np.float64)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(order.size, 0, -1)), 1.0)
    return adjusted


def _splits(x: Sequence[Array], y: Sequence[Array]) -> int:
    return prod(comb(a.size + b.size, a.size) for a, b in zip(x, y, strict=True))


def _standardised(x: Array, y: Array) -> tuple[Array, int, float]:
    """Return the pooled scores around their mean, the number of runs of `x`, and the size of the scores."""
    pooled = np.concatenate([x, y])
    centred = np.zeros_like(pooled) if np.ptp(pooled) == 0 else pooled - pooled.mean()
    return centred, x.size, float(np.abs(centred).max())


def _all_members(n: int, total: int) -> npt.NDArray[np.float64]:
    """All ways to choose `n` of `total` runs as 0 and 1, `[splits, total]`; the first n come first."""
    chosen = np.array(list(combinations(range(total), n)))
    members = np.zeros((len(chosen), total))
    np.put_along_axis(members, chosen, 1.0, axis=1)
    return members


def _random_members(n: int, total: int, repetitions: int, stream: np.random.SeedSequence) -> npt.NDArray[np.float64]:
    """The observed split, then random ones, `[1 + repetitions, total]`."""
    members = np.tile(np.arange(total) < n, (1 + repetitions, 1))
    members[1:] = np.random.default_rng(stream).permuted(members[1:], axis=1)
    return members.astype(np.float64)


def _difference(pooled: Array, members: npt.NDArray[np.float64], n: int, scale: float) -> tuple[Array, Array]:
    """Difference of the means of every split and its squared standard error, each `[splits]`."""
    m = pooled.size - n
    total = np.einsum("bn,n->b", members, pooled)
    square = np.einsum("bn,n->b", members, pooled**2)
    first, second = total / n, (pooled.sum() - total) / m
    spread_first = np.maximum(square / n - first**2, 0.0)
    spread_second = np.maximum(((pooled**2).sum() - square) / m - second**2, 0.0)
    variance = spread_first / max(n - 1, 1) + spread_second / max(m - 1, 1)
    return first - second, np.where(variance <= 1e-14 * scale**2, 0.0, variance)


def _studentise(shift: Array, variance: Array, square: float) -> Array:
    """Absolute t; infinite for a difference without any spread, 0 for none."""
    none = np.abs(shift) <= 1e-12 * np.sqrt(square)
    size = np.where(none, 0.0, np.abs(shift))
    certain = np.where(none, 0.0, np.inf)
    return np.asarray(np.where(variance > 0, size / np.sqrt(np.where(variance > 0, variance, 1.0)), certain))
