"""Measurements: read from pytest-benchmark's JSON, kept as a document, and compared with earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

SCHEMA = 1
TOLERANCE = 1.3
"""How many times its earlier cost a benchmark may have before it is flagged; single ones vary by a tenth or two."""


SLOW = 1.1
"""Above this factor of its best in the run, the calibration workload says that the machine was slow for a while.

Another tenant of the processor does that; it costs the interpreter more than the calibration workload, so the ratio of
the two does not make up for it.
"""


@dataclass(frozen=True)
class Measurement:
    """One benchmark: seconds of every round, of the calibration workload around them and of the reference beside them.

    `series` holds further numbers with one entry per round, `info` what was measured.
    """

    name: str
    group: str
    seconds: list[float]
    calibration: list[float]
    reference: list[float] = field(default_factory=list)
    series: dict[str, list[float]] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def cost(self) -> float:
        """What is compared: for memory its peak, MiB; else the time in units of the calibration workload.

        Both times at their best, since other processes only ever add.
        """
        if self.group == "memory":
            return max(self.series["peak"])
        return min(self.seconds) / min(self.calibration)

    def ratios(self) -> list[float]:
        """Return reference over time, round by round: how many times as fast this is."""
        return [theirs / ours for theirs, ours in zip(self.reference, self.timed, strict=True)]

    @property
    def timed(self) -> list[float]:
        """What `reference` is to be compared with: the training loop alone where that was clocked, else the whole."""
        return self.series.get("loop", self.seconds)

    def rates(self) -> list[float]:
        """Return environment steps per second of the training loop, all replicas together, round by round."""
        steps = self.info["steps"] * self.info["replicas"]
        return [steps / seconds for seconds in self.timed]


@dataclass(frozen=True)
class Change:
    """A benchmark in two measurements: `factor` is how many times as costly it has become.

    `uncertain`: the machine was slow for a while during one of the two, which then says nothing.
    """

    name: str
    factor: float
    uncertain: bool = False

    def regressed(self, tolerance: float = TOLERANCE) -> bool:
        """Return whether that is more than chance explains."""
        return self.factor > tolerance and not self.uncertain


def from_pytest(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a run from pytest-benchmark's JSON; nothing else of that is kept."""
    return {"schema": SCHEMA, **raw["rlbench"], "measurements": [asdict(_measurement(b)) for b in raw["benchmarks"]]}


def measurements(document: Mapping[str, Any]) -> list[Measurement]:
    """Return the measurements of a document; ValueError if it is of another schema."""
    if document.get("schema") != SCHEMA:
        raise ValueError(f"benchmarks of schema {document.get('schema')!r}, not {SCHEMA}")
    return [Measurement(**one) for one in document["measurements"]]


def compare(now: Iterable[Measurement], then: Iterable[Measurement]) -> list[Change]:
    """Return the change of every benchmark that is in both with the same sizes, the worst first.

    Costs are ratios to the calibration workload of the same run, so a slower machine changes nothing.
    """
    listed, earlier = list(now), {one.name: one for one in then}
    uncertain = {*slowed(listed), *slowed(earlier.values())}
    changes = [
        Change(one.name, one.cost / earlier[one.name].cost, one.name in uncertain)
        for one in listed
        if one.name in earlier and one.info == earlier[one.name].info
    ]
    return sorted(changes, key=lambda change: -change.factor)


def slowed(found: Iterable[Measurement]) -> dict[str, float]:
    """Return the benchmarks whose every round fell into a time in which the machine was slow, and by what factor."""
    listed = [one for one in found if one.group != "memory"]
    best = min((min(one.calibration) for one in listed), default=0.0)
    return {one.name: min(one.calibration) / best for one in listed if min(one.calibration) > SLOW * best}


def spread(values: Iterable[float]) -> str:
    """Return "median (smallest to largest)", three digits each."""
    listed = sorted(values)
    shown = [f"{x:,.0f}" if x >= 1000 else f"{x:.3g}" for x in (median(listed), listed[0], listed[-1])]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def _measurement(benchmark: Mapping[str, Any]) -> Measurement:
    extra = dict(benchmark["extra_info"])
    calibration, reference = extra.pop("calibration"), extra.pop("reference", [])
    series = {name: extra.pop(name) for name in [key for key, value in extra.items() if isinstance(value, list)]}
    return Measurement(
        benchmark["name"].removeprefix("test_"),
        benchmark["group"],
        benchmark["stats"]["data"],
        calibration,
        reference,
        series,
        extra,
    )
