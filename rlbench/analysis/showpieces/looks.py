"""The two looks of a figure, for a paper and for a slide: sizes, widths of lines, letters.

Whatever draws takes its sizes from matplotlib's settings, which `looking` sets for the time of a block; so every
function draws in both looks, and in the caller's own settings outside of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from rlbench.analysis.figures.style import RC, any_letters
from rlbench.errors import RlbenchError, nearest

Setting = Literal[
    "font.size", "axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"
]


@dataclass(frozen=True)
class Look:
    """How large a figure is and how it is written to files.

    narrow, wide   widths in inches of a figure with one panel and with several
    height         of one row of panels; a slide has a fixed height instead, `slide`
    dpi            of the PNG
    titled         whether its title stands in the figure; in a paper it belongs to the caption
    """

    name: str
    narrow: float
    wide: float
    height: float
    dpi: int
    titled: bool
    slide: float = 0.0
    rc: Mapping[str, Any] = field(default_factory=dict)


def _rc(size: float, line: float, marker: float, hair: float, pad: float) -> dict[str, Any]:
    """Return matplotlib's settings for letters of `size` points, and lines, markers and hairlines of these widths."""
    letters = ("font.size", "axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")
    return {
        **RC,
        **dict.fromkeys(letters, size),
        "lines.linewidth": line,
        "lines.markersize": marker,
        "lines.markeredgewidth": 0.4 * hair,
        "axes.linewidth": hair,
        "grid.linewidth": 0.7 * hair,
        "grid.color": "#e8e8e8",
        "axes.titlepad": pad,
        "axes.labelpad": 0.5 * pad,
        **{f"{axis}tick.{name}": value for axis in "xy" for name, value in _ticks(hair, pad).items()},
        "pdf.fonttype": 42,  # letters that can be searched and edited, which publishers ask for
        "svg.fonttype": "path",  # the same on every machine, whatever letters it has
    }


def _ticks(hair: float, pad: float) -> dict[str, float]:
    return {"major.width": hair, "major.size": 0.6 * pad, "major.pad": 0.6 * pad, "minor.size": 0.0}


LOOKS: Mapping[str, Look] = {
    "paper": Look("paper", 3.3, 6.8, 1.95, 300, titled=False, rc=_rc(8.0, 1.2, 3.6, 0.6, 4.0)),
    "slides": Look("slides", 13.333, 13.333, 0.0, 144, titled=True, slide=7.5, rc=_rc(20.0, 3.6, 10.0, 1.5, 9.0)),
}


def letters(setting: Setting) -> float:
    """Return the size of letters in points that one of matplotlib's settings asks for, such as "legend.fontsize"."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    return float(FontProperties(size=rcParams[setting]).get_size_in_points())


def look_of(style: str) -> Look:
    """Return the look of a name; RlbenchError where there is none."""
    if style not in LOOKS:
        raise RlbenchError(f"There is no style {style!r} of figures.{nearest(style, list(LOOKS))}")
    return LOOKS[style]


@contextmanager
def looking(style: str) -> Iterator[Look]:
    """Draw for "paper" or "slides" inside the block; the caller's matplotlib settings come back after it."""
    import matplotlib

    look = look_of(style)
    with any_letters(), matplotlib.rc_context(dict(look.rc)):  # type: ignore[arg-type]
        yield look
