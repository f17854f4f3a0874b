"""How long until something happens that has not happened in every run: Kaplan-Meier curve and restricted mean.

A run that had not got there when it ended is censored: it took more than so many steps, and dropping it would call an
algorithm fast for failing. `times` `[runs]` are the steps at which a run got there, or after which it was watched no
longer; `reached` `[runs]` says which of the two. Units are those of `times`, environment steps.

E. L. Kaplan and P. Meier, JASA 53, 1958; called S(t), the share of runs that take longer than t.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rlbench.analysis.stats.estimates import LEVEL, NO_RUN, ONE_RUN, REPETITIONS, Band, Estimate, blank
from rlbench.analysis.stats.intervals import mean_interval
from rlbench.analysis.stats.proportions import wilson
from rlbench.analysis.stats.statistics import Array
from rlbench.errors import RlbenchError

Times = npt.ArrayLike


def survival(times: Times, reached: npt.ArrayLike, at: npt.ArrayLike) -> Array:
    """Return S at the times `at`, `[points]`: the Kaplan-Meier estimate, constant after the last run."""
    return _steps(*_checked(times, reached), np.atleast_1d(np.asarray(at, np.float64)))[0]


def survival_band(times: Times, reached: npt.ArrayLike, at: npt.ArrayLike, *, level: float = LEVEL) -> Band:
    """S at the times `at` with a pointwise interval.

    Wilson's interval of a proportion of n_e runs, n_e = S (1 - S) / Greenwood's variance (K. J. Rothman, Journal of
    Chronic Diseases 31, 1978); n_e is the number of runs as long as none was censored, and the number still watched
    where S is 1 or 0. One minus it is the share of runs that got there.
    """
    time, got = _checked(times, reached)
    where = np.atleast_1d(np.asarray(at, np.float64))
    name = "share of runs not there yet"
    if time.size < 2:
        point = _steps(time, got, where)[0] if time.size else np.full(where.shape, np.nan)
        return blank(point, level, [time], ONE_RUN if time.size else NO_RUN, name)
    share, variance = _steps(time, got, where)
    watched = np.maximum((time[:, None] > where).sum(0), 1)
    inside = (variance > 0) & (share > 0) & (share < 1)
    effective = np.where(inside, share * (1 - share) / np.where(inside, variance, 1.0), 0.0)
    never_censored = where < np.where(got, np.inf, time).min()
    runs = np.where(never_censored, time.size, np.where(inside, effective, watched))
    ends = [wilson(p, n, level) for p, n in zip(share, runs, strict=True)]
    low, high = (np.array([float(end[side]) for end in ends]) for side in (0, 1))
    return Band(share, low, high, level, time.size, "Kaplan-Meier, Wilson", time.size, name)


def median_time(times: Times, reached: npt.ArrayLike) -> float:
    """Return the first time at which at most half of the runs are not there yet; infinite if that never came."""
    time, got = _checked(times, reached)
    steps = np.unique(time[got])
    below = _steps(time, got, steps)[0] <= 0.5 if steps.size else np.array([], bool)
    return float(steps[below][0]) if below.any() else float("inf")


def restricted_mean(times: Times, reached: npt.ArrayLike, horizon: float) -> float:
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


def pseudo_times(times: Times, reached: npt.ArrayLike, horizon: float) -> Array:
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
    times: Times,
    reached: npt.ArrayLike,
    horizon: float,
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
) -> Estimate:
    """`restricted_mean` with the interval of a mean (`intervals.mean_interval`) of the `pseudo_times`."""
    pseudo = pseudo_times(times, reached, horizon)
    estimate = mean_interval(pseudo, seed=seed, level=level, repetitions=repetitions, possible=(0.0, horizon))
    return replace(estimate, quantity="restricted mean")


def _area(time: Array, got: npt.NDArray[np.bool_], horizon: float) -> float:
    """Area under S up to the horizon; after the last run S stays where it is."""
    edges = np.unique(np.append(time[got & (time < horizon)], [0.0, horizon]))
    return float((_steps(time, got, edges[:-1])[0] * np.diff(edges)).sum())


def _checked(times: Times, reached: npt.ArrayLike) -> tuple[Array, npt.NDArray[np.bool_]]:
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
