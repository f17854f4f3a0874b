"""Plan -> executor -> trainer -> store; skips what is done, survives what fails, stores packs as they end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbench.errors import RlbenchError
from rlbench.records import RunRecord
from rlbench.store import Store
from rlbench.store.leases import Lease
from rlbench.store.specification import write_specification
from rlbench.study.costs import Costs
from rlbench.study.executors import Results, Train, default_workers, in_process, in_workers
from rlbench.study.launcher import Launcher
from rlbench.study.limits import Limits
from rlbench.study.measuring import MeasuredCell
from rlbench.study.packs import Pack, make_packs, measured_packs
from rlbench.study.placement import Placement, place
from rlbench.study.plan import AnyCell, AnyPlan, Cell, cells_of, to_do
from rlbench.study.pool import Event
from rlbench.study.progress import Display, display_for
from rlbench.study.provenance import provenance
from rlbench.study.shards import Shard
from rlbench.study.sharing import Outcome, Share
from rlbench.study.signs import Signs
from rlbench.study.trials import try_out, worth_trying
from rlbench.training import INTERVAL
from rlbench.training.checkpoints import Checkpoints

if TYPE_CHECKING:
    from rlbench.study.sinks.feed import Feed


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run, with a sentence that says what is stored."""


@dataclass
class Summary:
    """What one call of `execute` did: runs that were stored already, and trained runs by outcome.

    `trained` counts what was trained here, whatever became of it; `diverged` and `failed` hold also those of the
    `elsewhere` runs that other processes trained meanwhile.
    """

    skipped: int = 0
    skipped_diverged: int = 0
    trained: int = 0
    finished: int = 0
    elsewhere: int = 0
    diverged: list[tuple[AnyCell, str, str]] = field(default_factory=list)
    failed: list[tuple[AnyCell, str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def fine(self) -> bool:
        """Whether every run that was trained finished."""
        return not self.diverged and not self.failed

    def add(self, cell: AnyCell, record: RunRecord) -> None:
        """Count one trained run."""
        self.trained += 1
        if record.status == "finished":
            self.finished += 1
        else:
            self._unfinished(record.status).append((cell, record.reason, record.detail))

    def add_elsewhere(self, cell: AnyCell, manifest: dict[str, Any]) -> None:
        """Count a run that another process trained meanwhile."""
        self.elsewhere += 1
        outcome = manifest["outcome"]
        if manifest["status"] != "finished":
            self._unfinished(manifest["status"]).append((cell, outcome["reason"], outcome.get("detail", "")))

    def _unfinished(self, status: str) -> list[tuple[AnyCell, str, str]]:
        return self.diverged if status == "diverged" else self.failed


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
    launcher: Launcher | None = None,
    meanwhile: Callable[[], None] = lambda: None,
    checkpoint_every: float = INTERVAL,
    shard: Shard | None = None,
    sinks: Sequence[Feed] = (),
    time_limit: float | None = None,
) -> Summary:
    """Train every run of the plans that is not stored yet, and store it; runs that plans share are trained once.

    All that may train together does, whichever plan it belongs to. `workers` processes, one per CPU if None (on a GPU
    one); 0 trains in this process. `device` is "cpu", "cuda", "cuda:N" or "auto". `launcher` starts the processes and
    stays open; `meanwhile` is called once while they train, to import what is needed afterwards. Packs in training
    write checkpoints every `checkpoint_every` seconds, never if 0, and go on from those there are. `shard` says which
    part of the runs is trained here, all if None. What other processes train meanwhile is waited for. `sinks` hear of
    progress and of what was stored. `time_limit`, seconds, is that of `rlbench.study.limits.Limits`. Raises
    RlbenchError for an environment that cannot be made, a device that is not there or a disk that refuses, and
    Interrupted on Ctrl-C; what is stored then stays.
    """
    started = time.perf_counter()
    if workers is not None and workers < 0:
        raise RlbenchError(f"workers must be at least 0, not {workers}.")
    if not checkpoint_every >= 0:
        raise RlbenchError(f"checkpoint_every must be at least 0 seconds, not {checkpoint_every}.")
    limits = Limits(time_limit)
    store = Store(results_dir)
    store.sweep()
    cells = [cell for cell in cells_of(plans) if shard is None or shard.holds(cell)]
    left, final = to_do(cells, store)
    store.set_aside()
    trained = [cell for cell in left if isinstance(cell, Cell)]
    observations = _check_environments(trained)
    placement = place(device, trained)
    workers = placement.workers(default_workers()) if workers is None else workers
    for plan in plans:
        write_specification(results_dir, plan.document(), plan.planned, plan.experiment.document(), plan.suite)
    summary = Summary(skipped=final.total(), skipped_diverged=final["diverged"], messages=store.messages)
    checkpoints = Checkpoints(store.directory / ".checkpoints", (), checkpoint_every)
    checkpoints.sweep({cell.id for cell in cells} - {cell.id for cell in left})
    if left:
        costs = Costs(store.directory, observations, placement.label)
        kept = checkpoints if checkpoint_every else None
        lease = Lease(store, _about(plans, shard))
        try:
            share = Share(left, store, lease)
            with Launcher() if launcher is None else contextlib.nullcontext(launcher) as starting:
                execution = _Execution(
                    store,
                    lease,
                    share,
                    summary,
                    costs,
                    placement,
                    workers,
                    train,
                    starting,
                    progress,
                    kept,
                    sinks,
                    limits,
                )
                execution.train_all(left, meanwhile)
        except KeyboardInterrupt:
            # Asked of the store: the interruption may have come between storing a run and counting it.
            stored = len(cells) - len(to_do(cells, store)[0])
            raise Interrupted(
                f"Interrupted: {stored} of {len(cells)} runs are stored; the same command continues from there."
            ) from None
        finally:
            lease.close()
    summary.seconds = time.perf_counter() - started
    return summary


def _about(plans: Sequence[AnyPlan], shard: Shard | None) -> dict[str, Any]:
    """Return what other processes may know of a command before it trains."""
    experiments = [{"name": plan.experiment.name, "suite": plan.suite} for plan in plans]
    return {"experiments": experiments, "shard": str(shard) if shard else None}


@dataclass
class _Execution:
    """With what the cells that are left are trained, and where it is noted what became of them."""

    store: Store
    lease: Lease
    share: Share
    summary: Summary
    costs: Costs
    placement: Placement
    workers: int
    train: Train | None
    launcher: Launcher
    progress: bool
    checkpoints: Checkpoints | None
    sinks: Sequence[Feed]
    limits: Limits

    def train_all(self, cells: Sequence[AnyCell], meanwhile: Callable[[], None]) -> None:
        """See to it that every cell is stored: train what no other process trains, and wait for the rest."""
        self._try_out(cells)
        packs = self._packs(cells)
        display = display_for(packs, show=self.progress)
        signs = Signs(display.meter)
        self.lease.describe = signs.document

        def elsewhere(outcomes: list[Outcome]) -> None:
            for cell, manifest in outcomes:
                self.summary.add_elsewhere(cell, manifest)
            display.ended(Pack(tuple(cell for cell, _ in outcomes)))

        self.share.begin(packs, self._packs, elsewhere)
        made_by: dict[str, Any] = {}

        def prepare() -> None:
            """Do what storing needs and starting does not, once, while the first packs train."""
            if not made_by:
                import pyarrow.parquet  # noqa: F401

                made_by.update(provenance(self.workers), device=self.placement.label)
                meanwhile()

        try:
            self._train(display, signs, made_by, prepare)
            while not self.share.done:
                self.share.wait(lambda line: display.event(Event(None, line=line)))
                self._train(display, signs, made_by, prepare)
        finally:
            display.close()
            self.costs.save()

    def _train(self, display: Display, signs: Signs, made_by: dict[str, Any], prepare: Callable[[], None]) -> None:
        """Train and store packs until no more is to be had; `prepare` fills `made_by` before the first is stored."""

        def heard(event: Event) -> None:
            display.event(event)
            signs.event(event)
            if event.pack is not None and event.progress is not None:
                for sink in self.sinks:
                    sink.progress(event.pack, event.progress)

        with contextlib.closing(self._results(self.share, heard, prepare)) as results:
            for pack, records in results:
                for cell, record in zip(pack.cells, records, strict=True):
                    self.store.write(cell.identity, record, {**made_by, "replicas": len(pack.cells)})
                    self.summary.add(cell, record)
                    if self.checkpoints:
                        self.checkpoints.discard(cell.id)
                    for sink in self.sinks:
                        sink.stored(cell, record)
                if isinstance(pack.cells[0], Cell):
                    self.costs.note_pack(pack.cells[0], records)
                display.ended(pack)
                signs.ended(pack)
                self.share.stored(pack.cells)

    def _try_out(self, cells: Sequence[AnyCell]) -> None:
        processes = max(self.workers, 1)
        trained = [cell for cell in cells if isinstance(cell, Cell)]
        if self.workers and self.train is None and self.placement.device == "cpu":
            limits = self._limits(processes)
            try_out(worth_trying(trained, processes, self.costs), processes, self.launcher, self.costs, limits)

    def _packs(self, cells: Sequence[AnyCell]) -> list[Pack]:
        """Return packs of cells, so many that the processes of others that are at work find some, too."""
        if not cells:
            return []
        processes = max(self.workers, 1)
        trained = [cell for cell in cells if isinstance(cell, Cell)]
        # Measurements first: nobody knows how long they take, and none is in the way of a pack for long.
        measured = measured_packs([cell for cell in cells if isinstance(cell, MeasuredCell)])
        begun = {cell.id: self.checkpoints.step(cell.id) for cell in trained} if self.checkpoints else {}
        sharing = processes * (1 + len(self.lease.companions()))
        return measured + make_packs(trained, sharing, self.costs, self.placement.room(processes), begun)

    def _results(
        self, packs: Iterable[Pack], on_event: Callable[[Event], None], prepare: Callable[[], None]
    ) -> Results:
        """Return the generator of results; `prepare` is called once packs train."""
        train = self.placement.trainer(self.train)
        if self.workers:
            return in_workers(
                packs,
                train,
                on_event,
                self.workers,
                self.launcher,
                prepare,
                self.checkpoints,
                limits=self._limits(min(self.workers, self.share.waiting or self.workers)),
            )
        prepare()
        return in_process(packs, train, on_event, self.checkpoints, limits=self.limits)

    def _limits(self, processes: int) -> Limits:
        """Return the limits of each of so many worker processes."""
        return replace(self.limits, memory=self.placement.most(processes))


def _check_environments(cells: Sequence[Cell]) -> dict[str, int]:
    """Make each environment once, so that a wrong id or an unsupported space is said before training.

    Return the size of an observation by the environment's label.
    """
    from rlbench.training import envs

    environments = {cell.environment.label: cell.environment for cell in cells}
    return {label: envs.observation_size(environment) for label, environment in environments.items()}
