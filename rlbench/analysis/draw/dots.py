"""The score of every single run, with the mean of its arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rlbench.analysis.draw.annotate import (
    ABOVE_LEGEND,
    add_footer,
    draw_estimate,
    interval_note,
    label_width,
    name_rows,
    rows_height,
    run_counts,
)
from rlbench.analysis.draw.style import INK, ArmStyle, arm_styles, drawing, say
from rlbench.analysis.scores.references import Reference, possible_range
from rlbench.analysis.stats.estimates import Estimate, Range
from rlbench.analysis.stats.intervals import mean_interval
from rlbench.analysis.stats.statistics import Array

METRIC_NAMES: Mapping[str, str] = {
    "auc": "mean return over training (area under the curve)",
    "final": "final return (last tenth of the budget)",
    "last100": "mean return of the last 100 episodes",
    "auc_normalised": "normalised mean return over training (0 random, 1 target)",
    "final_normalised": "normalised final return (0 random, 1 target)",
    "last100_normalised": "normalised return of the last 100 episodes (0 random, 1 target)",
    "score": "score",
    "score_normalised": "normalised score (0 random, 1 target)",
}
_GOLDEN = (np.sqrt(5) - 1) / 2


def plot_scores(
    scores: pd.DataFrame,
    metric: str = "auc",
    environment: str | None = None,
    *,
    arms: Sequence[str] | None = None,
    styles: Mapping[str, ArmStyle] | None = None,
    references: Mapping[str, Reference] | None = None,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw every run as a dot, one row per arm, and below the dots the mean of the used runs with its interval.

    Without an `environment` and with several in the table, the dots are the normalised scores of all of them.
    A run that failed or diverged is a cross at what it had reached when it stopped; it does not enter the mean.
    """
    names = list(dict.fromkeys(scores["environment"]))
    if environment is None and len(names) == 1:
        environment = names[0]
    column = metric if environment is not None else f"{metric}_normalised"
    table = scores if environment is None else scores[scores["environment"] == environment]
    arms = list(arms if arms is not None else dict.fromkeys(scores["arm"]))
    styles = styles or arm_styles(arms)
    with drawing(ax, height=rows_height(arms, 0.48)) as ax:
        possible = possible_range([environment] if environment else names, references, normalised=environment is None)
        means = [
            _draw_arm(ax, row, table[table["arm"] == arm], column, styles[arm], seed, possible)
            for row, arm in enumerate(arms)
        ]
        name_rows(ax, arms)
        ax.set_title(environment or "All environments", pad=ABOVE_LEGEND)
        ax.set_xlabel(METRIC_NAMES[column])
        if table[column].notna().any():
            _legend(ax, stopped=bool((table[column].notna() & ~table["used"].astype(bool)).any()))
        else:
            say(ax, "No run has a score here.")
        add_footer(
            ax,
            interval_note([one for one in means if one is not None], "Bar"),
            run_counts(scores, arms, environment),
            left=label_width(arms),
        )
    return ax


def _draw_arm(
    ax: Axes, row: int, table: pd.DataFrame, column: str, style: ArmStyle, seed: int, possible: Range
) -> Estimate | None:
    known = table[table[column].notna()].sort_values(["environment", "seed"])
    used = known["used"].to_numpy(bool)
    value = known[column].to_numpy(np.float64)
    height = row - 0.06 - 0.3 * spread(len(known))  # rows count downwards, so this is above the row's line
    ax.scatter(
        value[used],
        height[used],
        s=22,
        color=style.color,
        alpha=0.7,
        linewidth=0.4,
        edgecolor="white",
        zorder=2.5,
    )
    ax.scatter(value[~used], height[~used], s=26, color=style.color, marker="x", linewidth=1.4, zorder=2.5)
    tasks = [group.to_numpy(np.float64) for _, group in known[used].groupby("environment")[column]]
    if not tasks:
        return None
    mean = mean_interval(tasks, seed=seed, possible=possible)
    draw_estimate(ax, row + 0.16, mean, style)
    return mean


def spread(count: int) -> Array:
    """Return `count` heights in [0, 1) that avoid each other, always the same (golden-ratio sequence)."""
    return np.asarray((0.5 + _GOLDEN * np.arange(count)) % 1.0)


def _legend(ax: Axes, *, stopped: bool) -> None:
    handles = [
        Line2D([], [], color=INK, linestyle="", marker="o", markersize=4.5, alpha=0.7, label="one run"),
        Line2D([], [], color=INK, linewidth=2.2, marker="d", markersize=6, label="mean"),
    ]
    if stopped:
        handles.append(Line2D([], [], color=INK, linestyle="", marker="x", markersize=5, label="stopped early"))
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=len(handles),
        borderaxespad=0.2,
        columnspacing=1.2,
        handletextpad=0.5,
    )
