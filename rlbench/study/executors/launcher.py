"""Starting worker processes: forks of a template that has imported everything, or fresh interpreters.

A template is used on Linux, where a process can be forked safely as long as it has one thread; elsewhere, and where
a template cannot be had, a worker is a fresh interpreter. Either way it is neither a fork of the parent nor a
re-import of the user's script: it works the same from a notebook and from an unguarded script, and one thread per
process is set before numpy and torch are imported. This module is light, so that a template can be started before
the parent imports anything heavy itself.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import socket
import subprocess
import sys
import threading
from typing import IO, Protocol, Self

from rlbench.study.executors import template
from rlbench.study.executors.worker import ONE_THREAD, send


class Process(Protocol):
    """A worker process: its pipes, and its end. `wait` returns minus the number of the signal that ended it."""

    forked: bool  # and so started within milliseconds
    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]

    def kill(self) -> None:
        """End the process at once, if it has not ended."""

    def wait(self) -> int | None:
        """Wait for the end and return the status; None if it went down with the template, or never started."""


class Launcher:
    """Starts workers; `forking=False` only as fresh interpreters. Close it to end the template."""

    def __init__(self, *, forking: bool = sys.platform == "linux") -> None:
        self._forking = forking
        self._template: _Template | None = None

    def prepare(self) -> None:
        """Start the template now, so that it imports while the caller does other things."""
        if self._forking and self._template is None:
            self._template = _Template()

    def start(self, *, fresh: bool = False) -> Process:
        """Return a new worker process; a fork unless a `fresh` interpreter is wanted or the template has ended."""
        self.prepare()
        if self._template is not None and not fresh:
            with contextlib.suppress(OSError):
                return self._template.fork()
        return _Fresh()

    def close(self) -> None:
        """End the template, and with it the workers that it forked."""
        if self._template is not None:
            self._template.close()
            self._template = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Fresh:
    """A worker that is an interpreter of its own."""

    forked = False

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            _program("from rlbench.study.executors.worker import main; main()"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
        )
        streams = self._process.stdin, self._process.stdout, self._process.stderr
        self.stdin, self.stdout, self.stderr = (stream for stream in streams if stream is not None)

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int:
        return self._process.wait()


class _Forked:
    """A worker that the template forks; what it inherits is sent to it first."""

    forked = True

    def __init__(self, template: _Template, number: int) -> None:
        self._template, self._number = template, number
        self._ended = threading.Event()
        self._status: int | None = None
        theirs, self.stdin = _pipe(writing=True)
        written, self.stdout = _pipe(writing=False)
        said, self.stderr = _pipe(writing=False)
        self.descriptors = (theirs, written, said)

    def kill(self) -> None:
        self._template.kill(self._number)

    def wait(self) -> int | None:
        self._ended.wait()
        return self._status

    def ended(self, status: int | None) -> None:
        """Note the end."""
        self._status = status
        self._ended.set()


class _Template:
    """The parent's side of the template process, and a thread that hears from it which workers have ended."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = (
            f"from rlbench.study.executors import template; template.main({theirs.fileno()}); "
            "from rlbench.study.executors.worker import main; main()"
        )
        with theirs:
            self._process = subprocess.Popen(
                _program(program),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what goes wrong there goes wrong again in a fresh interpreter, and is said
                env=_environment(),
                pass_fds=[theirs.fileno()],
            )
        self._numbers = itertools.count()
        self._forks: dict[int, _Forked] = {}
        self._lock = threading.Lock()
        self._ready = self._gone = False
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def fork(self) -> _Forked:
        """Ask for a worker; OSError if the template has ended."""
        number = next(self._numbers)
        fork = _Forked(self, number)
        try:
            with self._lock:
                if self._gone:
                    raise BrokenPipeError
                socket.send_fds(self._control, [template.MESSAGE.pack(template.FORK, number, 0)], fork.descriptors)
                self._forks[number] = fork
        except OSError:
            for stream in (fork.stdin, fork.stdout, fork.stderr):
                stream.close()
            raise
        finally:
            for descriptor in fork.descriptors:
                os.close(descriptor)
        setting = template.Setting(_path(), dict(os.environ), os.getcwd())
        with contextlib.suppress(OSError):  # a worker that is dead says so by its status
            send(fork.stdin, pickle.dumps(tuple(setting)))
        return fork

    def kill(self, number: int) -> None:
        """End one worker; one that the template has not forked yet, with the template."""
        if not self._ready:
            self._process.kill()
        else:
            with contextlib.suppress(OSError):
                self._control.send(template.MESSAGE.pack(template.KILL, number, 0))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        self._control.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while message := self._control.recv(template.MESSAGE.size):
                kind, number, status = template.MESSAGE.unpack(message)
                if kind == template.READY:
                    self._ready = True
                else:
                    with self._lock:
                        fork = self._forks.pop(number)
                    fork.ended(status)
        with self._lock:
            self._gone = True
            for fork in self._forks.values():
                fork.ended(None)


def _program(code: str) -> list[str]:
    """Return the command that runs `code` in an interpreter that imports from where this one does."""
    return [sys.executable, "-c", f"import sys; sys.path[:] = {_path()!r}; {code}"]


def _path() -> list[str]:
    return [entry or os.getcwd() for entry in sys.path]


def _environment() -> dict[str, str]:
    return {**os.environ, **ONE_THREAD}


def _pipe(*, writing: bool) -> tuple[int, IO[bytes]]:
    """Return (descriptor of the worker's end, stream of this one's, which is `writing` or reading)."""
    read, write = os.pipe()
    return (read, os.fdopen(write, "wb")) if writing else (write, os.fdopen(read, "rb"))
