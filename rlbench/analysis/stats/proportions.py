"""Closed-form intervals for probabilities, honest at 0 and 1, where resampling gives zero width.

The percentile bootstrap of a probability of improvement of 0.95 covers it in 60 to 80 % of samples of ten
against ten runs, one of 0.99 in 15 to 40 % (measured), since ten runs that all win resample to ten runs that
all win.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from rlbench.analysis.stats.statistics import Array

PRIOR = 0.25  # runs added to each arm, half wins and half losses; chosen by the coverage that it gives


def wilson(shares: npt.ArrayLike, n: float, level: float) -> tuple[Array, Array]:
    """Score interval of proportions of `n` runs (E. B. Wilson, JASA 22, 1927); low and high, `[points]`."""
    p, z2 = np.asarray(shares, np.float64), special.ndtri((1 + level) / 2) ** 2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return np.minimum(np.maximum(centre - half, 0.0), p), np.maximum(np.minimum(centre + half, 1.0), p)


def placement_interval(x: Array, y: Array, level: float) -> tuple[float, float, float]:
    """Return P(X > Y) + P(X = Y) / 2, estimated from `[n]` against `[m]` runs, and the ends of its interval.

    A run's placement is the share of the other arm's runs that it beats, or is beaten by; the variance of the
    estimate is that of both arms' placements over their numbers (E. R. DeLong, D. M. DeLong and D. L.
    Clarke-Pearson, Biometrics 44, 1988; the variance of Brunner and Munzel's test). It says how many runs the
    estimate is worth, n_e = p (1 - p) / variance, and Wilson's interval of a proportion of so many runs is the
    answer. Two things make it hold with few runs: each arm gets `PRIOR` runs more, half of which win everything and
    half lose everything, so that placements without any spread do not count as certainty; and n_e is at least
    min(n, m), since no distributions of scores make the variance larger than p (1 - p) / min(n, m) (Z. W. Birnbaum
    and O. M. Klose, Annals of Mathematical Statistics 28, 1957).

    Unlike intervals whose variance follows from p alone (R. G. Newcombe, Statistics in Medicine 25, 2006: 80 to 85 %
    coverage here), it holds where the arms' distributions have different shapes, as when some runs of one of them
    collapse.
    """
    beaten = ((x[:, None] > y) + 0.5 * (x[:, None] == y)).astype(np.float64)  # [n, m]
    point = float(beaten.mean())
    sides = [_padded(beaten.mean(1)), _padded(beaten.mean(0))]
    variance = sum(spread for _, spread in sides)
    centre = (sides[0][0] + sides[1][0]) / 2
    low, high = wilson(point, max(centre * (1 - centre) / variance, min(x.size, y.size)), level)
    return point, float(low), float(high)


def _padded(placements: Array) -> tuple[float, float]:
    """Return the mean of the placements and its squared standard error, with `PRIOR` runs added."""
    n = placements.size + PRIOR
    mean = (placements.sum() + PRIOR / 2) / n
    square = ((placements - mean) ** 2).sum() + PRIOR / 2 * (mean**2 + (1 - mean) ** 2)
    return float(mean), float(square / (n - 1) / n)


def mean_of_intervals(
    points: Sequence[npt.ArrayLike], lows: Sequence[npt.ArrayLike], highs: Sequence[npt.ArrayLike]
) -> tuple[Array, Array, Array]:
    """Combine independent estimates with their intervals to their mean and its interval, each `[...]`.

    The distances to the ends add in squares, on each side for itself: MOVER, the "method of variance
    estimates recovery" of G. Zou and A. Donner, Statistics in Medicine 27, 2008.
    """
    centre, low, high = (np.asarray(values, np.float64) for values in (points, lows, highs))
    mean = centre.mean(0)
    reach = 1.0 / len(centre)
    below = reach * np.sqrt(((centre - low) ** 2).sum(0))
    above = reach * np.sqrt(((high - centre) ** 2).sum(0))
    return mean, mean - below, mean + above
