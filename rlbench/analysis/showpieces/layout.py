"""From panels to a figure: the grid, the names of the lines, the ticks, in the size of a paper or of a slide."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator

from rlbench.analysis.figures.style import INK, QUIET, ArmStyle
from rlbench.analysis.showpieces.labels import spread_labels, text_width
from rlbench.analysis.showpieces.looks import Look

_WIDEST = 0.34  # of a panel, that names beside its lines may take


@dataclass(frozen=True)
class Panel:
    """One part of a figure; `draw` is told whether to write the names beside the lines."""

    title: str
    draw: Callable[[Axes, bool], None]


@dataclass(frozen=True)
class Sheet:
    """A figure before it has a size: its panels, and the table of the numbers that are drawn in them.

    lines    what is drawn in every panel, by the name it has there; empty: lines need no names
    shared   the axes on which all panels have the same range: "", "x", "y" or "xy"
    tall     height of a row of panels, relative to the usual one
    in_row   whether the panels stand side by side, as charts with the same rows do
    notes    what must be known to read the figure, on a slide in small letters below it
    """

    panels: Sequence[Panel]
    numbers: pd.DataFrame
    caption: str
    lines: Mapping[str, ArmStyle] = field(default_factory=dict)
    shared: str = ""
    tall: float = 1.0
    in_row: bool = False
    notes: str = ""


def in_panels(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the tables of the panels as one, with the column `panel` first."""
    frames = [table.assign(panel=name) for name, table in tables.items()]
    whole = pd.concat([one for one in frames if len(one)] or frames, ignore_index=True)
    return whole[["panel", *(name for name in whole.columns if name != "panel")]]


def compose(sheet: Sheet, look: Look, title: str = "") -> Figure:
    """Return the figure of a sheet, laid out and with its positions fixed; inside of `looking`."""
    columns = _columns(len(sheet.panels), sheet.in_row)
    rows = math.ceil(len(sheet.panels) / columns)
    width = look.wide if len(sheet.panels) > 1 else look.narrow
    height = look.slide or look.height * rows * sheet.tall * (1.18 if rows * columns == 1 else 1.0)
    named = _fits(sheet.lines, width / columns, (height - 1.2 * (look.slide > 0)) / rows)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharex="x" in sheet.shared, sharey="y" in sheet.shared)
    axes = list(grid.flat)
    for ax, panel in zip(axes, sheet.panels, strict=False):
        panel.draw(ax, named)
        ax.set_title(panel.title)
    for ax in axes[len(sheet.panels) :]:
        ax.set_axis_off()
    _label_outer(axes[: len(sheet.panels)], columns, sheet.shared)
    if sheet.lines and not named:
        _list_lines(figure, axes[len(sheet.panels) :], sheet.lines, width)
    if look.titled:
        _write_around(figure, title, sheet.notes)
    _settle(figure, axes[: len(sheet.panels)])
    return figure


def _columns(panels: int, in_row: bool) -> int:
    if in_row:
        return min(panels, 4)
    return {1: 1, 2: 2, 3: 3, 4: 2}.get(panels, 3 if panels <= 6 else 4)


def _fits(lines: Mapping[str, ArmStyle], width: float, height: float) -> bool:
    """Return whether the names have room beside a panel of this width and height in inches."""
    needed = 1.2 * len(lines) * float(rcParams["legend.fontsize"]) / 72.0
    return bool(lines) and text_width(list(lines)) <= _WIDEST * width and needed <= 0.72 * height


def _label_outer(axes: Sequence[Axes], columns: int, shared: str) -> None:
    """Leave labels that all panels share to those on the left and at the bottom."""
    for index, ax in enumerate(axes):
        below, first = index + columns < len(axes), index % columns == 0
        if below and len({one.get_xlabel() for one in axes}) == 1:
            ax.xaxis.label.set_visible(False)
        if not first and len({one.get_ylabel() for one in axes}) == 1:
            ax.yaxis.label.set_visible(False)
        if "x" in shared:
            ax.tick_params(axis="x", labelbottom=not below)
        if "y" in shared:
            ax.tick_params(axis="y", labelleft=first)


def _list_lines(figure: Figure, spare: Sequence[Axes], lines: Mapping[str, ArmStyle], width: float) -> None:
    """List the lines in a free place of the grid, or in a strip below the panels."""
    handles = [
        Line2D([], [], color=style.color, linestyle=style.line, marker=style.marker, markeredgecolor="white", label=name)
        for name, style in lines.items()
    ]
    if spare:
        spare[0].legend(handles=handles, loc="center left", handlelength=2.6, borderaxespad=0.0)
        return
    each = text_width(list(lines)) + 4.2 * float(rcParams["legend.fontsize"]) / 72.0
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=max(1, min(len(lines), int(width / each))),
        handlelength=2.6,
        columnspacing=1.4,
        borderaxespad=0.2,
    )


def _write_around(figure: Figure, title: str, notes: str) -> None:
    size = float(rcParams["font.size"])
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=1.4 * size, fontweight="bold", color=INK)
    if notes:
        figure.supxlabel(notes, x=0.02, ha="left", fontsize=0.9 * size, color=QUIET)


def _settle(figure: Figure, axes: Sequence[Axes]) -> None:
    """Lay the figure out, thin the ticks to what has room, lay it out again and keep the positions."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    for ax in axes:
        _thin_ticks(ax)
    engine.execute(figure)
    figure.set_layout_engine(None)
    for ax in axes:
        spread_labels(ax)


def _thin_ticks(ax: Axes) -> None:
    """Leave few enough ticks that their labels stay apart: of chosen places every second or third."""
    size = float(rcParams["xtick.labelsize"]) * ax.figure.dpi / 72.0
    box = ax.get_window_extent()
    for axis, room in ((ax.xaxis, box.width / (4.5 * size)), (ax.yaxis, box.height / (2.6 * size))):
        locator = axis.get_major_locator()
        if isinstance(locator, MaxNLocator):
            axis.set_major_locator(MaxNLocator(nbins=int(min(max(room, 2), 5)), steps=[1, 2, 2.5, 5, 10]))
        elif isinstance(locator, FixedLocator) and axis is ax.xaxis:
            _thin_chosen(ax)


def _thin_chosen(ax: Axes) -> None:
    """Leave out labels that would touch the one before them."""
    last, gap = -math.inf, 0.35 * float(rcParams["xtick.labelsize"]) * ax.figure.dpi / 72.0
    low, high = sorted(ax.transData.transform([(x, 0.0) for x in ax.get_xlim()])[:, 0])
    for tick in ax.xaxis.get_major_ticks():
        box = tick.label1.get_window_extent()
        if not low - 1 <= 0.5 * (box.x0 + box.x1) <= high + 1:
            continue
        if box.x0 < last + gap:
            tick.label1.set_visible(False)
        else:
            last = box.x1
