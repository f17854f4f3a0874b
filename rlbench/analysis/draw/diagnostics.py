"""What happened inside training: KL divergence, clipping, entropy, value fit and gradient size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from rlbench.analysis.draw.annotate import add_footer, run_counts
from rlbench.analysis.draw.curves import draw_stopped, list_arms
from rlbench.analysis.draw.style import ArmStyle, arm_styles, count_steps, drawing, say
from rlbench.analysis.stats.statistics import Array
from rlbench.errors import RlbenchError, nearest

QUANTITIES: Mapping[str, str] = {
    "kl": "KL(old || new) per update",
    "clip_fraction": "share outside the clip range",
    "entropy": "entropy of the policy",
    "explained_variance": "explained variance of the value",
    "grad_norm": "gradient norm",
}
RULE = "Line: median of the used runs; band: their middle half (a spread, no confidence interval)."
BINS = 50  # points of a curve; updates that fall into one are averaged per run
_LOGARITHMIC_FROM = 100.0  # ratio of the largest to the smallest value


def plot_diagnostics(
    updates: pd.DataFrame,
    scores: pd.DataFrame,
    quantity: str = "kl",
    environment: str | None = None,
    *,
    arms: Sequence[str] | None = None,
    styles: Mapping[str, ArmStyle] | None = None,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw one column of `updates` over training: median and quartiles over the used runs of each arm.

    Without an `environment` it is the first one in `scores`; the title names it. An arm that does not record
    the quantity has no line. A run that failed or diverged is a thin dotted line that ends with a cross.

    Raises:
        RlbenchError: no run records a column of that name.
    """
    columns = [name for name in updates.columns if name not in ("cell", "step")]
    if quantity not in columns and quantity not in QUANTITIES:
        raise RlbenchError(f"No run records {quantity!r}.{nearest(quantity, columns)}")
    environment = environment or str(scores["environment"].iloc[0])
    arms = list(arms if arms is not None else dict.fromkeys(scores["arm"]))
    styles = styles or arm_styles(arms)
    with drawing(ax) as ax:
        table = binned(updates, scores[scores["environment"] == environment], quantity)
        for arm in arms:
            _draw_arm(ax, table[table["arm"] == arm], styles[arm])
        scale_quantity(ax, table["value"].to_numpy(np.float64))
        ax.set_title(environment)
        count_steps(ax)
        ax.set_ylabel(QUANTITIES.get(quantity, quantity.replace("field.", "adapted: ")))
        if table.empty:
            say(ax, "No run recorded this.")
        if legend:
            list_arms(ax, arms, styles, absent="not recorded")
            add_footer(
                ax,
                RULE,
                run_counts(scores, arms, environment),
            )
    return ax


def binned(updates: pd.DataFrame, scores: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Return the mean of the quantity per run and bin of the budget: arm, cell, used, x (steps), value."""
    columns = ["cell", "arm", "steps", "used"]
    if quantity not in updates.columns:
        return pd.DataFrame(columns=[*columns, "x", "value"])
    table = updates[["cell", "step", quantity]].merge(scores[columns], on="cell")
    table = table[np.isfinite(table[quantity].to_numpy(np.float64))]
    position = np.ceil(table["step"] / table["steps"] * BINS).clip(1, BINS)
    table = table.assign(x=position * table["steps"] / BINS).rename(columns={quantity: "value"})
    binned: pd.DataFrame = table.groupby(["arm", "cell", "used", "x"], as_index=False)["value"].mean()
    return binned


def _draw_arm(ax: Axes, table: pd.DataFrame, style: ArmStyle) -> None:
    used = table["used"].to_numpy(bool)
    if used.any():
        arm = str(table["arm"].iloc[0])
        groups = table[used].groupby("x")["value"]
        middle = groups.median()
        x = middle.index.to_numpy(np.float64)
        ax.plot(x, middle, color=style.color, linestyle=style.line, linewidth=1.7, label=arm)
        if table[used]["cell"].nunique() > 1:
            low, high = groups.quantile(0.25), groups.quantile(0.75)
            ax.fill_between(x, low, high, color=style.color, alpha=0.15, linewidth=0)
    for _, run in table[~used].groupby("cell"):
        draw_stopped(ax, run["x"].to_numpy(np.float64), run["value"].to_numpy(np.float64), style)


def scale_quantity(ax: Axes, values: Array) -> None:
    """Make the scale logarithmic where all values are positive and they span two decades or more."""
    if values.size and values.min() > 0 and values.max() / values.min() >= _LOGARITHMIC_FROM:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # no mathematics in labels
        ax.yaxis.set_minor_formatter(NullFormatter())
