"""One metric against another: a dot per arm, with the interval of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes

from rlbench.analysis.draw.scale import short
from rlbench.analysis.draw.series import NOTHING, Numbers, Scored, new_axes
from rlbench.analysis.draw.style import FIXED, QUIET, ArmStyle, arm_styles, say
from rlbench.analysis.stats.statistics import Array

if TYPE_CHECKING:
    from rlbench.analysis.scores.results import Results


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


_FLOWS, _ZERO = FIXED["ppo-clip"].color, FIXED["reinforce"].color
_RANGE = (0.0, 2.0)


def effective_ratio(ratio: Array, sign: float, band: tuple[float, float] = (0.8, 1.2)) -> Array:
    """Return min(r A, clip(r) A) / A for an advantage of this sign, and the ratio clipped to `band`."""
    clipped = np.clip(ratio, *band)
    return np.minimum(ratio * sign, clipped * sign) / sign


def ratio_numbers(sign: float, band: tuple[float, float] = (0.8, 1.2)) -> pd.DataFrame:
    """Return the effective ratio over the ratio: line (whether there is a gradient), x, point, low, high."""
    edge = band[1] if sign > 0 else band[0]
    before, after = np.array([_RANGE[0], edge]), np.array([edge, _RANGE[1]])
    parts = [("gradient", before if sign > 0 else after), ("no gradient", after if sign > 0 else before)]
    frames = [
        pd.DataFrame({"line": name, "x": x, "point": effective_ratio(x, sign, band), "low": np.nan, "high": np.nan})
        for name, x in parts
    ]
    return pd.concat(frames, ignore_index=True)


def plot_ratio(sign: float, band: tuple[float, float] = (0.8, 1.2), ax: Axes | None = None) -> Axes:
    """Draw the effective ratio for advantages of this sign: solid where it has a gradient, dashed where it has none."""
    ax = new_axes(ax)
    table, width = ratio_numbers(sign, band), rcParams["lines.linewidth"]
    ax.plot(_RANGE, _RANGE, color="#b5b5b5", linewidth=0.6 * width, linestyle=(0, (1, 1.5)), zorder=1.8)
    ax.plot([1.0], [1.0], "o", color="#000000", zorder=3.0)
    for name, rows in table.groupby("line", sort=False):
        flows = name == "gradient"
        ax.plot(
            rows["x"],
            rows["point"],
            color=_FLOWS if flows else _ZERO,
            linestyle="solid" if flows else (0, (2.2, 1.0)),
            linewidth=1.8 * width,
            solid_capstyle="butt",
            zorder=2.2,
        )
    flat = table[table["line"] == "no gradient"]["x"]
    ax.axvspan(flat.min(), flat.max(), facecolor="#e9e9e9", alpha=0.7, linewidth=0, zorder=0.5)
    _say(ax, sign, band)
    ax.set_xlim(_RANGE)
    ax.set_ylim(_RANGE)
    ax.set_aspect("equal")
    ticks = [0.0, band[0], 1.0, band[1], 2.0]
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(ticks, [short(tick) for tick in ticks])
    ax.grid(True)
    ax.set_xlabel("ratio r")
    ax.set_ylabel("min(r A, clip(r) A) / A")
    return ax


def _say(ax: Axes, sign: float, band: tuple[float, float]) -> None:
    """Write into the free corner on each side what happens there."""
    up = sign > 0
    words = {
        "flows": ((0.06, 1.94, "left", "top") if up else (1.94, 0.06, "right", "bottom")),
        "zero": ((1.94, 0.06, "right", "bottom") if up else (0.06, 1.94, "left", "top")),
    }
    said = {
        "flows": "full gradient,\nalso far below 1" if up else "full gradient,\nalso far above 1",
        "zero": f"no gradient\nabove {short(band[1])}" if up else f"no gradient\nbelow {short(band[0])}",
    }
    for key, (x, y, across, along) in words.items():
        color = QUIET if key == "zero" else _FLOWS
        ax.text(x, y, said[key], ha=across, va=along, color=color, linespacing=1.15, zorder=3.0)
