"""Worker processes, each with at most one pack, and what they say."""

from __future__ import annotations

import contextlib
import pickle
import queue
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlbench.records import Progress
from rlbench.study.launcher import Launcher, Process
from rlbench.study.packs import Pack
from rlbench.study.worker import receive, send


@dataclass(frozen=True)
class Event:
    """Something to show: the progress of a pack, or a line that a plugin or an environment printed."""

    pack: Pack | None
    progress: Progress | None = None
    line: str = ""


@dataclass(frozen=True)
class Ended:
    """A pack ended: with the `records` of its runs, because training raised, or because its worker died."""

    pack: Pack
    records: list[Any] | None = None
    reason: str = ""
    detail: str = ""
    died: bool = False


Inbox = queue.SimpleQueue[tuple["_Worker", str, bytes]]


class Pool:
    """Worker processes that are idle or hold one pack each; started when a pack needs one."""

    def __init__(self, on_event: Callable[[Event], None], launcher: Launcher) -> None:
        self._on_event, self._launcher = on_event, launcher
        self._inbox: Inbox = queue.SimpleQueue()
        self._workers: list[_Worker] = []

    @property
    def busy(self) -> bool:
        """Whether a worker holds a pack."""
        return any(worker.pack is not None for worker in self._workers)

    def start(self, pack: Pack, payload: bytes, *, fresh: bool = False) -> None:
        """Give a pack to an idle worker, or to a new one where none is idle or a `fresh` interpreter is wanted."""
        idle = [worker for worker in self._workers if worker.pack is None and not fresh]
        if not idle:
            idle = [_Worker(self._inbox, self._launcher.start(fresh=fresh))]
            self._workers += idle
        idle[0].give(pack, payload)

    def wait(self) -> Ended:
        """Wait until a pack ends, and pass on meanwhile what the workers say."""
        while True:
            try:
                worker, kind, content = self._inbox.get(timeout=0.5)
            except queue.Empty:  # so that Ctrl-C is noticed on every system
                continue
            ended = self._heard(worker, kind, content)
            if ended is not None:
                return ended

    def close(self) -> None:
        """End every worker, at work or not."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()

    def _heard(self, worker: _Worker, kind: str, content: bytes) -> Ended | None:
        pack = worker.pack
        if kind == "line":
            self._on_event(Event(pack, line=content.decode(errors="replace").rstrip()))
            return None
        if kind == "died":
            self._workers.remove(worker)
            worker.end()
            if pack is None:
                return None
            if worker.status is None:  # the template took it along, for which the pack is not to blame
                self.start(pack, worker.payload, fresh=True)
                return None
            return Ended(pack, reason=worker.cause_of_death(), died=True)
        assert pack is not None
        message = pickle.loads(content)
        if message[0] == "progress":
            self._on_event(Event(pack, message[1]))
            return None
        worker.pack = None
        if message[0] == "done":
            return Ended(pack, message[1])
        return Ended(pack, reason=message[1], detail=message[2])


class _Worker:
    """One process, and two threads that put what it says into the pool's inbox."""

    def __init__(self, inbox: Inbox, process: Process) -> None:
        self.process = process
        self.status: int | None = None
        self.pack: Pack | None = None
        self.payload = b""
        self._inbox = inbox
        self._last_line = ""
        self._lines = threading.Thread(target=self._read_lines, daemon=True)
        self._messages = threading.Thread(target=self._read_messages, daemon=True)
        self._lines.start()
        self._messages.start()

    def give(self, pack: Pack, payload: bytes) -> None:
        """Send a pack; a worker that is already dead says so through the inbox."""
        self.pack, self.payload = pack, payload
        with contextlib.suppress(OSError):
            send(self.process.stdin, payload)

    def cause_of_death(self) -> str:
        """Return in one sentence how the process ended."""
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
