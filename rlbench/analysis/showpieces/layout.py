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
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator
from matplotlib.transforms import Bbox

from rlbench.analysis.figures.style import INK, QUIET, ArmStyle
from rlbench.analysis.showpieces.labels import broken, spread_labels, text_height, text_width
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
    panels = len(sheet.panels)
    columns = _columns(panels, sheet.in_row and not look.slide)
    rows = math.ceil(panels / columns)
    width = look.wide if panels > 1 else look.narrow
    height = look.slide or look.height * rows * sheet.tall * (1.18 if panels == 1 else 1.0)
    named = _fits(sheet.lines, width / columns, (height - 1.2 * (look.slide > 0)) / rows)
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
    if sheet.lines and not named:
        room = (height - 2.0 * (look.slide > 0)) / rows
        _list_lines(figure, spare if text_height(list(sheet.lines)) <= room else [], sheet.lines, width)
    across, upright = _common(figure, axes, "x"), _common(figure, axes, "y")
    above, below = _write_around(figure, title, sheet.notes) if look.titled else (0.0, 0.0)
    _leave_room(figure, across, upright, (above, below), 0.015 * look.titled)
    _settle(figure, axes, titles)
    _place_outside(figure, axes, across, upright)
    return figure


def _columns(panels: int, in_row: bool) -> int:
    if in_row:
        return min(panels, 4)
    return {1: 1, 2: 2, 3: 3, 4: 2}.get(panels, 3 if panels <= 6 else 4)


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


def _common(figure: Figure, axes: Sequence[Axes], which: str) -> Text | None:
    """Return the label that all of several panels have on their horizontal or vertical axis, written once for all."""
    found = {getattr(ax, f"get_{which}label")() for ax in axes}
    if len(axes) == 1 or len(found) > 1 or found == {""}:
        return None
    for ax in axes:
        getattr(ax, f"set_{which}label")("")
    turned = {"rotation": "vertical", "ha": "right", "va": "center"} if which == "y" else {"ha": "center", "va": "top"}
    return figure.text(0.0, 0.0, found.pop(), fontsize=rcParams["axes.labelsize"], **turned)  # type: ignore[arg-type]


def _leave_room(
    figure: Figure, across: Text | None, upright: Text | None, taken: tuple[float, float], margin: float
) -> None:
    """Keep the layout away from the margins, from what is `taken` above and below, and from the common labels."""
    above, below = taken
    line = 1.5 * float(rcParams["axes.labelsize"]) / 72.0
    left = margin + line / figure.get_figwidth() * (upright is not None)
    bottom = max(margin, below) + line / figure.get_figheight() * (across is not None)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(left, bottom, 1.0 - margin - left, 1.0 - max(margin, above) - bottom))  # type: ignore[call-arg]


def _place_outside(figure: Figure, axes: Sequence[Axes], across: Text | None, upright: Text | None) -> None:
    """Write the common labels just below and left of the panels, in their middle."""
    inner = Bbox.union([ax.get_window_extent() for ax in axes])
    outer = Bbox.union([box for ax in axes if (box := ax.get_tightbbox()) is not None])
    gap = float(rcParams["axes.labelpad"]) * figure.dpi / 72.0
    to_figure = figure.transFigure.inverted()
    if across is not None:
        across.set_position(tuple(to_figure.transform((0.5 * (inner.x0 + inner.x1), outer.y0 - gap))))
    if upright is not None:
        upright.set_position(tuple(to_figure.transform((outer.x0 - gap, 0.5 * (inner.y0 + inner.y1)))))


def _list_lines(figure: Figure, spare: Sequence[Axes], lines: Mapping[str, ArmStyle], width: float) -> None:
    """List the lines in a free place of the grid, or in a strip below the panels."""
    handles = [
        Line2D(
            [], [], color=style.color, linestyle=style.line, marker=style.marker, markeredgecolor="white", label=name
        )
        for name, style in lines.items()
    ]
    if spare:
        listed = spare[0].legend(
            handles=handles, loc="upper left", handlelength=2.6, borderaxespad=0.0, labelspacing=0.3
        )
        listed.set_in_layout(False)  # it may reach below its place
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


def _write_around(figure: Figure, title: str, notes: str) -> tuple[float, float]:
    """Write the title above and the notes below the panels of a slide; return the shares of its height they take."""
    size, height = float(rcParams["font.size"]), 72.0 * figure.get_figheight()
    if title:
        figure.text(0.02, 0.975, title, va="top", fontsize=1.4 * size, fontweight="bold", color=INK)
    if notes:
        figure.text(0.02, 0.02, notes, va="bottom", fontsize=0.9 * size, color=QUIET)
    return (0.025 + 2.0 * size / height) * bool(title), (0.02 + 1.4 * size / height) * bool(notes)


def _settle(figure: Figure, axes: Sequence[Axes], titles: Sequence[Text]) -> None:
    """Lay the figure out, thin the ticks and break the titles to what has room, and lay it out again, for good."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    for ax, title in zip(axes, titles, strict=True):
        _thin_ticks(ax)
        if title.get_window_extent().width > ax.get_window_extent().width:
            title.set_text(broken(title.get_text(), 0))
    engine.execute(figure)
    figure.set_layout_engine(None)
    for ax in axes:
        spread_labels(ax)


def _thin_ticks(ax: Axes) -> None:
    """Leave few enough ticks that their labels stay apart: of chosen places every second or third."""
    size = float(rcParams["xtick.labelsize"]) * ax.figure.dpi / 72.0
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
    gap = 0.35 * float(rcParams["xtick.labelsize"]) * ax.figure.dpi / 72.0
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
