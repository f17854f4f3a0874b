"""Charts with one row per arm, so that long names stay readable: the shared pieces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from rlbench.analysis.figures.style import ArmStyle, wrapped
from rlbench.analysis.intervals import Estimate

ABOVE_LEGEND = 24.0  # points between axes and title that leave room for a line of legend


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


def label_width(labels: Sequence[str]) -> float:
    """Return about how many points the row labels reach to the left of the axes."""
    longest = max((len(line) for label in labels for line in wrapped(label).splitlines()), default=0)
    return 6.0 + 5.7 * longest


def draw_estimate(
    ax: Axes, row: float, estimate: Estimate, style: ArmStyle, *, hollow: bool = False, marker: str = "d"
) -> None:
    """Draw a point with its interval as a horizontal bar; without an interval, the point alone."""
    if np.isfinite(estimate.low):
        ax.plot(
            [estimate.low, estimate.high],
            [row, row],
            color=style.color,
            linewidth=1.5 if hollow else 2.6,
            solid_capstyle="butt",
            zorder=2.6,
        )
    ax.plot(
        estimate.point,
        row,
        marker=marker,
        markersize=7.5,
        color="white" if hollow else style.color,
        markeredgecolor=style.color if hollow else "white",
        markeredgewidth=1.5 if hollow else 0.8,
        zorder=2.7,
    )
