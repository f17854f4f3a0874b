"""What stands around the data: axes, rows, names beside lines, legends, notes on the runs, and the grid of panels."""

import io
import math
import re
import textwrap
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypedDict

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import is_color_like, to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.ticker import EngFormatter, FixedFormatter, FixedLocator, LogLocator, MaxNLocator, PercentFormatter
from matplotlib.transforms import Transform

from rlbench.analysis.draw.style import INK, QUIET, ArmStyle, styled
from rlbench.analysis.scores.results import Results
from rlbench.analysis.scores.scores import counts
from rlbench.analysis.stats.estimates import Array, Band, Estimate, interval_name
from rlbench.errors import RlbenchError, brief
from rlbench.files import write

Setting = Literal[
    "font.size", "axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"
]

_LINE = 1.35  # height of a line of text, in sizes of its letters
_CHARACTER = 0.56  # mean width of a letter, in sizes of the letters
_SMALL = 0.9  # size of the notes, in sizes of the letters
_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[-_:])|(?<=\s)")


def letters(setting: Setting = "font.size") -> float:
    """Return the size of letters in points that one of matplotlib's settings asks for, such as "legend.fontsize"."""
    return float(FontProperties(size=rcParams[setting]).get_size_in_points())


def text_width(texts: Iterable[str], setting: Setting = "legend.fontsize") -> float:
    """Return about how wide the longest line of the texts is, in inches."""
    longest = max((len(line) for text in texts for line in text.splitlines()), default=0)
    return longest * _CHARACTER * letters(setting) / 72.0


def text_height(texts: Iterable[str]) -> float:
    """Return how high the texts are below each other, in inches."""
    return _LINE * sum(len(text.splitlines()) for text in texts) * letters("legend.fontsize") / 72.0


def wrapped(label: str, width: int = 24) -> str:
    """Return a label broken into lines of about `width` characters, so that a long one stays readable."""
    return "\n".join(textwrap.wrap(label, width, break_long_words=True)) or label


def broken(name: str, longest: int = 15) -> str:
    """Return a name of more than `longest` letters in two lines, broken between its words as near the middle as can be.

    Words end at a space, a hyphen, or before a capital letter: `MountainCar / Continuous-v0`.
    """
    places = [match.start() for match in _BREAK.finditer(name) if 0 < match.start() < len(name)]
    if len(name) <= longest or not places:
        return name
    middle = min(places, key=lambda place: abs(2 * place - len(name)))
    return f"{name[:middle].rstrip()}\n{name[middle:]}"


# Axes


@contextmanager
def drawing(ax: Axes | None, height: float = 4.4) -> Iterator[Axes]:
    """Give `ax`, or the Axes of a new pyplot figure (`height` in inches), to draw on in the style of a report.

    A new figure uses the user's own backend, so a notebook shows it. Labels are made plain text at the end.
    """
    plain = not rcParams["text.parse_math"]  # within a style all texts are plain already
    with styled("report"):
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots(figsize=(7.0, height), layout="constrained")[1]
        yield ax
        for text in () if plain else ax.findobj(Text):
            text.set_parse_math(False)


class Look(TypedDict, total=False):
    """How a plot of results may differ from the usual one.

    arms     only these, in this order
    labels   what arms are called, by their labels
    colors   other colours of arms than theirs, by their labels
    title    instead of the usual one; empty: none
    legend   whether the arms are listed, right of the axes in a figure with constrained layout, else inside; or marks,
             above the axes
    note     whether small letters under the axes say what the intervals are and how many runs there were; usually in a
             figure with constrained layout, which makes room for them
    """

    arms: Sequence[str]
    labels: Mapping[str, str]
    colors: Mapping[str, str]
    title: str
    legend: bool
    note: bool


def adjustable(plot: Callable[..., Axes]) -> Callable[..., Axes]:
    """Give a function that plots results the parameters of `Look`."""

    @wraps(plot)
    def adjusted(results: Results, *given: Any, **options: Any) -> Axes:
        place = options.get("ax")
        if place is not None and not isinstance(place, Axes):
            raise RlbenchError(f"A plot is drawn on one Axes, not {brief(place)}; environment= names an environment.")
        look = {name: options.pop(name) for name in Look.__annotations__ if name in options}
        chosen = {name: look[name] for name in ("arms", "labels", "colors") if look.get(name) is not None}
        shown = results.showing(**chosen) if chosen else results
        for color in (chosen.get("colors") or {}).values():
            if not is_color_like(color):
                raise RlbenchError(f"{color!r} is no colour of matplotlib, such as 'tab:blue' or '#0173b2'.")
        ax = plot(shown, *given, **options)
        roomy = isinstance(ax.figure.get_layout_engine(), ConstrainedLayoutEngine)
        legend, title = ax.get_legend(), look.get("title")
        if legend and not look.get("legend", True):
            legend.remove()
            title = ax.get_title("left") if title is None else title
        elif legend and not roomy and legend.get_gid() == _ARMS:
            legend.set_bbox_to_anchor(None)
            legend.set_loc("best")
        for text in [text for text in ax.texts if text.get_gid() == _FOOTER and not look.get("note", roomy)]:
            text.remove()
        if title is not None:
            left = ax.get_legend()
            with styled("report"):
                ax.set_title(title, pad=ABOVE_LEGEND if left and left.get_gid() != _ARMS else None)
        return ax

    return adjusted


_ARMS, _FOOTER = "arms", "footer"


def write_inside(ax: Axes, message: str) -> None:
    """Write why there is nothing to draw in the middle of empty axes."""
    ax.text(0.5, 0.5, wrapped(message, 52), transform=ax.transAxes, ha="center", va="center", color=QUIET)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)


class _Steps(EngFormatter):
    """Thousands as k and millions as M, but no thousandth as m, which reads as a million."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if abs(x) < 1 else str(super().__call__(x, pos))


def count_steps(ax: Axes, called: str = "environment steps") -> None:
    """Write steps on the horizontal axis, as 50k or 1M; as 0.25 where they are counted in millions."""
    ax.xaxis.set_major_formatter(_Steps(sep=""))
    ax.set_xlabel(called)


def show_shares(ax: Axes) -> None:
    """Make the vertical axis one of shares of runs, from 0 to 100 %."""
    ax.set_ylim(-0.02, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))


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


# Notes on the runs and the intervals


def run_counts(scores: pd.DataFrame, arms: Sequence[str], environment: str | None = None) -> str:
    """Return the sentence under a figure that shows `arms` (on one environment, or on all).

    `failed` counts the failed and the diverged runs; a planned run that did not take place is called missing.
    Arms of which not all planned runs are used are named.
    """
    table = scores[scores["arm"].isin(list(arms))]
    if environment is not None:
        table = table[table["environment"] == environment]
    each = counts(table).drop(columns="environment").groupby("arm").sum()
    each = each.reindex(list(dict.fromkeys(arms)), fill_value=0)
    total = each.sum().astype(int)
    failed = total["failed"] + total["diverged"]
    text = f"Runs: {total['planned']} planned, {total['finished']} finished, {failed} failed, {total['used']} used"
    if total["missing"]:
        text += f", {total['missing']} missing"
    some = each[each["used"] < each["planned"]]
    if len(some):
        used = ", ".join(f"{arm} {row['used']} of {row['planned']}" for arm, row in some.iterrows())
        return f"{text}. Used: {used}{'; every other arm all' if len(some) < len(arms) else ''}."
    planned = set(each["planned"])
    return f"{text}; {planned.pop()} per arm." if len(planned) == 1 and len(arms) > 1 else f"{text}."


def counted(scores: pd.DataFrame, arms: Collection[str], environments: Collection[str]) -> pd.DataFrame:
    """Return the runs that a figure of `environments` together is about, used only if their arm is in it."""
    table = scores[scores["environment"].isin(list(environments))]
    return table.assign(used=table["used"].astype(bool) & table["arm"].isin(list(arms)))


def interval_note(estimates: Iterable[Estimate | Band], what: str) -> str:
    """Return the sentence on the intervals drawn: `what`, what they may be called, and the methods that gave them."""
    estimates = list(estimates)
    return f"{what}: {interval_words(estimates)}." if estimates else ""


def interval_words(estimates: Sequence[Estimate | Band]) -> str:
    """Return what intervals may be called, with the methods that gave them in brackets."""
    known = [one for one in estimates if np.isfinite(one.point).any()] or estimates  # or why there is none
    return f"{interval_name(estimates)} ({', '.join(dict.fromkeys(one.method for one in known))})"


def note_lines(sentences: Iterable[str], width: float) -> str:
    """Return sentences one below the other in small print, broken to a width in inches."""
    characters = max(30, int(72.0 * width / (_CHARACTER * _SMALL * letters())))
    broken_up = [textwrap.wrap(sentence, characters, break_on_hyphens=False) for sentence in sentences]
    return "\n".join(line for lines in broken_up for line in lines)


def add_footer(ax: Axes, *sentences: str, rows: Sequence[str] = ()) -> None:
    """Write sentences small and grey under the axes, where the layout reserves the room.

    They start left of the axes, below the tick labels, which are the `rows` if there are some.
    """
    left = 72.0 * text_width(map(wrapped, rows), "ytick.labelsize") + 6.0 if rows else 45.0  # points
    # The width that the axes of a figure of one subplot have, before a layout engine moves them.
    share = ax.get_position().width / (rcParams["figure.subplot.right"] - rcParams["figure.subplot.left"])
    width = share * float(ax.figure.bbox.width) / ax.figure.get_dpi() - 0.3
    ax.annotate(
        note_lines(sentences, width),
        xy=(0.0, 0.0),
        xycoords="axes fraction",
        xytext=(-left, -4.0 * letters()),
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize=_SMALL * letters(),
        linespacing=_LINE,
        color=QUIET,
        gid=_FOOTER,
        annotation_clip=False,
    )


# Legends


def line_handles(styles: Mapping[str, ArmStyle], *, joined: bool = True) -> list[Line2D]:
    """Return the handles of a legend of lines with markers; of lines that are not `joined`, only the markers."""
    return [
        Line2D(
            [],
            [],
            color=style.color,
            linestyle=style.line if joined else "none",
            marker=style.marker,
            markeredgecolor="white",
            label=name,
        )
        for name, style in styles.items()
    ]


def list_arms(ax: Axes, styles: Mapping[str, ArmStyle], absent: str = "no used run") -> None:
    """List the arms right of the axes; an arm without a line too, with `absent` as the reason."""
    drawn = {str(line.get_label()) for line in ax.lines}
    names = {arm: wrapped(f"{arm} ({absent})" if absent and arm not in drawn else arm) for arm in styles}
    handles = line_handles({names[arm]: style for arm, style in styles.items()})
    if any(line.get_gid() == "stopped" for line in ax.lines):
        label = "stopped early\n(failed, diverged)"
        handles.append(Line2D([], [], color=QUIET, linestyle=":", marker="x", markeredgewidth=1.2, label=label))
    where: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.0}
    ax.legend(handles=handles, handlelength=3.0, labelspacing=0.7, **where).set_gid(_ARMS)


ABOVE_LEGEND = 24.0  # points between axes and title that leave room for a line of legend


def list_marks(ax: Axes, handles: Sequence[Line2D]) -> None:
    """List what the marks of a chart with rows mean in a line above the axes."""
    where: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": len(handles)}
    ax.legend(handles=handles, **where, borderaxespad=0.2, columnspacing=1.2, handletextpad=0.5)


# Names beside the ends of their lines

_GID = "direct-label"


def label_line(ax: Axes, name: str, x: float, y: float, color: str, transform: Transform | None = None) -> None:
    """Write a name right of the axes, at the height of the end (x, y) of its line, joined to it by a hairline.

    `settle` moves names apart that would cover each other. `transform` is that of the line, if not the data's.
    """
    hairline = {"arrowstyle": "-", "color": color, "linewidth": rcParams["grid.linewidth"], "relpos": (0.0, 0.5)}
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
        arrowprops={**hairline, "shrinkA": 0.0, "shrinkB": 0.0},
        annotation_clip=False,
        gid=_GID,
    )


def readable(color: str) -> tuple[float, float, float]:
    """Return the colour dark enough for letters on white: the lighter it is, the more it is darkened."""
    rgb = np.array(to_rgb(color))
    luminance = float(rgb @ np.array([0.2126, 0.7152, 0.0722]))
    red, green, blue = rgb * min(1.0, 0.42 / max(luminance, 1e-9)) ** 0.6
    return float(red), float(green), float(blue)


def _spread_labels(ax: Axes) -> None:
    # Move the names beside the axes apart, in the order of the ends of their lines; once the layout is known.
    labels = [text for text in ax.texts if isinstance(text, Annotation) and text.get_gid() == _GID]
    if not labels:
        return
    box = ax.get_window_extent()
    heights = np.array([text_height([label.get_text()]) * ax.figure.dpi for label in labels])
    ends = np.array([ax.transData.transform(label.xy)[1] for label in labels])
    # None above or below the axes, where titles and ticks are.
    low, high = float(box.y0 + 0.5 * heights.min()), float(box.y1 - 0.5 * heights.min())
    placed = apart(np.clip(ends, low, high), heights, low, high)
    for label, y in zip(labels, placed, strict=True):
        label.set_position((1.0 + _gap(ax), float(ax.transData.inverted().transform((0.0, y))[1])))


def apart(ends: Array, heights: Array, low: float, high: float) -> Array:
    """Return the middles of texts of these heights that do not cover each other, in the order of `ends`.

    They are as near to the ends as can be (least squares), and between `low` and `high` where all have room there.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(ends, kind="stable")
    tall = heights[order]
    offset = np.concatenate([[0.0], np.cumsum(0.5 * (tall[1:] + tall[:-1]))])  # from the lowest middle
    level = isotonic_regression(ends[order] - offset).x
    placed = np.empty(len(ends))
    placed[order] = np.clip(level, low, max(high - offset[-1], low)) + offset
    return placed


def _gap(ax: Axes) -> float:
    # The space between axes and names as a share of the width of the axes.
    width = ax.get_window_extent().width / ax.figure.dpi * 72.0
    return 0.9 * letters("legend.fontsize") / max(width, 1.0)


# Figures of several panels

DrawPanel = Callable[[Axes, bool], None]
_WIDEST = 0.34  # of a panel, that names beside its lines may take


class CannotDraw(Exception):
    """A declared figure asks for what is not there, or for more than fits into its size; without the figure's name."""


def new_figure(width: float, height: float, title: str = "", notes: str = "") -> Figure:
    """Return an empty figure (inches) with a title above, and notes in small letters below what is drawn in it."""
    pad = 0.28 * letters() / 72.0
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=1.8 * pad, h_pad=pad))
    FigureCanvasAgg(figure)
    margin = 1.8 * pad / width
    if title:
        figure.suptitle(title, x=margin, ha="left", fontsize=1.3 * letters(), fontweight="bold", color=INK)
    if notes:
        small: dict[str, Any] = {"fontsize": _SMALL * letters(), "color": QUIET, "linespacing": _LINE}
        figure.supxlabel(notes, x=margin, ha="left", **small)
    return figure


def draw_panels(
    figure: Figure | SubFigure,
    panels: Sequence[tuple[str, DrawPanel]],
    columns: int,
    lines: Mapping[str, ArmStyle],
    *,
    beside: bool = True,
    joined: bool = True,
    shared: str = "",
) -> None:
    """Draw panels in a grid, each with its title, and name the `lines` that are in them.

    Names stand `beside` the ends of their lines where that is asked for and they have room; then a panel is told so.
    Otherwise they stand in a free place of the grid or below it; `joined`: with lines, not only markers. What all
    panels call an axis is written once, and the axes in `shared` ("x", "y", "xy") have the same range everywhere.
    """
    rows = math.ceil(len(panels) / columns)
    width, height = (float(size) / figure.dpi for size in (figure.bbox.width / columns, figure.bbox.height / rows))
    names = [broken(name) for name in lines]
    named = beside and bool(lines) and text_width(names) <= _WIDEST * width and text_height(names) <= 0.68 * height
    outer: SubFigure = figure.subfigures()  # type: ignore[assignment]  # what is below a subfigure has its own room
    inner: SubFigure = outer.subfigures()  # type: ignore[assignment]
    grid = inner.subplots(rows, columns, squeeze=False, sharex="x" in shared, sharey="y" in shared)
    axes, spare = list(grid.flat)[: len(panels)], list(grid.flat)[len(panels) :]
    for ax, (title, draw) in zip(axes, panels, strict=True):
        draw(ax, named)
        ax.set_title(title if text_width([title], "axes.titlesize") <= 0.66 * width else broken(title, 0))
    for ax in axes[-columns:]:
        ax.tick_params(labelbottom=True)
    for ax in spare:
        ax.set_axis_off()
    for which, write_whole in (("x", inner.supxlabel), ("y", inner.supylabel)):
        labels = {getattr(ax, f"get_{which}label")() for ax in axes}
        if len(axes) > 1 and len(labels) == 1 and labels != {""}:
            write_whole(labels.pop(), fontsize=letters("axes.labelsize"))
            for ax in axes:
                getattr(ax, f"set_{which}label")("")
    if not lines or named:
        return
    lines = {name if text_width([name]) <= 0.75 * width else wrapped(name): style for name, style in lines.items()}
    handles = line_handles(lines, joined=joined)
    look = {"handlelength": 2.6 if joined else 1.0, "columnspacing": 1.4, "labelspacing": 0.3}
    if spare and text_height(lines) <= 0.8 * height:
        spare[0].legend(handles=handles, loc="upper left", borderaxespad=0.0, **look)
    else:
        each = text_width(lines) + 4.2 * letters("legend.fontsize") / 72.0
        fitting = max(1, min(len(lines), int(columns * width / each)))
        outer.legend(handles=handles, loc="outside lower center", ncols=fitting, borderaxespad=0.2, **look)


def settle(figure: Figure) -> None:
    """Lay a figure out for good: with as many ticks as have room, and with names beside lines moved apart.

    Raises:
        CannotDraw: the names and ticks leave no room for the panels.
    """
    _lay_out(figure)
    for ax in figure.axes:
        _thin_ticks(ax)
    _lay_out(figure)
    figure.set_layout_engine(None)
    # The layout's solver does not give the same last bits every time.
    inside: list[Figure | SubFigure] = [figure]
    for outer in inside:
        for inner in outer.subfigs:
            box = inner.bbox_relative
            box.p0, box.p1 = np.round(box.p0, 6), np.round(box.p1, 6)
            inside.append(inner)
    for ax in figure.axes:
        ax.set_position(np.round(ax.get_position(original=True).bounds, 6).tolist())
        _spread_labels(ax)


def _lay_out(figure: Figure) -> None:
    engine = figure.get_layout_engine()
    if engine is None:
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "constrained_layout not applied", UserWarning)
        try:
            engine.execute(figure)
        except UserWarning as problem:
            raise CannotDraw("there is no room for so many lines or such long names; draw fewer arms.") from problem


def _thin_ticks(ax: Axes) -> None:
    # Leave few enough ticks that their labels stay apart: of chosen places every second or third.
    size = letters("xtick.labelsize") * ax.figure.dpi / 72.0
    box = ax.get_window_extent()
    for axis, room in ((ax.xaxis, box.width / (4.0 * size)), (ax.yaxis, box.height / (2.2 * size))):
        locator = axis.get_major_locator()
        if isinstance(locator, MaxNLocator):
            axis.set_major_locator(MaxNLocator(nbins=int(min(max(room, 2), 7)), steps=[1, 2, 2.5, 5, 10]))
        elif isinstance(locator, LogLocator):
            axis.set_major_locator(LogLocator(10.0, numticks=int(min(max(room, 2), 6))))
        elif isinstance(locator, FixedLocator) and axis is ax.xaxis:
            _thin_chosen(ax)


def _thin_chosen(ax: Axes) -> None:
    # Labels that would touch the one before them move a line down, and are left out where that is taken, too; of two
    # in the second line a bold one stays.
    gap = 0.35 * letters("xtick.labelsize") * ax.figure.dpi / 72.0
    low, high = sorted(ax.transData.transform([(x, 0.0) for x in ax.get_xlim()])[:, 0])
    labels = [tick.label1 for tick in ax.xaxis.get_major_ticks()]
    texts, rows = [label.get_text().strip("\n") for label in labels], [-math.inf, -math.inf]  # where each line ends
    down = "\n" * max((text.count("\n") + 1 for text in texts), default=1)
    below: int | None = None
    for place, label in enumerate(labels):
        box = label.get_window_extent()
        if not low - 1 <= 0.5 * (box.x0 + box.x1) <= high + 1:
            continue
        row = next((row for row, end in enumerate(rows) if box.x0 >= end + gap), None)
        if row is None and label.get_fontweight() == "bold" and below is not None:
            texts[below], row = "", 1
        if row is None:
            texts[place] = ""
            continue
        rows[row] = box.x1
        if row:
            texts[place], below = down + texts[place], place
    ax.xaxis.set_major_formatter(FixedFormatter(texts))


# By kind of file. No dates: the same runs give the same bytes.
_METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


def write_figure(
    figure: Figure, directory: Path, name: str, dpi: int, kinds: Collection[str] = tuple(_METADATA)
) -> dict[str, bytes]:
    """Write a figure that is laid out as NAME.svg, .pdf and .png, and return their bytes by kind; within `styled`."""
    files = {}
    with matplotlib.rc_context({"svg.hashsalt": "rlbench"}):
        for kind in kinds:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=_METADATA[kind], dpi=dpi if kind == "png" else "figure")
            files[kind] = buffer.getvalue()
            write(directory / f"{name}.{kind}", files[kind], inside=directory)
    return files
