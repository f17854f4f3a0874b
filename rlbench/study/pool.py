"""Worker processes, each with at most one pack, and what they say."""

from __future__ import annotations

import contextlib
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from rlbench.records import Progress
from rlbench.study.launcher import Launcher, Process
from rlbench.study.limits import overdue, patience
from rlbench.study.packs import Pack
from rlbench.study.retries import Ended
from rlbench.study.worker import receive, send


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
