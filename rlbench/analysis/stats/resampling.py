"""Resampling of whole training runs, vectorised over the repetitions; every random number comes from `seed`.

Each task (and each arm of a difference) has its own random stream, so that one does not shift the other, and
work is cut into pieces of bounded memory, whose size does not change the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

from rlbench.analysis.stats.statistics import Array

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


def counts(sizes: Sequence[int], seed: int, repetitions: int) -> tuple[Counts, ...]:
    """Return how often each run is in each stratified bootstrap sample: per group `[repetitions, runs]`.

    They depend on nothing else, so that the arms of an experiment, and the points of a curve, share them.
    """
    return _counts(tuple(map(int, sizes)), seed, repetitions)


@lru_cache(maxsize=8)
def _counts(sizes: tuple[int, ...], seed: int, repetitions: int) -> tuple[Counts, ...]:
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
    point = sum(weight * _mean(group) for weight, group in zip(weights, groups, strict=True))
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
    drawn = counts([len(group) for group in groups], seed, repetitions)
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


def _mean(group: Array) -> Array:
    """Mean over runs; of equal runs exactly their value, without rounding. `[runs, points]` to `[points]`."""
    return np.asarray(np.where(np.ptp(group, axis=0) == 0, group[0], group.mean(0)))


def _centred(group: Array) -> Array:
    return group - _mean(group)


def _streams(seed: int, count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(sequence) for sequence in np.random.SeedSequence(seed).spawn(count)]
