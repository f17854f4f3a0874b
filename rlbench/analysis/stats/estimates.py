"""What every interval returns: a number, or a line of numbers, with its ends, its level and how they were found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from rlbench.analysis.stats import statistics
from rlbench.analysis.stats.statistics import Array, Scores
from rlbench.errors import RlbenchError

LEVEL = 0.95
REPETITIONS = 10_000
BAND_REPETITIONS = 2_000  # for each point of a curve

NO_RUN = "no run"
ONE_RUN = "one run: no interval"
NO_SPREAD = "no spread: zero width"

Range = tuple[float, float]
ANYTHING: Range = (-np.inf, np.inf)

Interval = TypeVar("Interval", "Estimate", "Band")


@dataclass(frozen=True)
class Estimate:
    """A number with its interval: `low` and `high` are NaN where no interval exists, and `method` says why.

    `level` is what the interval promises: over many experiments with fresh seeds, this share of such intervals
    holds the true value; `coverage.interval_name` says where that was measured not to be so. `n` counts the
    training runs it rests on, of all tasks and both arms together, and `smallest` those of the smallest group of
    them (one task of one arm). `quantity` names what is estimated. Units are those of the scores.
    """

    point: float
    low: float
    high: float
    level: float
    n: int
    method: str
    smallest: int = 0
    quantity: str = ""


@dataclass(frozen=True, eq=False)
class Band:
    """A line with an interval at each point: `point`, `low` and `high` are `[points]`; otherwise as `Estimate`.

    Pointwise, each point is held with probability `level` and the whole line with less; `simultaneous` bands hold
    the whole line.
    """

    point: Array
    low: Array
    high: Array
    level: float
    n: int
    method: str
    smallest: int = 0
    quantity: str = ""
    simultaneous: bool = False

    def at(self, index: int) -> Estimate:
        """Return one point of the line."""
        ends = float(self.point[index]), float(self.low[index]), float(self.high[index])
        return Estimate(*ends, self.level, self.n, self.method, self.smallest, self.quantity)


def within(estimate: Interval, possible: Range) -> Interval:
    """Return the estimate with its interval cut to the values that are `possible`.

    Nothing is lost: the true mean of scores between 0 and 500 lies between 0 and 500.
    """
    low, high = (np.clip(end, *possible) for end in (estimate.low, estimate.high))
    if isinstance(estimate, Estimate):
        return replace(estimate, low=float(low), high=float(high))
    return replace(estimate, low=low, high=high)


def difference_range(possible: Range) -> Range:
    """Return what a difference of two scores can be, if each of them can be in `possible`."""
    return possible[0] - possible[1], possible[1] - possible[0]


def blank(point: Array, level: float, groups: Sequence[Array], method: str, quantity: str) -> Band:
    """Return a line without interval, of `groups` of runs `[runs, ...]`."""
    nothing = np.full(point.shape, np.nan)
    n, smallest = sum(map(len, groups)), min(map(len, groups))
    return Band(point, nothing, nothing, level, n, method, smallest, quantity)


def one_task_each(scores: Scores) -> list[Array]:
    """Return the sorted scores of each task, `[runs]`; tasks without runs are allowed here."""
    tasks = statistics.as_tasks(scores, allow_empty=True)
    if any(task.ndim != 1 for task in tasks):
        raise RlbenchError("An interval needs one score per run: one array [runs] per task.")
    return [np.sort(task) for task in tasks]


def two_arms(scores: Scores, baseline: Scores) -> tuple[list[Array], list[Array]]:
    """Return the sorted scores of both arms, which must have the same tasks."""
    x, y = one_task_each(scores), one_task_each(baseline)
    statistics.check_same_tasks(x, y)
    return x, y
