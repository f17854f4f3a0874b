"""One metric against another, a dot per arm; and the effective ratio of the clipped objective, which needs no runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes

from rlbench.analysis.draw.marks import Numbers, Scored
from rlbench.analysis.draw.style import FIXED, QUIET, ArmStyle
from rlbench.analysis.draw.updates import short
from rlbench.analysis.scores.results import Results
from rlbench.analysis.stats.estimates import Band, Estimate
from rlbench.analysis.stats.statistics import Array

_COLUMNS = ["line", "x", "x_low", "x_high", "point", "low", "high"]


def scatter_numbers(results: Results, metric: str, against: str, environment: str, arms: Sequence[str]) -> Numbers:
    """Return the means of two metrics of each arm on an environment, with their intervals."""
    upright, across = Scored(results, metric), Scored(results, against)
    rows = []
    estimates: list[Estimate | Band] = []
    for arm in arms:
        x, y = across.mean(arm, [environment]), upright.mean(arm, [environment])
        if np.isfinite([x.point, y.point]).all():
            rows.append((arm, x.point, x.low, x.high, y.point, y.low, y.high))
            estimates += [x, y]
    return Numbers(pd.DataFrame(rows, columns=_COLUMNS), estimates)


def draw_scatter(ax: Axes, table: pd.DataFrame, styles: Mapping[str, ArmStyle]) -> None:
    """Draw every row as a dot with its two intervals."""
    for name, x, x_low, x_high, y, low, high in table[_COLUMNS].itertuples(index=False):
        style = styles[name]
        bar = {"color": style.color, "alpha": 0.55, "linewidth": 0.7 * rcParams["lines.linewidth"], "zorder": 2.0}
        ax.plot([x_low, x_high], [y, y], **bar)
        ax.plot([x, x], [low, high], **bar)
        size = 1.35 * rcParams["lines.markersize"]
        look = {"color": style.color, "markeredgecolor": "white", "markersize": size, "zorder": 2.5}
        ax.plot(x, y, style.marker, label=name, **look)


_GRADIENT, _NONE = FIXED["ppo-clip"].color, FIXED["reinforce"].color
_RANGE = (0.0, 2.0)
CLIP_RANGE = (0.8, 1.2)


def effective_ratio(ratio: Array, sign: float, clip: tuple[float, float] = CLIP_RANGE) -> Array:
    """Return min(r A, clip(r) A) / A for an advantage of this sign, and the ratio clipped to the range `clip`."""
    return np.minimum(ratio * sign, np.clip(ratio, *clip) * sign) / sign


def ratio_numbers(sign: float, clip: tuple[float, float] = CLIP_RANGE) -> pd.DataFrame:
    """Return the effective ratio over the ratio: line (whether there is a gradient), x, point, low, high."""
    edge = clip[1] if sign > 0 else clip[0]
    before, after = np.array([_RANGE[0], edge]), np.array([edge, _RANGE[1]])
    parts = {"gradient": before if sign > 0 else after, "no gradient": after if sign > 0 else before}
    frames = [
        pd.DataFrame({"line": name, "x": x, "point": effective_ratio(x, sign, clip), "low": np.nan, "high": np.nan})
        for name, x in parts.items()
    ]
    return pd.concat(frames, ignore_index=True)


def draw_ratio(ax: Axes, sign: float, clip: tuple[float, float] = CLIP_RANGE) -> None:
    """Draw the effective ratio for advantages of this sign: solid where it has a gradient, dashed where it has none."""
    table, width = ratio_numbers(sign, clip), rcParams["lines.linewidth"]
    ax.plot(_RANGE, _RANGE, color="#b5b5b5", linewidth=0.6 * width, linestyle=(0, (1, 1.5)), zorder=1.8)
    ax.plot([1.0], [1.0], "o", color="#000000", zorder=3.0)
    for name, color, dash in (("gradient", _GRADIENT, "solid"), ("no gradient", _NONE, (0, (2.2, 1.0)))):
        rows = table[table["line"] == name]
        thick = {"linewidth": 1.8 * width, "solid_capstyle": "butt"}
        ax.plot(rows["x"], rows["point"], color=color, linestyle=dash, zorder=2.2, **thick)
    flat = table[table["line"] == "no gradient"]["x"]
    ax.axvspan(flat.min(), flat.max(), facecolor="#e9e9e9", alpha=0.7, linewidth=0, zorder=0.5)
    # Into the free corner on each side: what happens there.
    above, below = (0.06, 1.94, "left", "top"), (1.94, 0.06, "right", "bottom")
    up = sign > 0
    far, edge = ("below", f"above {short(clip[1])}") if up else ("above", f"below {short(clip[0])}")
    for (x, y, across, along), color, text in (
        (above if up else below, _GRADIENT, f"full gradient,\nalso far {far} 1"),
        (below if up else above, QUIET, f"no gradient\n{edge}"),
    ):
        ax.text(x, y, text, ha=across, va=along, color=color, linespacing=1.15, zorder=3.0)
    ax.set_xlim(_RANGE)
    ax.set_ylim(_RANGE)
    ax.set_aspect("equal")
    ticks = [0.0, clip[0], 1.0, clip[1], 2.0]
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(ticks, [short(tick) for tick in ticks])
    ax.set_xlabel("ratio r")
    ax.set_ylabel("min(r A, clip(r) A) / A")
