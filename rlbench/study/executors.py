"""Where packs train: in this process, or in worker processes that may die without taking others along.

Each executor yields (pack, one RunRecord per cell) as packs end, in any order. Results depend neither on
which one trains nor on the number of workers, since training uses one thread in every process. Packs
are taken one by one as there is room for them, so that what is still to be trained can be decided late.
"""

from __future__ import annotations

import itertools
import os
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from typing import Any

from rlbench.records import RunRecord, empty_episodes
from rlbench.study.launcher import Launcher
from rlbench.study.measuring import MeasuredCell
from rlbench.study.packs import Pack
from rlbench.study.pool import Event, Pool
from rlbench.study.worker import describe, trainer

Train = Callable[..., list[RunRecord]]
"""What takes and returns the same as `rlbench.training.trainer.train`, which is meant where it is None."""

OnEvent = Callable[[Event], None]
Results = Generator[tuple[Pack, list[RunRecord]], None, None]


def default_workers() -> int:
    """Return the number of CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def in_process(packs: Iterable[Pack], train: Train | None, on_event: OnEvent) -> Results:
    """Train one pack after the other in this process."""
    for pack in packs:
        yield pack, _trained(pack, train, on_event)


def in_workers(
    packs: Iterable[Pack],
    train: Train | None,
    on_event: OnEvent,
    workers: int,
    launcher: Launcher,
    meanwhile: Callable[[], None] = lambda: None,
) -> Results:
    """Train packs in up to `workers` processes; one whose worker dies is tried once more, then it failed.

    `meanwhile` is called once, while the first packs train.
    """
    pool = Pool(on_event, launcher)
    waiting = iter(packs)
    tries: Counter[Pack] = Counter()
    try:
        for pack in itertools.islice(waiting, workers):
            pool.start(pack, payload_of(pack, train))
        meanwhile()
        while pool.busy:
            ended = pool.wait()
            tries[ended.pack] += 1
            if ended.died and tries[ended.pack] < 2:
                pool.start(ended.pack, payload_of(ended.pack, train), fresh=True)
                continue
            yield ended.pack, ended.records or failed_records(ended.pack, ended.reason, ended.detail)
            for pack in itertools.islice(waiting, 1):
                pool.start(pack, payload_of(pack, train))
    finally:
        pool.close()


def _trained(pack: Pack, train: Train | None, on_event: OnEvent) -> list[RunRecord]:
    own, *arguments = _task(pack, train)
    try:
        return (own or trainer())(*arguments, on_progress=lambda progress: on_event(Event(pack, progress)))
    except Exception as error:
        return failed_records(pack, describe(error), traceback.format_exc())


def failed_records(pack: Pack, reason: str, detail: str) -> list[RunRecord]:
    """Return the record of a failed run for every cell of a pack."""
    return [RunRecord("failed", reason, 0, empty_episodes(), {}, detail=detail) for _ in pack.cells]


def _task(pack: Pack, train: Train | None) -> tuple[Any, ...]:
    """Return (what trains a pack, None for the default, and its arguments); a measurement brings what measures."""
    first = pack.cells[0]
    train = first.measuring if isinstance(first, MeasuredCell) else train
    subjects = [cell.arm if isinstance(cell, MeasuredCell) else cell.algorithm for cell in pack.cells]
    return train, subjects, first.environment, first.steps, [cell.seed for cell in pack.cells]


def payload_of(pack: Pack, train: Train | None) -> bytes:
    """Return a pack as a worker unpacks it; classes that it cannot import travel by value."""
    import cloudpickle
    import gymnasium

    registered = gymnasium.registry.get(pack.cells[0].environment.id)
    payload: bytes = cloudpickle.dumps((*_task(pack, train), registered))
    return payload
