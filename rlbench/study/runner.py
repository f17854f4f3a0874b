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
from rlbench.study.costs import Costs
from rlbench.study.executors import Train, default_workers, in_process, in_workers
from rlbench.study.launcher import Launcher
from rlbench.study.memory import room
from rlbench.study.packs import Pack, make_packs
from rlbench.study.plan import Cell, Plan, to_do
from rlbench.study.progress import display_for
from rlbench.study.provenance import provenance
from rlbench.study.trials import try_out, worth_trying


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run, with a sentence that says what is stored."""


@dataclass
class Summary:
    """What one call of `execute` did: runs that were stored already, and trained runs by outcome."""

    skipped: int = 0
    skipped_diverged: int = 0
    finished: int = 0
    diverged: list[tuple[Cell, str, str]] = field(default_factory=list)
    failed: list[tuple[Cell, str, str]] = field(default_factory=list)
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

    def add(self, cell: Cell, record: RunRecord) -> None:
        """Count one trained run."""
        if record.status == "finished":
            self.finished += 1
        elif record.status == "diverged":
            self.diverged.append((cell, record.reason, record.detail))
        else:
            self.failed.append((cell, record.reason, record.detail))


def execute(
    plan: Plan,
    results_dir: str | Path = "results",
    *,
    workers: int | None = None,
    progress: bool = True,
    train: Train | None = None,
    launcher: Launcher | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Summary:
    """Train every run of the plan that is not stored yet, and store it.

    `workers` processes, one per CPU if None; 0 trains in this process. `launcher` starts them and stays open;
    `meanwhile` is called once while they train, to import what is needed afterwards. Raises RlbenchError for an
    environment that cannot be made or a disk that refuses, and Interrupted on Ctrl-C; what is stored then stays.
    """
    started = time.perf_counter()
    workers = default_workers() if workers is None else workers
    if workers < 0:
        raise RlbenchError(f"workers must be at least 0, not {workers}.")
    store = Store(results_dir)
    store.sweep()
    left, final = to_do(plan.cells, store)
    observations = _check_environments(left)
    write_specification(results_dir, plan.document(), plan.planned, plan.experiment.document())
    summary = Summary(skipped=final.total(), skipped_diverged=final["diverged"], messages=list(store.messages))
    if left:
        costs = Costs(store.directory, observations)
        try:
            with Launcher() if launcher is None else contextlib.nullcontext(launcher) as starting:
                if workers and train is None:
                    try_out(worth_trying(left, workers, costs), workers, starting, costs)
                packs = make_packs(left, max(workers, 1), costs, room(max(workers, 1)))
                _train_packs(packs, store, summary, workers, progress, train, starting, meanwhile, costs)
        except KeyboardInterrupt:
            # Asked of the store: the interruption may have come between storing a run and counting it.
            stored = len(plan.cells) - len(to_do(plan.cells, store)[0])
            raise Interrupted(
                f"Interrupted: {stored} of {len(plan.cells)} runs are stored; the same command continues from there."
            ) from None
    summary.seconds = time.perf_counter() - started
    return summary


def _train_packs(
    packs: Sequence[Pack],
    store: Store,
    summary: Summary,
    workers: int,
    progress: bool,
    train: Train | None,
    launcher: Launcher,
    meanwhile: Callable[[], None],
    costs: Costs,
) -> None:
    made_by: dict[str, Any] = {}

    def prepare() -> None:
        """Do what storing needs and starting does not."""
        import pyarrow.parquet  # noqa: F401

        made_by.update(provenance(workers))
        meanwhile()

    display = display_for(packs, show=progress)
    try:
        if workers == 0:
            prepare()
            results = in_process(packs, train, display.event)
        else:
            results = in_workers(packs, train, display.event, workers, launcher, prepare)
        with contextlib.closing(results):
            for pack, records in results:
                for cell, record in zip(pack.cells, records, strict=True):
                    store.write(cell.identity, record, {**made_by, "replicas": len(pack.cells)})
                    summary.add(cell, record)
                costs.note_pack(pack.cells[0], records)
                display.ended(pack)
    finally:
        display.close()
        costs.save()


def _check_environments(cells: Sequence[Cell]) -> dict[str, int]:
    """Make each environment once, so that a wrong id or an unsupported space is said before training.

    Return the size of an observation by the environment's label.
    """
    from rlbench.training import envs

    sizes: dict[str, int] = {}
    for environment in {cell.environment.label: cell.environment for cell in cells}.values():
        with contextlib.closing(envs.make(environment, 1, 1)) as batch:
            sizes[environment.label] = batch.observation_size
    return sizes
