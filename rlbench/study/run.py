"""Before anything is trained: whether code of users keeps what every run promises, as far as can be seen in a moment.

A run has the same numbers in every pack and every time. A formula that mixes replicas or draws random numbers, and an
environment that is more than a function of its seed, break that in silence. The one is refused with the sentence of
`rlbench check`; the other is warned of and marked, since what it simulates may be worth measuring all the same.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbench.algorithm import Algorithm, settings
from rlbench.checks import broken_promise
from rlbench.errors import RlbenchError
from rlbench.files import read_json, write
from rlbench.records import Environment, RunRecord, empty_episodes
from rlbench.registry import is_own
from rlbench.store import Store
from rlbench.store.entry import cell_id
from rlbench.store.folders import write_specification
from rlbench.store.leases import Lease
from rlbench.store.runs import CHECKPOINTS
from rlbench.study.environments import registered
from rlbench.study.executors.cluster import Cluster
from rlbench.study.executors.launcher import Launcher
from rlbench.study.executors.local import Event, Results, Train, default_workers, in_process, in_workers
from rlbench.study.executors.ray import in_ray
from rlbench.study.measuring import MeasuredCell
from rlbench.study.plan import AnyCell, AnyPlan, Cell, cells_of, to_do
from rlbench.study.progress import Display, Signs, Summary, display_for
from rlbench.study.provenance import provenance
from rlbench.study.queue import Outcome, Share
from rlbench.study.schedule import Costs, Limits, Pack, Placement, make_packs, measured_packs, place
from rlbench.study.shards import Shard
from rlbench.study.trials import try_out, worth_trying
from rlbench.training import INTERVAL
from rlbench.training.checkpoints import Checkpoints

if TYPE_CHECKING:
    from rlbench.study.sinks.feed import Feed


_FILE = ".vetted.json"
_VERSION = 1  # of the checks that were passed
_STEPS = 300  # that an environment is stepped twice
LIMIT = 1.0  # seconds of a call of an environment; ten times as long without a sign of life, and training goes on
_SECONDS = 1.0  # of stepping once, after which that is enough


class Passed:
    """The algorithms that kept their promises, by their source and settings, from one command to the next."""

    def __init__(self, store: Store) -> None:
        self._path, self._root = store.directory / _FILE, store.root
        try:
            self._keys = {key for key in read_json(self._path) if isinstance(key, str)}
        except (OSError, ValueError, TypeError):
            self._keys = set()

    def left(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return a cell of each algorithm that is to be looked at: neither rlbench's own nor known."""
        foreign = [cell for cell in cells if not is_own(type(cell.algorithm))]
        return list({key: cell for cell in foreign if (key := _key(cell)) not in self._keys}.values())

    def add(self, cells: Sequence[Cell]) -> None:
        """Remember the algorithms of cells; where the disk refuses, they are looked at again the next time."""
        if not cells:
            return
        self._keys.update(map(_key, cells))
        with contextlib.suppress(OSError):
            write(self._path, json.dumps(sorted(self._keys)) + "\n", inside=self._root)


def _key(cell: Cell) -> str:
    return cell_id({"checks": _VERSION, "fingerprint": cell.fingerprint, "settings": settings(cell.algorithm)})


def look_at_formulas(
    algorithms: Sequence[Algorithm],
    _: Environment,
    steps: int,
    seeds: Sequence[int],
    *,
    on_progress: Callable[..., None],
) -> list[RunRecord]:
    """Look whether an algorithm's formulas mix replicas or draw random numbers.

    It takes and returns what `rlbench.training.trainer.train` does, for one cell, so that it runs where that runs and
    takes nobody along: the record's reason says what is broken, and is empty otherwise.
    """
    return [RunRecord("finished", broken_promise(algorithms[0]), steps, empty_episodes(), {})]


def step_twice(
    _: Sequence[Algorithm],
    environment: Environment,
    steps: int,
    seeds: Sequence[int],
    *,
    on_progress: Callable[..., None],
) -> list[RunRecord]:
    """Step an environment twice with one seed and the same actions, the second time beside a copy with another seed.

    It takes and returns what `look_at_formulas` does; the record's reason says what differed.
    """
    with np.errstate(all="ignore"):  # as in training
        first = _walk(environment, [0], _STEPS)
        try:
            second = _walk(environment, [1, 0], len(first))
        except RlbenchError:  # only one at a time can be made
            second = _walk(environment, [0], len(first))
    alike = all(
        np.array_equal(one[0], other[-1], equal_nan=True)
        for before, after in zip(first, second, strict=False)
        for one, other in zip(before, after, strict=True)
    )
    said = "" if alike else "gave other observations or rewards when it was stepped again"
    return [RunRecord("finished", said, steps, empty_episodes(), {})]


def _walk(environment: Environment, seeds: Sequence[int], steps: int) -> list[tuple[Any, ...]]:
    """Return what each step gave, the first of them the reset; the last replica gets the same actions every time."""
    from rlbench.training import envs

    with contextlib.closing(envs.make(environment, len(seeds), 1)) as batch:
        seen: list[tuple[Any, ...]] = [(batch.reset(seeds),)]
        drawn = [np.random.default_rng(seed) for seed in seeds]
        until = time.monotonic() + _SECONDS
        while len(seen) < steps and not batch.failures and time.monotonic() < until:
            seen.append(tuple(batch.step(np.stack([batch.action.draw(rng) for rng in drawn]))))
    return seen


@dataclass
class Execution:
    """With what the cells that are left are trained, and where it is noted what became of them."""

    store: Store
    lease: Lease
    share: Share
    summary: Summary
    costs: Costs
    placement: Placement
    workers: int
    train: Train | None
    launcher: Launcher | Cluster
    progress: bool
    checkpoints: Checkpoints | None
    sinks: Sequence[Feed]
    limits: Limits
    _unrepeatable: set[str] = field(default_factory=set)  # environments, by their keys

    def train_all(self, cells: Sequence[AnyCell], meanwhile: Callable[[], None]) -> None:
        """See to it that every cell is stored: train what no other process trains, and wait for the rest."""
        self._vet(cells)
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

        train = self.placement.trainer(self.train)
        with contextlib.closing(self._results(self.share, heard, prepare, train, self.checkpoints)) as results:
            for pack, records in results:
                for cell, record in zip(pack.cells, records, strict=True):
                    about: dict[str, Any] = {"replicas": len(pack.cells)}
                    if record.machine:
                        about["machine"] = record.machine
                    if isinstance(cell, Cell) and cell.environment_key in self._unrepeatable:
                        about["reproducible"] = False
                    self.store.write(cell.identity, record, made_by | about)
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

    def _vet(self, cells: Sequence[AnyCell]) -> None:
        """Refuse formulas of users that mix runs; find environments that are more than a function of their seed."""
        if self.train is not None:
            return
        trained = [cell for cell in cells if isinstance(cell, Cell)]
        passed = Passed(self.store)
        sound = []
        for cell, problem in self._looked_at(passed.left(trained), look_at_formulas):
            if problem:
                raise RlbenchError(
                    f"{cell.algorithm.name} is not trained, since its runs could not be compared: {problem} "
                    "`rlbench check` says more."
                )
            sound.append(cell)
        passed.add(sound)
        foreign = {cell.environment_key: cell for cell in trained if cell.specification}
        for cell, problem in self._looked_at(foreign.values(), step_twice):
            if not problem:
                continue
            self._unrepeatable.add(cell.environment_key)
            self.summary.messages.append(
                f"{cell.environment.label} {problem} with the same seed and the same actions: its runs cannot be "
                "reproduced, and may depend on what they train with. An environment should draw from self.np_random "
                "only, and keep nothing between episodes."
            )

    def _looked_at(self, cells: Iterable[Cell], look: Train) -> Iterator[tuple[Cell, str]]:
        """Yield the cells that could be looked at, with what was found; where that fails, so will training."""
        packs = {Pack((cell,)): cell for cell in cells}
        vetting = replace(self, limits=Limits(LIMIT))
        results = vetting._results([*packs], lambda _: None, lambda: None, look, None, again=False) if packs else ()
        for pack, (record,) in results:
            if record.status == "finished":
                yield packs[pack], record.reason

    def _try_out(self, cells: Sequence[AnyCell]) -> None:
        processes = max(self.workers, 1)
        trained = [cell for cell in cells if isinstance(cell, Cell)]
        # Not on a cluster, whose packs are heard of once a second, too seldom to time a rollout.
        if (
            self.workers
            and self.train is None
            and self.placement.device == "cpu"
            and isinstance(self.launcher, Launcher)
        ):
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
        self,
        packs: Iterable[Pack],
        on_event: Callable[[Event], None],
        prepare: Callable[[], None],
        train: Train | None,
        kept: Checkpoints | None,
        *,
        again: bool = True,
    ) -> Results:
        """Return the generator of results; `prepare` is called once packs train. What failed is tried `again`."""
        if isinstance(self.launcher, Cluster):
            return in_ray(
                packs,
                train,
                on_event,
                self.launcher,
                prepare,
                kept,
                limits=self._limits(self.workers),
                shared=self.lease.path,
                again=again,
            )
        if self.workers:
            limits = self._limits(min(self.workers, self.share.waiting or self.workers))
            launcher = self.launcher
            return in_workers(packs, train, on_event, self.workers, launcher, prepare, kept, limits=limits, again=again)
        prepare()
        return in_process(packs, train, on_event, kept, limits=self.limits, again=again)

    def _limits(self, processes: int) -> Limits:
        """Return the limits of each of so many worker processes."""
        return replace(self.limits, memory=self.placement.most(processes))


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run, with a sentence that says what is stored."""


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
    checkpoint_every: float = INTERVAL,
    shard: Shard | None = None,
    sinks: Sequence[Feed] = (),
    time_limit: float | None = None,
) -> Summary:
    """Train every run of the plans that is not stored yet, and store it; runs that plans share are trained once.

    All that may train together does, whichever plan it belongs to. `workers` processes, one per CPU if None (on a GPU
    one); 0 trains in this process. `device` is "cpu", "cuda" or "cuda:N". `launcher` starts the processes, or
    is a Ray cluster, and stays open; `meanwhile` is called once while they train, to import what is needed afterwards.
    Packs in training write checkpoints every `checkpoint_every` seconds, never if 0, and go on from those there are.
    `shard` says which part of the runs is trained here, all if None. What other processes train meanwhile is waited
    for. `sinks` hear of progress and of what was stored. `time_limit`, seconds, is that of
    `rlbench.study.schedule.Limits`. Raises RlbenchError for an environment that cannot be made, a device that is not
    there or a disk that refuses, and Interrupted on Ctrl-C; what is stored then stays.
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
    placement = launcher.place(device) if isinstance(launcher, Cluster) and left else place(device)
    workers = placement.workers(default_workers()) if workers is None else workers
    for plan in plans:
        write_specification(results_dir, plan.document(), plan.planned, plan.experiment.document(), plan.suite)
    summary = Summary(skipped=final.total(), skipped_diverged=final["diverged"], messages=store.messages)
    checkpoints = Checkpoints(store.directory.resolve() / CHECKPOINTS, (), checkpoint_every)
    checkpoints.sweep({cell.id for cell in cells} - {cell.id for cell in left})
    if left:
        costs = Costs(store.directory, observations, placement.label)
        kept = checkpoints if checkpoint_every else None
        lease = Lease(store, _about(plans, shard))
        try:
            share = Share(left, store, lease)
            with Launcher() if launcher is None else contextlib.nullcontext(launcher) as starting:
                execution = Execution(
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
    summary.messages += summary.idle
    summary.seconds = time.perf_counter() - started
    return summary


def _about(plans: Sequence[AnyPlan], shard: Shard | None) -> dict[str, Any]:
    """Return what other processes may know of a command before it trains."""
    experiments = [{"name": plan.experiment.name, "suite": plan.suite} for plan in plans]
    return {"experiments": experiments, "shard": str(shard) if shard else None}


def _check_environments(cells: Sequence[Cell]) -> dict[str, int]:
    """Make each environment once, so that a wrong id or an unsupported space is said before training.

    Return the size of an observation by the environment's label, the largest of those that share one.
    """
    from rlbench.study.process import left_as_found
    from rlbench.training import envs

    sizes: dict[str, int] = {}
    for environment in {cell.environment_key: cell.environment for cell in cells}.values():
        with left_as_found(), registered(environment):
            sizes[environment.label] = max(envs.observation_size(environment), sizes.get(environment.label, 0))
    return sizes
