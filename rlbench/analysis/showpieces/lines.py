"""Lines with a band or with bars: learning curves, quantities over training, scores against hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from rlbench.analysis.figures.style import QUIET, ArmStyle, arm_styles, say
from rlbench.analysis.showpieces.labels import label_line
from rlbench.analysis.showpieces.looks import looking
from rlbench.analysis.showpieces.numbers import ALL
from rlbench.analysis.showpieces.scale import Scale, multiples
from rlbench.analysis.statistics import Array

MEAN = ArmStyle("#000000", "o", ())  # of the line over all environments
NOTHING = "Nothing to show."
MARK = "mark"  # gid of what is no data: lines and bands that the text names


def new_axes(ax: Axes | None) -> Axes:
    """Return the axes, or those of a new pyplot figure as wide as one column of a paper."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    with looking("paper") as look:
        return plt.subplots(figsize=(look.narrow, 0.72 * look.narrow), layout="constrained")[1]


def plot_band(
    table: pd.DataFrame,
    *,
    styles: Mapping[str, ArmStyle] | None = None,
    labels: Mapping[str, str] | None = None,
    named: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw every line of a table of `numbers` with its band; `named`: with its name at its end.

    A few markers on each line tell them apart in a print without colours.
    """
    ax = new_axes(ax)
    if table.empty:
        say(ax, NOTHING)
    lines = list(dict.fromkeys(table["line"]))
    styles = styles or arm_styles(lines)
    for name, rows in table.groupby("line", sort=False):
        style, x, y = styles[str(name)], rows["x"].to_numpy(np.float64), rows["point"].to_numpy(np.float64)
        _line(ax, x, y, style, str(name), markevery=_few(len(x), lines.index(str(name)), len(lines)))
        known = np.isfinite(rows["low"].to_numpy(np.float64))
        ax.fill_between(
            x[known], rows["low"][known], rows["high"][known], color=style.color, alpha=0.17, linewidth=0, zorder=1.9
        )
        if named:
            label_line(ax, (labels or {}).get(str(name), str(name)), x[-1], y[-1], style.color)
    ax.margins(x=0)
    return ax


def plot_points(
    table: pd.DataFrame,
    scale: Scale | None = None,
    *,
    styles: Mapping[str, ArmStyle] | None = None,
    labels: Mapping[str, str] | None = None,
    named: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw every line of a table of `numbers` as points with bars, joined; without a `scale` x is a factor.

    Points at the same value stand a little beside each other, so that their bars can be seen.
    """
    ax = new_axes(ax)
    if table.empty:
        say(ax, NOTHING)
    lines = list(dict.fromkeys(table["line"]))
    styles = styles or arm_styles(lines)
    shift = rcParams["lines.markersize"] * min(0.55, 2.2 / max(len(lines), 1))  # points between two lines
    for index, (name, rows) in enumerate(table.groupby("line", sort=False)):
        style, y = styles[str(name)], rows["point"].to_numpy(np.float64)
        x = scale.place(rows["x"]) if scale else rows["x"].to_numpy(np.float64)
        beside = ax.transData + _moved(ax, shift * (index - (len(lines) - 1) / 2))
        strong = 1.5 if name == ALL and len(lines) > 1 else 1.0
        _line(ax, x, y, style, str(name), transform=beside, linewidth=strong * rcParams["lines.linewidth"])
        ends = rows[["low", "high"]].to_numpy(np.float64)
        ax.vlines(
            x,
            ends[:, 0],
            ends[:, 1],
            color=style.color,
            linewidth=0.75 * strong * rcParams["lines.linewidth"],
            transform=beside,
            zorder=2.1,
        )
        corners = np.column_stack([np.tile(x, 3), np.concatenate([y, *ends.T])])
        ax.update_datalim(corners[np.isfinite(corners).all(axis=1)])
        if named:
            label_line(ax, (labels or {}).get(str(name), str(name)), x[-1], y[-1], style.color, beside)
    ax.autoscale_view(scalex=False)
    return ax


def mark_value(ax: Axes, value: float, said: str, *, upright: bool = True) -> None:
    """Mark a number that the text names by a thin line across the axes, with a few words at its end."""
    draw = ax.axvline if upright else ax.axhline
    draw(
        value,
        color=QUIET,
        linewidth=0.8 * rcParams["axes.linewidth"] + 0.3,
        linestyle=(0, (4, 2)),
        zorder=1.5,
        gid=MARK,
    )
    if said:
        _say(ax, said, value, upright=upright)


def shade(ax: Axes, band: tuple[float, float], said: str, *, upright: bool = False) -> None:
    """Shade a range that the text names, on the vertical axis or, `upright`, on the horizontal one."""
    draw = ax.axvspan if upright else ax.axhspan
    draw(*band, facecolor="#dcdcdc", alpha=0.6, linewidth=0, zorder=0.5, gid=MARK)
    for end in band:
        (ax.axvline if upright else ax.axhline)(
            end, color="#9a9a9a", linewidth=0.6 * rcParams["axes.linewidth"], zorder=0.6, gid=MARK
        )
    if said:
        ax.text(
            *((0.5 * sum(band), 0.985) if upright else (0.985, band[1])),
            said,
            transform=ax.get_xaxis_transform() if upright else ax.get_yaxis_transform(),
            ha="center" if upright else "right",
            va="top",
            color=QUIET,
            zorder=2.9,
        )


def count_multiples(ax: Axes, values: Array, said: str) -> None:
    """Write factors on the horizontal axis, from the smallest to the largest value, and mark the factor 1."""
    multiples(ax, values)
    mark_value(ax, 1.0, "")
    ax.set_xlabel(said)


def _say(ax: Axes, said: str, value: float, *, upright: bool) -> None:
    ax.annotate(
        said,
        xy=(value, 1.0) if upright else (1.0, value),
        xycoords=("data", "axes fraction") if upright else ("axes fraction", "data"),
        xytext=(0.0, 0.35 * rcParams["font.size"]),
        textcoords="offset points",
        ha="center" if upright else "right",
        va="bottom",
        color=QUIET,
        annotation_clip=False,
    )


def _line(ax: Axes, x: Array, y: Array, style: ArmStyle, name: str, **more: object) -> None:
    ax.plot(
        x,
        y,
        **{
            "color": style.color,
            "linestyle": style.line,
            "marker": style.marker,
            "markeredgecolor": "white",
            "label": name,
            "zorder": 2.2,
            **more,
        },  # type: ignore[arg-type]  # keywords of Line2D
    )


def _few(points: int, index: int, lines: int) -> tuple[int, int]:
    """Return matplotlib's `markevery`: about four markers, at other places on each line."""
    every = max(1, points // 4)
    return min(points - 1, (1 + 2 * index) * every // (2 * max(lines, 1))), every


def _moved(ax: Axes, points: float) -> ScaledTranslation:
    return ScaledTranslation(points / 72.0, 0.0, ax.figure.dpi_scale_trans)
