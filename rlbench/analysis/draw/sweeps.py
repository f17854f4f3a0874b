"""Sweeps of a hyper-parameter: arms of an experiment that differ in one field only, read from its document."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlbench.analysis.scores.document import ArmEntry

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
    listed = [one for one in map(_with_fields, entries) if not arms or one.label in arms]
    names = list(fields) or list(dict.fromkeys(name for one in listed for name in one.fields))
    found = [sweep for name in names for sweep in _sweeps_of(name, listed, exact=True)]
    if arms and len(fields) == 1 and {label for one in found for label in one.arms} != {one.label for one in listed}:
        found = list(_sweeps_of(fields[0], listed, exact=False))
    places = [one.label for one in listed]
    return sorted(found, key=lambda sweep: min(places.index(arm) for arm in sweep.arms))


def _with_fields(arm: ArmEntry) -> ArmEntry:
    """Return an arm with the field that its label names, if its own are not known."""
    match = _SETTING.search(arm.label)
    if arm.fields or not match:
        return arm
    named = {match[1]: float(match[2]), "label": arm.label[: match.start()]}
    return replace(arm, fields=named, settings=named)


def _sweeps_of(name: str, arms: Sequence[ArmEntry], *, exact: bool) -> Iterator[Sweep]:
    groups: dict[tuple[Any, ...], list[ArmEntry]] = {}
    for one in arms:
        if number(one.fields.get(name)) is not None:
            others = sorted((key, repr(value)) for key, value in one.fields.items() if key != name) if exact else ()
            groups.setdefault((one.algorithm, *others), []).append(one)
    for group in groups.values():
        values = [float(number(one.fields[name]) or 0.0) for one in group]
        if len(group) > 1 and len(set(values)) == len(group):
            order = sorted(range(len(group)), key=values.__getitem__)
            usual = [value for value, one in zip(values, group, strict=True) if name not in one.settings]
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
    bare = {re.sub(rf"\s*\b{re.escape(name)}=\S+", "", one.label).strip() for one in group}
    return bare.pop() if len(bare) == 1 and "" not in bare else group[0].algorithm or name
