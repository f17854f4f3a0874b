"""The effective ratio of PPO's clipped objective, a figure of mathematics (Schulman et al. 2017, equation 7)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes

from rlbench.analysis.figures.style import FIXED, QUIET
from rlbench.analysis.showpieces.lines import new_axes
from rlbench.analysis.showpieces.scale import short
from rlbench.analysis.statistics import Array

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
