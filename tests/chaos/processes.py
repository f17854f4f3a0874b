"""Commands as real process groups: who belongs to one, and how one of them is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple


class Member(NamedTuple):
    """A process of a command: its id, its parent's, and its command line."""

    pid: int
    parent: int
    line: str


class Command:
    """A command in a session of its own, with what it says in files, so that no full pipe can hold it up."""

    def __init__(self, line: list[str], said: Path) -> None:
        self.said = said
        with said.open("wb") as file:
            self.process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                # Whoever runs the tests in the background has Ctrl-C ignored, and children inherit that.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )
        self.started = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether the command itself has not ended."""
        return self.process.poll() is None

    def members(self) -> list[Member]:
        """Return the living processes of the session."""
        return [member for member, session in _processes() if session == self.process.pid]

    def wait(self, seconds: float) -> int:
        """Return the status with which the command ends; fail if it does not."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            lines = [f"{one.pid} {one.line[:80]}" for one in self.members()]
            self.end()
            raise AssertionError(f"the command hangs: {lines}; it said {self.text()}") from None

    def wait_while(self, waiting: Callable[[], bool], seconds: float, pause: float = 0.005) -> None:
        """Wait while the command runs and `waiting()` holds, so many seconds at most."""
        until = time.monotonic() + seconds
        while self.running and time.monotonic() < until and waiting():
            time.sleep(pause)

    def all_gone(self, seconds: float = 120.0) -> bool:
        """Return whether nothing of the session is left after so many seconds at most."""
        until = time.monotonic() + seconds
        while self.members():
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def end(self) -> None:
        """Kill whatever is left of the session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def text(self) -> str:
        """Return what the command has said so far."""
        return self.said.read_text(errors="replace")


def kill(pid: int, number: int) -> bool:
    """Send a signal to a process and return whether it was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def template_of(command: Command) -> Member | None:
    """Return the process that forks the workers."""
    own = [one for one in command.members() if one.parent == command.process.pid]
    return next((one for one in own if "launcher.template_main" in one.line), None)


def workers_of(command: Command) -> list[Member]:
    """Return the workers: forks of the template and fresh interpreters."""
    template = template_of(command)
    parents = {command.process.pid, *([template.pid] if template else [])}
    return [one for one in command.members() if one.parent in parents and one != template]


def _processes() -> list[tuple[Member, int]]:
    """Return every living process with its session; one that has ended but is not buried is not living."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            state, parent, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if state not in "ZX":
            found.append((Member(int(folder.name), int(parent), line), int(session)))
    return found
