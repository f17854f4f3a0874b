"""Where packs train: in this process, or in worker processes that may die without taking others along.

Each executor yields (pack, one RunRecord per cell) as packs end, in any order; of a pack of which something failed, in
parts. Results depend neither on which one trains nor on the number of workers, since training uses one thread in
every process. Packs are taken one by one as there is room for them, so that what is still to be trained can be decided
late.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Generator, Iterable
from typing import Any

from rlbench.records import Progress, RunRecord
from rlbench.study.environments import bound
from rlbench.study.launcher import Launcher
from rlbench.study.limits import Limits, PackLimits
from rlbench.study.measuring import MeasuredCell
from rlbench.study.packs import Pack
from rlbench.study.pool import Event, Pool
from rlbench.study.retries import Agenda, Ended, Try
from rlbench.study.worker import describe, perform, trainer
from rlbench.training.checkpoints import Checkpoints
from rlbench.training.shortage import shortage

Train = Callable[..., list[RunRecord]]
"""What takes and returns the same as `rlbench.training.trainer.train`, which is meant where it is None."""

OnEvent = Callable[[Event], None]
Results = Generator[tuple[Pack, list[RunRecord]], None, None]
"""What ended for good: a pack, or a part of one, and one RunRecord per cell."""

NO_LIMITS = Limits(seconds=0)


def default_workers() -> int:
    """Return the number of CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def in_process(
    packs: Iterable[Pack],
    train: Train | None,
    on_event: OnEvent,
    checkpoints: Checkpoints | None = None,
    *,
    limits: Limits = NO_LIMITS,
    again: bool = True,
) -> Results:
    """Train one pack after the other in this process; what failed is tried again, if `again`, as `retries` says."""
    agenda = Agenda(packs, again=again)
    while (tried := agenda.take()) is not None:
        settled = agenda.settle(tried, _trained(tried.pack, train, on_event, checkpoints, limits.of(tried.pack)))
        if settled is not None:
            yield settled


def in_workers(
    packs: Iterable[Pack],
    train: Train | None,
    on_event: OnEvent,
    workers: int,
    launcher: Launcher,
    meanwhile: Callable[[], None] = lambda: None,
    checkpoints: Checkpoints | None = None,
    *,
    limits: Limits = NO_LIMITS,
    again: bool = True,
) -> Results:
    """Train packs in up to `workers` processes; what failed is tried again, if `again`, as `retries` says.

    `meanwhile` is called once, while the first packs train.
    """
    pool = Pool(on_event, launcher)
    agenda = Agenda(packs, again=again)
    tries: dict[Pack, Try] = {}
    try:
        while True:
            while pool.at_work < workers and (tried := agenda.take()) is not None:
                tries[tried.pack] = tried
                within = limits.of(tried.pack)
                payload = payload_of(tried.pack, train, checkpoints, within)
                pool.start(tried.pack, payload, fresh=tried.fresh, silence=within.silence)
            meanwhile()
            meanwhile = _nothing
            if not pool.at_work:
                return
            ended = pool.wait()
            settled = agenda.settle(tries.pop(ended.pack), ended)
            if settled is not None:
                yield settled
    finally:
        pool.close()


def _nothing() -> None:
    return


def _trained(
    pack: Pack, train: Train | None, on_event: OnEvent, checkpoints: Checkpoints | None, limits: PackLimits
) -> Ended:
    own, *arguments, options = _task(pack, train, checkpoints)

    def on_progress(progress: Progress) -> None:
        on_event(Event(pack, progress))

    try:
        options["on_progress"] = on_progress
        return Ended(pack, perform(own or trainer(), arguments, options, limits.call))
    except Exception as error:
        return Ended(pack, reason=describe(error), detail=traceback.format_exc(), again=bool(shortage(error)))


def _task(pack: Pack, train: Train | None, checkpoints: Checkpoints | None = None) -> tuple[Any, ...]:
    """Return (what trains a pack, None for the default, its arguments, and its options by name).

    A measurement brings what measures. Only the default trainer takes checkpoints.
    """
    first = pack.cells[0]
    train = first.measuring if isinstance(first, MeasuredCell) else train
    subjects = [cell.arm if isinstance(cell, MeasuredCell) else cell.algorithm for cell in pack.cells]
    options = {}
    if train is None and checkpoints is not None:
        options["checkpoints"] = checkpoints.of(cell.id for cell in pack.cells)
    return train, subjects, bound(first.environment), first.steps, [cell.seed for cell in pack.cells], options


def payload_of(pack: Pack, train: Train | None, checkpoints: Checkpoints | None, limits: PackLimits) -> bytes:
    """Return a pack as a worker unpacks it; classes that it cannot import travel by value."""
    import cloudpickle

    payload: bytes = cloudpickle.dumps(((limits.call, limits.memory), *_task(pack, train, checkpoints)))
    return payload
