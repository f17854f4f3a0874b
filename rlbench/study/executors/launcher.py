"""Starting worker processes: forks of a template that has imported everything, or fresh interpreters.

A template is used on Linux, where a process can be forked safely as long as it has one thread; elsewhere, and where
a template cannot be had, a worker is a fresh interpreter. Either way it is neither a fork of the parent nor a
re-import of the user's script: it works the same from a notebook and from an unguarded script, and one thread per
process is set before numpy and torch are imported. This module is light, so that a template can be started before
the parent imports anything heavy itself.

The template imports once what training needs, and never trains itself. Requests come in on a socket that keeps messages
apart, each a `MESSAGE` (kind, number of the worker, status): "f" with the worker's stdin, stdout and stderr attached
forks one, "k" kills one. It answers "r" once it is ready and "e" with the status when a worker has ended. Where the
socket ends, the parent is gone: the template ends, and the system ends its workers with it. A worker's first message,
before its packs, is what a fresh interpreter would inherit from its parent and a fork would not, pickled: the path for
imports, the environment variables and the folder, as they are by then.
"""

import contextlib
import ctypes
import gc
import itertools
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Self

from rlbench.study.executors.worker import ONE_THREAD, receive, send
from rlbench.study.process import uncollected, warm_up

MESSAGE = struct.Struct("=cIi")
FORK, KILL, READY, ENDED = b"f", b"k", b"r", b"e"
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


@dataclass(frozen=True, eq=False)
class Process:
    """A worker process: its pipes, and its end.

    `kill` ends it at once, if it has not ended. `wait` waits for the end and returns the status, minus the number of a
    signal; None if the process went down with the template, or never started. A `forked` one started in milliseconds.
    """

    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]
    kill: Callable[[], None]
    wait: Callable[[], int | None]
    forked: bool


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
        program = _program("from rlbench.study.executors.worker import main; main()")
        pipe = subprocess.PIPE
        process = subprocess.Popen(program, stdin=pipe, stdout=pipe, stderr=pipe, env=_environment())
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        return Process(process.stdin, process.stdout, process.stderr, process.kill, process.wait, forked=False)

    def close(self) -> None:
        """End the template, and with it the workers that it forked."""
        if self._template is not None:
            self._template.close()
            self._template = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Template:
    """The parent's side of the template process, and a thread that hears from it which workers have ended."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = (
            f"from rlbench.study.executors import launcher, worker; launcher.template_main({theirs.fileno()}); "
            "worker.main()"
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
        self._ends: dict[int, Future[int | None]] = {}
        self._lock = threading.Lock()
        self._ready = self._gone = False
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def fork(self) -> Process:
        """Ask for a worker; OSError if the template has ended."""
        number, end = next(self._numbers), Future[int | None]()
        pipes = [_pipe(writing=True), _pipe(writing=False), _pipe(writing=False)]
        theirs, (stdin, stdout, stderr) = zip(*pipes, strict=True)
        try:
            with self._lock:
                if self._gone:
                    raise BrokenPipeError
                socket.send_fds(self._control, [MESSAGE.pack(FORK, number, 0)], theirs)
                self._ends[number] = end
        except OSError:
            for stream in (stdin, stdout, stderr):
                stream.close()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        with contextlib.suppress(OSError):  # a worker that is dead says so by its status
            send(stdin, pickle.dumps((_path(), dict(os.environ), os.getcwd())))
        return Process(stdin, stdout, stderr, partial(self._kill, number), end.result, forked=True)

    def _kill(self, number: int) -> None:
        """End one worker; one that the template has not forked yet, with the template."""
        if not self._ready:
            self._process.kill()
        else:
            with contextlib.suppress(OSError):
                self._control.send(MESSAGE.pack(KILL, number, 0))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        self._control.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while message := self._control.recv(MESSAGE.size):
                kind, number, status = MESSAGE.unpack(message)
                if kind == READY:
                    self._ready = True
                else:
                    with self._lock:
                        end = self._ends.pop(number)
                    end.set_result(status)
        with self._lock:
            self._gone = True
            for end in self._ends.values():
                end.set_result(None)


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


def template_main(descriptor: int) -> None:
    """Serve the parent at the other end of the socket; return in every worker, once it is set up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=descriptor)
    with uncollected():  # what every pack needs; no worker searches it for garbage
        warm_up()
        gc.freeze()
    try:
        threads = len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        threads = 0
    if threads != 1:  # or it is not known: a fork would lose the others
        os._exit(1)
    control.send(MESSAGE.pack(READY, 0, 0))
    _become_worker(*_serve(control))


def _serve(control: socket.socket) -> tuple[int, list[int]]:
    """Fork, kill and bury workers; return only in a worker: (the template's process id, its descriptors)."""
    template = os.getpid()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    workers: dict[int, int] = {}  # process by the number of the worker
    while True:
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            for number, worker in list(workers.items()):
                ended, status = os.waitpid(worker, os.WNOHANG)
                if ended:
                    del workers[number]
                    control.send(MESSAGE.pack(ENDED, number, os.waitstatus_to_exitcode(status)))
        if control.fileno() not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, MESSAGE.size, 3)
        if not message:
            os._exit(0)
        kind, number, _ = MESSAGE.unpack(message)
        if kind == KILL:
            if number in workers:
                os.kill(workers[number], signal.SIGKILL)
            continue
        process = _fork(descriptors[2])
        if process == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for inherited in (control.detach(), woken, wake):
                os.close(inherited)
            return template, descriptors
        for descriptor in descriptors:
            os.close(descriptor)
        if process is None:
            control.send(MESSAGE.pack(ENDED, number, 1))
        else:
            workers[number] = process


def _fork(stderr: int) -> int | None:
    """Fork; None, with the reason as the worker's last words, where the system refuses."""
    try:
        return os.fork()
    except OSError as problem:
        os.write(stderr, f"{problem}\n".encode())
        return None


def _become_worker(template: int, descriptors: list[int]) -> None:
    """Make this fork what a fresh interpreter would be: its streams and its surroundings."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != template:  # it ended before that could be asked for
        os._exit(1)
    for stream, descriptor in enumerate(descriptors):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    message = receive(sys.stdin.buffer)
    if message is None:
        os._exit(1)
    sys.path[:], environment, folder = pickle.loads(message)
    os.environ.clear()
    os.environ.update(environment | ONE_THREAD)
    os.chdir(folder)
