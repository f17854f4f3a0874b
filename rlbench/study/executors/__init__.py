"""Where packs train: what an executor must do, and how it is found by its name.

An executor is registered under its name in the entry point group `rlbench.executors`: a class, or a function that
returns one, which is called with the address and the number of workers that a user asked for (None: none). Results
depend neither on the executor nor on the number of workers, since training uses one thread in every process.

Light, so that worker processes can be started before this process imports anything heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rlbench.errors import RlbenchError
from rlbench.records import Progress, RunRecord
from rlbench.study.limits import Limits, PackLimits

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

    train        trains a pack whose work has no call of its own; None: the trainer
    on_event     gets what is to be shown
    limits       of time and memory
    checkpoints  of the runs; their folder is absolute
    meanwhile    is called once, while the first packs train
    again        whether what failed is tried again, as `rlbench.study.queue` says
    shared       a file in the folder of the checkpoints: another machine that sees it sees them, too; None: none does
    """

    train: Train | None = None
    on_event: Callable[[Event], None] = lambda event: None
    limits: Limits = Limits(seconds=0)  # noqa: RUF009  # is frozen
    checkpoints: Checkpoints | None = None
    meanwhile: Callable[[], None] = lambda: None
    again: bool = True
    shared: Path | None = None

    def limits_of(self, pack: Pack) -> PackLimits:
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
