"""Curves that were written down at different steps, brought to common points.

A curve is a straight line between its points. Taken as it is, the same curve has a smaller area the less often it was
written down; so all curves are read at the same points. Between one of these and the next, every curve has a point of
its own, and no curve is read inside a gap of its own that is wider than that. So a curve that was written down often
and the same one written down seldom are the same, and those of which no two points agree nearly so.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_ROUNDING = 1e-9  # of a gap: the same steps in another unit give the same points


def common_points(curves: Sequence[Array]) -> Array:
    """Return the common points of curves, each given by its steps in order: `[points]`, from where all have begun.

    The first is the latest first step and the last one the earliest last step; each one between is the first step of
    any curve that will do. Fewer than two where the curves have no range in common.
    """
    lines = [list(one) for one in {tuple(steps.tolist()) for steps in curves}]  # equal ones once
    steps = sorted({step for line in lines for step in line})
    at, end = max(line[0] for line in lines), min(line[-1] for line in lines)
    points = [at] if at <= end else []
    while points and at < end:
        start, at = at, max(line[bisect_right(line, at)] for line in lines)
        while at < end and (wanted := max(_readable(line, start, at) for line in lines)) > at:
            at = steps[bisect_left(steps, wanted)]
        at = min(at, end)
        points.append(at)
    return np.array(points, np.float64)


def _readable(line: Sequence[float], start: float, at: float) -> float:
    """Return the step from which on a curve can be read, `at` the earliest, after a point at `start`."""
    above = bisect_left(line, at)
    if line[above] == at:
        return at
    gap = (1 - _ROUNDING) * (line[above] - line[above - 1])
    return max(at, min(start + gap, line[above]))


def read_at(points: Array, steps: Array, values: Array) -> Array:
    """Return a curve at `points`; NaN outside its own steps, both in order."""
    if not steps.size:
        return np.full(points.shape, np.nan)
    return np.asarray(np.interp(points, steps, values, left=np.nan, right=np.nan))


def mean_from(low: float, steps: Array, values: Array) -> float:
    """Return the mean of a curve from the step `low` on: the area below it over its width; NaN without a width."""
    if not low < steps[-1]:
        return float("nan")
    at = np.concatenate([[low], steps[steps > low]])
    return float(np.trapezoid(np.interp(at, steps, values), at) / (at[-1] - low))
