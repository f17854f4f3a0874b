"""The bad runs: the mean of the worst ones, and bounds that most future runs keep.

Both are about single runs, not about their average: a tolerance interval does not shrink to a point with more seeds.
Recommended for reinforcement learning by A. Patterson, S. Neumann, M. White and A. White, "Empirical Design in
Reinforcement Learning", JMLR 25, 2024. Scores as in `statistics`; higher is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import special

from rlbench.analysis.stats import statistics
from rlbench.analysis.stats.estimates import (
    ANYTHING,
    LEVEL,
    NO_SPREAD,
    REPETITIONS,
    Estimate,
    Range,
    one_task_each,
    within,
)
from rlbench.analysis.stats.intervals import bootstrap, mean_interval
from rlbench.analysis.stats.statistics import Array, Scores
from rlbench.errors import RlbenchError

SHARE = 0.25  # of the runs, in `cvar`
CONTENT = 0.9  # of all future runs, in a tolerance interval
FEWEST_BAD_RUNS = 2.5  # runs that the worst share must be, for an interval of its mean

Side = Literal["both", "low"]


def cvar(scores: Scores, share: float = SHARE) -> Array:
    """Mean of the worst `share` of the runs of each task, then over tasks; `[...]`.

    Conditional value at risk, or expected shortfall: (1 / share) times the integral of the empirical quantile function
    from 0 to share (R. T. Rockafellar and S. Uryasev, Journal of Banking & Finance 26, 2002), so that a run on the
    border counts with the part of it that is within. Of fewer than 1 / share runs it is the worst run.
    """
    _check_share(share)
    parts = []
    for task in statistics.as_tasks(scores):
        n = task.shape[-1]
        weight = np.clip(share * n - np.arange(n), 0.0, 1.0) if share * n > 1 else (np.arange(n) == 0).astype(float)
        parts.append((np.sort(task, axis=-1) * (weight / weight.sum())).sum(-1))
    return np.asarray(np.mean(np.stack(parts), axis=0))


def cvar_interval(
    scores: Scores,
    share: float = SHARE,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
    possible: Range = ANYTHING,
) -> Estimate:
    """Interval of `cvar`, where the worst share is at least `FEWEST_BAD_RUNS` runs.

    The wider end of two: the bootstrap-t interval of the mean of q - max(q - score, 0) / share, whose mean the CVaR is
    (q: the quantile at `share`), and the percentile bootstrap. The first is too narrow where scores have a gap at q,
    the second everywhere else. With fewer runs there is no interval: a mean of one or two runs does not say how much
    worse others could be. Few runs, of which none happened to fail, cannot know that some do: see
    `docs/calibration.md` for what it covers.
    """
    tasks = one_task_each(scores)

    def worst(tasks: Sequence[Array]) -> Array:
        return cvar(tasks, share)

    resampled = bootstrap(tasks, worst, seed=seed, level=level, repetitions=repetitions)
    estimate = replace(resampled, quantity=f"CVaR, worst {share:g}")
    if estimate.smallest < 2 or resampled.method == NO_SPREAD:
        return estimate
    if share * estimate.smallest < FEWEST_BAD_RUNS:
        needed = int(np.ceil(FEWEST_BAD_RUNS / share))
        method = f"no interval: the worst {share:g} of {estimate.smallest} runs is too few, it takes {needed} runs"
        return replace(estimate, low=np.nan, high=np.nan, method=method)
    means = []
    for task in tasks:
        border = task[int(np.ceil(share * task.size - 1e-9)) - 1]
        means.append(border - np.maximum(border - task, 0.0) / share)
    t = mean_interval(means, seed=seed, level=level, repetitions=repetitions)
    low, high = min(t.low, resampled.low), max(t.high, resampled.high)
    return within(replace(estimate, low=low, high=high, method=f"{t.method}, percentile bootstrap"), possible)


@dataclass(frozen=True)
class Tolerance:
    """Bounds that hold at least the share `content` of all future runs, with confidence `level`.

    `low` and `high` are runs that were seen; `high` is infinite in a lower bound. Where `n` runs are fewer than the
    `needed` ones both are NaN, and `reached` is the confidence that the extreme runs would have.
    """

    low: float
    high: float
    content: float
    level: float
    n: int
    needed: int
    reached: float


def tolerance_interval(
    scores: Scores, content: float = CONTENT, level: float = LEVEL, side: Side = "both"
) -> Tolerance:
    """Distribution-free tolerance interval of the runs of one task, or (`side` "low") a lower tolerance bound.

    S. S. Wilks, Annals of Mathematical Statistics 12, 1941: the share of the distribution between two order statistics
    has a beta distribution whatever the scores, so [min, max] of n runs holds 90 % of them with confidence
    1 - 0.9^n - n 0.9^(n - 1) 0.1. As many extreme runs are left out, equally on both sides, as the confidence allows.
    With ties it holds at least that.
    """
    tasks = one_task_each(scores)
    if len(tasks) != 1:
        raise RlbenchError("A tolerance interval is of the runs on one environment; ask for each by itself.")
    runs, n = tasks[0], tasks[0].size
    sides = 2 if side == "both" else 1
    needed = tolerance_runs(content, level, side)
    reached = _confidence(n, content, sides)
    if n < needed:
        return Tolerance(np.nan, np.nan, content, level, n, needed, reached)
    cut = 0  # runs left out on each side
    while _confidence(n, content, sides * (cut + 2)) >= level:
        cut += 1
    high = float(runs[n - 1 - cut]) if side == "both" else np.inf
    return Tolerance(float(runs[cut]), high, content, level, n, needed, _confidence(n, content, sides * (cut + 1)))


@lru_cache
def tolerance_runs(content: float = CONTENT, level: float = LEVEL, side: Side = "both") -> int:
    """Return how many runs a tolerance interval needs at least: 46 for 90 % of the runs at 95 %, 29 on one side."""
    _check_share(content)
    n, sides = 1, 2 if side == "both" else 1
    while _confidence(n, content, sides) < level:
        n += 1
    return n


def _confidence(n: int, content: float, outside: int) -> float:
    """Confidence that `content` of the distribution lies between order statistics with `outside` - 1 runs beyond."""
    return float(special.bdtr(n - outside, n, content)) if n >= outside else 0.0


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise RlbenchError(f"A share of the runs lies between 0 and 1, and {share} does not.")
