"""Plan -> executor -> trainer -> store; skips what is done, survives what fails, stores packs as they end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlbench.errors import RlbenchError
from rlbench.records import RunRecord
from rlbench.store import Store
from rlbench.store.specification import write_specification
from rlbench.study.cluster import Cluster
from rlbench.study.costs import Costs
from rlbench.study.executors import Results, Train, default_workers, in_process
from rlbench.study.launcher import Launcher
from rlbench.study.measuring import MeasuredCell
from rlbench.study.packs import Pack, make_packs, measured_packs
from rlbench.study.placement import Placement, place
from rlbench.study.plan import AnyCell, AnyPlan, Cell, cells_of, to_do
from rlbench.study.progress import Display, display_for
from rlbench.study.provenance import provenance
from rlbench.study.rays import train_with
from rlbench.study.trials import try_out, worth_trying


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run, with a sentence that says what is stored."""


@dataclass
class Summary:
    """What one call of `execute` did: runs that were stored already, and trained runs by outcome."""

    skipped: int = 0
    skipped_diverged: int = 0
    finished: int = 0
    diverged: list[tuple[AnyCell, str, str]] = field(default_factory=list)
    failed: list[tuple[AnyCell, str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def trained(self) -> int:
        """Runs that were trained, whatever became of them."""
        return self.finished + len(self.diverged) + len(self.failed)

    @property
    def fine(self) -> bool:
        """Whether every run that was trained finished."""
        return not self.diverged and not self.failed

    def add(self, cell: AnyCell, record: RunRecord) -> None:
        """Count one trained run."""
        if record.status == "finished":
            self.finished += 1
        elif record.status == "diverged":
            self.diverged.append((cell, record.reason, record.detail))
        else:
            self.failed.append((cell, record.reason, record.detail))


def execute(plan: AnyPlan, results_dir: str | Path = "results", **options: Any) -> Summary:
    """Train every run of the plan that is not stored yet, and store it; `options` are those of `execute_all`."""
    return execute_all([plan], results_dir, **options)


def execute_all(
    plans: Sequence[AnyPlan],
    results_dir: str | Path = "results",
    *,
    workers: int | None = None,
    device: str = "cpu",
    progress: bool = True,
    train: Train | None = None,
    launcher: Launcher | Cluster | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Summary:
    """Train every run of the plans that is not stored yet, and store it; runs that plans share are trained once.

    All that may train together does, whichever plan it belongs to. `workers` processes, one per CPU if None (on a GPU
    one); 0 trains in this process. `device` is "cpu", "cuda", "cuda:N" or "auto". `launcher` starts the processes, or
    is a Ray cluster, and stays open; `meanwhile` is called once while they train, to import what is needed afterwards.
    Raises RlbenchError for an environment that cannot be made, a device that is not there or a disk that refuses, and
    Interrupted on Ctrl-C; what is stored then stays.
    """
    started = time.perf_counter()
    if workers is not None and workers < 0:
        raise RlbenchError(f"workers must be at least 0, not {workers}.")
    store = Store(results_dir)
    store.sweep()
    cells = cells_of(plans)
    left, final = to_do(cells, store)
    trained = [cell for cell in left if isinstance(cell, Cell)]
    observations = _check_environments(trained)
    placement = launcher.place(device) if isinstance(launcher, Cluster) and left else place(device, trained)
    workers = placement.workers(default_workers()) if workers is None else workers
    for plan in plans:
        write_specification(results_dir, plan.document(), plan.planned, plan.experiment.document(), plan.suite)
    summary = Summary(skipped=final.total(), skipped_diverged=final["diverged"], messages=list(store.messages))
    if left:
        costs = Costs(store.directory, observations, placement.label)
        try:
            with Launcher() if launcher is None else contextlib.nullcontext(launcher) as starting:
                execution = _Execution(store, summary, costs, placement, workers, train, starting, progress)
                execution.train_all(left, meanwhile)
        except KeyboardInterrupt:
            # Asked of the store: the interruption may have come between storing a run and counting it.
            stored = len(cells) - len(to_do(cells, store)[0])
            raise Interrupted(
                f"Interrupted: {stored} of {len(cells)} runs are stored; the same command continues from there."
            ) from None
    summary.seconds = time.perf_counter() - started
    return summary


@dataclass
class _Execution:
    """With what the cells that are left are trained, and where it is noted what became of them."""

    store: Store
    summary: Summary
    costs: Costs
    placement: Placement
    workers: int
    train: Train | None
    launcher: Launcher | Cluster
    progress: bool

    def train_all(self, cells: Sequence[AnyCell], meanwhile: Callable[[], None]) -> None:
        """Train and store every cell."""
        packs = self._packs(cells)
        display = display_for(packs, show=self.progress)
        try:
            made_by: dict[str, Any] = {}
            with contextlib.closing(self._results(packs, display, made_by, meanwhile)) as results:
                for pack, records in results:
                    for cell, record in zip(pack.cells, records, strict=True):
                        where = {"machine": record.machine} if record.machine else {}
                        self.store.write(cell.identity, record, {**made_by, **where, "replicas": len(pack.cells)})
                        self.summary.add(cell, record)
                    if isinstance(pack.cells[0], Cell):
                        self.costs.note_pack(pack.cells[0], records)
                    display.ended(pack)
        finally:
            display.close()
            self.costs.save()

    def _packs(self, cells: Sequence[AnyCell]) -> list[Pack]:
        processes = max(self.workers, 1)
        trained = [cell for cell in cells if isinstance(cell, Cell)]
        if self.workers and self.train is None and self.placement.device == "cpu":
            try_out(worth_trying(trained, processes, self.costs), processes, self.launcher, self.costs)
        # Measurements first: nobody knows how long they take, and none is in the way of a pack for long.
        measured = measured_packs([cell for cell in cells if isinstance(cell, MeasuredCell)])
        return measured + make_packs(trained, processes, self.costs, self.placement.room(processes))

    def _results(
        self, packs: Sequence[Pack], display: Display, made_by: dict[str, Any], meanwhile: Callable[[], None]
    ) -> Results:
        """Return the generator of results; what storing needs and starting does not is done once packs train."""

        def prepare() -> None:
            import pyarrow.parquet  # noqa: F401

            made_by.update(provenance(self.workers), device=self.placement.label)
            meanwhile()

        train = self.placement.trainer(self.train)
        if self.workers:
            return train_with(self.launcher, packs, train, display.event, self.workers, prepare)
        prepare()
        return in_process(packs, train, display.event)


def _check_environments(cells: Sequence[Cell]) -> dict[str, int]:
    """Make each environment once, so that a wrong id or an unsupported space is said before training.

    Return the size of an observation by the environment's label.
    """
    from rlbench.training import envs

    environments = {cell.environment.label: cell.environment for cell in cells}
    return {label: envs.observation_size(environment) for label, environment in environments.items()}
