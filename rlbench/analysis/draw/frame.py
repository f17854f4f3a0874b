"""Names written beside the ends of their lines, instead of a legend."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator
from matplotlib.transforms import Bbox, Transform

from rlbench.analysis.draw.style import INK, QUIET, ArmStyle, Look, letters
from rlbench.analysis.stats.statistics import Array

_GID = "direct-label"
_LINE = 1.2  # height of a line of text, in sizes of its letters
_CHARACTER = 0.58  # mean width of a letter, in sizes of the letters
_LONGEST = 15  # letters of a name that stay on one line
_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[-_:])|(?<=\s)")


def label_line(ax: Axes, name: str, x: float, y: float, color: str, transform: Transform | None = None) -> None:
    """Write a name right of the axes, at the height of the end (x, y) of its line, joined to it by a hairline.

    `spread_labels` moves names apart that would cover each other. `transform` is that of the line, if not the data's.
    """
    ax.annotate(
        broken(name),
        xy=(x, y),
        xycoords=transform or "data",
        xytext=(1.0 + _gap(ax), y),
        textcoords=("axes fraction", "data"),
        ha="left",
        va="center",
        color=readable(color),
        fontsize=rcParams["legend.fontsize"],
        arrowprops={
            "arrowstyle": "-",
            "color": color,
            "linewidth": rcParams["grid.linewidth"],
            "shrinkA": 0.0,
            "shrinkB": 0.0,
            "relpos": (0.0, 0.5),
        },
        annotation_clip=False,
        gid=_GID,
    )


def broken(name: str, longest: int = _LONGEST) -> str:
    """Return a name of more than `longest` letters in two lines, broken between its words as near the middle as can be.

    Words end at a space, a hyphen, or before a capital letter: `MountainCar / Continuous-v0`.
    """
    places = [match.start() for match in _BREAK.finditer(name) if 0 < match.start() < len(name)]
    if len(name) <= longest or not places:
        return name
    middle = min(places, key=lambda place: abs(2 * place - len(name)))
    return f"{name[:middle].rstrip()}\n{name[middle:]}"


def readable(color: str) -> tuple[float, float, float]:
    """Return the colour dark enough for letters on white: the lighter it is, the more it is darkened."""
    rgb = np.array(to_rgb(color))
    luminance = float(rgb @ np.array([0.2126, 0.7152, 0.0722]))
    red, green, blue = rgb * min(1.0, 0.42 / max(luminance, 1e-9)) ** 0.6
    return float(red), float(green), float(blue)


def text_width(names: Sequence[str]) -> float:
    """Return about how wide the longest of the names is, in inches."""
    longest = max((len(line) for name in names for line in broken(name).splitlines()), default=0)
    return longest * _CHARACTER * letters("legend.fontsize") / 72.0


def text_height(names: Sequence[str]) -> float:
    """Return how high the names are below each other, in inches."""
    lines = sum(len(broken(name).splitlines()) for name in names)
    return _LINE * lines * letters("legend.fontsize") / 72.0


def spread_labels(ax: Axes) -> None:
    """Move the names beside the axes apart, in the order of the ends of their lines; once the layout is known."""
    labels = [one for one in ax.texts if isinstance(one, Annotation) and one.get_gid() == _GID]
    if not labels:
        return
    box = ax.get_window_extent()
    heights = np.array([_LINE * (one.get_text().count("\n") + 1) for one in labels])
    heights *= letters("legend.fontsize") * ax.figure.dpi / 72.0
    ends = np.array([ax.transData.transform(one.xy)[1] for one in labels])
    # None above or below the axes, where titles and ticks are.
    low, high = float(box.y0 + 0.5 * heights.min()), float(box.y1 - 0.5 * heights.min())
    placed = apart(np.clip(ends, low, high), heights, low, high)
    for one, y in zip(labels, placed, strict=True):
        one.set_position((1.0 + _gap(ax), float(ax.transData.inverted().transform((0.0, y))[1])))


def apart(ends: Array, heights: Array, low: float, high: float) -> Array:
    """Return the middles of texts of these heights that do not cover each other, in the order of `ends`.

    They are as near to the ends as can be (least squares), and between `low` and `high` where all have room there.
    """
    order = np.argsort(ends, kind="stable")
    tall = heights[order]
    offset = np.concatenate([[0.0], np.cumsum(0.5 * (tall[1:] + tall[:-1]))])  # from the lowest middle
    blocks: list[tuple[float, int]] = []  # texts that touch: (mean of their ends less their offsets, number)
    for mean in ends[order] - offset:
        number = 1
        while blocks and blocks[-1][0] > mean:
            before, others = blocks.pop()
            mean, number = (before * others + mean * number) / (others + number), others + number
        blocks.append((mean, number))
    level = np.repeat([mean for mean, _ in blocks], [number for _, number in blocks])
    placed = np.empty(len(ends))
    placed[order] = np.clip(level, low, max(high - offset[-1], low)) + offset
    return placed


def _gap(ax: Axes) -> float:
    """Return the space between axes and names as a share of the width of the axes."""
    width = ax.get_window_extent().width / ax.figure.dpi * 72.0
    return 0.9 * letters("legend.fontsize") / max(width, 1.0)


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
