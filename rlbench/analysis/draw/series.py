"""What the figures draw, as tidy tables: one row per point, with its interval.

Columns: line (an arm, a variant or an environment), x, point, low, high; low and high are NaN where there is no
interval. Beside the table stand the estimates themselves, which the caption names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from rlbench.analysis.draw.curves import curve_matrix
from rlbench.analysis.draw.frame import label_line
from rlbench.analysis.draw.scale import Scale, multiples
from rlbench.analysis.draw.style import QUIET, ArmStyle, arm_styles, looking, say
from rlbench.analysis.draw.sweeps import Sweep
from rlbench.analysis.scores.metrics import measure
from rlbench.analysis.scores.references import possible_range
from rlbench.analysis.stats.estimates import ANYTHING, Band, Estimate
from rlbench.analysis.stats.intervals import curve_band, mean_interval
from rlbench.analysis.stats.statistics import Array
from rlbench.claims import RETURNS

if TYPE_CHECKING:
    from rlbench.analysis.scores.results import Results


COLUMNS = ["line", "x", "point", "low", "high"]
ALL = "mean"
"""The line that is the mean of all environments."""


class Numbers(NamedTuple):
    """The table that is drawn, and the estimates in it."""

    table: pd.DataFrame
    estimates: list[Estimate | Band]


def gathered(parts: Sequence[Numbers]) -> Numbers:
    """Return several tables as one."""
    tables = [one.table for one in parts if len(one.table)]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
    return Numbers(table, [estimate for one in parts for estimate in one.estimates])


def curve_numbers(results: Results, environment: str, arms: Sequence[str]) -> Numbers:
    """Return the mean learning curve of the used runs of each arm, with its interval at each step by itself."""
    curves = results.curves
    possible = possible_range([environment], results.references)
    parts = []
    for arm in arms:
        own = curves[(curves["environment"] == environment) & (curves["arm"] == arm) & curves["used"].astype(bool)]
        step, runs = curve_matrix(own)
        if len(runs):
            band = curve_band([runs], seed=results.seed, possible=possible)
            ends = {"point": band.point, "low": band.low, "high": band.high}
            parts.append(Numbers(pd.DataFrame({"line": arm, "x": step, **ends}), [band]))
    return gathered(parts)


class Scored:
    """One metric of all runs of an experiment, asked for by arm."""

    def __init__(self, results: Results, metric: str) -> None:
        table = measure(results, metric)
        self.table = table[table["used"].astype(bool) & np.isfinite(table["value"])]
        self.results, self.metric = results, metric

    def mean(self, arm: str, environments: Sequence[str]) -> Estimate:
        """Return the mean over the used runs, and over environments if there are several, with its interval.

        NaN where no used run on one of the environments has the metric.
        """
        own = self.table[self.table["arm"] == arm]
        tasks = [own.loc[own["environment"] == name, "value"].to_numpy(np.float64) for name in environments]
        return mean_interval(tasks, seed=self.results.seed, possible=self._possible(environments))

    def _possible(self, environments: Sequence[str]) -> tuple[float, float]:
        """Return the range of the mean, which is known of returns only."""
        name, normalised, _ = self.metric.partition("_normalised")
        if name not in RETURNS:
            return ANYTHING
        return possible_range(environments, self.results.references, normalised=bool(normalised))


def sweep_numbers(
    scored: Scored, sweep: Sweep, environments: Sequence[str], line: str, relative_to: float = 1.0
) -> Numbers:
    """Return the metric of each arm of a sweep against the value of its field, divided by `relative_to`."""
    found = [
        (value / relative_to, scored.mean(arm, environments))
        for value, arm in zip(sweep.values, sweep.arms, strict=True)
    ]
    known = [(x, one) for x, one in found if np.isfinite(one.point)]
    rows = [(line, x, one.point, one.low, one.high) for x, one in known]
    return Numbers(pd.DataFrame(rows, columns=COLUMNS), [one for _, one in known])


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
