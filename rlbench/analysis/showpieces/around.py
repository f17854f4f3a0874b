"""What stands around the panels of a figure: title, notes, the list of the lines, and labels that panels share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from rlbench.analysis.figures.style import INK, QUIET, ArmStyle
from rlbench.analysis.showpieces.labels import text_height, text_width
from rlbench.analysis.showpieces.looks import letters


def write_around(figure: Figure, title: str, notes: str) -> tuple[float, float]:
    """Write the title above and the notes below the panels of a slide; return the shares of its height they take."""
    size, height = letters("font.size"), 72.0 * figure.get_figheight()
    if title:
        figure.text(0.02, 0.975, title, va="top", fontsize=1.4 * size, fontweight="bold", color=INK)
    if notes:
        figure.text(0.02, 0.02, notes, va="bottom", fontsize=0.9 * size, color=QUIET)
    return (0.025 + 2.0 * size / height) * bool(title), (0.02 + 1.4 * size / height) * bool(notes)


def list_lines(
    figure: Figure, spare: Sequence[Axes], lines: Mapping[str, ArmStyle], below: float, *, joined: bool
) -> float:
    """List the lines in a free place of the grid, or in a strip above what is `below`; return what is taken there.

    Of lines that are not `joined`, only the markers.
    """
    size, names = letters("legend.fontsize") / 72.0, list(lines)
    handles = [
        Line2D(
            [],
            [],
            color=look.color,
            linestyle=look.line if joined else "none",
            marker=look.marker,
            markeredgecolor="white",
            label=name,
        )
        for name, look in lines.items()
    ]
    if spare and text_height(names) <= spare[0].get_position().height * figure.get_figheight():
        where: Axes | Figure = spare[0]
        columns = 1
        place: dict[str, Any] = {"loc": "upper left"}
    else:
        where = figure
        columns = max(1, min(len(lines), int(figure.get_figwidth() / (text_width(names) + 4.2 * size))))
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, below)}
        below += 1.35 * size * (0.5 + math.ceil(len(lines) / columns)) / figure.get_figheight()
    legend = where.legend(
        handles=handles,
        ncols=columns,
        handlelength=2.6 if joined else 1.0,
        columnspacing=1.4,
        labelspacing=0.3,
        borderaxespad=0.0,
        **place,
    )
    legend.set_in_layout(False)  # its room is kept by `leave_room`
    return below


def common(figure: Figure, axes: Sequence[Axes], which: str) -> Text | None:
    """Return the label that all of several panels have on their horizontal or vertical axis, written once for all."""
    found = {getattr(ax, f"get_{which}label")() for ax in axes}
    if len(axes) == 1 or len(found) > 1 or found == {""}:
        return None
    for ax in axes:
        getattr(ax, f"set_{which}label")("")
    turned = {"rotation": "vertical", "ha": "right", "va": "center"} if which == "y" else {"ha": "center", "va": "top"}
    return figure.text(0.0, 0.0, found.pop(), fontsize=rcParams["axes.labelsize"], **turned)  # type: ignore[arg-type]


def leave_room(
    figure: Figure, across: Text | None, upright: Text | None, taken: tuple[float, float], margin: float
) -> None:
    """Keep the layout away from the margins, from what is `taken` above and below, and from the common labels."""
    above, below = taken
    line = 1.5 * letters("axes.labelsize") / 72.0
    left = margin + line / figure.get_figwidth() * (upright is not None)
    bottom = max(margin, below) + line / figure.get_figheight() * (across is not None)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(left, bottom, 1.0 - margin - left, 1.0 - max(margin, above) - bottom))  # type: ignore[call-arg]


def place_outside(figure: Figure, axes: Sequence[Axes], across: Text | None, upright: Text | None) -> None:
    """Write the common labels just below and left of the panels, in their middle."""
    inner = Bbox.union([ax.get_window_extent() for ax in axes])
    outer = Bbox.union([box for ax in axes if (box := ax.get_tightbbox()) is not None])
    gap = float(rcParams["axes.labelpad"]) * figure.dpi / 72.0
    to_figure = figure.transFigure.inverted()
    if across is not None:
        across.set_position(tuple(to_figure.transform((0.5 * (inner.x0 + inner.x1), outer.y0 - gap))))
    if upright is not None:
        upright.set_position(tuple(to_figure.transform((outer.x0 - gap, 0.5 * (inner.y0 + inner.y1)))))
