"""What the updates did: a column of the `updates` over training, and its distribution over all updates of an arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from rlbench.analysis.draw.captions import column_name
from rlbench.analysis.draw.diagnostics import binned, scale_quantity
from rlbench.analysis.draw.scale import short
from rlbench.analysis.draw.series import COLUMNS, new_axes
from rlbench.analysis.draw.style import INK, ArmStyle, arm_styles
from rlbench.analysis.stats.statistics import Array
from rlbench.errors import RlbenchError, nearest

if TYPE_CHECKING:
    from rlbench.analysis.scores.results import Results


SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
QUANTILES = [f"q{share:g}" for share in SHARES]
SHARE_COLUMNS = ("clip_fraction", "clip_killed", "outside_band")  # columns that are shares of the samples


def scale_column(ax: Axes, column: str, values: Array) -> None:
    """Name and scale the vertical axis for `values`, those of all panels and ends of bands.

    Shares of samples are in per cent and start at 0; other columns are logarithmic if they span decades.
    """
    ax.set_ylabel(column_name(column))
    if column in SHARE_COLUMNS:
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.set_ylim(0.0, 1.05 * (float(values.max()) if values.size and values.max() > 0 else 1.0))
        return
    scale_quantity(ax, values)
    if ax.get_yscale() == "log":
        powers = float(values.min()) < 1e-3
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value, powers=powers)))


def training_numbers(results: Results, column: str, environment: str, arms: Sequence[str]) -> pd.DataFrame:
    """Return median (point) and quartiles (low, high) over the used runs of each arm, over training.

    A spread of runs, not a confidence interval. The budget is cut into parts, in which a run counts with its mean.
    """
    _check(results, column)
    scores = results.scores
    table = binned(results.updates, scores[scores["environment"] == environment], column)
    rows = []
    for arm in arms:
        own = table[(table["arm"] == arm) & table["used"].astype(bool)]
        for x, values in own.groupby("x")["value"]:
            rows.append((arm, float(str(x)), *values.quantile([0.5, 0.25, 0.75])))
    return pd.DataFrame(rows, columns=COLUMNS)


def quantile_numbers(
    results: Results, column: str, environment: str, arms: Sequence[str], beyond: float | None = None
) -> pd.DataFrame:
    """Return quantiles of the column over all updates of the used runs of each arm.

    Columns: line, updates (their number), q0.01 ... q0.99, and `beyond`, the share of updates above that number.
    """
    _check(results, column)
    scores = results.scores
    cells = scores[(scores["environment"] == environment) & scores["used"].astype(bool)][["cell", "arm"]]
    table = results.updates[["cell", column]].merge(cells, on="cell").dropna(subset=[column])
    rows = []
    for arm in arms:
        values = table.loc[table["arm"] == arm, column].to_numpy(np.float64)
        if values.size:
            share = float(np.mean(values > beyond)) if beyond is not None else np.nan
            rows.append((arm, values.size, *np.quantile(values, SHARES), share))
    return pd.DataFrame(rows, columns=["line", "updates", *QUANTILES, "beyond"])


def plot_quantiles(
    table: pd.DataFrame,
    arms: Sequence[str] | None = None,
    *,
    styles: Mapping[str, ArmStyle] | None = None,
    labels: Mapping[str, str] | None = None,
    logarithmic: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a row per arm: median, the middle half (thick), 5 to 95 % (thin), 1 and 99 % (ticks) of its updates.

    On a logarithmic axis a quantile that is not positive has no place: its bar reaches to the edge, and an arrow there
    stands for such a median.
    """
    ax = new_axes(ax)
    arms = list(arms if arms is not None else table["line"])
    styles = styles or arm_styles(arms)
    values = table[QUANTILES].to_numpy(np.float64)
    low, high = _limits(values, logarithmic)
    for name, row in zip(table["line"], np.clip(values, low, high), strict=True):
        place, style, width = arms.index(name), styles[name], rcParams["lines.linewidth"]
        flat: dict[str, Any] = {"color": style.color, "solid_capstyle": "butt", "zorder": 2.0}
        ax.plot(row[[1, 5]], [place] * 2, linewidth=width, **flat)
        ax.plot(row[[2, 4]], [place] * 2, linewidth=3.6 * width, **flat)
        ends = row[[0, 6]][row[[0, 6]] > low]
        ax.plot(ends, [place] * len(ends), "|", color=style.color, markersize=4.0 * width, markeredgewidth=width)
        ax.plot(
            max(row[3], low),
            place,
            "o" if row[3] > low else "<",
            clip_on=False,
            color="white",
            markeredgecolor=INK,
            markeredgewidth=0.6 * width,
            markersize=1.1 * rcParams["lines.markersize"],
            zorder=2.3,
        )
    ax.set_yticks(range(len(arms)), [(labels or {}).get(arm, arm) for arm in arms])
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    if logarithmic:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(10.0))
        powers = low < 1e-3
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value, powers=powers)))
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(low, high)
    return ax


def _limits(values: Array, logarithmic: bool) -> tuple[float, float]:
    """Return the ends of the axis: of a logarithmic one at most nine decades, from what is not numerically zero."""
    if not logarithmic:
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        margin = 0.05 * (high - low) or 0.5
        return low - margin, high + margin
    positive = values[values > 0]
    if not positive.size:
        return 1e-3, 1.0
    high = 1.6 * float(positive.max())
    return max(0.6 * float(positive.min()), 1e-9 * high), high


def _check(results: Results, column: str) -> None:
    known = [str(name) for name in results.updates.columns if name not in ("cell", "step")]
    if column not in known:
        raise RlbenchError(f"No run records {column!r}.{nearest(column, known)}")
