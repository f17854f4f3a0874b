"""The figure of a claim: the runs behind the verdict on the left, and every part's effect against what is claimed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from math import ceil
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rlbench.analysis.draw import arm_styles, frame, marks
from rlbench.analysis.draw.curves import curve_numbers, draw_learning_curves
from rlbench.analysis.draw.files import Picture
from rlbench.analysis.draw.style import QUIET, ArmStyle
from rlbench.analysis.draw.sweep import sweep_numbers
from rlbench.analysis.draw.updates import scale_axis
from rlbench.analysis.judge.verdicts import JudgedResults, Part, Verdict, regions
from rlbench.analysis.report.claims import event_name, place_name, short_labels
from rlbench.analysis.report.entries import Entry
from rlbench.analysis.scores.metrics import measure, metric_name
from rlbench.analysis.scores.scores import ALL
from rlbench.analysis.stats.coverage import interval_name
from rlbench.analysis.stats.estimates import Band, Estimate
from rlbench.claims import BOUNDED, ORDERED, RETURNS, Claim

VERDICT_STYLES: Mapping[str, ArmStyle] = {
    "supported": ArmStyle("#0b5cad", "o", ()),
    "refuted": ArmStyle("#b3400e", "X", ()),
    "inconclusive": ArmStyle("#5d6670", "D", ()),
    "undecidable": ArmStyle("#5d6670", "D", ()),
}
_CLAIMED = VERDICT_STYLES["supported"].color
_CLAIMED_AREA = "#cfe3f7"
_WIDTH = 9.4  # inches
_EVERY = 2  # of the points of a learning curve: fewer do for a small chart
_SHADED = (
    "Right: the effect in every part of the claim with its interval. The claim holds where the whole bar lies in the "
    "shaded area; an interval that crosses the edge is inconclusive."
)

CurvesOf = Callable[[JudgedResults, str, str], marks.Numbers]


class Left(NamedTuple):
    """The left side of a figure: its panels, the height in inches that it needs, and the intervals in it."""

    panels: Sequence[tuple[str, frame.DrawPanel]]
    height: float
    estimates: Sequence[Estimate | Band]
    lines: Mapping[str, ArmStyle] = {}
    columns: int = 1


def claim_pictures(entries: Iterable[Entry]) -> list[Picture]:
    """Return the figures of the claims that could be judged; there is none of an exact check."""

    @cache  # however many claims show a curve
    def curves(results: JudgedResults, arm: str, environment: str) -> marks.Numbers:
        return curve_numbers(results, [environment], [arm], every=_EVERY)

    drawn = []
    for entry in entries:
        if entry.judged is not None and entry.results is not None:
            side, shown = _kind(entry.judged.claim, entry.results)
            arms = ", ".join(entry.judged.claim.arms)
            alt = f"{entry.statement} Two panels: the runs of {arms}, and the effects with intervals; {entry.verdict}."
            make = partial(_claim_figure, entry.judged, entry.results, side, curves)
            drawn.append(Picture(entry.name, "Claims", entry.statement, f"{shown} {_SHADED}", alt, make, wide=True))
    return drawn


Side = Callable[[Claim, JudgedResults, Sequence[str], CurvesOf], Left]


def _kind(claim: Claim, results: JudgedResults) -> tuple[Side, str]:
    """Return which left side suits a claim, and what it shows."""
    if claim.direction in ORDERED:
        return _ordered, "Left: the mean of each arm with its interval; thin lines are single environments."
    if claim.direction in BOUNDED:
        what = "the claimed threshold" if claim.event else "the claimed bound"
        return _dots, f"Left: every dot is a run, the diamond or marker their mean; dashed: {what}."
    if claim.metric.removesuffix("_normalised") in (*RETURNS, "drop") and not results.curves.empty:
        return _curves, "Left: learning curves, the mean episode return over training with its interval."
    return _dots, "Left: every dot is a run, the marker their mean with its interval."


def _claim_figure(verdict: Verdict, results: JudgedResults, side: Side, curves: CurvesOf) -> Figure:
    """Return the figure with both sides and what it says of its runs."""
    claim = verdict.claim
    environments = list(claim.environments or results.environments)
    left = side(claim, results, environments, curves)
    scores = results.scores
    counts = frame.run_counts(scores[scores["environment"].isin(environments)], claim.arms)
    notes = frame.note_lines([_intervals(left.estimates, verdict), counts], _WIDTH - 0.3)
    height = max(left.height, 1.5 + 0.27 * len(verdict.parts)) + 0.45
    figure = frame.new_figure(_WIDTH, height, notes=notes)
    runs, effects = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.25, 1.0), wspace=0.03).flat
    frame.draw_panels(runs, left.panels, left.columns, left.lines, beside=False)
    title, labels = part_labels(claim, verdict.parts)
    frame.draw_panels(effects, [(frame.wrapped(title), lambda ax, _: _effects(ax, verdict, labels))], 1, {})
    return figure


def _intervals(drawn: Sequence[Estimate | Band], verdict: Verdict) -> str:
    """Say what the intervals on both sides are."""
    effects = [part.effect for part in verdict.parts]
    left, right = frame.interval_words(drawn) if drawn else "", frame.interval_words(effects)
    level, whole = effects[0].level, verdict.claim.level
    if level != whole:
        name = f"{100 * level:.3g} % interval each, so that {100 * whole:.3g} % holds for all together"
        right = right.replace(interval_name(effects), name, 1)
    if left == right:
        return f"Both sides: {left}."
    return " ".join([*([f"Left: {left}."] if left else []), f"Right: {right}."])


def _curves(claim: Claim, results: JudgedResults, environments: Sequence[str], curves: CurvesOf) -> Left:
    """Return the mean learning curves of every arm, a panel per environment, two beside each other."""
    styles = {arm: arm_styles(results.arms)[arm] for arm in claim.arms}
    numbers = {name: marks.gathered([curves(results, arm, name) for arm in claim.arms]) for name in environments}

    def draw(name: str, ax: Axes, _: bool) -> None:
        draw_learning_curves(ax, results, name, styles, numbers[name], every=_EVERY)

    panels = [(place_name(name), partial(draw, name)) for name in environments]
    height = 0.55 + 1.75 * ceil(len(environments) / 2) + 0.2 * ceil(len(claim.arms) / 2)
    estimates = [estimate for table in numbers.values() for estimate in table.estimates]
    return Left(panels, height, estimates, styles, min(2, len(environments)))


def _dots(claim: Claim, results: JudgedResults, environments: Sequence[str], _: CurvesOf) -> Left:
    """Return every run as a dot in one row per environment and arm, with the mean and its interval, and the bound."""
    shared, short = short_labels(claim.arms)
    table = measure(results, claim.metric)
    table = table[table["arm"].isin(claim.arms) & table["environment"].isin(environments)]
    scored = marks.Scored(results, claim.metric, cut=False)
    rows = [(name, arm, text) for name in environments for arm, text in zip(claim.arms, short, strict=True)]
    means = [scored.mean(arm, [name]) for name, arm, _ in rows]
    at = claim.condition[1] if claim.condition else claim.bound

    def draw(ax: Axes, _: bool) -> None:
        for row, ((name, arm, _text), mean) in enumerate(zip(rows, means, strict=True)):
            runs = table[(table["arm"] == arm) & (table["environment"] == name)].sort_values("seed")
            value, used = runs["value"].to_numpy(np.float64), runs["used"].to_numpy(bool)
            marks.draw_runs(ax, row, value, used, mean if claim.event is None else None, arm_styles(results.arms)[arm])
        if at is not None:
            marks.mark_value(ax, at, color=_CLAIMED)
        frame.name_rows(ax, [_row_label(claim, environments, name, text) for name, _, text in rows])
        scale_axis(ax, "x", np.array([*table["value"], *([at] if at is not None else [])], np.float64))
        ax.set_xlabel(frame.wrapped(metric_name(claim.metric), 52))
        if not np.isfinite(table["value"]).any():
            frame.write_inside(ax, "No run recorded this.")

    title = frame.wrapped(claim.arms[0] if len(claim.arms) == 1 else shared, 44)
    return Left([(title, draw)], 1.3 + 0.33 * len(rows), means if claim.event is None else [])


def _row_label(claim: Claim, environments: Sequence[str], name: str, arm: str) -> str:
    if len(environments) == 1:
        return arm
    return f"{place_name(name)}, {arm}" if len(claim.arms) > 1 else place_name(name)


def _ordered(claim: Claim, results: JudgedResults, environments: Sequence[str], _: CurvesOf) -> Left:
    """Return means over ordered arms: thin lines per environment, a thick one for their mean, and what is claimed."""
    shared, short = short_labels(claim.arms)
    scored = marks.Scored(results, claim.metric, cut=False)
    styles = arm_styles(environments)
    lines = {name: [name] for name in environments}
    # Returns of different environments have different units.
    together = len(environments) > 1 and claim.metric not in RETURNS
    if together:
        lines[marks.MEAN], styles[marks.MEAN] = list(environments), marks.MEAN_STYLE
    numbers = {name: sweep_numbers(scored, enumerate(claim.arms), where, name) for name, where in lines.items()}
    whole = marks.gathered(list(numbers.values()))
    last = numbers[list(lines)[-1]].table.set_index("x")["point"].reindex(range(len(claim.arms))).tolist()
    claimed = _claimed(claim, last) if together or len(environments) == 1 else ("", [])

    def draw(ax: Axes, _: bool) -> None:
        marks.draw_points(ax, whole.table, styles)
        if claim.best in claim.arms and claimed[0]:
            ax.axvline(claim.arms.index(str(claim.best)), color=_CLAIMED_AREA, linewidth=9, zorder=0)
        if claimed[0]:
            ax.plot([0, len(claim.arms) - 1], claimed[1], color=_CLAIMED, linewidth=1.0, linestyle=(0, (4, 3)))
        scale_axis(ax, "y", whole.table["point"].to_numpy(np.float64))
        ax.set_xticks(range(len(claim.arms)), [frame.wrapped(label, 12) for label in short])
        ax.set_xlabel(shared or "arm")
        ax.set_ylabel(frame.wrapped(metric_name(claim.metric), 34))
        if whole.table.empty:
            frame.write_inside(ax, "No run recorded this.")

    listed = {"mean of environments" if name == marks.MEAN else place_name(name): styles[name] for name in lines}
    listed |= {claimed[0]: ArmStyle(_CLAIMED, "", (4.0, 3.0))} if claimed[0] else {}
    return Left([("", draw)], 3.4, whole.estimates, listed)


def _claimed(claim: Claim, points: Sequence[float]) -> tuple[str, list[float]]:
    """Return what the claim asks of a line of means, in words and as heights of both ends.

    That is the least rise or fall, or the level that its ends must not pass; no words where it asks for neither.
    """
    d, falls = claim.smallest_effect, claim.direction in ("decreasing", "dip")
    if claim.best in claim.arms:
        best = points[claim.arms.index(str(claim.best))]
        return "claimed of both ends", [best + d if falls else best - d] * 2
    if d > 0:
        end = points[0] - d if falls else points[0] + d
        return f"claimed: {'falls' if falls else 'rises'} more", [points[0], end]
    return "", []


def _effects(ax: Axes, verdict: Verdict, labels: Sequence[str]) -> None:
    """Draw the effect of every part with its adjusted interval, and shade where the claim says that it lies."""
    claim, parts = verdict.claim, verdict.parts
    support, refute = regions(claim)
    limits = sorted({end for region in (*support, *refute) for end in region if np.isfinite(end)})
    zero = [] if claim.direction in BOUNDED else [0.0]
    known = [end for part in parts for end in (part.effect.point, part.effect.low, part.effect.high)]
    finite = [value for value in (*known, *limits, *zero) if np.isfinite(value)]
    room = 0.12 * (max(finite) - min(finite) or 1.0)
    left, right = min(finite) - room, max(finite) + room
    for low, high in support:
        ax.axvspan(max(low, left), min(high, right), color=_CLAIMED_AREA, linewidth=0, zorder=0)
    for at in limits:
        marks.mark_value(ax, at, color=_CLAIMED)
    for at in zero:
        ax.axvline(at, color=QUIET, linewidth=1.0, zorder=1.4)
    hollow = [row for row, part in enumerate(parts) if part.verdict == "inconclusive"]
    marks.draw_rows(
        ax, labels, [part.effect for part in parts], [VERDICT_STYLES[part.verdict] for part in parts], hollow
    )
    ax.set_xlim(left, right)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(_effect_label(claim))
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
        return frame.wrapped(f"share of runs with {event_name(claim)}", 38)
    if claim.direction in BOUNDED:
        return frame.wrapped(name, 38)
    return frame.wrapped(
        f"{'change' if claim.direction in ('increasing', 'decreasing') else 'difference'} in {name}", 38
    )
