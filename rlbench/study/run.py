"""Training what is missing of plans, and storing it.

Before anything is trained it is looked at whether code of users keeps what every run promises, as far as can be seen in
a moment. A run has the same numbers in every pack and every time. A formula that mixes replicas or draws random
numbers, and an environment that is more than a function of its seed, break that in silence. The one is refused with the
sentence of `rlbench check`; the other is warned of and marked, since what it simulates may be worth measuring all the
same.

Where several processes train the cells of one results folder, packs are claimed one by one, at the moment a worker is
free for them, without the cells that another process trains or has stored. What others train is waited for; it is taken
over from one that died.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
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
from rlbench.store.entry import Signature, cell_id
from rlbench.store.folders import write_specification
from rlbench.store.leases import Lease
from rlbench.store.runs import CHECKPOINTS
from rlbench.study.environments import registered
from rlbench.study.executors import Event, Executor, Job, Train, executor_for
from rlbench.study.limits import Limits
from rlbench.study.plan import Cell, Plan, cells_of, to_do
from rlbench.study.process import left_as_found
from rlbench.study.progress import Summary, display_for
from rlbench.study.provenance import provenance
from rlbench.study.schedule import Costs, Pack, make_packs
from rlbench.training import INTERVAL
from rlbench.training.checkpoints import Checkpoints

if TYPE_CHECKING:
    from rlbench.study.sinks import Sink

POLL_SECONDS = 1.0  # between two looks at what other processes train
LOOK_SECONDS = 1.0  # of a call of an environment; ten times as long without a sign of life, and training goes on
_VETTED = ".vetted.json"  # the algorithms that kept their promises, by their source and settings
_VERSION = 2  # of the checks that were passed
KEPT = ("all", "every", "best", "none")
"""Which policies may be kept."""
LARGE = 2**20  # bytes of a policy that is kept only if that is asked for
_LATEST = 100  # episodes by which the best seed is chosen
_STEPS = 300  # that an environment is stepped twice
_STEP_SECONDS = 1.0  # of stepping once, after which that is enough


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run, with a sentence that says what is stored."""


def execute(plan: Plan, results_dir: str | Path = "results", **options: Any) -> Summary:
    """Train every run of the plan that is not stored yet, and store it; `options` are those of `execute_all`."""
    return execute_all([plan], results_dir, **options)


def execute_all(
    plans: Sequence[Plan],
    results_dir: str | Path = "results",
    *,
    workers: int | None = None,
    device: str = "cpu",
    progress: bool = True,
    train: Train | None = None,
    executor: Executor | None = None,
    meanwhile: Callable[[], None] = lambda: None,
    checkpoint_every: float = INTERVAL,
    sinks: Sequence[Sink] = (),
    time_limit: float | None = None,
    keep_policies: str | None = None,
) -> Summary:
    """Train every run of the plans that is not stored yet, and store it; runs that plans share are trained once.

    All that may train together does, whichever plan it belongs to. `workers` processes, one per CPU if None (on a GPU
    one); 0 trains in this process. `device` is "cpu", "cuda" or "cuda:N". An `executor` trains instead, with
    its own workers, and stays open; `meanwhile` is called once while it trains, to import what is needed afterwards.
    Packs in training write checkpoints every `checkpoint_every` seconds, never if 0, and go on from those there are.
    What other processes train meanwhile is waited for. `sinks` get progress and what was stored. `time_limit`,
    seconds, is that of `rlbench.study.limits.Limits`. `keep_policies` is "all", "every" (also as they were at each
    evaluation), "none", "best" (of the seeds of an arm on an environment the one whose last 100 episodes have the
    highest mean) or, if None, "all" as far as one takes at most `LARGE` bytes. Raises RlbenchError for an environment
    that cannot be made, a device that is not there or a disk that refuses, and Interrupted on Ctrl-C; what is stored
    then stays.
    """
    started = time.perf_counter()
    with contextlib.ExitStack() as opened:
        if executor is None:
            executor = opened.enter_context(contextlib.closing(executor_for(workers=workers)))
        if keep_policies not in (None, *KEPT):
            raise RlbenchError(f"keep_policies is {', '.join(KEPT)}, not {keep_policies!r}.")
        if not checkpoint_every >= 0:
            raise RlbenchError(f"checkpoint_every must be at least 0 seconds, not {checkpoint_every}.")
        limits = Limits(time_limit)
        store = Store(results_dir)
        store.sweep()
        cells = cells_of(plans)
        if keep_policies == "every" and not any(cell.evaluation for cell in cells):
            raise RlbenchError(
                'keep_policies="every" keeps policies at each evaluation, and there is none; give the experiment an '
                "evaluate_every (--evaluate-every)."
            )
        left, final = to_do(cells, store)
        store.set_aside()
        checkpoints = Checkpoints(store.directory.resolve() / CHECKPOINTS, (), checkpoint_every)
        job = Job(
            train,
            limits=limits,
            checkpoints=checkpoints if checkpoint_every else None,
            snapshots=keep_policies == "every",
        )
        session = Session(store, left, executor, device, job, keep_policies)
        summary = session.summary
        summary.skipped, summary.skipped_diverged = final.total(), final["diverged"]
        for plan in plans:
            write_specification(results_dir, plan.document(), plan.planned, plan.experiment.document(), plan.suite)
        checkpoints.sweep({cell.id for cell in cells} - {cell.id for cell in left})
        about = {"experiments": [{"name": plan.experiment.name, "suite": plan.suite} for plan in plans]}
        try:
            if left:
                session.train_all(about, meanwhile, sinks, show=progress)
        except KeyboardInterrupt:
            # Asked of the store: the interruption may have come between storing a run and counting it.
            stored = len(cells) - len(to_do(cells, store)[0])
            raise Interrupted(
                f"Interrupted: {stored} of {len(cells)} runs are stored; the same command continues from there."
            ) from None
        if keep_policies == "best":
            drop_all_but_the_best([cell for cell in left if cell.trains], store)
    summary.messages += summary.idle
    summary.seconds = time.perf_counter() - started
    return summary


class Session:
    """One command's training of `cells`; `summary` says what became of them.

    Raises RlbenchError for an environment that cannot be made, or a device that is not there.
    """

    def __init__(
        self,
        store: Store,
        cells: Sequence[Cell],
        executor: Executor,
        device: str,
        job: Job,
        keep_policies: str | None = None,
    ) -> None:
        self.summary = Summary(messages=store.messages)
        self._keep_policies = keep_policies
        self._store, self._cells, self._executor, self._job = store, cells, executor, job
        observations, remarks = _check_environments([cell for cell in cells if cell.trains])
        self.summary.messages += remarks
        self._placement = executor.place(device, cells)
        self._costs = Costs(store.directory, observations, self._placement.label)
        self._unrepeatable: set[str] = set()  # environments, by their keys

    def train_all(
        self, about: dict[str, Any], meanwhile: Callable[[], None], sinks: Sequence[Sink], *, show: bool
    ) -> None:
        """See to it that every cell is stored: train what no other process trains, and wait for the rest.

        `about` is what other processes may know of the command.
        """
        with contextlib.closing(Lease(self._store, about)) as self._lease:
            self._vet()
            packs = self._packs(self._cells)
            display = display_for(packs, show=show)
            self._lease.describe = display.document

            def elsewhere(cell: Cell, manifest: dict[str, Any]) -> None:
                self.summary.add_elsewhere(cell, manifest)
                display.ended(Pack((cell,)))

            def on_event(event: Event) -> None:
                display.event(event)
                if event.pack is not None and event.progress is not None:
                    for sink in sinks:
                        sink.progress(event.pack, event.progress)

            made_by: dict[str, Any] = {}

            def prepare() -> None:
                """Do what storing needs and starting does not, once, while the first packs train."""
                if not made_by:
                    import pyarrow.parquet  # noqa: F401

                    made_by.update(provenance(self._placement.workers), device=self._placement.label)
                    meanwhile()

            claims = ClaimQueue(packs, self._store, self._lease, self._packs, elsewhere)
            train = self._placement.trainer(self._job.train)
            job = replace(self._job, train=train, on_event=on_event, meanwhile=prepare, shared=self._lease.path)
            try:
                while True:
                    limits = self._limits(self._job.limits, claims.waiting)
                    results = self._executor.run(claims, replace(job, limits=limits))
                    with contextlib.closing(results):
                        for pack, records in results:
                            self._keep(pack, records, made_by, sinks)
                            display.ended(pack)
                            claims.stored(pack.cells)
                    if claims.done:
                        break
                    claims.wait(lambda line: display.event(Event(None, line=line)))
            finally:
                display.close()
                self._costs.save()

    def _keep(self, pack: Pack, records: Sequence[RunRecord], made_by: dict[str, Any], sinks: Sequence[Sink]) -> None:
        for cell, record in zip(pack.cells, records, strict=True):
            about: dict[str, Any] = {"replicas": len(pack.cells)}
            if record.machine:
                about["machine"] = record.machine
            if cell.trains and cell.environment_key in self._unrepeatable:
                about["reproducible"] = False
            if record.policy is not None and not self._is_kept(record.policy):
                record.policy = None
            self._store.write(cell.identity, record, made_by | about)
            self.summary.add(cell, record)
            if self._job.checkpoints:
                self._job.checkpoints.discard(cell.id)
            for sink in sinks:
                sink.stored(cell, record)
        if pack.cells[0].trains:
            self._costs.note(pack.cells[0], records)

    def _is_kept(self, policy: bytes) -> bool:
        if self._keep_policies is None and len(policy) > LARGE:
            said = f"Policies of more than {LARGE // 2**20} MiB are not kept, unless --keep-policies all asks for it."
            self.summary.messages += [] if said in self.summary.messages else [said]
            return False
        return self._keep_policies != "none"

    def _packs(self, cells: Sequence[Cell]) -> list[Pack]:
        """Return packs of cells, so many that the processes of others that are at work find some, too."""
        if not cells:
            return []
        checkpoints = self._job.checkpoints
        begun = {cell.id: checkpoints.step(cell.id) for cell in cells if cell.trains} if checkpoints else {}
        workers = self._placement.at_once * (1 + len(self._lease.companions()))
        return make_packs(cells, workers, self._costs, self._placement.room(), begun)

    def _limits(self, limits: Limits, packs: int = 0) -> Limits:
        """Return the limits of each of the processes that train so many packs, 0: that are at work at once."""
        processes = min(self._placement.at_once, packs or self._placement.at_once)
        return replace(limits, memory=self._placement.most(processes))

    def _vet(self) -> None:
        """Refuse formulas of users that mix runs; find environments that are more than a function of their seed."""
        if self._job.train is not None:
            return
        trained = [cell for cell in self._cells if cell.trains]
        path, passed = self._store.directory / _VETTED, set[str]()
        with contextlib.suppress(OSError, ValueError, TypeError):
            passed = {key for key in read_json(path) if isinstance(key, str)}
        foreign = {_vetting_key(cell): cell for cell in trained if not is_own(type(cell.algorithm))}
        known = len(passed)
        unknown = [cell for key, cell in foreign.items() if key not in passed]
        for cell, problem in self._looked_at(unknown, look_at_formulas):
            if problem:
                raise RlbenchError(f"{cell.algorithm.name} is not trained: {problem} `rlbench check` says more.")
            passed.add(_vetting_key(cell))
        if len(passed) > known:
            with contextlib.suppress(OSError):  # where the disk refuses, they are looked at again the next time
                write(path, json.dumps(sorted(passed)) + "\n", inside=self._store.root)
        specified = {cell.environment_key: cell for cell in trained if cell.specification}
        for cell, problem in self._looked_at(specified.values(), step_twice):
            if problem:
                self._unrepeatable.add(cell.environment_key)
                self.summary.messages.append(
                    f"{cell.environment.label} {problem} with the same seed and the same actions: its runs cannot be "
                    "reproduced, and may depend on what they train with. An environment should draw from "
                    "self.np_random only, and keep nothing between episodes."
                )

    def _looked_at(self, cells: Iterable[Cell], look: Train) -> Iterator[tuple[Cell, str]]:
        """Yield the cells that could be looked at, with what was noticed; where that fails, so will training."""
        packs = [Pack((cell,)) for cell in cells]
        if packs:
            limits = self._limits(Limits(LOOK_SECONDS))
            job = Job(look, limits=limits, again=False, shared=self._lease.path)
            for pack, (record,) in self._executor.run(packs, job):
                if record.status == "finished":
                    yield pack.cells[0], record.reason


def drop_all_but_the_best(cells: Sequence[Cell], store: Store) -> None:
    """Remove the policies of all but the best of these runs of each arm on each environment."""
    groups: dict[str, dict[str, float]] = {}
    for cell in cells:
        stored = store.read(cell.id) if store.keeps_policy(cell.id) else None
        if stored is not None:
            returns = stored[1]["return"].to_numpy()[-_LATEST:]
            alike = cell_id({key: value for key, value in cell.identity.items() if key != "seed"})
            groups.setdefault(alike, {})[cell.id] = float(returns.mean()) if len(returns) else -np.inf
    for group in groups.values():
        for name in group.keys() - {max(group, key=group.__getitem__)}:
            store.drop_policy(name)


def _check_environments(cells: Sequence[Cell]) -> tuple[dict[str, int], list[str]]:
    """Make each environment, so that what is wrong with it is said before training: twice where it is evaluated.

    Return the size of an observation by the environment's label, the largest of those that share one, and what is to
    be warned of. Raises RlbenchError for a wrong id or an unsupported space, for images that a perceptron would have to
    learn from, and for actions without bounds that are to be squashed.
    """
    from rlbench.training import envs

    facts: dict[str, envs.Facts] = {}
    sizes: dict[str, int] = {}
    evaluated = {cell.environment_key for cell in cells if cell.evaluation}
    for key, environment in {cell.environment_key: cell.environment for cell in cells}.items():
        with left_as_found(), registered(environment):
            facts[key] = envs.look_at(environment, 2 if key in evaluated else 1)
        sizes[environment.label] = max(facts[key].size, sizes.get(environment.label, 0))
    cut = set()
    for cell in cells:
        seen = facts[cell.environment_key]
        if cell.algorithm.squash:
            seen.action.squashed(f"{cell.arm} on {cell.environment.label}")
        else:
            cut.add(cell.environment_key)
        if seen.shape and type(cell.algorithm).network is Algorithm.network:
            raise RlbenchError(
                f"{cell.environment.label} shows images of {' x '.join(map(str, seen.shape))}, and the network of "
                f"{cell.arm} is a perceptron of {seen.size:,} inputs; give {cell.algorithm.name} a network of its own "
                "(Algorithm.network), or use a version of the environment whose observations are features."
            )
    return sizes, [seen.remark for key, seen in facts.items() if seen.remark and key in cut]


class ClaimQueue(Iterator[Pack]):
    """The packs that this process trains, without what other processes have, and with what those leave.

    The cells of `packs` were not stored, or failed earlier, when the command began, which was just before; `plan` makes
    packs of what is left of them, and `elsewhere` gets what others have stored. Packs may be asked for again after
    there was none: what others hold may have become free.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        store: Store,
        lease: Lease,
        plan: Callable[[Sequence[Cell]], list[Pack]],
        elsewhere: Callable[[Cell, dict[str, Any]], None],
    ) -> None:
        self._packs = [*packs][::-1]
        self._left = {cell.id: cell for pack in packs for cell in pack.cells}  # not stored, nor failed in this command
        self._store, self._lease, self._plan, self._elsewhere = store, lease, plan, elsewhere
        self._mine: set[str] = set()
        self._before = {name: self._failed(name) for name in self._left}
        self._reported: set[str] = set()  # tokens of those who are waited for

    @property
    def waiting(self) -> int:
        """How many packs are planned and not yet begun."""
        return len(self._packs)

    @property
    def done(self) -> bool:
        """Whether every cell is stored, or failed in this command, here or elsewhere."""
        return not self._left

    def __next__(self) -> Pack:
        while True:
            if not self._packs:
                self._packs = self._plan(self._free())[::-1]
            if not self._packs:
                raise StopIteration
            pack = self._packs.pop()
            if cells := self._claim(pack.cells):
                return pack.part(cells)

    def stored(self, cells: Iterable[Cell]) -> None:
        """Take in that this process has stored cells that it had claimed."""
        names = [cell.id for cell in cells]
        for name in names:
            self._left.pop(name, None)
        self._mine.difference_update(names)
        self._lease.release(names)

    def wait(self, report: Callable[[str], None]) -> None:
        """Wait until a cell is free that others held, or all are done; `report` who is waited for."""
        while self._left and not self._free():
            for other in self._lease.others():
                number = len(other.claimed & self._left.keys())
                if number and other.token not in self._reported:
                    self._reported.add(other.token)
                    report(f"{number} run{' is' if number == 1 else 's are'} trained by {other.name}; waiting for it.")
            time.sleep(POLL_SECONDS)

    def _free(self) -> list[Cell]:
        """Return the cells that no process trains, after what others have stored since is taken out."""
        held = {cell for other in self._lease.others() for cell in other.claimed}
        unheld = [name for name in self._left if name not in held and name not in self._mine]
        return [self._left[name] for name in self._without_stored(unheld)]

    def _claim(self, cells: Sequence[Cell]) -> list[Cell]:
        chosen: list[str] = []

        def choose(held: set[str]) -> list[str]:
            open_ = (cell.id for cell in cells if cell.id in self._left and cell.id not in self._mine)
            chosen.extend(self._without_stored([name for name in open_ if name not in held]))
            return chosen

        self._lease.claim(choose)
        self._mine.update(chosen)
        return [self._left[name] for name in chosen]

    def _without_stored(self, names: Sequence[str]) -> list[str]:
        """Return the names of which nothing was stored since this command began, and count those of the others."""
        changed = {name for name in names if self._store.stamp(name) != self._before[name]}
        manifests = self._store.manifests(changed)
        for name in changed - manifests.keys():
            self._before[name] = self._store.stamp(name)  # damaged: trained, and set aside, by whoever is first
        for name, manifest in manifests.items():
            self._elsewhere(self._left.pop(name), manifest)
        return [name for name in names if name in self._left]

    def _failed(self, name: str) -> Signature | None:
        """Return the stamp of a run that failed, and so is tried again; None for all others."""
        stamp = self._store.stamp(name)
        manifest = self._store.manifest(name) if stamp else None
        return stamp if manifest and manifest["status"] == "failed" else None


def _vetting_key(cell: Cell) -> str:
    fields = settings(cell.algorithm)
    return cell_id({"checks": _VERSION, "fingerprint": cell.resolved.fingerprint, "settings": fields})


def look_at_formulas(
    algorithms: Sequence[Algorithm], _: Environment, steps: int, *__: Any, **___: Any
) -> list[RunRecord]:
    """Look whether an algorithm's formulas mix replicas or draw random numbers.

    It takes and returns what `rlbench.training.trainer.train` does, for one cell, so that it runs where that runs and
    takes nobody along: the record's reason says what is broken, and is empty otherwise.
    """
    return [RunRecord("finished", broken_promise(algorithms[0]), steps, empty_episodes(), {})]


def step_twice(_: Sequence[Algorithm], environment: Environment, steps: int, *__: Any, **___: Any) -> list[RunRecord]:
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
        np.array_equal(expected[0], actual[-1], equal_nan=True)
        for before, after in zip(first, second, strict=False)
        for expected, actual in zip(before, after, strict=True)
    )
    problem = "" if alike else "gave other observations or rewards when it was stepped again"
    return [RunRecord("finished", problem, steps, empty_episodes(), {})]


def _walk(environment: Environment, seeds: Sequence[int], steps: int) -> list[tuple[Any, ...]]:
    """Return what each step gave, the first of them the reset; the last replica gets the same actions every time."""
    from rlbench.training import envs

    with contextlib.closing(envs.make(environment, len(seeds), 1)) as batch:
        seen: list[tuple[Any, ...]] = [(batch.reset(seeds),)]
        drawn = [np.random.default_rng(seed) for seed in seeds]
        until = time.monotonic() + _STEP_SECONDS
        while len(seen) < steps and not batch.failures and time.monotonic() < until:
            seen.append(tuple(batch.step(np.stack([batch.action.draw(rng) for rng in drawn]))))
    return seen
