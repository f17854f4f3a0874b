"""Worker processes, each with at most one pack, and what they say."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any

from rlbench.records import Progress, RunRecord
from rlbench.study.environments import bound
from rlbench.study.executors.launcher import Launcher, Process
from rlbench.study.executors.worker import describe, perform, receive, send, trainer
from rlbench.study.measuring import MeasuredCell
from rlbench.study.queue import Agenda, Ended, Try
from rlbench.study.schedule import Limits, Pack, PackLimits, overdue, patience
from rlbench.training.checkpoints import Checkpoints
from rlbench.training.limits import shortage


@dataclass(frozen=True)
class Event:
    """Something to show: the progress of a pack, or a line that a plugin or an environment printed."""

    pack: Pack | None
    progress: Progress | None = None
    line: str = ""


Inbox = queue.SimpleQueue[tuple["_Worker", str, bytes]]


class Pool:
    """Worker processes that are idle or hold one pack each; started when a pack needs one."""

    def __init__(self, on_event: Callable[[Event], None], launcher: Launcher) -> None:
        self._on_event, self._launcher = on_event, launcher
        self._inbox: Inbox = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self._looked = time.monotonic()

    @property
    def at_work(self) -> int:
        """How many workers hold a pack."""
        return sum(worker.pack is not None for worker in self._workers)

    def start(self, pack: Pack, payload: bytes, *, fresh: bool = False, silence: float = 0.0) -> None:
        """Give a pack to an idle worker, or to a new one where none is idle or a `fresh` interpreter is wanted.

        A worker that is silent for longer than `silence` seconds is ended; 0: never.
        """
        idle = [worker for worker in self._workers if worker.pack is None and not worker.retired and not fresh]
        if not idle:
            idle = [_Worker(self._inbox, self._launcher.start(fresh=fresh))]
            self._workers += idle
        idle[0].give(pack, payload, silence)

    def wait(self) -> Ended:
        """Wait until a pack ends, and pass on meanwhile what the workers say."""
        while True:
            with contextlib.suppress(queue.Empty):
                ended = self._heard(*self._inbox.get(timeout=_LOOK_SECONDS))
                if ended is not None:
                    return ended
            self._end_the_silent()

    def close(self) -> None:
        """End every worker, at work or not."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()

    def _end_the_silent(self) -> None:
        """End workers that have been silent for too long.

        Only the time is counted in which this process listened: not while it stored results, nor while it was stopped,
        and its workers perhaps with it.
        """
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 2 * _LOOK_SECONDS), now
        for worker in self._workers:
            worker.wait(passed)

    def _heard(self, worker: _Worker, kind: str, content: bytes) -> Ended | None:
        pack = worker.pack
        if kind == "line":
            self._on_event(Event(pack, line=content.decode(errors="replace").rstrip()))
            return None
        if kind == "died":
            worker.end()
            self._workers.remove(worker)
            if pack is None:
                return None
            if worker.status is None:  # the template took it along, for which the pack is not to blame
                self.start(pack, worker.payload, fresh=True, silence=worker.silence)
                return None
            return Ended(pack, reason=worker.cause_of_death(), again=True)
        if pack is None:  # it was forked by an environment, and speaks for a process that has answered
            return None
        what, *said = pickle.loads(content)
        worker.silent, worker.started = 0.0, True
        if what == "alive":
            return None
        if what == "progress":
            self._on_event(Event(pack, *said))
            return None
        worker.pack = None
        if what == "done":
            again = any(record.again for record in said[0])
            ended = Ended(pack, said[0])
        else:
            reason, detail, again = said
            ended = Ended(pack, reason=reason, detail=detail, again=again)
        # What took the time or the memory may still be there; and what code of users did to a process, which costs less
        # to fork anew than to look through. A measurement may have been the first to import a library.
        if again or worker.overdue or (pack.runs_user_code and (worker.process.forked or pack.is_measured)):
            worker.retired = True
            worker.process.kill()
        return ended


_LOOK_SECONDS = 0.5  # between two looks at who is silent, and so that Ctrl-C is noticed on every system


class _Worker:
    """One process, and two threads that put what it says into the pool's inbox."""

    def __init__(self, inbox: Inbox, process: Process) -> None:
        self.process = process
        self.status: int | None = None
        self.pack: Pack | None = None
        self.payload = b""
        self.silence = self.silent = 0.0
        self.started = False
        self.retired = False  # gets no further pack
        self.overdue = 0.0  # the limit that it exceeded
        self._inbox = inbox
        self._last_line = ""
        self._lines = threading.Thread(target=self._read_lines, daemon=True)
        self._messages = threading.Thread(target=self._read_messages, daemon=True)
        self._lines.start()
        self._messages.start()

    def give(self, pack: Pack, payload: bytes, silence: float) -> None:
        """Send a pack; a worker that is already dead says so through the inbox."""
        self.pack, self.payload = pack, payload
        self.silence, self.silent, self.started = silence, 0.0, False
        with contextlib.suppress(OSError):
            send(self.process.stdin, payload)

    def wait(self, seconds: float) -> None:
        """Note that so much more time passed, and end the process where that was too much without a sign of life."""
        if self.pack is None or not self.silence or self.overdue:
            return
        self.silent += seconds
        limit = patience(self.silence, started=self.started)
        if self.silent > limit:
            self.overdue = limit
            self.process.kill()

    def cause_of_death(self) -> str:
        """Return in one sentence how the process ended."""
        if self.overdue:
            return overdue(self.overdue)
        code = self.status
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            memory = ", perhaps by the system for want of memory" if name == "SIGKILL" else ""
            return f"its worker process was ended by {name}{memory}"
        said = f" after saying: {self._last_line}" if self._last_line else ""
        return f"its worker process ended with status {code}{said}"

    def end(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.status = self.process.wait()
        for thread in (self._messages, self._lines):
            thread.join(timeout=1.0)
            if thread.is_alive():  # a process that the environment started holds the pipe open
                return
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                stream.close()

    def _read_messages(self) -> None:
        while (message := receive(self.process.stdout)) is not None:
            self._inbox.put((self, "message", message))
        self.process.wait()
        self._lines.join(timeout=1.0)  # its last words may explain its death
        self._inbox.put((self, "died", b""))

    def _read_lines(self) -> None:
        for line in self.process.stderr:
            self._last_line = line.decode(errors="replace").strip() or self._last_line
            self._inbox.put((self, "line", line))


# Where packs train: in this process, or in worker processes that may die without taking others along.
#
# Each executor yields (pack, one RunRecord per cell) as packs end, in any order; of a pack of which something failed,
# in parts. Results depend neither on which one trains nor on the number of workers, since training uses one thread in
# every process. Packs are taken one by one as there is room for them, so that what is still to be trained can be
# decided late.

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
