"""Where packs train: what an executor must do, how it is found by its name, and what is tried again.

An executor is registered under its name in the entry point group `rlbench.executors`: a class, or a function that
returns one, which is called with the address and the number of workers that a user asked for (None: none). Results
depend neither on the executor nor on the number of workers, since training uses one thread in every process.

A pack that ends without results - its process died or was ended, there was no memory left, training raised - is tried
again in two halves, and these in halves, until what is guilty is alone. The others have finished by then, with the
numbers that they would have had anyhow, since a run's numbers do not depend on its pack. Of R cells, one that fails
costs about 2 log2(R) starts, and where all fail there are 2 R - 1: it cannot be concluded from two halves that fail
alike that every cell in them does. What is alone is tried once more where that may help: not after training raised,
which it does again. It is then started in a new interpreter, in case being forked is what it does not survive.

Light, so that worker processes can be started before this process imports anything heavy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rlbench.errors import RlbenchError
from rlbench.records import Progress, RunRecord, empty_episodes
from rlbench.study.limits import Limits

if TYPE_CHECKING:
    from rlbench.study.plan import Cell
    from rlbench.study.schedule import Pack, Placement
    from rlbench.training.checkpoints import Checkpoints

GROUP = "rlbench.executors"
# Also where the package was installed before they were entry points.
_BUILT_IN = {"local": "rlbench.study.executors.local:local", "ray": "rlbench.study.executors.ray:Ray"}

Train = Callable[..., list[RunRecord]]
"""What takes and returns the same as `rlbench.training.trainer.train`, which is meant where it is None."""

Results = Generator[tuple["Pack", list[RunRecord]], None, None]
"""What ended for good: a pack, or a part of one, and one RunRecord per cell."""


@dataclass(frozen=True)
class Event:
    """Something to show: the progress of a pack, or a line that a plugin or an environment printed."""

    pack: Pack | None
    progress: Progress | None = None
    line: str = ""


@dataclass(frozen=True)
class Job:
    """How packs are trained.

    train        trains a pack whose arm has no call of its own; None: the trainer
    on_event     gets what is to be shown
    limits       of time and memory
    checkpoints  of the runs; their folder is absolute
    meanwhile    is called once, while the first packs train
    again        whether what failed is tried again
    snapshots    whether policies are kept as they were at each evaluation, too
    shared       a file in the folder of the checkpoints: another machine that sees it sees them, too; None: none does
    """

    train: Train | None = None
    on_event: Callable[[Event], None] = lambda event: None
    limits: Limits = Limits(seconds=0)  # noqa: RUF009  # is frozen
    checkpoints: Checkpoints | None = None
    meanwhile: Callable[[], None] = lambda: None
    again: bool = True
    snapshots: bool = False
    shared: Path | None = None

    def limits_of(self, pack: Pack) -> Limits:
        """Return the limits of one pack."""
        return self.limits.of(trains=pack.cells[0].trains)


class Executor(Protocol):
    """Trains packs somewhere. It is closed once, by whoever made it, after its last results are closed."""

    def prepare(self) -> None:
        """Begin what takes long, such as starting processes, before this process imports anything heavy.

        It may be left out. Raises RlbenchError where nothing can train.
        """

    def place(self, device: str, cells: Sequence[Cell]) -> Placement:
        """Return where `cells` train for the device that a user asked for; RlbenchError where it is not there."""

    def run(self, packs: Iterable[Pack], job: Job) -> Results:
        """Yield packs with their records as they end, in any order; of a pack of which something failed, in parts.

        Packs are taken one by one as there is room for them, so that what is still to be trained can be decided late.
        A run that fails, or ends its process, is a record and takes no other along. Closing the generator ends what
        still trains.
        """

    def close(self) -> None:
        """Let go of everything."""


def executor_for(name: str = "local", address: str | None = None, workers: int | None = None) -> Executor:
    """Return the executor of a name; RlbenchError where there is none, or it cannot be had like that."""
    known = dict(_BUILT_IN)
    if name not in known:
        known |= {point.name: point.value for point in entry_points(group=GROUP)}
    if name not in known:
        raise RlbenchError(f"There is no executor {name!r}; it is {' or '.join(sorted(known))}.")
    module, _, attribute = known[name].partition(":")
    make: Any = getattr(import_module(module), attribute)
    executor: Executor = make(address, workers)
    return executor


@dataclass(frozen=True, eq=False)
class Attempt:
    """One start of a pack, its cells' `number`th. `fresh`: in a new interpreter; `last`: whatever becomes of it."""

    pack: Pack
    number: int = 1
    fresh: bool = False
    last: bool = False


@dataclass(frozen=True)
class PackResult:
    """An attempt ended: with the `records` of its runs, or without, because training raised or its process died.

    `again`: whether the same pack may end otherwise when it is tried again. `lost` times it was begun on a machine that
    was lost, for which it is not to blame.
    """

    records: list[RunRecord] | None = None
    reason: str = ""
    detail: str = ""
    again: bool = False
    lost: int = 0


class Tasks(Protocol):
    """Attempts under way, each of which ends once; `len` counts those that have not ended."""

    def __len__(self) -> int: ...

    @property
    def have_room(self) -> bool:
        """Whether one more is to be started now."""

    def start(self, attempt: Attempt) -> None:
        """Start one."""

    def completed(self) -> Sequence[tuple[Attempt, PackResult]]:
        """Wait for a while, and return those that ended."""

    def close(self) -> None:
        """End all that are under way."""


def train_with_retries(packs: Iterable[Pack], job: Job, tasks: Tasks) -> Results:
    """Yield what `Executor.run` does: first of what is tried again, then of the packs given."""
    given, waiting, meanwhile = iter(packs), deque[Attempt](), job.meanwhile
    try:
        while True:
            while tasks.have_room:
                if waiting:
                    tasks.start(waiting.popleft())
                elif (pack := next(given, None)) is not None:
                    tasks.start(Attempt(pack))
                else:
                    break
            meanwhile()
            meanwhile = lambda: None  # noqa: E731
            if not tasks:
                return
            for attempt, result in tasks.completed():
                yield from resolved(attempt, result, waiting, again=job.again)
    finally:
        tasks.close()


def resolved(
    attempt: Attempt, result: PackResult, waiting: deque[Attempt], *, again: bool
) -> Iterator[tuple[Pack, list[RunRecord]]]:
    """Yield what of an attempt is final, its cells with their records; what is tried `again` is put into `waiting`."""
    pack, number, records = attempt.pack, attempt.number + result.lost, result.records
    if records is None:
        if again and (halves := pack.halves()):
            waiting.extendleft(Attempt(half, number + 1) for half in halves[::-1])
            return
        if again and result.again and not attempt.last:
            waiting.appendleft(Attempt(pack, number + 1, fresh=True, last=True))
            return
        records = [
            RunRecord("failed", result.reason, 0, empty_episodes(), {}, detail=result.detail) for _ in pack.cells
        ]
    final = []
    for cell, record in zip(pack.cells, records, strict=True):
        if record.again and again and not attempt.last:
            waiting.append(Attempt(pack.part([cell]), number + 1, last=True))
        else:
            record.attempts = number
            final.append((cell, record))
    if len(final) == len(records):
        yield pack, records
    elif final:
        cells, kept = zip(*final, strict=True)
        yield pack.part(cells), list(kept)
