"""From a call of a measurement's function to one record per arm."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbench.records import Environment, RunRecord, Table, empty_episodes
from rlbench.study.experiment import Measure
from rlbench.userfiles import importable

_COLUMN = re.compile(r"[A-Za-z_][\w.]*")
_TAKEN = ("cell", "step")


@dataclass(frozen=True)
class Measuring:
    """What a worker calls for one environment and seed of a measurement; `folder` has the files it may import."""

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
        if unknown := [arm for arm in measured if arm not in self.arms]:
            raise ValueError(f"measure returned numbers of {unknown[0]!r}, which is no arm: {', '.join(self.arms)}")
        return [_record(arm, measured, steps, seconds) for arm in arms]


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
    numbers = {name: _numbers(name, value) for name, value in columns.items()}
    rows = max(len(values) for values in numbers.values())
    padded = {name: np.concatenate([values, np.full(rows - len(values), np.nan)]) for name, values in numbers.items()}
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
