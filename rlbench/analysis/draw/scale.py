"""The axis of a swept hyper-parameter: logarithmic, linear, or one place per value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from rlbench.analysis.stats.statistics import Array

_DECADE = 8.0  # the largest over the smallest value, from which on a scale is logarithmic
_MARGIN = 0.06  # of the range, left free on both sides
_MANY = 7  # factors of which each has a tick
_CLOSEST = 0.07  # of the range: values nearer to each other get a place each

FIELDS: Mapping[str, str] = {
    "lr": "learning rate",
    "gamma": "discount γ",
    "gae_lambda": "GAE λ",
    "clip": "clip range ε",
    "epochs": "epochs K per rollout",
    "entropy_coef": "entropy coefficient",
    "value_coef": "value coefficient",
    "max_grad_norm": "bound on the gradient norm",
    "horizon": "steps per rollout",
    "minibatches": "minibatches per rollout",
    "delta": "KL bound δ",
    "beta": "penalty β",
    "kl_target": "KL target",
}


def field_name(name: str) -> str:
    """Return what a field is called on an axis."""
    return FIELDS.get(name, name.replace("_", " "))


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
