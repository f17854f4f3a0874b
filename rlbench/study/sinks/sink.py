"""What sinks have in common: a thread, live curves, and where and under which names a run is shown."""

from __future__ import annotations

import abc
import contextlib
import json
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from rlbench.files import file_name
from rlbench.records import Progress, RunRecord, Table
from rlbench.store import Store
from rlbench.store.folders import home
from rlbench.study.executors.worker import describe
from rlbench.study.plan import Cell, Plan
from rlbench.study.schedule import Pack

LIVE = "live/mean_return"
_GROUPS = {"episodes": "train", "updates": "update"}  # what precedes a column's name: `train/return`, `update/kl`
_SECONDS = 1.0  # between two points of a live curve

Places = Mapping[str, Sequence["Place"]]
"""Where every run is shown, by the id of its cell: once for each experiment that it belongs to."""

Warn = Callable[[str], None]


class Place(NamedTuple):
    """Where an experiment shows a run: in the results folder of its suite or its own, under parts safe as file names.

    `experiment` and `arm` are the names as they were given; two arms that are alike but for characters that a file
    name cannot hold have different `parts`.
    """

    folder: Path
    experiment: str
    arm: str
    parts: tuple[str, ...]


class LiveCurve(Protocol):
    """Shows one pack while it trains."""

    def add(self, progress: Progress) -> None:
        """Add a point."""

    def close(self) -> None:
        """End the curve: the runs of the pack are shown instead."""


class Sink(abc.ABC):
    """Shows runs, in a thread of its own and in the order of the calls; training never waits for it.

    The methods that a sink defines run in that thread and may raise what they like: the sink is then switched off,
    `warn` gets a sentence that says so, and the runs go on.
    """

    title: ClassVar[str]
    """The sink's name for people."""

    def __init__(self, places: Places, warn: Warn, seconds: float = _SECONDS) -> None:
        self._places, self._warn, self._seconds = places, warn, seconds
        self._next: dict[Pack, float] = {}
        self._live: dict[Pack, tuple[LiveCurve, int]] = {}  # with the step of the last point
        self._stored: set[str] = set()
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=self.title, daemon=True)
        self._thread.start()

    def progress(self, pack: Pack, progress: Progress) -> None:
        """Show how far a pack is, about once a second; not at once, since a short pack needs no live curve."""
        now = time.monotonic()
        if now >= self._next.setdefault(pack, now + self._seconds) and math.isfinite(progress.mean_return):
            self._next[pack] = now + self._seconds
            self._calls.put(partial(self._add_point, pack, progress))

    def stored(self, cell: Cell, record: RunRecord) -> None:
        """Show a run that was stored, in place of what was shown of it before; end the curve of its pack."""
        self._calls.put(partial(self._show, cell, record))

    def fill_in(self, cells: Sequence[Cell], results_dir: str | Path) -> None:
        """Show those of the cells that are stored and not shown: from runs without this sink, or before it failed."""
        store = Store(results_dir)
        for cell in cells:
            self._calls.put(partial(self._fill_in, cell, store))

    def close(self) -> None:
        """Wait until everything is shown; Ctrl-C leaves that early, and the same command shows the rest."""
        self._calls.put(None)
        self._thread.join()

    def _work(self) -> None:
        calls = iter(self._calls.get, None)
        try:
            for call in calls:
                call()
            self._end()
        except Exception as problem:
            self._warn(switched_off(self.title, problem))
            with contextlib.suppress(Exception):
                self._end()
            for _ in calls:  # keep nothing of what comes until `close`
                pass

    def _add_point(self, pack: Pack, progress: Progress) -> None:
        if pack in self._live and progress.step <= self._live[pack][1]:  # it is tried again, from its start
            self._end_curve(pack)
        curve = self._live[pack][0] if pack in self._live else self._begin(pack)
        self._live[pack] = (curve, progress.step)
        curve.add(progress)

    def _show(self, cell: Cell, record: RunRecord) -> None:
        for place in self._places.get(cell.id, ()):
            self._write(place, cell, record)
        self._stored.add(cell.id)
        for pack in list(self._live):
            if self._stored.issuperset(each.id for each in pack.cells):  # maybe trained in several parts
                self._end_curve(pack)

    def _fill_in(self, cell: Cell, store: Store) -> None:
        manifest, places = store.manifest(cell.id), self._places.get(cell.id, ())
        if manifest is None or all(self._has(place, cell, manifest["status"]) for place in places):
            return
        stored = store.read(cell.id)
        if stored is not None:
            self._show(cell, _record(*stored))

    def _end_curve(self, pack: Pack) -> None:
        curve, _ = self._live.pop(pack)
        curve.close()

    def _end(self) -> None:
        """End the curves of packs that did not end."""
        for pack in list(self._live):
            self._end_curve(pack)

    @abc.abstractmethod
    def _begin(self, pack: Pack) -> LiveCurve: ...

    @abc.abstractmethod
    def _has(self, place: Place, cell: Cell, status: str) -> bool: ...

    @abc.abstractmethod
    def _write(self, place: Place, cell: Cell, record: RunRecord) -> None: ...


def switched_off(title: str, problem: Exception) -> str:
    """Return the sentence on a sink that failed."""
    return (
        f"{title} was switched off: {describe(problem).rstrip('.')}. "
        "Runs are stored all the same, and the same command shows what is missing."
    )


def _record(manifest: dict[str, Any], episodes: Any, updates: Any) -> RunRecord:
    """Return what `Store.read` returned as the record that was stored."""
    outcome = manifest["outcome"]
    kept = {name: outcome[name] for name in ("gradient_steps", "samples", "seconds") if name in outcome}
    return RunRecord(
        manifest["status"], outcome["reason"], outcome["steps_done"], _table(episodes), _table(updates), **kept
    )


def _table(columns: Any) -> Table:
    return {name: np.asarray(columns[name].to_numpy()) for name in columns.column_names}


def places_of(plans: Sequence[Plan], results_dir: str | Path) -> dict[str, list[Place]]:
    """Return the places of every run by the id of its cell: one for each experiment that it belongs to."""
    places: dict[str, list[Place]] = {}
    for plan in plans:
        folder, name = folder_of(plan, results_dir), plan.experiment.name
        arms = _file_names([cell.arm for cell in plan.cells])
        environments = _file_names([cell.environment.label for cell in plan.cells])
        for cell in plan.cells:
            parts = (name, arms[cell.arm], environments[cell.environment.label], str(cell.seed))
            places.setdefault(cell.id, []).append(Place(folder, name, cell.arm, parts))
    return places


def _file_names(labels: Sequence[str]) -> dict[str, str]:
    taken: set[str] = set()
    return {label: file_name(label, taken) for label in dict.fromkeys(labels)}


def folder_of(plan: Plan, results_dir: str | Path) -> Path:
    """Return the results folder of a plan's suite, or that of an experiment by itself."""
    return Path(results_dir) / plan.suite if plan.suite else home(results_dir, plan.experiment.name)


def parameters(cell: Cell, record: RunRecord) -> dict[str, bool | int | float | str]:
    """Return what a run was and how it ended, its hyper-parameters as `field.NAME`; what is no number is a text."""
    fields: Mapping[str, Any] = cell.identity.get("settings", {})
    return {
        **{f"field.{name}": _plain(value) for name, value in fields.items()},
        "algorithm": cell.planned.algorithm,
        "arm": cell.arm,
        "environment": cell.environment.label,
        "seed": cell.seed,
        "budget": cell.steps,
        "status": record.status,
        "reason": record.reason,
    }


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


def used(record: RunRecord) -> dict[str, float]:
    """Return how far a run came and what it took."""
    return {
        "used/steps": record.steps,
        "used/gradient_steps": record.gradient_steps,
        "used/samples": record.samples,
        "used/seconds": record.seconds,
    }


def points(record: RunRecord) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (environment steps, values by name) of every row of both tables, in the order of the steps."""
    rows: list[tuple[int, dict[str, float]]] = []
    for table, group in _GROUPS.items():
        columns = {name: column.tolist() for name, column in getattr(record, table).items()}
        for step, *values in zip(columns.pop("step", []), *columns.values(), strict=True):
            rows.append((step, {f"{group}/{name}": value for name, value in zip(columns, values, strict=True)}))
    yield from sorted(rows, key=lambda row: row[0])
