"""The left side of a claim's figure, the runs behind a verdict: arms in order, dots, or learning curves.

Each function draws on Axes that it is given and returns the estimates that it drew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, NullFormatter

from rlbench.analysis.claimtable import number
from rlbench.analysis.estimates import Band
from rlbench.analysis.figures.curves import draw_stopped
from rlbench.analysis.figures.rows import draw_estimate, name_rows
from rlbench.analysis.figures.runs import spread
from rlbench.analysis.figures.style import INK, ArmStyle, arm_styles, say, wrapped
from rlbench.analysis.intervals import Estimate, mean_interval
from rlbench.analysis.results import Results
from rlbench.analysis.statistics import Array
from rlbench.analysis.suite.effects import CLAIMED, VERDICT_STYLES
from rlbench.analysis.suite.labels import place_name, short_labels
from rlbench.analysis.suite.words import metric_name
from rlbench.analysis.verdicts import Verdict
from rlbench.claims import RETURNS, Claim

_LOGARITHMIC_FROM = 100.0  # ratio of the largest to the smallest value


class Learnt(NamedTuple):
    """The learning curves of one arm on one environment: the mean over used runs, and the runs that stopped early."""

    step: Array  # [points]
    band: Band | None
    stopped: Array  # [runs, points]


LearntOf = Callable[[Results, str, str], Learnt]


def doses(ax: Axes, table: pd.DataFrame, verdict: Verdict, results: Results) -> list[Estimate]:
    """Draw means over ordered arms with intervals: thin lines per environment, a thick one for their mean.

    `table` is that of `measures.measure`, of the claim's arms and environments. Returns the estimates drawn.
    """
    claim = verdict.claim
    shared, short = short_labels(claim.arms)
    environments = _places(claim, results)
    styles = arm_styles(environments)
    drawn: list[Estimate] = []
    x = np.arange(len(claim.arms), dtype=np.float64)
    many = len(environments) > 1
    for index, name in enumerate(environments):
        line = [_mean(table, arm, [name], results) for arm in claim.arms]
        beside = 0.04 * (index - (len(environments) - 1) / 2)
        _line(ax, np.add(x, beside), line, styles[name], place_name(name), thin=many)
        drawn += line
    if many and claim.metric not in RETURNS:  # returns of different environments have different units
        line = [_mean(table, arm, environments, results) for arm in claim.arms]
        _line(ax, x, line, ArmStyle(INK, "o", ()), "mean of environments", thin=False)
        drawn += line
    if not many or claim.metric not in RETURNS:
        _claimed(ax, claim, [one.point for one in drawn[-len(x) :]])
    _scale(ax, "y", [one.point for one in drawn])
    ax.set_xticks(x, [wrapped(one, 12) for one in short])
    ax.set_xlabel(shared or "arm")
    ax.set_ylabel(wrapped(metric_name(claim.metric), 34), fontsize=9)
    if not np.isfinite([one.point for one in drawn]).any():
        say(ax, "No run recorded this.")
    return drawn


def runs_as_dots(ax: Axes, table: pd.DataFrame, verdict: Verdict, results: Results) -> list[Estimate]:
    """Draw every run as a dot in one row per environment and arm, with the mean and its interval, and the bound."""
    claim = verdict.claim
    environments = _places(claim, results)
    shared, short = short_labels(claim.arms)
    drawn, labels = [], []
    rows = [(name, arm, text) for name in environments for arm, text in zip(claim.arms, short, strict=True)]
    for row, (name, arm, text) in enumerate(rows):
        own = table[(table["arm"] == arm) & (table["environment"] == name)].sort_values("seed")
        value, used = own["value"].to_numpy(np.float64), own["used"].to_numpy(bool)
        style = results.styles[arm]
        height = row - 0.05 - 0.28 * spread(len(own))
        ax.scatter(value[used], height[used], s=13, color=style.color, alpha=0.65, linewidth=0, zorder=2.5)
        ax.scatter(value[~used], height[~used], s=18, color=style.color, marker="x", linewidth=1.1, zorder=2.5)
        drawn.append(_mean(table, arm, [name], results))
        if claim.event is None and np.isfinite(drawn[-1].point):
            draw_estimate(ax, row + 0.22, drawn[-1], style, marker=style.marker)
        labels.append(
            text if len(environments) == 1 else ", ".join([place_name(name), *([text] if len(claim.arms) > 1 else [])])
        )
    at = claim.condition[1] if claim.condition else claim.bound
    if at is not None:
        ax.axvline(at, color=VERDICT_STYLES["supported"].color, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1.5)
    name_rows(ax, labels)
    _scale(ax, "x", list(table["value"]) + ([at] if at is not None else []))
    ax.set_xlabel(wrapped(metric_name(claim.metric), 52), fontsize=9)
    title = claim.arms[0] if len(claim.arms) == 1 else shared
    ax.set_title(wrapped(title, 44), fontsize=10)
    if not np.isfinite(table["value"]).any():
        say(ax, "No run recorded this.")
    return drawn if claim.event is None else []


def learning_curves(ax: Axes, environment: str, claim: Claim, results: Results, learnt: LearntOf) -> list[Band]:
    """Draw the mean learning curve of every arm of a claim on one environment, with its interval."""
    drawn = []
    for arm in claim.arms:
        style, own = results.styles[arm], learnt(results, arm, environment)
        if own.band is not None:
            ax.plot(own.step, own.band.point, color=style.color, linestyle=style.line, linewidth=1.5, label=arm)
            ax.fill_between(own.step, own.band.low, own.band.high, color=style.color, alpha=0.15, linewidth=0)
            drawn.append(own.band)
        for run in own.stopped:
            draw_stopped(ax, own.step, run, style)
    ax.set_title(place_name(environment), fontsize=10)
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    if not ax.lines:
        say(ax, "No run has finished an episode here.")
    return drawn


def _claimed(ax: Axes, claim: Claim, points: Sequence[float]) -> None:
    """Draw what the claim asks of a line of means: the least rise or fall, or the level that its ends must not pass."""
    color, d, last = VERDICT_STYLES["supported"].color, claim.smallest_effect, len(points) - 1
    falls = claim.direction in ("decreasing", "dip")
    if claim.best in claim.arms:
        at = claim.arms.index(str(claim.best))
        level = points[at] + d if falls else points[at] - d
        ax.axvline(at, color=CLAIMED, linewidth=9, zorder=0)
        ends, what = [level, level], "claimed of both ends"
    elif d > 0:
        ends = [points[0], points[0] - d if falls else points[0] + d]
        what = f"claimed: {'falls' if falls else 'rises'} more"
    else:
        return
    ax.plot([0, last], ends, color=color, linewidth=1.0, linestyle=(0, (4, 3)), label=what)


def _places(claim: Claim, results: Results) -> list[str]:
    return list(claim.environments or results.environments)


def _mean(table: pd.DataFrame, arm: str, environments: Sequence[str], results: Results) -> Estimate:
    """Return the mean over the runs that have a value, of several environments the mean of their means."""
    own = table[(table["arm"] == arm) & table["used"].astype(bool) & np.isfinite(table["value"])]
    tasks = [own["value"][own["environment"] == name].to_numpy(np.float64) for name in environments]
    return mean_interval(tasks, seed=results.seed)


def _line(ax: Axes, x: Array, line: Sequence[Estimate], style: ArmStyle, label: str, *, thin: bool) -> None:
    """Draw means from arm to arm with their intervals."""
    point, low, high = (np.array([getattr(one, end) for one in line]) for end in ("point", "low", "high"))
    ends = np.array([point - low, high - point])
    ax.errorbar(
        x,
        point,
        yerr=np.where(np.isfinite(ends), ends, 0.0),
        color=style.color,
        linestyle=style.line,
        marker=style.marker,
        markersize=4 if thin else 5.5,
        linewidth=1.0 if thin else 2.2,
        elinewidth=0.9 if thin else 1.6,
        label=label,
        zorder=2.5 if thin else 2.7,
    )


def _plain(value: float, _: int) -> str:
    return number(value)


def _scale(ax: Axes, axis: str, values: Sequence[float]) -> None:
    """Draw positive values over several powers of ten logarithmically."""
    known = np.asarray([value for value in values if np.isfinite(value)], np.float64)
    if known.size == 0 or known.min() <= 0 or known.max() < _LOGARITHMIC_FROM * known.min():
        return
    (ax.set_xscale if axis == "x" else ax.set_yscale)("log")
    scale = ax.xaxis if axis == "x" else ax.yaxis
    scale.set_major_formatter(FuncFormatter(_plain))
    scale.set_minor_formatter(NullFormatter())
