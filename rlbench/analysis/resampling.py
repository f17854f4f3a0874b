"""Resampling of whole training runs, vectorised over the repetitions; every random number comes from `seed`.

Each task (and each arm of a difference) has its own random stream, so that one does not shift the other, and
work is cut into pieces of bounded memory, whose size does not change the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from rlbench.analysis.statistics import Array

FEWEST = 5  # runs per group below which most resamples repeat each other, and bootstrap-t is not used
CAP = 2.0  # quantiles of bootstrap-t go no further out than so many times those of Student's t
_CELLS = 2_000_000  # numbers held at a time


def resamples(tasks: Sequence[Array], seed: int, repetitions: int) -> Iterator[list[Array]]:
    """Yield stratified bootstrap samples in pieces: per task `[piece, runs]`, drawn with replacement."""
    streams = _streams(seed, len(tasks))
    piece = max(1, _CELLS // sum(task.size for task in tasks))
    for start in range(0, repetitions, piece):
        size = min(piece, repetitions - start)
        yield [task[rng.integers(0, task.size, (size, task.size))] for task, rng in zip(tasks, streams, strict=True)]


def counts(sizes: Sequence[int], seed: int, repetitions: int) -> list[npt.NDArray[np.int64]]:
    """Return how often each run is in each stratified bootstrap sample: per group `[repetitions, runs]`."""
    streams = _streams(seed, len(sizes))
    return [rng.multinomial(n, np.full(n, 1.0 / n), size=repetitions) for n, rng in zip(sizes, streams, strict=True)]


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
    freedom = np.array([len(group) - 1 for group in groups])[:, None]
    spread = np.where(variance > 0, variance, 1.0)
    shares = parts / spread
    welch = 1.0 / np.where(variance > 0, (shares**2 / freedom).sum(0), 1.0)
    return np.asarray(point), np.sqrt(variance), special.stdtrit(welch, (1 + level) / 2)


def bootstrap_t(
    groups: Sequence[Array], weights: Sequence[float], seed: int, level: float, repetitions: int
) -> tuple[Array, Array]:
    """Interval of the weighted sum of group means by the studentised bootstrap; low and high, `[points]`.

    B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5; equal tails. A
    resample without any spread gives an infinite t; the quantiles are limited to `CAP` times Student's, since
    with a few nearly equal runs and an outlier they would otherwise leave every possible score behind.
    """
    point, error, quantile = student(groups, weights, level)
    drawn = counts([len(group) for group in groups], seed, repetitions)
    low, high = np.empty_like(point), np.empty_like(point)
    width = max(1, _CELLS // repetitions)
    for start in range(0, point.size, width):
        part = slice(start, start + width)
        t = _resampled_t([group[:, part] for group in groups], weights, drawn, error[part])
        tail = (1 - level) / 2
        below = np.quantile(t, tail, axis=0, method="lower")
        above = np.quantile(t, 1 - tail, axis=0, method="higher")
        limit = CAP * quantile[part]
        low[part] = point[part] - np.clip(above, 0, limit) * error[part]
        high[part] = point[part] - np.clip(below, -limit, 0) * error[part]
    return low, high


def _resampled_t(
    groups: Sequence[Array], weights: Sequence[float], drawn: Sequence[npt.NDArray[np.int64]], error: Array
) -> Array:
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
    infinite = np.where(shift == 0, 0.0, np.copysign(np.inf, shift))
    return np.asarray(np.where(flat, infinite, shift / np.sqrt(np.where(flat, 1.0, variance))))


def _mean(group: Array) -> Array:
    """Mean over runs; of equal runs exactly their value, without rounding. `[runs, points]` to `[points]`."""
    return np.asarray(np.where(np.ptp(group, axis=0) == 0, group[0], group.mean(0)))


def _centred(group: Array) -> Array:
    return group - _mean(group)


def _streams(seed: int, count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(sequence) for sequence in np.random.SeedSequence(seed).spawn(count)]
