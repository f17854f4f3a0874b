"""The panels of a claim's figure; each draws on Axes that it is given.

`effects` holds the verdict against what is claimed; the others show the runs behind it: `doses` over ordered arms,
`runs_as_dots` for means, shares and differences, and learning curves for returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, NullFormatter

from rlbench.analysis.claimtable import number
from rlbench.analysis.compare import ALL
from rlbench.analysis.estimates import Band
from rlbench.analysis.figures.curves import draw_stopped
from rlbench.analysis.figures.rows import draw_estimate, name_rows
from rlbench.analysis.figures.runs import spread
from rlbench.analysis.figures.style import INK, QUIET, ArmStyle, arm_styles, say, wrapped
from rlbench.analysis.intervals import Estimate, mean_interval
from rlbench.analysis.results import Results
from rlbench.analysis.statistics import Array
from rlbench.analysis.suite.labels import short_labels
from rlbench.analysis.suite.words import metric_name
from rlbench.analysis.verdicts import Part, Verdict, regions
from rlbench.claims import BOUNDED, Claim

VERDICT_STYLES: Mapping[str, ArmStyle] = {
    "supported": ArmStyle("#0b5cad", "o", ()),
    "refuted": ArmStyle("#b3400e", "X", ()),
    "inconclusive": ArmStyle("#5d6670", "D", ()),
}
CLAIMED = "#cfe3f7"
_LOGARITHMIC_FROM = 100.0  # ratio of the largest to the smallest value


class Learnt(NamedTuple):
    """The learning curves of one arm on one environment: the mean over used runs, and the runs that stopped early."""

    step: Array  # [points]
    band: Band | None
    stopped: Array  # [runs, points]


LearntOf = Callable[[Results, str, str], Learnt]


def effects(ax: Axes, verdict: Verdict) -> None:
    """Draw the effect of every part with its adjusted interval, and shade where the claim says that it lies."""
    claim, parts = verdict.claim, verdict.parts
    support, refute = regions(claim)
    limits = sorted({end for one in (*support, *refute) for end in one if np.isfinite(end)})
    zero = [] if claim.direction in BOUNDED else [0.0]
    known = [end for part in parts for end in (part.effect.point, part.effect.low, part.effect.high)]
    finite = [value for value in (*known, *limits, *zero) if np.isfinite(value)]
    room = 0.12 * (max(finite) - min(finite) or 1.0)
    left, right = min(finite) - room, max(finite) + room
    for low, high in support:
        ax.axvspan(max(low, left), min(high, right), color=CLAIMED, linewidth=0, zorder=0)
    for at in limits:
        ax.axvline(at, color=VERDICT_STYLES["supported"].color, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1.5)
    for at in zero:
        ax.axvline(at, color=QUIET, linewidth=1.0, zorder=1.4)
    for row, part in enumerate(parts):
        style = VERDICT_STYLES[part.verdict]
        if np.isfinite(part.effect.point):
            draw_estimate(ax, row, part.effect, style, marker=style.marker, hollow=part.verdict == "inconclusive")
        else:
            ax.annotate("no used run", (0.02, row), xycoords=("axes fraction", "data"), va="center", color=QUIET)
    title, labels = part_labels(claim, parts)
    name_rows(ax, labels)
    ax.set_xlim(left, right)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_title(wrapped(title, 40), fontsize=10)
    ax.set_xlabel(_effect_label(claim), fontsize=9)
    if claim.event is not None:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))


def part_labels(claim: Claim, parts: Sequence[Part]) -> tuple[str, list[str]]:
    """Return a title and the label of each part: what all of them share is in the title."""
    several = len({part.environment for part in parts}) > 1
    places = {part.environment: "mean of environments" if part.environment == ALL else part.environment for part in parts}
    pairs = list(dict.fromkeys((part.arm, part.other) for part in parts))
    if len(pairs) == 1 or claim.direction in ("increasing", "decreasing"):
        arm, other = pairs[0]
        minus = "" if not other else f" minus {other}"
        title = "change over the arms" if claim.direction in ("increasing", "decreasing") else f"{arm}{minus}"
        return title, [places[part.environment] for part in parts]
    first = {arm for arm, _ in pairs}
    _, short = short_labels(list(dict.fromkeys(name for pair in pairs for name in pair if name)))
    names = dict(zip(dict.fromkeys(name for pair in pairs for name in pair if name), short, strict=True))
    labels = [f"− {names[part.other]}" if part.other else names[part.arm] for part in parts]
    where = [f", {places[part.environment]}" if several else "" for part in parts]
    title = f"{first.pop()} minus …" if len(first) == 1 else "each arm"
    return title, [label + place for label, place in zip(labels, where, strict=True)]


def doses(ax: Axes, table: pd.DataFrame, verdict: Verdict, results: Results) -> list[Estimate]:
    """Draw means over ordered arms with intervals: thin lines per environment, a thick one for their mean.

    `table` is that of `measures.measure`, of the claim's arms and environments. Returns the estimates drawn.
    """
    claim = verdict.claim
    shared, short = short_labels(claim.arms)
    environments = _places(claim, results)
    styles = arm_styles(environments)
    drawn: list[Estimate] = []
    x = np.arange(len(claim.arms))
    many = len(environments) > 1
    for index, name in enumerate(environments):
        line = [_mean(table, arm, [name], results) for arm in claim.arms]
        _line(ax, x + 0.04 * (index - (len(environments) - 1) / 2), line, styles[name], name, thin=many)
        drawn += line
    if many and claim.over == "mean":
        line = [_mean(table, arm, environments, results) for arm in claim.arms]
        _line(ax, x, line, ArmStyle(INK, "o", ()), "mean", thin=False)
        drawn += line
    if claim.best in claim.arms:
        ax.axvline(claim.arms.index(str(claim.best)), color=CLAIMED, linewidth=9, zorder=0)
    _scale(ax, "y", [one.point for one in drawn])
    ax.set_xticks(x, [wrapped(one, 12) for one in short])
    ax.set_xlabel(shared or "arm")
    ax.set_ylabel(wrapped(metric_name(claim.metric), 34), fontsize=9)
    if ax.lines and (many or len(environments) == 1):
        ax.legend(fontsize=8, loc="best", framealpha=0.75, frameon=True, edgecolor="none")
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
        labels.append(text if len(environments) == 1 else name if len(claim.arms) == 1 else f"{name}, {text}")
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
    ax.set_title(environment, fontsize=10)
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    if not ax.lines:
        say(ax, "No run has finished an episode here.")
    return drawn


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


def _scale(ax: Axes, axis: str, values: Sequence[float]) -> None:
    """Draw positive values over several powers of ten logarithmically."""
    known = np.asarray([value for value in values if np.isfinite(value)], np.float64)
    if known.size == 0 or known.min() <= 0 or known.max() < _LOGARITHMIC_FROM * known.min():
        return
    (ax.set_xscale if axis == "x" else ax.set_yscale)("log")
    scale = ax.xaxis if axis == "x" else ax.yaxis
    scale.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    scale.set_minor_formatter(NullFormatter())


def _effect_label(claim: Claim) -> str:
    """Return what the axis of effects shows."""
    name = metric_name(claim.metric)
    if claim.event is not None:
        return wrapped(f"share of runs with {name} {claim.event}", 48)
    if claim.direction in BOUNDED:
        return wrapped(f"mean {name}", 48)
    return wrapped(f"{'change' if claim.direction in ('increasing', 'decreasing') else 'difference'} in {name}", 48)
