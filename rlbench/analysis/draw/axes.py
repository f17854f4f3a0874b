"""Axes of numbers: which scale suits them, and what stands at the ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator, PercentFormatter

from rlbench.analysis.scores.metrics import field_name
from rlbench.analysis.stats.estimates import Array

SHARE_COLUMNS = ("clip_fraction", "clip_killed", "outside_band")  # columns that are shares of the samples
_LOGARITHMIC_FROM = 100.0  # ratio of the largest to the smallest value
_DECADE = 8.0  # the same for the values of a hyper-parameter
_MARGIN = 0.06  # of the range, left free on both sides
_MANY = 7  # factors of which each has a tick
_CLOSEST = 0.07  # of the range: values nearer to each other get a place each


def short(value: float, *, powers: bool | None = None) -> str:
    """Return a number in few letters, 0.95, 3e-4 or ∞; `powers`: as a power of ten or not, None: as is usual."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    plain = f"{value:.4g}"
    if value == 0 or powers is False or (powers is None and 0.01 <= abs(value) < 1e5):
        return plain
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def shorts(values: Sequence[float]) -> list[str]:
    """Return the numbers of an axis, all of them as powers of ten if one has to be."""
    powers = any("e" in short(value) for value in values)
    return [short(value, powers=powers) for value in values]


def write_powers(axis: Axis, low: float) -> None:
    """Write the numbers of a logarithmic axis that begins at `low`, small ones as powers of ten."""
    axis.set_major_formatter(FuncFormatter(partial(_tick, powers=low < 1e-3)))
    axis.set_minor_formatter(NullFormatter())


def _tick(value: float, _: int | None, *, powers: bool) -> str:  # no lambda: figures travel to other processes
    return short(value, powers=powers)


def scale_axis(ax: Axes, which: str, values: Array, column: str = "") -> None:
    """Scale the "x" or "y" axis for `values`, which are all that is drawn there.

    Shares of samples are in per cent; other columns are logarithmic if they are positive and span two decades.
    """
    axis = ax.xaxis if which == "x" else ax.yaxis
    values = values[np.isfinite(values)]
    if column in SHARE_COLUMNS:
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    elif values.size and values.min() > 0 and values.max() >= _LOGARITHMIC_FROM * values.min():
        (ax.set_xscale if which == "x" else ax.set_yscale)("log")
        write_powers(axis, float(values.min()))


def scale_column(ax: Axes, column: str, values: Array) -> None:
    """Scale the vertical axis for the values of a column; shares of samples start at 0."""
    scale_axis(ax, "y", values, column)
    if column in SHARE_COLUMNS:
        known = values[np.isfinite(values)]
        ax.set_ylim(0.0, 1.05 * (float(known.max()) if known.size and known.max() > 0 else 1.0))


@dataclass(frozen=True)
class Scale:
    """Where the values of a field stand on an axis; `kind` "even": side by side, whatever lies between them."""

    values: tuple[float, ...]
    kind: Literal["log", "linear", "even"]

    def place(self, values: npt.ArrayLike) -> Array:
        """Return the positions of values; on an even scale those between two values lie between their places."""
        wanted = np.asarray(values, np.float64)
        if self.kind != "even":
            return wanted
        finite = [value for value in self.values if math.isfinite(value)]
        between = np.interp(wanted, finite, range(len(finite))) if finite else np.zeros(wanted.shape)
        return np.where(np.isinf(wanted), float(len(self.values) - 1), between)

    def apply(self, ax: Axes, name: str, marked: float | None = None) -> None:
        """Set the scale, the ticks at the values, bold at the `marked` one, and the label of the horizontal axis."""
        if self.kind == "log":
            ax.set_xscale("log")
        places = self.place(self.values)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xticks(places, shorts(self.values))
        for value, label in zip(self.values, ax.get_xticklabels(), strict=True):
            label.set_fontweight("bold" if value == marked else "normal")
        first, last = float(places[0]), float(places[-1])
        if self.kind == "log":
            ax.set_xlim(first * (first / last) ** _MARGIN, last * (last / first) ** _MARGIN)
        else:
            margin = _MARGIN * (last - first) or 1.0
            ax.set_xlim(first - margin, last + margin)
        ax.set_xlabel(f"{field_name(name)} (values side by side)" if self.kind == "even" else field_name(name))


def scale_of(values: Sequence[float]) -> Scale:
    """Return the scale on which values can be told apart: logarithmic or linear if possible."""
    ordered = tuple(sorted(set(values)))
    if ordered[0] > 0 and math.isfinite(ordered[-1]) and ordered[-1] >= _DECADE * ordered[0]:
        return Scale(ordered, "log")
    gaps = np.diff(ordered)
    if math.isfinite(ordered[-1]) and (not gaps.size or gaps.min() >= _CLOSEST * (ordered[-1] - ordered[0])):
        return Scale(ordered, "linear")
    return Scale(ordered, "even")


def multiples(ax: Axes, values: Array) -> None:
    """Make the horizontal axis one of factors around `values`: logarithmic, with ticks such as ×0.1, ×1, ×10."""
    ax.set_xscale("log")
    spread = (float(values.max()) / float(values.min())) ** _MARGIN if len(values) else 2.0
    low, high = (float(values.min()) / spread, float(values.max()) * spread) if len(values) else (0.5, 2.0)
    steps = (1.0,) if high / low >= 300 else (1.0, 3.0) if high / low >= 20 else (1.0, 2.0, 5.0)
    chosen = sorted({float(f"{value:.2g}") for value in values})
    if len(chosen) > _MANY:
        chosen = [step * 10.0**power for power in range(-9, 10) for step in steps]
    ax.set_xticks([tick for tick in chosen if low * 0.999 <= tick <= high * 1.001])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"×{short(value)}"))
    ax.set_xlim(low, high)
