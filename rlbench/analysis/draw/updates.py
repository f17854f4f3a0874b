"""What the updates did: a column of the `updates` over training, and its distribution over all updates of an arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator, PercentFormatter

from rlbench.analysis.draw.frame import add_footer, count_steps, drawing, list_arms, run_counts, write_inside
from rlbench.analysis.draw.marks import COLUMNS, Numbers, draw_lines, draw_stopped
from rlbench.analysis.draw.style import INK, ArmStyle, arm_styles
from rlbench.analysis.scores.metrics import axis_label
from rlbench.analysis.scores.results import Results
from rlbench.analysis.stats.estimates import Array
from rlbench.errors import RlbenchError, nearest

QUANTITIES = ("kl", "clip_fraction", "entropy", "explained_variance", "grad_norm")
RULE = "Line: median of the used runs; band: their middle half (a spread, no confidence interval)."
BINS = 50  # points of a curve; updates that fall into one are averaged per run
SHARE_COLUMNS = ("clip_fraction", "clip_killed", "outside_band")  # columns that are shares of the samples
SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
QUANTILES = [f"q{share:g}" for share in SHARES]
_LOGARITHMIC_FROM = 100.0  # ratio of the largest to the smallest value


def short(value: float, *, powers: bool | None = None) -> str:
    """Return a number in few letters, 0.95, 3e-4 or ∞; `powers`: as a power of ten or not, None: as is usual."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    plain = f"{value:.4g}"
    if value == 0 or powers is False or (powers is None and 0.01 <= abs(value) < 1e5):
        return plain
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


# Functions with a name, since figures travel to other processes.
def _power(value: float, _: int | None) -> str:
    return short(value, powers=True)


def _plain(value: float, _: int | None) -> str:
    return short(value, powers=False)


def write_powers(axis: Axis, low: float) -> None:
    """Write the numbers of a logarithmic axis that begins at `low`, small ones as powers of ten."""
    axis.set_major_formatter(FuncFormatter(_power if low < 1e-3 else _plain))
    axis.set_minor_formatter(NullFormatter())


def scale_axis(ax: Axes, which: str, values: Array, column: str = "") -> None:
    """Scale the "x" or "y" axis for `values`, which are all that is drawn there.

    Shares of samples are in per cent; other columns are logarithmic if they are positive and span two decades.
    """
    axis = ax.xaxis if which == "x" else ax.yaxis
    values = values[np.isfinite(values)]
    if column in SHARE_COLUMNS:
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    elif values.size and values.min() > 0 and values.max() >= _LOGARITHMIC_FROM * values.min():
        (ax.set_xscale if which == "x" else ax.set_yscale)("log")
        write_powers(axis, float(values.min()))


def scale_column(ax: Axes, column: str, values: Array) -> None:
    """Scale the vertical axis for the values of a column; shares of samples start at 0."""
    scale_axis(ax, "y", values, column)
    if column in SHARE_COLUMNS:
        known = values[np.isfinite(values)]
        ax.set_ylim(0.0, 1.05 * (float(known.max()) if known.size and known.max() > 0 else 1.0))


def plot_diagnostics(
    results: Results,
    environment: str | None = None,
    quantity: str = "kl",
    *,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw one column of `updates` over training: median and quartiles over the used runs of each arm.

    Without an `environment` it is the first one; the title names it. An arm that does not record the quantity has no
    line. A run that failed or diverged is a thin dotted line that ends with a cross.

    Raises:
        RlbenchError: no run records a column of that name.
    """
    environment = results.known_environment(environment) or results.environments[0]
    if quantity not in QUANTITIES:
        check_column(results, quantity)
    styles = arm_styles(results.arms)
    runs = _binned(results, quantity, environment)
    table = _medians(runs, results.arms)
    stopped = runs[~runs["used"].astype(bool)]
    with drawing(ax) as ax:
        draw_lines(ax, table, styles)
        for _, run in stopped.groupby("cell"):
            style = styles[str(run["arm"].iloc[0])]
            draw_stopped(ax, run["x"].to_numpy(np.float64), run["value"].to_numpy(np.float64), style)
        ends = table[["point", "low", "high"]].to_numpy(np.float64).ravel()
        scale_column(ax, quantity, np.concatenate([ends, stopped["value"].to_numpy(np.float64)]))
        ax.set_title(environment)
        count_steps(ax)
        ax.set_ylabel(axis_label(quantity))
        if runs.empty:
            write_inside(ax, "No run recorded this.")
        if legend:
            list_arms(ax, styles, absent="not recorded")
            add_footer(ax, RULE, run_counts(results.scores, results.arms, environment))
    return ax


def training_numbers(results: Results, column: str, environment: str, arms: Sequence[str]) -> Numbers:
    """Return median (point) and quartiles (low, high) over the used runs of each arm, over training.

    A spread of runs, not a confidence interval. The budget is cut into parts, in which a run counts with its mean.
    """
    check_column(results, column)
    return Numbers(_medians(_binned(results, column, environment), arms), [])


def _binned(results: Results, quantity: str, environment: str) -> pd.DataFrame:
    """Return the mean of the quantity per run and bin of the budget: arm, cell, used, x (steps), value."""
    columns = ["cell", "arm", "steps", "used"]
    if quantity not in results.updates.columns:
        return pd.DataFrame(columns=[*columns, "x", "value"])
    scores = results.scores[results.scores["environment"] == environment]
    table = results.updates[["cell", "step", quantity]].merge(scores[columns], on="cell")
    table = table[np.isfinite(table[quantity].to_numpy(np.float64))]
    position = np.ceil(table["step"] / table["steps"] * BINS).clip(1, BINS)
    table = table.assign(x=position * table["steps"] / BINS).rename(columns={quantity: "value"})
    binned: pd.DataFrame = table.groupby(["arm", "cell", "used", "x"], as_index=False)["value"].mean()
    return binned


def _medians(binned: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    rows = []
    for arm in arms:
        used = binned[(binned["arm"] == arm) & binned["used"].astype(bool)]
        for x, values in used.groupby("x")["value"]:
            rows.append((arm, float(str(x)), *values.quantile([0.5, 0.25, 0.75])))
    return pd.DataFrame(rows, columns=COLUMNS)


def quantile_numbers(
    results: Results, column: str, environment: str, arms: Sequence[str], beyond: float | None = None
) -> Numbers:
    """Return quantiles of the column over all updates of the used runs of each arm.

    Columns: line, updates (their number), q0.01 ... q0.99, and `beyond`, the share of updates above that number.
    """
    check_column(results, column)
    scores = results.scores
    cells = scores[(scores["environment"] == environment) & scores["used"].astype(bool)][["cell", "arm"]]
    table = results.updates[["cell", column]].merge(cells, on="cell").dropna(subset=[column])
    rows = []
    for arm in arms:
        values = table.loc[table["arm"] == arm, column].to_numpy(np.float64)
        if values.size:
            share = float(np.mean(values > beyond)) if beyond is not None else np.nan
            rows.append((arm, values.size, *np.quantile(values, SHARES), share))
    return Numbers(pd.DataFrame(rows, columns=["line", "updates", *QUANTILES, "beyond"]), [])


def check_column(results: Results, column: str) -> None:
    """Raise RlbenchError if no run records a column."""
    known = [str(name) for name in results.updates.columns if name not in ("cell", "step")]
    if column not in known:
        raise RlbenchError(f"No run records {column!r}.{nearest(column, known)}")


def draw_quantiles(
    ax: Axes, table: pd.DataFrame, styles: Mapping[str, ArmStyle], labels: Mapping[str, str] | None = None
) -> None:
    """Draw a row per arm: median, the middle half (thick), 5 to 95 % (thin), 1 and 99 % (ticks) of its updates.

    The axis is logarithmic. A quantile that is not positive has no place there: its bar reaches to the edge, and an
    arrow there stands for such a median.
    """
    low, high = _limits(table[QUANTILES].to_numpy(np.float64))
    arms, width = list(styles), rcParams["lines.linewidth"]
    for name, row in zip(table["line"], np.clip(table[QUANTILES].to_numpy(np.float64), low, high), strict=True):
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
    ax.set_yticks(range(len(arms)), [(labels or {}).get(arm, arm) for arm in arms])
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(10.0))
    write_powers(ax.xaxis, low)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(low, high)


def _limits(values: Array) -> tuple[float, float]:
    """Return the ends of a logarithmic axis: at most nine decades, from what is not numerically zero."""
    positive = values[values > 0]
    if not positive.size:
        return 1e-3, 1.0
    high = 1.6 * float(positive.max())
    return max(0.6 * float(positive.min()), 1e-9 * high), high
