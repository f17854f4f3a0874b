"""What tells a sink what happens: in a thread of its own, and so that its failure is nobody else's."""

from __future__ import annotations

import contextlib
import json
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from rlbench.files import file_name
from rlbench.records import Progress, RunRecord, Table
from rlbench.store import Store
from rlbench.store.folders import home
from rlbench.study.executors.worker import describe
from rlbench.study.plan import Cell, Plan
from rlbench.study.schedule import Pack

_SECONDS = 1.0  # between two signs of life of a pack that are passed on

Say = Callable[[str], None]


class Sink(Protocol):
    """Shows runs. Every method may raise what it likes: the sink is then switched off, and the runs go on."""

    @property
    def title(self) -> str:
        """The sink's name for people."""

    def progress(self, pack: Pack, progress: Progress) -> None:
        """Show how far a pack is; it starts at 0 again where it is tried once more."""

    def ended(self, pack: Pack) -> None:
        """Forget a pack that progress was shown of: all of its runs are stored."""

    def has(self, cell: Cell, status: str) -> bool:
        """Return whether the run is shown already, as it ended."""

    def stored(self, cell: Cell, record: RunRecord) -> None:
        """Show a run, whole or not at all, in place of what was shown of it before."""

    def close(self) -> None:
        """End what was begun."""


class Feed:
    """Tells `sink` what happens, in its own thread and in order; `say` gets one sentence if it fails."""

    def __init__(self, sink: Sink, say: Say, seconds: float = _SECONDS) -> None:
        self._sink, self._say, self._seconds = sink, say, seconds
        self._next: dict[Pack, float] = {}
        self._waiting: dict[Pack, set[str]] = {}  # cells that are not stored yet, of packs that were shown
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._works = True
        self._thread = threading.Thread(target=self._work, name=sink.title, daemon=True)
        self._thread.start()

    def progress(self, pack: Pack, progress: Progress) -> None:
        """Pass on how far a pack is, about once a second; a pack that takes no second is not worth it."""
        now = time.monotonic()
        if now < self._next.setdefault(pack, now + self._seconds) or not math.isfinite(progress.mean_return):
            return
        self._next[pack] = now + self._seconds
        self._waiting.setdefault(pack, {cell.id for cell in pack.cells})
        self._calls.put(lambda: self._sink.progress(pack, progress))

    def stored(self, cell: Cell, record: RunRecord) -> None:
        """Pass on a run that was stored, in whichever part of its pack."""
        self._calls.put(lambda: self._sink.stored(cell, record))
        for pack, left in list(self._waiting.items()):
            left.discard(cell.id)
            if not left:
                del self._waiting[pack]
                self._calls.put(lambda pack=pack: self._sink.ended(pack))  # type: ignore[misc]

    def fill_in(self, cells: Sequence[Cell], results_dir: str | Path) -> None:
        """Show those of the cells that are stored and not shown: from runs without this sink, or before it failed."""
        store = Store(results_dir)
        for cell in cells:
            self._calls.put(lambda cell=cell: self._fill_in(cell, store))  # type: ignore[misc]

    def close(self) -> None:
        """Wait until everything is shown; Ctrl-C leaves that early, and the same command shows the rest."""
        self._calls.put(None)
        self._thread.join()

    def _fill_in(self, cell: Cell, store: Store) -> None:
        manifest = store.manifest(cell.id)
        if manifest is not None and not self._sink.has(cell, manifest["status"]):
            read = store.read(cell.id)
            if read is not None:
                self._sink.stored(cell, _record(*read))

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if self._works:
                self._try(call)
        if self._works:
            self._try(self._sink.close)

    def _try(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as problem:
            self._works = False
            self._say(switched_off(self._sink.title, problem))
            with contextlib.suppress(Exception):
                self._sink.close()


def switched_off(title: str, problem: Exception) -> str:
    """Return what is said of a sink that failed."""
    return (
        f"{title} was switched off: {describe(problem).rstrip('.')}. "
        "Runs are stored all the same, and the same command shows what is missing."
    )


def _record(manifest: dict[str, Any], episodes: Any, updates: Any) -> RunRecord:
    """Return what `Store.read` returned as the record that was stored."""
    known = manifest["outcome"]
    return RunRecord(
        manifest["status"],
        known["reason"],
        known["steps_done"],
        _table(episodes),
        _table(updates),
        gradient_steps=known.get("gradient_steps", 0),
        samples=known.get("samples", 0),
        seconds=known.get("seconds", 0.0),
    )


def _table(columns: Any) -> Table:
    return {name: np.asarray(columns[name].to_numpy()) for name in columns.column_names}


GROUPS = {"episodes": "train", "updates": "update"}
"""What stands before the names of a table's columns: `train/return`, `update/kl`."""


class Place(NamedTuple):
    """Where an experiment shows a run: in the results folder of its suite or its own, under parts safe as file names.

    `experiment` and `arm` are the names as they were given; two arms that are alike but for characters that a file
    name cannot hold have different `parts`.
    """

    folder: Path
    experiment: str
    arm: str
    parts: tuple[str, ...]


def places_of(plans: Sequence[Plan], results_dir: str | Path) -> dict[str, list[Place]]:
    """Return the places of every run by the id of its cell: one for each experiment that it belongs to."""
    places: dict[str, list[Place]] = {}
    for plan in plans:
        folder, name = folder_of(plan, results_dir), plan.experiment.name
        arms = _slugs([cell.arm for cell in plan.cells])
        environments = _slugs([cell.environment.label for cell in plan.cells])
        for cell in plan.cells:
            parts = (name, arms[cell.arm], environments[cell.environment.label], str(cell.seed))
            places.setdefault(cell.id, []).append(Place(folder, name, cell.arm, parts))
    return places


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
    rows = [row for name, group in GROUPS.items() for row in _rows(getattr(record, name), group)]
    yield from sorted(rows, key=lambda row: row[0])


def _rows(table: Table, group: str) -> Iterator[tuple[int, dict[str, float]]]:
    names = [f"{group}/{name}" for name in table if name != "step"]
    columns = [column.tolist() for name, column in table.items() if name != "step"]
    for step, *values in zip(table["step"].tolist() if table else [], *columns, strict=True):
        yield step, dict(zip(names, values, strict=True))


def _slugs(labels: Sequence[str]) -> dict[str, str]:
    taken: set[str] = set()
    return {label: file_name(label, taken) for label in dict.fromkeys(labels)}


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)
