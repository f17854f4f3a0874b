"""One metric against another: a dot per arm, with the interval of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes

from rlbench.analysis.figures.style import ArmStyle, arm_styles, say
from rlbench.analysis.showpieces.lines import NOTHING, new_axes
from rlbench.analysis.showpieces.numbers import Numbers, Scored

if TYPE_CHECKING:
    from rlbench.analysis.results import Results

COLUMNS = ["line", "x", "x_low", "x_high", "point", "low", "high"]


def scatter_numbers(results: Results, metric: str, against: str, environment: str, arms: Sequence[str]) -> Numbers:
    """Return the means of two metrics of each arm on an environment, with their intervals."""
    upright, across = Scored(results, metric), Scored(results, against)
    rows, estimates = [], []
    for arm in arms:
        x, y = across.mean(arm, [environment]), upright.mean(arm, [environment])
        if np.isfinite([x.point, y.point]).all():
            rows.append((arm, x.point, x.low, x.high, y.point, y.low, y.high))
            estimates += [x, y]
    return Numbers(pd.DataFrame(rows, columns=COLUMNS), list(estimates))


def plot_scatter(table: pd.DataFrame, *, styles: Mapping[str, ArmStyle] | None = None, ax: Axes | None = None) -> Axes:
    """Draw every row as a dot with its two intervals."""
    ax = new_axes(ax)
    if table.empty:
        say(ax, NOTHING)
    styles = styles or arm_styles(list(table["line"]))
    for row in table.to_dict("records"):
        style = styles[row["line"]]
        bar = {"color": style.color, "alpha": 0.55, "linewidth": 0.7 * rcParams["lines.linewidth"], "zorder": 2.0}
        ax.plot([row["x_low"], row["x_high"]], [row["point"]] * 2, **bar)
        ax.plot([row["x"]] * 2, [row["low"], row["high"]], **bar)
        ax.plot(
            row["x"],
            row["point"],
            style.marker,
            color=style.color,
            markeredgecolor="white",
            markersize=1.35 * rcParams["lines.markersize"],
            label=row["line"],
            zorder=2.5,
        )
    return ax
