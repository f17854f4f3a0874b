"""From panels to a figure: the grid, the names of the lines, the ticks, in the size of a paper or of a slide."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator

from rlbench.analysis.figures.style import ArmStyle
from rlbench.analysis.showpieces.around import common, leave_room, list_lines, place_outside, write_around
from rlbench.analysis.showpieces.labels import broken, spread_labels, text_height, text_width
from rlbench.analysis.showpieces.looks import Look, letters

_WIDEST = 0.34  # of a panel, that names beside its lines may take


class NoRoom(Exception):
    """There is more in a figure than fits into its size."""


@dataclass(frozen=True)
class Panel:
    """One part of a figure; `draw` is told whether to write the names beside the lines."""

    title: str
    draw: Callable[[Axes, bool], None]


@dataclass(frozen=True)
class Sheet:
    """A figure before it has a size: its panels, and the table of the numbers that are drawn in them.

    lines    what is drawn in every panel, by the name it has there; empty: lines need no names
    beside   whether they are lines, with ends that names can stand beside; otherwise markers, which are listed
    shared   the axes on which all panels have the same range: "", "x", "y" or "xy"
    tall     height of a row of panels, relative to the usual one
    rows     number of named rows of every panel, which then stand side by side; 0: no charts with rows
    notes    what must be known to read the figure, on a slide in small letters below it
    """

    panels: Sequence[Panel]
    numbers: pd.DataFrame
    caption: str
    lines: Mapping[str, ArmStyle] = field(default_factory=dict)
    beside: bool = True
    shared: str = ""
    tall: float = 1.0
    rows: int = 0
    notes: str = ""


def in_panels(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the tables of the panels as one, with the column `panel` first."""
    frames = [table.assign(panel=name) for name, table in tables.items()]
    whole = pd.concat([one for one in frames if len(one)] or frames, ignore_index=True)
    return whole[["panel", *(name for name in whole.columns if name != "panel")]]


def compose(sheet: Sheet, look: Look, title: str = "") -> Figure:
    """Return the figure of a sheet, laid out and with its positions fixed; inside of `looking`.

    Raises:
        NoRoom: the names and ticks leave no room for the panels.
    """
    panels = len(sheet.panels)
    columns = _columns(sheet, look)
    rows = math.ceil(panels / columns)
    width = look.wide if panels > 1 else look.narrow
    height = look.slide or look.height * rows * sheet.tall * (1.18 if panels == 1 else 1.0)
    named = sheet.beside and _fits(sheet.lines, width / columns, (height - 1.2 * (look.slide > 0)) / rows)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharex="x" in sheet.shared, sharey="y" in sheet.shared)
    axes, spare = list(grid.flat)[:panels], list(grid.flat)[panels:]
    titles = []
    for ax, panel in zip(axes, sheet.panels, strict=True):
        panel.draw(ax, named)
        titles.append(ax.set_title(panel.title))
    for ax in spare:
        ax.set_axis_off()
    _ticks_outside(axes, columns, sheet.shared)
    across, upright = common(figure, axes, "x"), common(figure, axes, "y")
    above, below = write_around(figure, title, sheet.notes) if look.titled else (0.0, 0.0)
    if sheet.lines and not named:
        below = list_lines(figure, spare, sheet.lines, below, joined=sheet.beside)
    leave_room(figure, across, upright, (above, below), 0.015 * look.titled)
    _settle(figure, axes, titles)
    place_outside(figure, axes, across, upright)
    return figure


def _columns(sheet: Sheet, look: Look) -> int:
    """Return how many panels stand side by side; charts with rows below each other only where the rows have room."""
    panels = len(sheet.panels)
    usual = {1: 1, 2: 2, 3: 3, 4: 2}.get(panels, 3 if panels <= 6 else 4)
    if not sheet.rows:
        return usual
    needed = 1.25 * sheet.rows * letters("ytick.labelsize") / 72.0 * math.ceil(panels / usual)
    return usual if look.slide and needed <= 0.7 * look.slide else min(panels, 4)


def _fits(lines: Mapping[str, ArmStyle], width: float, height: float) -> bool:
    """Return whether the names have room beside a panel of this width and height in inches."""
    names = list(lines)
    return bool(names) and text_width(names) <= _WIDEST * width and text_height(names) <= 0.78 * height


def _ticks_outside(axes: Sequence[Axes], columns: int, shared: str) -> None:
    """Label the ticks of axes that panels share at the left and at the bottom only."""
    for index, ax in enumerate(axes):
        if "x" in shared:
            ax.tick_params(axis="x", labelbottom=index + columns >= len(axes))
        if "y" in shared:
            ax.tick_params(axis="y", labelleft=index % columns == 0)


def _settle(figure: Figure, axes: Sequence[Axes], titles: Sequence[Text]) -> None:
    """Lay the figure out, thin the ticks and break the titles to what has room, and lay it out again, for good."""
    _lay_out(figure)
    gap = 0.5 * letters("axes.titlesize") * figure.dpi / 72.0
    edges = [*(float(ax.get_window_extent().x0) for ax in axes), float(figure.bbox.x1) + gap]
    for ax, title in zip(axes, titles, strict=True):
        _thin_ticks(ax)
        if title.get_window_extent().x1 > min(x for x in edges if x > ax.get_window_extent().x0 + 1) - gap:
            title.set_text(broken(title.get_text(), 0))
    _lay_out(figure)
    figure.set_layout_engine(None)
    for ax in axes:
        # The layout's solver does not give the same last bits every time.
        ax.set_position(np.round(ax.get_position(original=True).bounds, 6).tolist())
        spread_labels(ax)


def _lay_out(figure: Figure) -> None:
    engine = figure.get_layout_engine()
    assert engine is not None
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "constrained_layout not applied", UserWarning)
        try:
            engine.execute(figure)
        except UserWarning as problem:
            raise NoRoom("there is no room for so many lines or such long names; draw fewer arms.") from problem


def _thin_ticks(ax: Axes) -> None:
    """Leave few enough ticks that their labels stay apart: of chosen places every second or third."""
    size = letters("xtick.labelsize") * ax.figure.dpi / 72.0
    box = ax.get_window_extent()
    for axis, room in ((ax.xaxis, box.width / (4.5 * size)), (ax.yaxis, box.height / (2.2 * size))):
        locator = axis.get_major_locator()
        if isinstance(locator, MaxNLocator):
            axis.set_major_locator(MaxNLocator(nbins=int(min(max(room, 2), 5)), steps=[1, 2, 2.5, 5, 10]))
        elif isinstance(locator, LogLocator):
            axis.set_major_locator(LogLocator(10.0, numticks=int(min(max(1.35 * room, 2), 5))))
        elif isinstance(locator, FixedLocator) and axis is ax.xaxis:
            _thin_chosen(ax)


def _thin_chosen(ax: Axes) -> None:
    """Leave out labels that would touch the one before them; of two, a bold one stays."""
    gap = 0.35 * letters("xtick.labelsize") * ax.figure.dpi / 72.0
    low, high = sorted(ax.transData.transform([(x, 0.0) for x in ax.get_xlim()])[:, 0])
    before: Text | None = None
    for tick in ax.xaxis.get_major_ticks():
        box = tick.label1.get_window_extent()
        if not low - 1 <= 0.5 * (box.x0 + box.x1) <= high + 1:
            continue
        if before is not None and box.x0 < before.get_window_extent().x1 + gap:
            hidden = before if tick.label1.get_fontweight() == "bold" else tick.label1
            hidden.set_visible(False)
            if hidden is tick.label1:
                continue
        before = tick.label1
