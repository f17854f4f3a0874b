"""From a measurement to cells, and from a call of its function to one record per arm."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from rlbench.records import MEASURED, Environment, RunRecord, Table, empty_episodes
from rlbench.store import Planned
from rlbench.store.entry import cell_id
from rlbench.study.environments import bound, specification_of
from rlbench.study.experiment import Measure, Measurement
from rlbench.userfiles import folder_of, importable, source_of

_COLUMN = re.compile(r"[A-Za-z_][\w.]*")
_TAKEN = ("cell", "step")


@dataclass(frozen=True)
class Measuring:
    """What a worker calls instead of a trainer: one environment and seed, all arms."""

    measure: Measure
    arms: tuple[str, ...]
    folder: Path | None

    def __call__(
        self, arms: Sequence[str], environment: Environment, steps: int, seeds: Sequence[int], **_: Any
    ) -> list[RunRecord]:
        """Return the records of `arms`; an arm without proper numbers has failed. Raises what the function raises."""
        started = time.perf_counter()
        with importable(self.folder):
            measured = self.measure(environment, seeds[0])
        seconds = (time.perf_counter() - started) / len(self.arms)
        if not isinstance(measured, Mapping):
            raise TypeError(f"measure must return the columns of every arm by its label, not {_short(measured)}")
        if unknown := [one for one in measured if one not in self.arms]:
            raise ValueError(f"measure returned numbers of {unknown[0]!r}, which is no arm: {', '.join(self.arms)}")
        return [_record(arm, measured, steps, seconds) for arm in arms]


@dataclass(frozen=True, eq=False)
class MeasuredCell:
    """The numbers of one arm in an environment with a seed. `steps` is 1: there is no budget."""

    arm: str
    measuring: Measuring
    name: str
    environment: Environment
    seed: int
    fingerprint: str
    specification: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 1

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The document whose hash is `id`."""
        return {
            "kind": MEASURED,
            "name": self.name,
            "arm": self.arm,
            "fingerprint": self.fingerprint,
            "environment": {"id": self.environment.id, "options": dict(self.environment.options), **self.specification},
            "seed": self.seed,
        }

    @cached_property
    def id(self) -> str:
        """The name of the numbers in the store."""
        return cell_id(self.identity)

    @property
    def planned(self) -> Planned:
        """The numbers as a row of the tables."""
        return Planned(self.id, self.arm, MEASURED, self.environment.label, self.seed, self.steps, self.fingerprint)


@dataclass(frozen=True, eq=False)
class MeasurementPlan:
    """A measurement with every cell listed: arm by arm, environment, seed; `suite` as in `Plan`."""

    experiment: Measurement
    cells: tuple[MeasuredCell, ...]
    suite: str = ""

    @property
    def arms(self) -> tuple[str, ...]:
        """The labels of the arms."""
        return self.experiment.arms

    @property
    def planned(self) -> list[Planned]:
        """The rows of the tables."""
        return [cell.planned for cell in self.cells]

    def document(self) -> dict[str, Any]:
        """Return the measurement as JSON for a report."""
        return self.experiment.document()


def plan_measurement(measurement: Measurement) -> MeasurementPlan:
    """Return the plan of a measurement."""
    measure = measurement.measure
    assert isinstance(measure, FunctionType)
    text = f"{measure.__qualname__}\n{source_of(measure)}"
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
    measuring = Measuring(measure, measurement.arms, folder_of(measure.__module__))
    environments = [(one, specification_of(one)) for one in map(bound, measurement.environments)]
    cells = tuple(
        MeasuredCell(arm, measuring, measurement.name, environment, seed, fingerprint, specification)
        for arm in measurement.arms
        for environment, specification in environments
        for seed in measurement.seeds
    )
    return MeasurementPlan(measurement, cells)


def _record(arm: str, measured: Mapping[str, Any], steps: int, seconds: float) -> RunRecord:
    if arm not in measured:
        return RunRecord("failed", f"measure returned nothing for {arm!r}", 0, empty_episodes(), {})
    try:
        updates = _table(measured[arm])
    except ValueError as problem:
        return RunRecord("failed", f"measure, arm {arm!r}: {problem}", 0, empty_episodes(), {})
    return RunRecord("finished", "", steps, empty_episodes(), updates, seconds=seconds)


def _table(columns: Any) -> Table:
    """Return the columns as a table with rows for the longest, the others filled up with NaN."""
    if not isinstance(columns, Mapping) or not columns:
        raise ValueError(f"its numbers must be given by the names of columns, not as {_short(columns)}")
    found = {name: _numbers(name, value) for name, value in columns.items()}
    rows = max(len(values) for values in found.values())
    padded = {name: np.concatenate([values, np.full(rows - len(values), np.nan)]) for name, values in found.items()}
    return {"step": np.arange(1, rows + 1), **padded}


def _numbers(name: Any, value: Any) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return a column, `[rows]`."""
    if not isinstance(name, str) or not _COLUMN.fullmatch(name) or name in _TAKEN:
        raise ValueError(f"a column's name is a word other than {' and '.join(_TAKEN)}, not {name!r}")
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        array = np.empty((0, 0))
    if array.dtype.kind not in "biuf" or array.ndim > 1:
        raise ValueError(f"{name} must be a number or a list of numbers, not {_short(value)}")
    return np.atleast_1d(array).astype(np.float64)


def _short(value: Any) -> str:
    text = repr(value).partition("\n")[0]
    return text if len(text) <= 60 else f"{text[:57]}..."
