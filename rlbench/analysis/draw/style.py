"""How everything is drawn: one look per arm in every figure, colours told apart by colour-blind readers.

The ground is seaborn's "ticks" style, the colours are its "colorblind" palette, without the yellow that vanishes on
white, continued with Tol's "muted" scheme. Colour is never the only sign: each arm has its own marker and line.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import seaborn
from matplotlib.ticker import EngFormatter

from rlbench.errors import RlbenchError, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Dash = tuple[float, ...]


class ArmStyle(NamedTuple):
    """The look of one arm: colour, marker, and the dashes of its line (empty: solid)."""

    color: str
    marker: str
    dash: Dash

    @property
    def line(self) -> Literal["solid"] | tuple[float, Dash]:
        """The dashes as matplotlib's `linestyle`."""
        return (0.0, self.dash) if self.dash else "solid"


_BLUE, _ORANGE, _GREEN, _RED, _PINK, *_, _SKY = seaborn.color_palette("colorblind").as_hex()

# The built-in algorithms look the same in every experiment.
FIXED: Mapping[str, ArmStyle] = {
    "reinforce": ArmStyle(_RED, "s", (5.0, 1.5)),
    "trpo": ArmStyle(_GREEN, "^", (3.0, 1.0, 1.0, 1.0)),
    "ppo-clip": ArmStyle(_BLUE, "o", ()),
    "ppo-penalty": ArmStyle(_PINK, "D", (7.0, 1.5, 1.0, 1.5)),
    "ppo-adaptive": ArmStyle(_ORANGE, "v", (3.0, 1.5)),
    "actor-critic": ArmStyle(_SKY, "P", (1.5, 1.0)),
    "random": ArmStyle("#4D4D4D", "X", (1.0, 1.5)),
}
_MORE_COLORS = (
    "#332288",
    "#882255",
    "#117733",
    "#8C6D31",
    "#AA4499",
    "#44AA99",
    "#000000",
    "#CC6677",
    *(style.color for style in FIXED.values()),
)
_MORE_MARKERS = ("h", "<", "p", ">", "8", "d", "*")
_MORE_DASHES: tuple[Dash, ...] = ((), (6.0, 2.0), (2.0, 1.0), (8.0, 2.0, 2.0, 2.0), (1.0, 1.0))

INK = "#262626"
QUIET = "#6b6b6b"
GRID = "#e3e3e3"

RC: dict[str, Any] = {
    **seaborn.axes_style("ticks"),
    "font.size": 10.0,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.5,
    "axes.edgecolor": "#9a9a9a",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "text.color": INK,
    "text.parse_math": False,  # a label such as `lr=$x` is text, not mathematics
    "savefig.facecolor": "white",
}


def arm_styles(labels: Sequence[str]) -> dict[str, ArmStyle]:
    """Return the style of every arm of an experiment, by label.

    A built-in algorithm's own name has a fixed style. The other labels take what is left in alphabetical order,
    so that the order of the arms changes nothing.
    """
    styles = {label: FIXED[label] for label in labels if label in FIXED}
    taken = {style.color for style in styles.values()}
    free = [color for color in _MORE_COLORS if color not in taken] or list(_MORE_COLORS)
    for index, label in enumerate(sorted(set(labels) - set(styles))):
        styles[label] = ArmStyle(
            free[index % len(free)],
            _MORE_MARKERS[index % len(_MORE_MARKERS)],
            _MORE_DASHES[index % len(_MORE_DASHES)],
        )
    return {label: styles[label] for label in labels}


@contextmanager
def rlbench_style() -> Iterator[None]:
    """Draw in rlbench's style inside the block; the caller's matplotlib settings come back after it."""
    import matplotlib

    with any_letters(), matplotlib.rc_context(RC):  # type: ignore[arg-type]
        yield


@contextmanager
def any_letters() -> Iterator[None]:
    """Draw letters that the font does not have as boxes, without a warning for each; pages and tables hold them."""
    with warnings.catch_warnings():
        for said in ("Glyph .* missing from", "Matplotlib currently does not support .* natively"):
            warnings.filterwarnings("ignore", said, UserWarning)
        yield


@contextmanager
def drawing(ax: Axes | None, width: float = 7.0, height: float = 4.4) -> Iterator[Axes]:
    """Give `ax`, or the Axes of a new pyplot figure (inches), to draw on in rlbench's style.

    A new figure uses the user's own backend, so a notebook shows it. Labels are made plain text at the end.
    """
    import matplotlib

    plain = not matplotlib.rcParams["text.parse_math"]  # within the style, as in a report, all texts are plain already
    with rlbench_style():
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots(figsize=(width, height), layout="constrained")[1]
        yield ax
        if not plain:
            from matplotlib.text import Text

            for text in ax.findobj(Text):
                text.set_parse_math(False)


def count_steps(ax: Axes) -> None:
    """Write environment steps on the horizontal axis, as 50k or 1M; as 0.25 where they are counted in millions."""
    ax.xaxis.set_major_formatter(_Steps(sep=""))
    ax.set_xlabel("environment steps")


class _Steps(EngFormatter):
    """Thousands as k and millions as M, but no thousandth as m, which reads as a million."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if abs(x) < 1 else str(super().__call__(x, pos))


def wrapped(label: str, width: int = 24) -> str:
    """Return a label broken into lines of about `width` characters, so that a long one stays readable."""
    return "\n".join(textwrap.wrap(label, width, break_long_words=True)) or label


def say(ax: Axes, message: str) -> None:
    """Write why there is nothing to draw in the middle of empty axes."""
    ax.text(0.5, 0.5, wrapped(message, 52), transform=ax.transAxes, ha="center", va="center", color=QUIET)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)


# The two looks of a figure, for a paper and for a slide: sizes, widths of lines, letters.
#
# Whatever draws takes its sizes from matplotlib's settings, which `looking` sets for the time of a block; so every
# function draws in both looks, and in the caller's own settings outside of a block.

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
