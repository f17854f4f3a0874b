"""The executors of this machine: this process, or worker processes that may die without taking others along."""

from __future__ import annotations

import contextlib
import pickle
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rlbench.errors import RlbenchError
from rlbench.records import Progress
from rlbench.study.environments import bound
from rlbench.study.executors import Attempt, Event, Executor, Job, PackResult, Results, resolved, train_with_retries
from rlbench.study.executors.launcher import Launcher, Process
from rlbench.study.executors.worker import attempted, perform, receive, send
from rlbench.study.limits import overdue, patience

if TYPE_CHECKING:
    from rlbench.study.plan import Cell
    from rlbench.study.schedule import Pack, Placement


def local(address: str | None, workers: int | None) -> Executor:
    """Return what trains on this machine: `workers` processes, one per CPU (on a GPU one) if None; 0: this one."""
    if address is not None:
        raise RlbenchError("An address goes with the executor ray.")
    if workers is not None and workers < 0:
        raise RlbenchError(f"workers must be at least 0, not {workers}.")
    return InProcess() if workers == 0 else Workers(workers)


class InProcess:
    """Trains one pack after the other in this process."""

    def prepare(self) -> None:
        pass

    def close(self) -> None:
        pass

    def place(self, device: str, cells: Sequence[Cell]) -> Placement:
        from rlbench.study.schedule import place

        return place(device, 0)

    def run(self, packs: Iterable[Pack], job: Job) -> Results:
        job.meanwhile()
        waiting = deque[Attempt]()
        for pack in packs:
            waiting.append(Attempt(pack))
            while waiting:
                attempt = waiting.popleft()
                yield from resolved(attempt, self._train(attempt.pack, job), waiting, again=job.again)

    def _train(self, pack: Pack, job: Job) -> PackResult:
        def report(what: str, progress: Progress | None = None) -> None:
            if progress is not None:
                job.on_event(Event(pack, progress))

        return attempted(partial(perform, _task(pack, job), job.limits_of(pack).seconds or 0.0, report))


class Workers:
    """Trains packs in up to `workers` processes, one per CPU (on a GPU one) if None; `launcher` starts them."""

    def __init__(self, workers: int | None = None, launcher: Launcher | None = None) -> None:
        self._workers, self._launcher = workers, launcher or Launcher()

    def prepare(self) -> None:
        self._launcher.prepare()

    def close(self) -> None:
        self._launcher.close()

    def place(self, device: str, cells: Sequence[Cell]) -> Placement:
        from rlbench.study.schedule import place

        placement = place(device, self._workers)
        self._workers = placement.workers
        return placement

    def run(self, packs: Iterable[Pack], job: Job) -> Results:
        yield from train_with_retries(packs, job, _Pool(job, self._launcher, self._workers or 1))


_Inbox = queue.SimpleQueue[tuple["_Worker", str, bytes]]


class _Pool:
    """Worker processes, `size` at most at work, that are idle or hold one attempt each; started when one is needed."""

    def __init__(self, job: Job, launcher: Launcher, size: int) -> None:
        self._job, self._launcher, self._size = job, launcher, size
        self._inbox: _Inbox = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self._looked = time.monotonic()

    def __len__(self) -> int:
        return sum(worker.attempt is not None for worker in self._workers)

    @property
    def have_room(self) -> bool:
        return len(self) < self._size

    def start(self, attempt: Attempt) -> None:
        idle = [worker for worker in self._workers if worker.attempt is None and not worker.retired]
        if not idle or attempt.fresh:
            idle = [_Worker(self._inbox, self._launcher.start(fresh=attempt.fresh))]
            self._workers += idle
        pack = attempt.pack
        idle[0].give(attempt, payload_of(pack, self._job), self._job.limits_of(pack).silence)

    def completed(self) -> list[tuple[Attempt, PackResult]]:
        """Wait until an attempt ends, and pass on meanwhile what the workers say."""
        while True:
            with contextlib.suppress(queue.Empty):
                if completed := self._take_in(*self._inbox.get(timeout=_LOOK_SECONDS)):
                    return completed
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

    def _take_in(self, worker: _Worker, kind: str, content: bytes) -> list[tuple[Attempt, PackResult]]:
        attempt = worker.attempt
        pack = attempt.pack if attempt else None
        if kind == "line":
            self._job.on_event(Event(pack, line=content.decode(errors="replace").rstrip()))
            return []
        if kind == "died":
            worker.end()
            self._workers.remove(worker)
            if attempt is None:
                return []
            if worker.status is None:  # the template took it along, for which the pack is not to blame
                self.start(replace(attempt, fresh=True))
                return []
            return [(attempt, PackResult(reason=worker.cause_of_death(), again=True))]
        if attempt is None:  # the worker was forked by an environment, and speaks for a process that has answered
            return []
        what, *values = pickle.loads(content)
        worker.silent, worker.started = 0.0, True
        if what == "progress":
            self._job.on_event(Event(pack, *values))
        if what in ("alive", "progress"):
            return []
        worker.attempt = None
        result: PackResult = values[0]
        again = result.again or any(record.again for record in result.records or ())
        # What took the time or the memory may still be there; and what code of users did to a process, which costs less
        # to fork anew than to look through. A measurement may have been the first to import a library.
        first = attempt.pack.cells[0]
        if again or worker.overdue or (first.runs_user_code and (worker.process.forked or not first.trains)):
            worker.retired = True
            worker.process.kill()
        return [(attempt, result)]


_LOOK_SECONDS = 0.5  # between two looks at who is silent, and so that Ctrl-C is noticed on every system


class _Worker:
    """One process, and two threads that put what it says into the pool's inbox."""

    def __init__(self, inbox: _Inbox, process: Process) -> None:
        self.process = process
        self.status: int | None = None
        self.attempt: Attempt | None = None
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

    def give(self, attempt: Attempt, payload: bytes, silence: float) -> None:
        """Send a pack; a worker that is already dead says so through the inbox."""
        self.attempt = attempt
        self.silence, self.silent, self.started = silence, 0.0, False
        with contextlib.suppress(OSError):
            send(self.process.stdin, payload)

    def wait(self, seconds: float) -> None:
        """Note that so much more time passed, and end the process where that was too much without a sign of life."""
        if self.attempt is None or not self.silence or self.overdue:
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
        last = f" after saying: {self._last_line}" if self._last_line else ""
        return f"its worker process ended with status {code}{last}"

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


def _task(pack: Pack, job: Job) -> tuple[Any, ...]:
    """Return what `perform` takes. Only the default trainer, which None stands for, takes checkpoints."""
    first = pack.cells[0]
    train = first.resolved.call or job.train
    subjects = [cell.resolved.algorithm or cell.arm for cell in pack.cells]
    options: dict[str, Any] = {}
    if first.evaluation:
        options = {"evaluation": first.evaluation, "snapshots": job.snapshots}
    if train is None and job.checkpoints is not None:
        options["checkpoints"] = job.checkpoints.of(cell.id for cell in pack.cells)
    return train, subjects, bound(first.environment), first.steps, [cell.seed for cell in pack.cells], options


def payload_of(pack: Pack, job: Job) -> bytes:
    """Return a pack as a worker unpacks it; classes that it cannot import travel by value."""
    import cloudpickle

    limits = job.limits_of(pack)
    payload: bytes = cloudpickle.dumps(((limits.seconds, limits.memory), *_task(pack, job)))
    return payload
