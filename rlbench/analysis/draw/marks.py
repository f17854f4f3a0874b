"""What is drawn on axes, in every style: lines with bands, points with bars, rows with intervals, dots of runs.

A table of lines has the columns line (an arm, a variant or an environment), x, point, low and high; low and high are
NaN where there is no interval. Beside the table stand the estimates themselves, which notes and captions name.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from rlbench.analysis.draw.axes import write_powers
from rlbench.analysis.draw.frame import label_line, name_rows
from rlbench.analysis.draw.style import INK, QUIET, ArmStyle
from rlbench.analysis.scores.metrics import measure
from rlbench.analysis.scores.results import Results
from rlbench.analysis.scores.scores import possible_range
from rlbench.analysis.stats.estimates import ANYTHING, Array, Band, Estimate
from rlbench.analysis.stats.intervals import mean_interval
from rlbench.claims import RETURNS

COLUMNS = ["line", "x", "point", "low", "high"]
SCATTER = ["line", "x", "x_low", "x_high", "point", "low", "high"]
SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
QUANTILES = [f"q{share:g}" for share in SHARES]
MEAN = "mean"
"""The line that is the mean of all environments."""
MEAN_STYLE = ArmStyle("#000000", "o", ())
MARK = "mark"  # gid of what is no data: lines and ranges that the text names
_DASHES = (0, (4, 2.5))


class Numbers(NamedTuple):
    """The table that is drawn, and the estimates in it."""

    table: pd.DataFrame
    estimates: list[Estimate | Band]


def gathered(parts: Sequence[Numbers]) -> Numbers:
    """Return several tables as one."""
    tables = [part.table for part in parts if len(part.table)]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
    return Numbers(table, [estimate for part in parts for estimate in part.estimates])


def band_numbers(line: str, x: Array, band: Band, *, shares: bool = False) -> Numbers:
    """Return one line of a table from its band; of `shares` of runs, only where some but not all runs are counted.

    Where all runs are counted or none is, the bands of all arms would only cover each other.
    """
    inside = np.isfinite(band.low) & (band.point > 0) & (band.point < 1) if shares else np.full(len(band.point), True)
    low, high = np.where(inside, band.low, band.point), np.where(inside, band.high, band.point)
    return Numbers(pd.DataFrame({"line": line, "x": x, "point": band.point, "low": low, "high": high}), [band])


class Scored:
    """One metric of all runs of an experiment, asked for by arm.

    The interval of a mean is cut to the range that the metric can have where that is known, unless not `cut`.
    """

    def __init__(self, results: Results, metric: str, *, cut: bool = True) -> None:
        table = measure(results, metric)
        self.table = table[table["used"].astype(bool) & np.isfinite(table["value"])]
        self.results = results
        name, normalised, _ = metric.partition("_normalised")
        self._normalised, self._cut = bool(normalised), cut and name in (*RETURNS, "score")

    def values(self, arm: str, environment: str) -> npt.NDArray[np.float64]:
        """Return the metric of the used runs of an arm on an environment."""
        runs = self.table[(self.table["arm"] == arm) & (self.table["environment"] == environment)]
        values: npt.NDArray[np.float64] = runs["value"].to_numpy(np.float64)
        return values

    def mean(self, arm: str, environments: Sequence[str]) -> Estimate:
        """Return the mean over the used runs, and over environments if there are several, with its interval.

        NaN where no used run on one of the environments has the metric.
        """
        tasks = [self.values(arm, name) for name in environments]
        references = self.results.references
        possible = possible_range(environments, references, normalised=self._normalised) if self._cut else ANYTHING
        return mean_interval(tasks, seed=self.results.seed, possible=possible)


def draw_lines(
    ax: Axes,
    table: pd.DataFrame,
    styles: Mapping[str, ArmStyle],
    *,
    named: Callable[[str], str] | None = None,
    steps: bool = False,
) -> None:
    """Draw every line of a table with its band; `named`: with that name at its end, `steps`: as a step function.

    A few markers on each line, at other places than on the others, tell them apart in a print without colours.
    """
    lines = list(dict.fromkeys(table["line"]))
    for index, name in enumerate(lines):
        rows, style = table[table["line"] == name], styles[name]
        x, y, low, high = (rows[column].to_numpy(np.float64) for column in COLUMNS[1:])
        every = max(1, len(x) // 4)
        first = min(len(x) - 1, (1 + 2 * index) * every // (2 * len(lines)))
        marks = {"drawstyle": "steps-post"} if steps else {"marker": style.marker, "markevery": (first, every)}
        _line(ax, x, y, style, name, **marks)
        known = np.isfinite(low)
        where: dict[str, Any] = {"step": "post"} if steps else {}
        ax.fill_between(
            x[known], low[known], high[known], color=style.color, alpha=0.15, linewidth=0, zorder=1.9, **where
        )
        if named:
            label_line(ax, named(name), x[-1], y[-1], style.color)
    ax.margins(x=0)


def draw_points(
    ax: Axes,
    table: pd.DataFrame,
    styles: Mapping[str, ArmStyle],
    *,
    place: Callable[[Array], Array] | None = None,
    named: Callable[[str], str] | None = None,
) -> None:
    """Draw every line of a table as points with bars, joined; `place` gives the positions of values of x.

    Points at the same value stand a little beside each other, so that their bars can be seen.
    """
    lines = list(dict.fromkeys(table["line"]))
    width = rcParams["lines.linewidth"]
    shift = rcParams["lines.markersize"] * min(0.55, 2.2 / max(len(lines), 1))  # points between two lines
    for index, name in enumerate(lines):
        rows, style = table[table["line"] == name], styles[name]
        x, y, low, high = (rows[column].to_numpy(np.float64) for column in COLUMNS[1:])
        x = place(x) if place else x
        moved = shift * (index - (len(lines) - 1) / 2) / 72.0
        beside = ax.transData + ScaledTranslation(moved, 0.0, ax.figure.dpi_scale_trans)
        strong = 1.0 if MEAN not in lines or len(lines) == 1 else 1.5 if name == MEAN else 0.75
        _line(ax, x, y, style, name, marker=style.marker, transform=beside, linewidth=strong * width)
        ax.vlines(x, low, high, color=style.color, linewidth=0.75 * strong * width, transform=beside, zorder=2.1)
        corners = np.column_stack([np.tile(x, 3), np.concatenate([y, low, high])])
        ax.update_datalim(corners[np.isfinite(corners).all(axis=1)])
        if named:
            label_line(ax, named(name), x[-1], y[-1], style.color, beside)
    ax.autoscale_view(scalex=False)


def _line(ax: Axes, x: Array, y: Array, style: ArmStyle, name: str, **more: Any) -> None:
    ax.plot(
        x, y, color=style.color, linestyle=style.line, markeredgecolor="white", label=name, **{"zorder": 2.2, **more}
    )


def draw_stopped(ax: Axes, x: Array, values: Array, style: ArmStyle) -> None:
    """Draw a run that failed or diverged, with a cross at its last known point."""
    known = np.flatnonzero(np.isfinite(values))
    if known.size:
        last, width = known[-1], rcParams["lines.linewidth"]
        ax.plot(x[known], values[known], color=style.color, linestyle=":", linewidth=0.6 * width, alpha=0.8)
        ax.plot(x[last], values[last], "x", color=style.color, markeredgewidth=width, gid="stopped")


def draw_estimate(ax: Axes, row: float, estimate: Estimate, style: ArmStyle, *, hollow: bool = False) -> None:
    """Draw a point with its interval as a horizontal bar; without an interval, the point alone."""
    width = rcParams["lines.linewidth"]
    if np.isfinite(estimate.low):
        ends, bar = [estimate.low, estimate.high], (0.8 if hollow else 1.4) * width
        ax.plot(ends, [row, row], color=style.color, linewidth=bar, solid_capstyle="butt", zorder=2.6)
    ax.plot(
        estimate.point,
        row,
        marker=style.marker,
        markersize=1.5 * rcParams["lines.markersize"],
        color="white" if hollow else style.color,
        markeredgecolor=style.color if hollow else "white",
        markeredgewidth=(0.8 if hollow else 0.4) * width,
        zorder=2.7,
    )


def draw_rows(
    ax: Axes,
    labels: Sequence[str],
    estimates: Sequence[Estimate],
    styles: Sequence[ArmStyle],
    hollow: Container[int] = (),
) -> None:
    """Draw an estimate per row, from the top, with the labels of the rows; some with `hollow` markers."""
    for row, (estimate, style) in enumerate(zip(estimates, styles, strict=True)):
        if np.isfinite(estimate.point):
            draw_estimate(ax, row, estimate, style, hollow=row in hollow)
        else:
            write_row(ax, row)
    name_rows(ax, labels)


def write_row(ax: Axes, row: int) -> None:
    """Write in a row that nothing is drawn there since no run has a value."""
    ground: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "zorder": 3.0}
    ax.annotate("no used run", (0.02, row), color=QUIET, bbox=ground, **where)


_GOLDEN = (np.sqrt(5) - 1) / 2


def draw_runs(
    ax: Axes, row: int, value: Array, used: npt.NDArray[np.bool_], mean: Estimate | None, style: ArmStyle
) -> None:
    """Draw the runs of a row as dots, those that are not used as crosses, and their mean below them.

    The heights avoid each other and are always the same (golden-ratio sequence).
    """
    height = row - 0.06 - 0.3 * ((0.5 + _GOLDEN * np.arange(len(value))) % 1.0)  # rows count downwards
    area = rcParams["lines.markersize"] ** 2
    ax.scatter(
        value[used],
        height[used],
        s=0.9 * area,
        color=style.color,
        alpha=0.7,
        linewidth=0.4,
        edgecolor="white",
        zorder=2.5,
    )
    ax.scatter(value[~used], height[~used], s=area, color=style.color, marker="x", linewidth=1.4, zorder=2.5)
    if mean is not None and np.isfinite(mean.point):
        draw_estimate(ax, row + 0.17, mean, style)


def mark_value(ax: Axes, value: float, *, upright: bool = True, color: str = QUIET) -> None:
    """Mark a number that the text names by a thin dashed line across the axes."""
    draw = ax.axvline if upright else ax.axhline
    draw(value, color=color, linewidth=0.8 * rcParams["axes.linewidth"] + 0.3, linestyle=_DASHES, zorder=1.5, gid=MARK)


def shade(ax: Axes, ends: tuple[float, float], label: str = "", *, upright: bool = False) -> None:
    """Shade a range that the text names, on the vertical axis or, `upright`, on the horizontal one."""
    (ax.axvspan if upright else ax.axhspan)(*ends, facecolor="#dcdcdc", alpha=0.6, linewidth=0, zorder=0.5, gid=MARK)
    for end in ends:
        draw = ax.axvline if upright else ax.axhline
        draw(end, color="#9a9a9a", linewidth=0.6 * rcParams["axes.linewidth"], zorder=0.6, gid=MARK)
    if label:
        ax.text(
            *((0.5 * sum(ends), 0.985) if upright else (0.985, ends[1])),
            label,
            transform=ax.get_xaxis_transform() if upright else ax.get_yaxis_transform(),
            ha="center" if upright else "right",
            va="top",
            color=QUIET,
            zorder=2.9,
        )


def draw_quantiles(
    ax: Axes, table: pd.DataFrame, styles: Mapping[str, ArmStyle], called: Callable[[str], str] = str
) -> None:
    """Draw a row per arm: median, the middle half (thick), 5 to 95 % (thin), 1 and 99 % (ticks) of its updates.

    The axis is logarithmic. A quantile that is not positive has no place there: its bar reaches to the edge, and an
    arrow there stands for such a median.
    """
    values = table[QUANTILES].to_numpy(np.float64)
    high = 1.6 * float(values.max(initial=0.0)) or 1.0
    # At most nine decades, from what is not numerically zero.
    low = max(0.6 * float(values[values > 0].min()), 1e-9 * high) if (values > 0).any() else 1e-3
    arms, width = list(styles), rcParams["lines.linewidth"]
    for name, row in zip(table["line"], np.clip(values, low, high), strict=True):
        place, color = arms.index(name), styles[name].color
        flat: dict[str, Any] = {"color": color, "solid_capstyle": "butt", "zorder": 2.0}
        ax.plot(row[[1, 5]], [place] * 2, linewidth=width, **flat)
        ax.plot(row[[2, 4]], [place] * 2, linewidth=3.6 * width, **flat)
        ends = row[[0, 6]][row[[0, 6]] > low]
        ax.plot(ends, [place] * len(ends), "|", color=color, markersize=4.0 * width, markeredgewidth=width)
        ax.plot(
            row[3],
            place,
            "o" if row[3] > low else "<",
            clip_on=False,
            color="white",
            markeredgecolor=INK,
            markeredgewidth=0.6 * width,
            markersize=1.1 * rcParams["lines.markersize"],
            zorder=2.3,
        )
    ax.set_yticks(range(len(arms)), [called(arm) for arm in arms])
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(10.0))
    write_powers(ax.xaxis, low)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(low, high)


def draw_scatter(ax: Axes, table: pd.DataFrame, styles: Mapping[str, ArmStyle]) -> None:
    """Draw every row as a dot with its two intervals."""
    for name, x, x_low, x_high, y, low, high in table[SCATTER].itertuples(index=False):
        style = styles[name]
        bar = {"color": style.color, "alpha": 0.55, "linewidth": 0.7 * rcParams["lines.linewidth"], "zorder": 2.0}
        ax.plot([x_low, x_high], [y, y], **bar)
        ax.plot([x, x], [low, high], **bar)
        size = 1.35 * rcParams["lines.markersize"]
        look = {"color": style.color, "markeredgecolor": "white", "markersize": size, "zorder": 2.5}
        ax.plot(x, y, style.marker, label=name, **look)
