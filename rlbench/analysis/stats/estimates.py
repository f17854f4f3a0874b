"""Statistics of run scores: pure functions of arrays, one number per training run.

Every function takes `Scores`: either one array `[..., runs]` for one task (an environment), or a sequence of
such arrays, one per task, whose numbers of runs may differ. The last axis is the runs; leading axes
(bootstrap repetitions) are kept, so the result is `[...]`. Scores must be finite and every task needs at
least one run.

Over several tasks every task counts the same in `mean`, `probability_of_improvement` and `performance_profile` (the
mean over tasks of the per-task value); `iqm` and `median` pool the runs of all tasks. Scores of different tasks are
comparable only after normalisation by fixed references.

An `Estimate` is a statistic with its interval, and `interval_name` what that interval may be called: what intervals
cover is measured (`calibration.csv`, written by `python -m tests.statistics.publish`; `docs/calibration.md` shows it).

Source of the definitions: R. Agarwal, M. Schwarzer, P. S. Castro, A. Courville and M. G. Bellemare, "Deep
Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021; called [Agarwal 2021] below.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from rlbench.errors import RlbenchError

Array = npt.NDArray[np.float64]
Scores = Array | Sequence[float] | Sequence[npt.ArrayLike]
Statistic = Callable[[Sequence[Array]], Array]


def as_tasks(scores: Scores, *, allow_empty: bool = False) -> list[Array]:
    """Return the scores as a list of float arrays, one per task, each `[..., runs]`.

    An ndarray or a sequence of plain numbers is ONE task; any other sequence holds one array per task.

    Raises:
        RlbenchError: no task, a task without runs (unless `allow_empty`), or a score that is NaN or infinite.
    """
    several = isinstance(scores, list | tuple) and any(np.ndim(part) > 0 for part in scores)
    tasks = [np.asarray(part, np.float64) for part in (scores if several else [scores])]
    if any(task.ndim == 0 or (task.shape[-1] == 0 and not allow_empty) for task in tasks):
        raise RlbenchError("A statistic needs at least one run in every environment, and here one has none.")
    if not all(np.isfinite(task).all() for task in tasks):
        raise RlbenchError("A statistic was asked of scores with NaN or infinity; select the used runs first.")
    return tasks


def check_same_tasks(scores: Sequence[Array], baseline: Sequence[Array]) -> None:
    """Raise RlbenchError unless both sides have the same number of tasks."""
    if len(scores) != len(baseline):
        raise RlbenchError(
            f"Both arms need scores on the same environments, but have {len(scores)} and {len(baseline)}."
        )


def mean(scores: Scores) -> Array:
    """Mean over the runs of each task, then over tasks; `[...]`. With equal run counts the pooled mean."""
    return _over_tasks([task.mean(-1) for task in as_tasks(scores)])


def median(scores: Scores) -> Array:
    """Median of the pooled scores of all tasks; `[...]`.

    [Agarwal 2021] use "median" for another number, the median over tasks of the tasks' means; with the
    handful of tasks compared here that one says little, and for one task it is the mean.
    """
    return np.asarray(np.median(_pool(scores), axis=-1))


def iqm(scores: Scores) -> Array:
    """Interquartile mean [Agarwal 2021]: mean of the pooled scores without the lowest and highest quarter.

    Cuts floor(n / 4) scores at each end, as `scipy.stats.trim_mean(scores, 0.25)` does; fewer than four
    scores are therefore not trimmed at all, and of ten scores six remain. Note that it hides rare collapses
    of single runs.
    """
    pooled = np.sort(_pool(scores), axis=-1)
    cut = pooled.shape[-1] // 4
    return np.asarray(pooled[..., cut : pooled.shape[-1] - cut].mean(-1))


def probability_of_improvement(scores: Scores, baseline: Scores) -> Array:
    """Probability that a random run scores more than a random run of the baseline on the same task; `[...]`.

    Per task the Mann-Whitney U statistic over n m, a tie counts one half; then the mean over tasks [Agarwal
    2021]. It says how often, not by how much.

    Raises:
        RlbenchError: the two sides have different numbers of tasks.
    """
    x, y = as_tasks(scores), as_tasks(baseline)
    check_same_tasks(x, y)
    return _over_tasks([_superiority(a, b) for a, b in zip(x, y, strict=True)])


def performance_profile(scores: Scores, thresholds: npt.ArrayLike) -> Array:
    """Share of runs that score strictly more than each threshold, mean over tasks [Agarwal 2021].

    `thresholds` is `[thresholds]`, the result `[..., thresholds]`.
    """
    tau = np.asarray(thresholds, np.float64)
    shares = []
    for task in as_tasks(scores):
        ordered = np.sort(task, axis=-1)
        if ordered.ndim == 1:
            shares.append(1.0 - np.searchsorted(ordered, tau, side="right") / ordered.size)
        else:
            shares.append((ordered[..., None] > tau).mean(-2))  # [..., runs, thresholds] -> [..., thresholds]
    return _over_tasks(shares)


def _superiority(x: Array, y: Array) -> Array:
    """P(X > Y) + P(X = Y) / 2 over all pairs of one task; `[..., n]` and `[..., m]` to `[...]`."""
    above = (x[..., :, None] > y[..., None, :]).mean((-2, -1))
    below = (x[..., :, None] < y[..., None, :]).mean((-2, -1))
    return np.asarray((1.0 + above - below) / 2.0)


def _pool(scores: Scores) -> Array:
    tasks = as_tasks(scores)
    return tasks[0] if len(tasks) == 1 else np.concatenate(tasks, axis=-1)


def _over_tasks(values: Sequence[npt.ArrayLike]) -> Array:
    return np.asarray(np.mean(np.stack([np.asarray(value) for value in values]), axis=0))


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
    holds the true value; `interval_name` says where that was measured not to be so. `n` counts the
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


def without_interval(point: Array, groups: Sequence[Array], level: float, method: str, quantity: str) -> Band:
    """Return a line without interval, of `groups` of runs `[runs, ...]`."""
    nothing, sizes = np.full(point.shape, np.nan), [len(group) for group in groups]
    return Band(point, nothing, nothing, level, sum(sizes), method, min(sizes), quantity)


def too_few(
    groups: Sequence[Array], points: int, level: float, quantity: str, point: Callable[[], npt.ArrayLike]
) -> Band | None:
    """Return a line of `points` without interval where a group has no run, or a single one; None where all have more.

    `point` computes the line, where there are runs.
    """
    smallest = min(map(len, groups))
    if smallest > 1:
        return None
    line = np.asarray(point(), np.float64).reshape(points) if smallest else np.full(points, np.nan)
    return without_interval(line, groups, level, ONE_RUN if smallest else NO_RUN, quantity)


def one_task_each(scores: Scores) -> list[Array]:
    """Return the sorted scores of each task, `[runs]`; tasks without runs are allowed here."""
    tasks = as_tasks(scores, allow_empty=True)
    if any(task.ndim != 1 for task in tasks):
        raise RlbenchError("An interval needs one score per run: one array [runs] per task.")
    return [np.sort(task) for task in tasks]


# Closed-form intervals for probabilities, honest at 0 and 1, where resampling gives zero width.
#
# The percentile bootstrap of a probability of improvement of 0.95 covers it in 60 to 80 % of samples of ten
# against ten runs, one of 0.99 in 15 to 40 % (measured), since ten runs that all win resample to ten runs that
# all win.

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
    point, means, variance = float(beaten.mean()), [], 0.0
    for placements in (beaten.mean(1), beaten.mean(0)):
        n = placements.size + PRIOR
        mean = float((placements.sum() + PRIOR / 2) / n)
        square = ((placements - mean) ** 2).sum() + PRIOR / 2 * (mean**2 + (1 - mean) ** 2)
        means.append(mean)
        variance += float(square / (n - 1) / n)
    centre = (means[0] + means[1]) / 2
    low, high = wilson(point, max(centre * (1 - centre) / variance, min(x.size, y.size)), level)
    return point, float(low), float(high)


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


FILE = Path(__file__).with_name("calibration.csv")
LEAST = 0.93  # what a 95 % interval must at least cover, whatever the scores, to be called one
_NOT_SHOWN = ("best of a sweep, as it looks", "whole curve, pointwise band")  # by any report under that name

# Quantities that were not simulated by themselves, and the one that they are an instance of.
_SAME_AS = {
    "performance profile": "share of runs (Wilson)",
    "share of runs not there yet": "share of runs (Wilson)",
    "collapse probability": "share of runs (Wilson)",
}


class Coverage(NamedTuple):
    """What intervals covered at least and at most, over all kinds of scores, with `fewest` to `most` runs."""

    low: float
    high: float
    fewest: int
    most: int


@cache
def _coverage() -> pd.DataFrame:
    table = pd.read_csv(FILE)
    return table[table["kind"] == "coverage"]


@lru_cache
def measured(quantity: str, runs: int) -> Coverage | None:
    """Return what 95 % intervals of a quantity covered with `runs` runs, or with the numbers simulated around it.

    None where nothing was simulated with so few runs.
    """
    table = _coverage()
    table = table[table["what"] == _SAME_AS.get(quantity, quantity)]
    sizes = table["n"]
    if not (sizes <= runs).any():
        return None
    fewest = int(sizes[sizes <= runs].max())
    most = int(sizes[sizes >= runs].min()) if (sizes >= runs).any() else fewest
    rates = table["rate"][sizes.isin([fewest, most])]
    return Coverage(rates.min(), rates.max(), fewest, most)


def nominal(sizes: Iterable[int]) -> str:
    """Return what nominal 95 % intervals covered with so many runs: `with 10 runs: mean 90 to 98 %` and so on."""
    quantities = dict.fromkeys(_coverage()["what"])
    texts = []
    for runs in sorted(set(sizes)):
        found = {quantity: measured(quantity, runs) for quantity in quantities if quantity not in _NOT_SHOWN}
        held = [
            f"{quantity} {one.low * 100:.0f} to {one.high * 100:.0f} %"
            for quantity, one in found.items()
            if one and one.low < LEAST
        ]
        if not any(found.values()):
            texts.append(f"with {runs} run{'s' * (runs != 1)}: nothing was simulated, so all of them")
        elif held:
            texts.append(f"with {runs} runs: {', '.join(held)}")
    return "; ".join(texts)


def interval_name(estimates: Sequence[Estimate | Band]) -> str:
    """Return what an interval may be called: "95 % interval", or "nominal 95 % interval" if it may cover less.

    Of several estimates of the same quantity, such as the points of a figure, the one from the fewest runs counts
    among those that have an interval.
    """
    given = [one for one in estimates if np.isfinite(one.low).any()]
    if not given:
        return f"{LEVEL * 100:g} % interval"
    least = min(given, key=lambda one: one.smallest)
    name = f"{least.level * 100:.4g} % interval"
    simultaneous = isinstance(least, Band) and least.simultaneous
    quantity = "whole curve, simultaneous band" if simultaneous else least.quantity
    found = measured(quantity, least.smallest)
    return name if found and found.low >= LEAST and least.level == LEVEL else f"nominal {name}"
