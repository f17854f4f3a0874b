"""How figures look: one colour, marker and dash pattern per arm, and three styles (report, paper, slides).

The ground is seaborn's "ticks" style. The colours are its "colorblind" palette, with darker ones for those that have a
contrast of less than 3 to 1 on white, continued with Tol's "muted" scheme. Colour is never the only sign: each arm has
its own marker and line.

A style is a set of matplotlib's settings that `styled` makes valid for a block. All that draws takes its sizes from
these settings, so the same functions draw in every style.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import seaborn
from matplotlib.colors import to_hex

from rlbench.analysis.scores.results import Results

Dash = tuple[float, ...]


class ArmStyle(NamedTuple):
    """Colour and marker of an arm, and the dashes of its line (empty: solid)."""

    color: str
    marker: str
    dash: Dash

    @property
    def line(self) -> Literal["solid"] | tuple[float, Dash]:
        """The dashes as matplotlib's `linestyle`."""
        return (0.0, self.dash) if self.dash else "solid"


_BLUE, _, _GREEN, _RED, _PINK, *_ = seaborn.color_palette("colorblind").as_hex()
_OCHRE, _VIOLET = "#b07d2b", "#8a63d2"

# The built-in algorithms look the same in every experiment.
FIXED: Mapping[str, ArmStyle] = {
    "reinforce": ArmStyle(_RED, "s", (5.0, 1.5)),
    "trpo": ArmStyle(_GREEN, "^", (3.0, 1.0, 1.0, 1.0)),
    "ppo-clip": ArmStyle(_BLUE, "o", ()),
    "ppo-penalty": ArmStyle(_PINK, "D", (7.0, 1.5, 1.0, 1.5)),
    "ppo-adaptive": ArmStyle(_OCHRE, "v", (3.0, 1.5)),
    "actor-critic": ArmStyle(_VIOLET, "P", (1.5, 1.0)),
    "random": ArmStyle("#4D4D4D", "X", (1.0, 1.5)),
}
_TOL = ("#332288", "#882255", "#117733", "#8C6D31", "#AA4499", "#2B8A7C", "#000000", "#CC6677")
_MORE_COLORS = (*_TOL, *(style.color for style in FIXED.values()))
_MORE_MARKERS = ("h", "<", "p", ">", "8", "d", "*")
_MORE_DASHES: tuple[Dash, ...] = ((), (6.0, 2.0), (2.0, 1.0), (8.0, 2.0, 2.0, 2.0), (1.0, 1.0))

INK = "#262626"
QUIET = "#6b6b6b"


def arm_styles(labels: Sequence[str]) -> dict[str, ArmStyle]:
    """Return a style for every label: a built-in algorithm's own, and what is left in the order of the others."""
    styles = {label: FIXED[label] for label in labels if label in FIXED}
    taken = {style.color for style in styles.values()}
    free = [color for color in _MORE_COLORS if color not in taken] or list(_MORE_COLORS)
    for index, label in enumerate(label for label in dict.fromkeys(labels) if label not in FIXED):
        marker, dash = _MORE_MARKERS[index % len(_MORE_MARKERS)], _MORE_DASHES[index % len(_MORE_DASHES)]
        styles[label] = ArmStyle(free[index % len(free)], marker, dash)
    return {label: styles[label] for label in labels}


def ordered_styles(labels: Sequence[str]) -> dict[str, ArmStyle]:
    """Return a style for every label of an order, such as the values of a field, from dark to light."""
    dark, light = 0.05, 0.62  # of the palette: what is lighter has too little contrast on white
    shares = [dark + (light - dark) * place / max(len(labels) - 1, 1) for place in range(len(labels))]
    colors = seaborn.color_palette("rocket", as_cmap=True)(shares)
    markers = ["o", *_MORE_MARKERS]
    return {
        label: ArmStyle(to_hex(color), markers[place % len(markers)], ())
        for place, (label, color) in enumerate(zip(labels, colors, strict=True))
    }


def styles_like(algorithms: Mapping[str, str]) -> dict[str, ArmStyle]:
    """Return a style for every label; the first label of a built-in algorithm looks like that algorithm."""
    like: dict[str, str] = {}
    for label, algorithm in algorithms.items():
        unused = algorithm in FIXED and algorithm not in algorithms and algorithm not in like.values()
        if unused and label not in FIXED:
            like[label] = algorithm
    names = {label: like.get(label, label) for label in algorithms}
    styles = arm_styles(list(names.values()))
    return {label: styles[name] for label, name in names.items()}


def styles_of(results: Results, arms: Sequence[str] = ()) -> dict[str, ArmStyle]:
    """Return the style of every arm of an experiment, or of these `arms`, by its algorithm and the order of the arms.

    Those of `arms` are chosen among themselves where they would share a colour.
    """
    if results.view:
        whole = styles_of(results.view.whole)
        colors = {arm: results.view.colors.get(arm, style.color) for arm, style in whole.items()}
        return {name: whole[arm]._replace(color=colors[arm]) for arm, name in results.view.labels.items()}
    algorithms = {label: arm.algorithm or label for label, arm in results.arm_entries.items()}
    styles = styles_like(algorithms)
    if len({styles[arm].color for arm in arms}) < len(arms):
        return styles_like({arm: algorithms[arm] for arm in arms})
    return {arm: styles[arm] for arm in arms} or styles


@dataclass(frozen=True)
class Style:
    """How large a figure is, how it is written to files, and matplotlib's settings for it.

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
    rc: Mapping[str, Any]
    slide: float = 0.0


_SIZES = ("font.size", "axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")


def _settings(size: float, line: float, marker: float, hair: float, pad: float, **more: Any) -> dict[str, Any]:
    """Return matplotlib's settings for letters of `size` points, and lines, markers and hairlines of these widths."""
    ticks = {"major.width": hair, "major.size": 0.6 * pad, "major.pad": 0.6 * pad, "minor.size": 0.0}
    return {
        **seaborn.axes_style("ticks"),
        **dict.fromkeys(_SIZES, size),
        "lines.linewidth": line,
        "lines.markersize": marker,
        "lines.markeredgewidth": 0.4 * hair,
        "axes.linewidth": hair,
        "axes.titlepad": pad,
        "axes.labelpad": 0.5 * pad,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.edgecolor": "#9a9a9a",
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": "#e6e6e6",
        "grid.linewidth": 0.7 * hair,
        **{f"{axis}tick.{name}": value for axis in "xy" for name, value in ticks.items()},
        **{f"{axis}tick.color": QUIET for axis in "xy"},
        **{f"{axis}tick.labelcolor": INK for axis in "xy"},
        "legend.frameon": False,
        "figure.facecolor": "white",
        "axes.facecolor": "white",
        "savefig.facecolor": "white",
        "text.color": INK,
        "text.parse_math": False,  # a label such as `lr=$x` is text, not mathematics
        "pdf.fonttype": 42,  # letters that can be searched and edited, which publishers ask for
        "svg.fonttype": "path",  # the same on every machine, whatever letters it has
        **more,
    }


_PAPER = _settings(8.0, 1.2, 3.6, 0.6, 4.0)
_REPORT = _settings(9.5, 1.9, 5.5, 1.0, 6.0, **{"axes.titlesize": 11.0, "svg.fonttype": "none"})
STYLES: Mapping[str, Style] = {
    "report": Style("report", 6.2, 7.6, 2.25, 180, titled=True, rc=_REPORT),
    "paper": Style("paper", 3.3, 6.8, 1.95, 300, titled=False, rc=_PAPER),
    # The widths of their text (and of a column, or half the text), as their style files have them.
    "icml": Style("icml", 3.25, 6.75, 1.95, 300, titled=False, rc=_PAPER),
    "jmlr": Style("jmlr", 3.0, 6.0, 1.95, 300, titled=False, rc=_PAPER),
    "neurips": Style("neurips", 2.75, 5.5, 1.85, 300, titled=False, rc=_PAPER),
    "slides": Style(
        "slides", 13.333, 13.333, 0.0, 144, titled=True, rc=_settings(20.0, 3.6, 10.0, 1.5, 9.0), slide=7.5
    ),
}


@contextmanager
def styled(style: str | Style) -> Iterator[Style]:
    """Draw in a style, or that of a name, inside the block; the caller's matplotlib settings come back after it.

    Letters that the font does not have are boxes, without a warning for each: labels may hold any letters.
    """
    import matplotlib

    look = STYLES[style] if isinstance(style, str) else style
    with warnings.catch_warnings(), matplotlib.rc_context(dict(look.rc)):  # type: ignore[arg-type]
        for message in ("Glyph .* missing from", "Matplotlib currently does not support .* natively"):
            warnings.filterwarnings("ignore", message, UserWarning)
        yield look
