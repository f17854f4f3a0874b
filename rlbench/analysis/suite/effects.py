"""The right side of a claim's figure: every part's effect against what is claimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rlbench.analysis.compare import ALL
from rlbench.analysis.figures.rows import draw_estimate, name_rows
from rlbench.analysis.figures.style import QUIET, ArmStyle, wrapped
from rlbench.analysis.suite.labels import place_name, short_labels
from rlbench.analysis.suite.words import event_name, metric_name
from rlbench.analysis.verdicts import Part, Verdict, regions
from rlbench.claims import BOUNDED, Claim

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
