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

from rlbench.analysis.statistics import Array

_HALVINGS = 60  # of an interval no longer than 1: as exact as a float


def wilson(shares: npt.ArrayLike, n: int, level: float) -> tuple[Array, Array]:
    """Score interval of proportions of `n` runs (E. B. Wilson, JASA 22, 1927); low and high, `[points]`."""
    p, z2 = np.asarray(shares, np.float64), special.ndtri((1 + level) / 2) ** 2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return np.minimum(np.maximum(centre - half, 0.0), p), np.maximum(np.minimum(centre + half, 1.0), p)


def newcombe(theta: float, n: int, m: int, level: float) -> tuple[float, float]:
    """Interval of P(X > Y) + P(X = Y) / 2 from the estimate `theta` of `n` runs against `m`.

    Method 5 of R. G. Newcombe, Statistics in Medicine 25, 2006: the values t with (theta - t)^2 <= z^2 V(t),
    where V is Hanley and McNeil's variance with both sample sizes replaced by their mean in the numerator.
    """
    z2, half = special.ndtri((1 + level) / 2) ** 2, (n + m) / 2 - 1

    def outside(t: float) -> bool:
        variance = t * (1 - t) * (1 + half * (1 - t) / (2 - t) + half * t / (1 + t)) / (n * m)
        return bool((theta - t) ** 2 > z2 * variance)

    ends = []
    for end in (0.0, 1.0):
        far, near = end, theta
        for _ in range(_HALVINGS):
            middle = (far + near) / 2
            far, near = (middle, near) if outside(middle) else (far, middle)
        ends.append(end if theta == end else near)
    return ends[0], ends[1]


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
