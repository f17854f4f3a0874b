"""Names written beside the ends of their lines, instead of a legend."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.text import Annotation
from matplotlib.transforms import Transform

from rlbench.analysis.showpieces.looks import letters
from rlbench.analysis.statistics import Array

_GID = "direct-label"
_LINE = 1.2  # height of a line of text, in sizes of its letters
_CHARACTER = 0.58  # mean width of a letter, in sizes of the letters
_LONGEST = 15  # letters of a name that stay on one line
_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[-_:])|(?<=\s)")


def label_line(ax: Axes, name: str, x: float, y: float, color: str, transform: Transform | None = None) -> None:
    """Write a name right of the axes, at the height of the end (x, y) of its line, joined to it by a hairline.

    `spread_labels` moves names apart that would cover each other. `transform` is that of the line, if not the data's.
    """
    ax.annotate(
        broken(name),
        xy=(x, y),
        xycoords=transform or "data",
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


def broken(name: str, longest: int = _LONGEST) -> str:
    """Return a name of more than `longest` letters in two lines, broken between its words as near the middle as can be.

    Words end at a space, a hyphen, or before a capital letter: `MountainCar / Continuous-v0`.
    """
    places = [match.start() for match in _BREAK.finditer(name) if 0 < match.start() < len(name)]
    if len(name) <= longest or not places:
        return name
    middle = min(places, key=lambda place: abs(2 * place - len(name)))
    return f"{name[:middle].rstrip()}\n{name[middle:]}"


def readable(color: str) -> tuple[float, float, float]:
    """Return the colour dark enough for letters on white: the lighter it is, the more it is darkened."""
    rgb = np.array(to_rgb(color))
    luminance = float(rgb @ np.array([0.2126, 0.7152, 0.0722]))
    red, green, blue = rgb * min(1.0, 0.42 / max(luminance, 1e-9)) ** 0.6
    return float(red), float(green), float(blue)


def text_width(names: Sequence[str]) -> float:
    """Return about how wide the longest of the names is, in inches."""
    longest = max((len(line) for name in names for line in broken(name).splitlines()), default=0)
    return longest * _CHARACTER * letters("legend.fontsize") / 72.0


def text_height(names: Sequence[str]) -> float:
    """Return how high the names are below each other, in inches."""
    lines = sum(len(broken(name).splitlines()) for name in names)
    return _LINE * lines * letters("legend.fontsize") / 72.0


def spread_labels(ax: Axes) -> None:
    """Move the names beside the axes apart, in the order of the ends of their lines; once the layout is known."""
    labels = [one for one in ax.texts if isinstance(one, Annotation) and one.get_gid() == _GID]
    if not labels:
        return
    box = ax.get_window_extent()
    heights = np.array([_LINE * (one.get_text().count("\n") + 1) for one in labels])
    heights *= letters("legend.fontsize") * ax.figure.dpi / 72.0
    ends = np.array([ax.transData.transform(one.xy)[1] for one in labels])
    # None above or below the axes, where titles and ticks are.
    low, high = float(box.y0 + 0.5 * heights.min()), float(box.y1 - 0.5 * heights.min())
    placed = apart(np.clip(ends, low, high), heights, low, high)
    for one, y in zip(labels, placed, strict=True):
        one.set_position((1.0 + _gap(ax), float(ax.transData.inverted().transform((0.0, y))[1])))


def apart(ends: Array, heights: Array, low: float, high: float) -> Array:
    """Return the middles of texts of these heights that do not cover each other, in the order of `ends`.

    They are as near to the ends as can be (least squares), and between `low` and `high` where all have room there.
    """
    order = np.argsort(ends, kind="stable")
    tall = heights[order]
    offset = np.concatenate([[0.0], np.cumsum(0.5 * (tall[1:] + tall[:-1]))])  # from the lowest middle
    blocks: list[tuple[float, int]] = []  # texts that touch: (mean of their ends less their offsets, number)
    for mean in ends[order] - offset:
        number = 1
        while blocks and blocks[-1][0] > mean:
            before, others = blocks.pop()
            mean, number = (before * others + mean * number) / (others + number), others + number
        blocks.append((mean, number))
    level = np.repeat([mean for mean, _ in blocks], [number for _, number in blocks])
    placed = np.empty(len(ends))
    placed[order] = np.clip(level, low, max(high - offset[-1], low)) + offset
    return placed


def _gap(ax: Axes) -> float:
    """Return the space between axes and names as a share of the width of the axes."""
    width = ax.get_window_extent().width / ax.figure.dpi * 72.0
    return 0.9 * letters("legend.fontsize") / max(width, 1.0)
