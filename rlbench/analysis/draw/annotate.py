"""What every figure says about its runs: how many were planned, finished, failed and used."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rlbench.analysis.draw.style import QUIET, ArmStyle, wrapped
from rlbench.analysis.stats.coverage import interval_name
from rlbench.analysis.stats.estimates import Band, Estimate

_DEFAULT_SHARE = 0.775  # width of the axes in a figure of one subplot, before a layout engine moves them
_CHARACTER = 4.3  # width in points of a character of the small print


def run_counts(scores: pd.DataFrame, arms: Sequence[str], environment: str | None = None, *, width: int = 0) -> str:
    """Return the sentence under a figure that shows `arms` (on one environment, or on all).

    `failed` counts the failed and the diverged runs; a planned run that did not take place is called missing.
    Arms of which not all planned runs are used are named. A `width` in characters breaks it into lines.
    """
    table = scores[scores["arm"].isin(list(arms))]
    if environment is not None:
        table = table[table["environment"] == environment]
    sentence = _sentence(table, arms)
    return "\n".join(textwrap.wrap(sentence, width)) if width else sentence


def _sentence(table: pd.DataFrame, arms: Sequence[str]) -> str:
    total = _numbers(table)
    text = "Runs: " + ", ".join(f"{total[name]} {name}" for name in ("planned", "finished", "failed", "used"))
    if total["missing"]:
        text += f", {total['missing']} missing"
    short = []
    for arm in arms:
        count = _numbers(table[table["arm"] == arm])
        if count["used"] < count["planned"]:
            short.append(f"{arm} {count['used']} of {count['planned']}")
    if short:
        others = "; every other arm all" if len(short) < len(arms) else ""
        return f"{text}. Used: {', '.join(short)}{others}."
    each = {_numbers(table[table["arm"] == arm])["planned"] for arm in arms}
    return f"{text}; {each.pop()} per arm." if len(each) == 1 and len(arms) > 1 else f"{text}."


def counted(scores: pd.DataFrame, arms: Collection[str], environments: Collection[str]) -> pd.DataFrame:
    """Return the runs that a figure of `environments` together is about, used only if their arm is in it."""
    table = scores[scores["environment"].isin(list(environments))]
    return table.assign(used=table["used"].astype(bool) & table["arm"].isin(list(arms)))


def interval_note(estimates: Iterable[Estimate | Band], what: str) -> str:
    """Return the sentence on the intervals drawn: `what`, what they may be called, and the methods that gave them."""
    estimates = list(estimates)
    if not estimates:
        return ""
    methods = ", ".join(dict.fromkeys(one.method for one in estimates))
    return f"{what}: {interval_name(estimates)} ({methods})."


def add_footer(ax: Axes, *sentences: str, left: float = 45.0) -> None:
    """Write sentences small and grey under the axes, where the layout reserves the room.

    They start `left` points left of the axes, below its tick labels, and are wrapped to the width of its subplot.
    """
    width = ax.get_position().width / _DEFAULT_SHARE * _figure_width(ax)  # points
    characters = max(30, int((width - 20.0) / _CHARACTER))
    lines = [line for sentence in sentences if sentence for line in textwrap.wrap(sentence, characters)]
    ax.annotate(
        "\n".join(lines),
        xy=(0.0, 0.0),
        xycoords="axes fraction",
        xytext=(-left, -38.0),
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize=8.0,
        linespacing=1.35,
        color=QUIET,
        gid="footer",
        annotation_clip=False,
    )


def _figure_width(ax: Axes) -> float:
    """Return the width of the axes' (sub)figure in points."""
    return float(ax.figure.bbox.width / ax.figure.get_dpi() * 72.0)


def _numbers(table: pd.DataFrame) -> dict[str, int]:
    status = table["status"]
    return {
        "planned": len(table),
        "finished": int((status == "finished").sum()),
        "failed": int(status.isin(["failed", "diverged"]).sum()),
        "missing": int((status == "missing").sum()),
        "used": int(table["used"].sum()),
    }


ABOVE_LEGEND = 24.0  # points between axes and title that leave room for a line of legend


def name_rows(ax: Axes, labels: Sequence[str]) -> None:
    """Write the labels at the rows 0, 1, ... from the top and leave only the vertical grid."""
    ax.set_yticks(range(len(labels)), [wrapped(label) for label in labels])
    ax.set_ylim(len(labels) - 0.5, -0.55)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.spines["left"].set_visible(False)


def rows_height(labels: Sequence[str], each: float) -> float:
    """Return the height in inches of a figure with one row per label, of `each` inches unless a label needs more."""
    lines = max((len(wrapped(label).splitlines()) for label in labels), default=1)
    return 2.0 + max(each, 0.17 * lines + 0.04) * max(1, len(labels))


def label_width(labels: Sequence[str]) -> float:
    """Return about how many points the row labels reach to the left of the axes."""
    longest = max((len(line) for label in labels for line in wrapped(label).splitlines()), default=0)
    return 6.0 + 5.7 * longest


def draw_estimate(
    ax: Axes, row: float, estimate: Estimate, style: ArmStyle, *, hollow: bool = False, marker: str = "d"
) -> None:
    """Draw a point with its interval as a horizontal bar; without an interval, the point alone."""
    if np.isfinite(estimate.low):
        ax.plot(
            [estimate.low, estimate.high],
            [row, row],
            color=style.color,
            linewidth=1.5 if hollow else 2.6,
            solid_capstyle="butt",
            zorder=2.6,
        )
    ax.plot(
        estimate.point,
        row,
        marker=marker,
        markersize=7.5,
        color="white" if hollow else style.color,
        markeredgecolor=style.color if hollow else "white",
        markeredgewidth=1.5 if hollow else 0.8,
        zorder=2.7,
    )
