"""Training what is left of a command, pack by pack, and noting what became of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rlbench.errors import RlbenchError
from rlbench.store import Store
from rlbench.store.leases import Lease
from rlbench.study.cluster import Cluster
from rlbench.study.costs import Costs
from rlbench.study.executors import Results, Train, in_process, in_workers
from rlbench.study.launcher import Launcher
from rlbench.study.limits import Limits
from rlbench.study.measuring import MeasuredCell
from rlbench.study.packs import Pack, make_packs, measured_packs
from rlbench.study.placement import Placement
from rlbench.study.plan import AnyCell, Cell
from rlbench.study.pool import Event
from rlbench.study.progress import Display, display_for
from rlbench.study.provenance import provenance
from rlbench.study.rays import in_ray
from rlbench.study.sharing import Outcome, Share
from rlbench.study.signs import Signs
from rlbench.study.summary import Summary
from rlbench.study.trials import try_out, worth_trying
from rlbench.study.vetting import LIMIT, Passed, look_at_formulas, step_twice
from rlbench.training.checkpoints import Checkpoints

if TYPE_CHECKING:
    from rlbench.study.sinks.feed import Feed


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
