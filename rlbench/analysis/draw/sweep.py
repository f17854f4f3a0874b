"""Sweeps of a hyper-parameter: which arms are one, and a score against its values or against multiples of one value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from rlbench.analysis.draw.marks import COLUMNS, Numbers, Scored
from rlbench.analysis.draw.style import FIXED, QUIET, ArmStyle
from rlbench.analysis.draw.updates import short
from rlbench.analysis.scores.metrics import field_name
from rlbench.analysis.scores.results import ArmEntry, Results
from rlbench.analysis.stats.estimates import Array, Band, Estimate

_SETTING = re.compile(r"\s*\b([A-Za-z_]\w*)\s*=\s*(inf|[-+]?[\d.]+(?:[eE][-+]?\d+)?)$")
FEWEST = 3  # values that make a curve worth drawing unasked


@dataclass(frozen=True)
class Sweep:
    """Arms that differ in `field` alone, in the order of its `values`.

    `name` is what their labels share, or their algorithm; `usual` is the value of the arm that leaves the field as it
    is, None where every arm sets it.
    """

    name: str
    algorithm: str
    field: str
    values: tuple[float, ...]
    arms: tuple[str, ...]
    usual: float | None = None


def find_sweeps(entries: Iterable[ArmEntry], arms: Sequence[str] = (), fields: Sequence[str] = ()) -> list[Sweep]:
    """Return the sweeps of the fields (all, if none is named) among the arms (all, if none is named), in their order.

    Arms belong together if they agree in the algorithm and in every other field. Where the arms are named and one
    field is asked for, arms that differ in more are taken together too, since some fields only change together, such
    as the horizon and the number of minibatches. The label of an arm without fields says its value, `NAME=VALUE`.
    """
    listed = [arm for arm in map(_with_fields, entries) if not arms or arm.label in arms]
    names = list(fields) or list(dict.fromkeys(name for arm in listed for name in arm.fields))
    sweeps = [sweep for name in names for sweep in _sweeps_of(name, listed, exact=True)]
    if arms and len(fields) == 1 and {label for arm in sweeps for label in arm.arms} != {arm.label for arm in listed}:
        sweeps = list(_sweeps_of(fields[0], listed, exact=False))
    places = [arm.label for arm in listed]
    return sorted(sweeps, key=lambda sweep: min(places.index(arm) for arm in sweep.arms))


def _with_fields(arm: ArmEntry) -> ArmEntry:
    """Return an arm with the field that its label names, if its own are not known."""
    match = _SETTING.search(arm.label)
    if arm.fields or not match:
        return arm
    named = {match[1]: float(match[2]), "label": arm.label[: match.start()]}
    return replace(arm, fields=named, settings=named)


def _sweeps_of(name: str, arms: Sequence[ArmEntry], *, exact: bool) -> Iterator[Sweep]:
    groups: dict[tuple[Any, ...], list[ArmEntry]] = {}
    for arm in arms:
        if number(arm.fields.get(name)) is not None:
            others = sorted((key, repr(value)) for key, value in arm.fields.items() if key != name) if exact else ()
            groups.setdefault((arm.algorithm, *others), []).append(arm)
    for group in groups.values():
        values = [float(number(arm.fields[name]) or 0.0) for arm in group]
        if len(group) > 1 and len(set(values)) == len(group):
            order = sorted(range(len(group)), key=values.__getitem__)
            usual = [value for value, arm in zip(values, group, strict=True) if name not in arm.settings]
            yield Sweep(
                _shared(name, group),
                group[0].algorithm,
                name,
                tuple(values[index] for index in order),
                tuple(group[index].label for index in order),
                usual[0] if len(usual) == 1 else None,
            )


def number(value: Any) -> float | None:
    """Return a field's value as a number, infinity included, or None where it is none."""
    if value == "inf":
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(value)


def _shared(name: str, group: Sequence[ArmEntry]) -> str:
    """Return what the labels of a group share beside the setting, or else the algorithm."""
    bare = {re.sub(rf"\s*\b{re.escape(name)}=\S+", "", arm.label).strip() for arm in group}
    return bare.pop() if len(bare) == 1 and "" not in bare else group[0].algorithm or name


def sweep_numbers(
    scored: Scored, points: Iterable[tuple[float, str]], environments: Sequence[str], line: str
) -> Numbers:
    """Return the mean over the environments of a metric against x, for `points` (x, arm), as one line."""
    estimates = [(x, scored.mean(arm, environments)) for x, arm in points]
    known = [(x, estimate) for x, estimate in estimates if np.isfinite(estimate.point)]
    rows = [(line, x, mean.point, mean.low, mean.high) for x, mean in known]
    return Numbers(pd.DataFrame(rows, columns=COLUMNS), [estimate for _, estimate in known])


# Axes of hyper-parameters

_DECADE = 8.0  # the largest over the smallest value, from which on a scale is logarithmic
_MARGIN = 0.06  # of the range, left free on both sides
_MANY = 7  # factors of which each has a tick
_CLOSEST = 0.07  # of the range: values nearer to each other get a place each


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
