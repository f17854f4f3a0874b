"""Names written beside the ends of their lines, instead of a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.text import Annotation

from rlbench.analysis.statistics import Array

_GID = "direct-label"
_LINE = 1.2  # height of a line of text, in sizes of its letters
_CHARACTER = 0.56  # mean width of a letter, in sizes of the letters


def label_line(ax: Axes, name: str, x: float, y: float, color: str) -> None:
    """Write a name right of the axes, at the height of the end (x, y) of its line, joined to it by a hairline.

    `spread_labels` moves names apart that would cover each other.
    """
    ax.annotate(
        name,
        xy=(x, y),
        xycoords="data",
        xytext=(1.0 + _gap(ax), y),
        textcoords=("axes fraction", "data"),
        ha="left",
        va="center",
        color=readable(color),
        fontsize=rcParams["legend.fontsize"],
        arrowprops={
            "arrowstyle": "-",
            "color": color,
            "linewidth": rcParams["grid.linewidth"],
            "shrinkA": 0.0,
            "shrinkB": 0.0,
            "relpos": (0.0, 0.5),
        },
        annotation_clip=False,
        gid=_GID,
    )


def readable(color: str) -> tuple[float, float, float]:
    """Return the colour dark enough for letters on white: the lighter it is, the more it is darkened."""
    rgb = np.array(to_rgb(color))
    luminance = float(rgb @ np.array([0.2126, 0.7152, 0.0722]))
    red, green, blue = rgb * min(1.0, 0.42 / max(luminance, 1e-9)) ** 0.6
    return float(red), float(green), float(blue)


def text_width(names: Sequence[str]) -> float:
    """Return about how wide the longest of the names is, in inches."""
    return max(map(len, names), default=0) * _CHARACTER * float(rcParams["legend.fontsize"]) / 72.0


def spread_labels(ax: Axes) -> None:
    """Move the names beside the axes apart, in the order of the ends of their lines; once the layout is known."""
    labels = [one for one in ax.texts if isinstance(one, Annotation) and one.get_gid() == _GID]
    if not labels:
        return
    box = ax.get_window_extent()
    height = _LINE * float(rcParams["legend.fontsize"]) * ax.figure.dpi / 72.0
    ends = np.array([ax.transData.transform(one.xy)[1] for one in labels])
    placed = apart(np.clip(ends, box.y0, box.y1), height, float(box.y0), float(box.y1))
    for one, y in zip(labels, placed, strict=True):
        one.set_position((1.0 + _gap(ax), float(ax.transData.inverted().transform((0.0, y))[1])))


def apart(ends: Array, height: float, low: float, high: float) -> Array:
    """Return places at least `height` apart, in the order of `ends` and as near to them as can be (least squares).

    They stay between `low` and `high` where all of them have room there.
    """
    order = np.argsort(ends, kind="stable")
    blocks: list[list[float]] = []  # [mean of the places less their distance from the first, number]
    for rank, end in enumerate(ends[order]):
        blocks.append([end - rank * height, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, number = blocks.pop()
            before = blocks[-1]
            before[0] = (before[0] * before[1] + mean * number) / (before[1] + number)
            before[1] += number
    level = np.repeat([mean for mean, _ in blocks], [int(number) for _, number in blocks])
    room = max(high - (len(ends) - 1) * height, low)
    placed = np.empty(len(ends))
    placed[order] = np.clip(level, low, room) + height * np.arange(len(ends))
    return placed


def _gap(ax: Axes) -> float:
    """Return the space between axes and names as a share of the width of the axes."""
    width = ax.get_window_extent().width / ax.figure.dpi * 72.0
    return 0.9 * float(rcParams["legend.fontsize"]) / max(width, 1.0)
