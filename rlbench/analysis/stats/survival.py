"""How long until something happens that has not happened in every run, and how bad the bad runs are.

Times. A run that had not got there when it ended is censored: it took more than so many steps, and dropping it would
call an algorithm fast for failing. `times` `[runs]` are the steps at which a run got there, or after which it was
watched no longer; `reached` `[runs]` says which of the two. Units are those of `times`, environment steps. S(t) is the
share of runs that take longer than t (E. L. Kaplan and P. Meier, JASA 53, 1958).

Bad runs: the mean of the worst, and bounds that most future runs keep. Both are about single runs, not about their
average: a tolerance interval does not shrink to a point with more seeds. Recommended for reinforcement learning by
A. Patterson, S. Neumann, M. White and A. White, "Empirical Design in Reinforcement Learning", JMLR 25, 2024. Scores as
in `estimates`; higher is better.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Literal, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt
from scipy import special

from rlbench.analysis.stats import estimates
from rlbench.analysis.stats.estimates import ANYTHING, LEVEL, NO_SPREAD, Array, Band, Estimate, Range, Scores
from rlbench.analysis.stats.intervals import Resampling, bootstrap, mean_interval
from rlbench.errors import RlbenchError


def survival_band(times: npt.ArrayLike, reached: npt.ArrayLike, at: npt.ArrayLike, *, level: float = LEVEL) -> Band:
    """S at the times `at` with a pointwise interval.

    Wilson's interval of a proportion of n_e runs, n_e = S (1 - S) / Greenwood's variance (K. J. Rothman, Journal of
    Chronic Diseases 31, 1978); n_e is the number of runs as long as none was censored, and the number still watched
    where S is 1 or 0. One minus it is the share of runs that got there.
    """
    time, got = _checked(times, reached)
    where = np.atleast_1d(np.asarray(at, np.float64))
    name = "share of runs not there yet"
    if few := estimates.too_few([time], where.size, level, name, lambda: _steps(time, got, where)[0]):
        return few
    share, variance = _steps(time, got, where)
    watched = np.maximum((time[:, None] > where).sum(0), 1)
    inside = (variance > 0) & (share > 0) & (share < 1)
    effective = np.where(inside, share * (1 - share) / np.where(inside, variance, 1.0), watched)
    never_censored = where < np.where(got, np.inf, time).min()
    runs = np.where(never_censored, time.size, effective)
    low, high = np.array([estimates.wilson(p, n, level) for p, n in zip(share, runs, strict=True)], np.float64).T
    return Band(share, low, high, level, time.size, "Kaplan-Meier, Wilson", time.size, name)


def median_time(times: npt.ArrayLike, reached: npt.ArrayLike) -> float:
    """Return the first time at which at most half of the runs are not there yet; infinite if that never came."""
    time, got = _checked(times, reached)
    steps = np.unique(time[got])
    below = _steps(time, got, steps)[0] <= 0.5 if steps.size else np.array([], bool)
    return float(steps[below][0]) if below.any() else float("inf")


def restricted_mean(times: npt.ArrayLike, reached: npt.ArrayLike, horizon: float) -> float:
    """Return the mean of min(T, horizon), the area under S up to `horizon`.

    With the budget as horizon: the mean number of steps spent before getting there, a run that never did counted with
    the whole budget (J. O. Irwin, Journal of Hygiene 47, 1949; P. Royston and M. K. B. Parmar, BMC Medical Research
    Methodology 13, 2013). Runs censored before the horizon count by what the others did after that.

    Raises:
        RlbenchError: no run was watched up to the horizon, and not every run had got there.
    """
    time, got = _checked(times, reached)
    if time.size == 0:
        return float("nan")
    if time.max() < horizon and not got[time == time.max()].all():
        raise RlbenchError(f"No run was watched for {horizon:g} steps: the restricted mean needs a nearer horizon.")
    return _area(time, got, horizon)


def pseudo_times(times: npt.ArrayLike, reached: npt.ArrayLike, horizon: float) -> Array:
    """Return one number per run whose mean is the restricted mean, so that it can be treated as a score.

    n theta - (n - 1) theta without the run (P. K. Andersen, M. G. Hansen and J. P. Klein, Lifetime Data Analysis 10,
    2004). Without censoring before the horizon it is min(T, horizon).
    """
    time, got = _checked(times, reached)
    if (got | (time >= horizon)).all():
        return np.minimum(time, horizon)
    n = time.size
    whole = restricted_mean(time, got, horizon)
    others = [_area(np.delete(time, run), np.delete(got, run), horizon) for run in range(n)]
    return np.asarray(n * whole - (n - 1) * np.array(others))


def restricted_mean_interval(
    times: npt.ArrayLike, reached: npt.ArrayLike, horizon: float, **how: Unpack[Resampling]
) -> Estimate:
    """`restricted_mean` with the interval of a mean (`intervals.mean_interval`) of the `pseudo_times`."""
    estimate = mean_interval(pseudo_times(times, reached, horizon), possible=(0.0, horizon), **how)
    return replace(estimate, quantity="restricted mean")


def _area(time: Array, got: npt.NDArray[np.bool_], horizon: float) -> float:
    """Area under S up to the horizon; after the last run S stays where it is."""
    edges = np.unique(np.append(time[got & (time < horizon)], [0.0, horizon]))
    return float((_steps(time, got, edges[:-1])[0] * np.diff(edges)).sum())


def _checked(times: npt.ArrayLike, reached: npt.ArrayLike) -> tuple[Array, npt.NDArray[np.bool_]]:
    time, got = np.asarray(times, np.float64), np.asarray(reached, bool)
    if time.ndim != 1 or time.shape != got.shape:
        raise RlbenchError("Times and whether they were reached need one entry per run each.")
    if not np.isfinite(time).all() or (time < 0).any():
        raise RlbenchError("A run that never got there is censored at the steps it had, not at NaN or infinity.")
    order = np.lexsort((~got, time))
    return time[order], got[order]


def _steps(time: Array, got: npt.NDArray[np.bool_], at: Array) -> tuple[Array, Array]:
    """Return S and Greenwood's variance of it at `at`, `[points]`; a run censored at an event was still watched."""
    events = np.unique(time[got])
    happened = np.array([(time[got] == event).sum() for event in events], np.float64)
    watched = np.array([(time >= event).sum() for event in events], np.float64)
    share = np.concatenate([[1.0], np.cumprod(1 - happened / np.maximum(watched, 1))])
    left = watched - happened
    growth = np.divide(happened, watched * left, out=np.zeros_like(left), where=left > 0)
    variance = share**2 * np.concatenate([[0.0], np.cumsum(growth)])
    index = np.searchsorted(events, at, side="right")
    return share[index], variance[index]


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
    for task in estimates.as_tasks(scores):
        n = task.shape[-1]
        weight = np.clip(share * n - np.arange(n), 0.0, 1.0) if share * n > 1 else (np.arange(n) == 0).astype(float)
        parts.append((np.sort(task, axis=-1) * (weight / weight.sum())).sum(-1))
    return np.asarray(np.mean(np.stack(parts), axis=0))


def cvar_interval(
    scores: Scores, share: float = SHARE, *, possible: Range = ANYTHING, **how: Unpack[Resampling]
) -> Estimate:
    """Interval of `cvar`, where the worst share is at least `FEWEST_BAD_RUNS` runs.

    The wider end of two: the bootstrap-t interval of the mean of q - max(q - score, 0) / share, whose mean the CVaR is
    (q: the quantile at `share`), and the percentile bootstrap. The first is too narrow where scores have a gap at q,
    the second everywhere else. With fewer runs there is no interval: a mean of one or two runs does not say how much
    worse others could be. Few runs, of which none happened to fail, cannot know that some do: see
    `docs/calibration.md` for what it covers.
    """
    tasks = estimates.one_task_each(scores)
    resampled = bootstrap(tasks, lambda sample: cvar(sample, share), **how)
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
    t = mean_interval(means, **how)
    low, high = min(t.low, resampled.low), max(t.high, resampled.high)
    estimate = replace(estimate, low=low, high=high, method=f"{t.method}, percentile bootstrap")
    return estimates.within(estimate, possible)


class Tolerance(NamedTuple):
    """Bounds of future runs, runs that were seen; `high` is infinite in a lower bound.

    NaN where there are fewer runs than the `needed` ones; `reached` is the confidence of the bounds, else that which
    the extreme runs would have.
    """

    low: float
    high: float
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
    tasks = estimates.one_task_each(scores)
    if len(tasks) != 1:
        raise RlbenchError("A tolerance interval is of the runs on one environment; ask for each by itself.")
    runs, needed, sides = tasks[0], tolerance_runs(content, level, side), 2 if side == "both" else 1
    n, cut = runs.size, 0  # runs left out on each side
    if n < needed:
        return Tolerance(np.nan, np.nan, needed, _confidence(n, content, sides))
    while _confidence(n, content, sides * (cut + 2)) >= level:
        cut += 1
    high = float(runs[n - 1 - cut]) if side == "both" else np.inf
    return Tolerance(float(runs[cut]), high, needed, _confidence(n, content, sides * (cut + 1)))


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
