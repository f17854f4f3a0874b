"""The right side of a claim's figure: every part's effect against what is claimed."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter

from rlbench.analysis.draw.annotate import draw_estimate, name_rows, run_counts
from rlbench.analysis.draw.curves import draw_stopped
from rlbench.analysis.draw.dots import spread
from rlbench.analysis.draw.files import Picture
from rlbench.analysis.draw.style import INK, QUIET, ArmStyle, arm_styles, say, wrapped
from rlbench.analysis.judge.judged import JudgedResults
from rlbench.analysis.judge.verdicts import Part, Verdict, regions
from rlbench.analysis.report.claims import event_name, metric_name, number, place_name, short_labels
from rlbench.analysis.report.entries import Entry
from rlbench.analysis.scores.metrics import measure
from rlbench.analysis.scores.references import possible_range
from rlbench.analysis.scores.scores import ALL
from rlbench.analysis.stats.coverage import interval_name
from rlbench.analysis.stats.estimates import Band, Estimate
from rlbench.analysis.stats.intervals import curve_band, mean_interval
from rlbench.analysis.stats.statistics import Array
from rlbench.claims import BOUNDED, ORDERED, RETURNS, Claim

VERDICT_STYLES: Mapping[str, ArmStyle] = {
    "supported": ArmStyle("#0b5cad", "o", ()),
    "refuted": ArmStyle("#b3400e", "X", ()),
    "inconclusive": ArmStyle("#5d6670", "D", ()),
    "undecidable": ArmStyle("#5d6670", "D", ()),
}
CLAIMED = "#cfe3f7"


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
    ax.set_title(wrapped(title, 32), fontsize=10)
    ax.set_xlabel(_effect_label(claim), fontsize=9)
    if claim.event is not None:
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))


def part_labels(claim: Claim, parts: Sequence[Part]) -> tuple[str, list[str]]:
    """Return a title and the label of each part: what all of them share is in the title."""
    several = len({part.environment for part in parts}) > 1
    everywhere = {ALL: "mean of environments"}
    places = {part.environment: everywhere.get(part.environment, place_name(part.environment)) for part in parts}
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


def _effect_label(claim: Claim) -> str:
    """Return what the axis of effects shows."""
    name = metric_name(claim.metric)
    if claim.event is not None:
        return wrapped(f"share of runs with {event_name(claim)}", 38)
    if claim.direction in BOUNDED:
        return wrapped(name, 38)
    return wrapped(f"{'change' if claim.direction in ('increasing', 'decreasing') else 'difference'} in {name}", 38)


# The left side of a claim's figure, the runs behind a verdict: arms in order, dots, or learning curves.
#
# Each function draws on Axes that it is given and returns the estimates that it drew.

_LOGARITHMIC_FROM = 100.0  # ratio of the largest to the smallest value


class Learnt(NamedTuple):
    """The learning curves of one arm on one environment: the mean over used runs, and the runs that stopped early."""

    step: Array  # [points]
    band: Band | None
    stopped: Array  # [runs, points]


LearntOf = Callable[[JudgedResults, str, str], Learnt]


def doses(ax: Axes, table: pd.DataFrame, verdict: Verdict, results: JudgedResults) -> list[Estimate]:
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


def runs_as_dots(ax: Axes, table: pd.DataFrame, verdict: Verdict, results: JudgedResults) -> list[Estimate]:
    """Draw every run as a dot in one row per environment and arm, with the mean and its interval, and the bound."""
    claim = verdict.claim
    environments = _places(claim, results)
    shared, short = short_labels(claim.arms)
    drawn, labels = [], []
    rows = [(name, arm, text) for name in environments for arm, text in zip(claim.arms, short, strict=True)]
    for row, (name, arm, text) in enumerate(rows):
        own = table[(table["arm"] == arm) & (table["environment"] == name)].sort_values("seed")
        value, used = own["value"].to_numpy(np.float64), own["used"].to_numpy(bool)
        style = arm_styles(results.arms)[arm]
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


def learning_curves(ax: Axes, environment: str, claim: Claim, results: JudgedResults, learnt: LearntOf) -> list[Band]:
    """Draw the mean learning curve of every arm of a claim on one environment, with its interval."""
    drawn = []
    for arm in claim.arms:
        style, own = arm_styles(results.arms)[arm], learnt(results, arm, environment)
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


def _places(claim: Claim, results: JudgedResults) -> list[str]:
    return list(claim.environments or results.environments)


def _mean(table: pd.DataFrame, arm: str, environments: Sequence[str], results: JudgedResults) -> Estimate:
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


_WIDTH = 9.4  # inches
_EVERY = 2  # of the points of a learning curve: fewer do for a small chart
_FOOTER_WIDTH = 150  # characters

SHADED = (
    "Right: the effect in every part of the claim with its interval. The claim holds where the whole bar lies in the "
    "shaded area; a bar that crosses its edge decides nothing."
)


class Curves:
    """Learning curves of arms with their bands; each is computed once, however many claims show it."""

    def __init__(self) -> None:
        self._tables: dict[int, dict[tuple[str, str], pd.DataFrame]] = {}
        self._learnt: dict[tuple[int, str, str], Learnt] = {}

    def __call__(self, results: JudgedResults, arm: str, environment: str) -> Learnt:
        """Return the curves of an arm on an environment."""
        key = (id(results), arm, environment)
        if key not in self._learnt:
            self._learnt[key] = self._made(results, arm, environment)
        return self._learnt[key]

    def _made(self, results: JudgedResults, arm: str, environment: str) -> Learnt:
        if id(results) not in self._tables:
            groups = results.curves.groupby(["arm", "environment"], sort=False)
            self._tables[id(results)] = {(str(key[0]), str(key[1])): table for key, table in groups}
        own = self._tables[id(results)].get((arm, environment), results.curves.iloc[:0])
        wide = own.pivot(index="seed", columns="step", values="return").iloc[:, _EVERY - 1 :: _EVERY]
        seeds = set(own["seed"][own["used"].astype(bool)])
        used, stopped = wide[wide.index.isin(seeds)], wide[~wide.index.isin(seeds)]
        band = None
        if len(used):
            possible = possible_range([environment], results.references)
            band = curve_band([used.to_numpy(float)], seed=results.seed, possible=possible)
        return Learnt(wide.columns.to_numpy(float), band, stopped.to_numpy(float))


def claim_picture(entry: Entry, curves: Curves) -> Picture | None:
    """Return the figure of a claim, None of an exact check or of a claim that could not be judged."""
    if entry.judged is None or entry.results is None:
        return None
    kind, shown = _kind(entry.judged.claim, entry.results)
    arms = ", ".join(entry.judged.claim.arms)
    return Picture(
        entry.name,
        "Claims",
        entry.statement,
        f"{shown} {SHADED}",
        f"{entry.statement} Two panels: the runs of {arms}, and the effects with intervals; {entry.verdict}.",
        partial(_figure, entry.judged, entry.results, kind, curves),
        wide=True,
    )


def _kind(claim: Claim, results: JudgedResults) -> tuple[str, str]:
    """Return which figure suits a claim, and what its left side shows."""
    if claim.direction in ORDERED:
        return "doses", "Left: the mean of each arm with its interval; thin lines are single environments."
    if claim.direction in BOUNDED:
        what = "the claimed threshold" if claim.event else "the claimed bound"
        return "dots", f"Left: every dot is a run, the diamond or marker their mean; dashed: {what}."
    if claim.metric.removesuffix("_normalised") in (*RETURNS, "drop") and not results.curves.empty:
        return "curves", "Left: learning curves, the mean episode return over training with its interval."
    return "dots", "Left: every dot is a run, the marker their mean with its interval."


def _figure(verdict: Verdict, results: JudgedResults, kind: str, curves: Curves) -> Figure:
    """Return the figure with both sides and what it says of its runs."""
    claim = verdict.claim
    environments = list(claim.environments or results.environments)
    height = max(_left_height(kind, claim, environments), 1.5 + 0.27 * len(verdict.parts))
    figure = Figure(figsize=(_WIDTH, height + 0.45), layout=ConstrainedLayoutEngine(w_pad=0.08))
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.25, 1.0), wspace=0.03).flat
    table = measure(results, claim.metric)
    table = table[table["arm"].isin(claim.arms) & table["environment"].isin(environments)]
    drawn: Sequence[Estimate | Band]
    if kind == "curves":
        drawn = _small_multiples(left, claim, environments, results, curves)
    elif kind == "doses":
        ax = left.subplots()
        drawn = doses(ax, table, verdict, results)
        left.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    else:
        drawn = runs_as_dots(left.subplots(), table, verdict, results)
    effects(right.subplots(), verdict)
    shown = results.scores[results.scores["environment"].isin(environments)]
    sentences = (_interval_note(drawn, verdict), run_counts(shown, claim.arms))
    text = "\n".join(line for one in sentences for line in textwrap.wrap(one, _FOOTER_WIDTH))
    figure.supxlabel(text, x=0.01, ha="left", fontsize=7.5, color=QUIET, linespacing=1.35)
    return figure


def _left_height(kind: str, claim: Claim, environments: list[str]) -> float:
    """Return the height in inches that the left side needs."""
    if kind == "doses":
        return 3.4
    if kind == "curves":
        return 0.55 + 1.75 * ceil(len(environments) / 2) + 0.2 * ceil(len(claim.arms) / 2)
    return 1.3 + 0.33 * len(claim.arms) * len(environments)


def _small_multiples(
    figure: SubFigure, claim: Claim, environments: list[str], results: JudgedResults, curves: Curves
) -> list[Band]:
    """Draw the learning curves on every environment, two beside each other, and list the arms below."""
    columns = min(2, len(environments))
    axes: list[Axes] = list(figure.subplots(ceil(len(environments) / columns), columns, squeeze=False).flat)
    drawn = []
    for ax, name in zip(axes, environments, strict=False):
        drawn += learning_curves(ax, name, claim, results, curves)
    for ax in axes[len(environments) :]:
        ax.set_axis_off()
    for ax in axes[max(len(environments) - columns, 0) : len(environments)]:
        ax.set_xlabel("environment steps", fontsize=9)
    figure.supylabel("episode return", fontsize=9)
    handles = [
        Line2D([], [], color=style.color, linestyle=style.line, linewidth=1.8, label=wrapped(arm, 30))
        for arm, style in ((arm, arm_styles(results.arms)[arm]) for arm in claim.arms)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, handlelength=2.6)
    return drawn


def _interval_note(drawn: Sequence[Estimate | Band], verdict: Verdict) -> str:
    """Say what the intervals on both sides are."""
    left = f"{interval_name(drawn)} ({_methods(drawn)})" if drawn else ""
    found = [part.effect for part in verdict.parts]
    level, whole = found[0].level, verdict.claim.level
    name = interval_name(found)
    if level != whole:
        name = f"{100 * level:.3g} % interval each, so that {100 * whole:.3g} % holds for all together"
    right = f"{name} ({_methods(found)})"
    if left == right:
        return f"Both sides: {left}."
    return " ".join([*([f"Left: {left}."] if left else []), f"Right: {right}."])


def _methods(estimates: Sequence[Estimate | Band]) -> str:
    return ", ".join(dict.fromkeys(one.method for one in estimates))
