"""The program of the template process: it imports once what training needs, and forks a worker per request.

It has one thread, so that a fork is safe, and never trains itself. Requests come in on a socket that keeps messages
apart, each a `MESSAGE` (kind, number of the worker, status): "f" with the worker's stdin, stdout and stderr attached
forks one, "k" kills one. It answers "r" once it is ready and "e" with the status when a worker has ended. Where the
socket ends, the parent is gone: the template ends, and the system ends its workers with it.

A worker's first message, before its packs, is the pickled `Setting` that its parent has by then.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import select
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import NamedTuple

from rlbench.study.executors.worker import ONE_THREAD, receive
from rlbench.study.startup import uncollected, warm_up

MESSAGE = struct.Struct("=cIi")
FORK, KILL, READY, ENDED = b"f", b"k", b"r", b"e"
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


class Setting(NamedTuple):
    """What a fresh interpreter would inherit from the parent and a fork of the template would not."""

    path: list[str]
    environment: dict[str, str]
    folder: str


def main(descriptor: int) -> None:
    """Serve the parent at the other end of the socket; return in every worker, once it is set up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=descriptor)
    _import()
    if not _has_one_thread():
        os._exit(1)
    control.send(MESSAGE.pack(READY, 0, 0))
    _become_worker(*_serve(control))


def _import() -> None:
    """Import what every pack needs, and let no worker search it for garbage."""
    with uncollected():
        warm_up()
        gc.freeze()


def _has_one_thread() -> bool:
    """Return whether this process is known to have no other thread, which a fork would lose."""
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


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
            _bury(workers, control)
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


def _bury(workers: dict[int, int], control: socket.socket) -> None:
    """Say how those of the workers ended that have."""
    for number, process in list(workers.items()):
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            del workers[number]
            control.send(MESSAGE.pack(ENDED, number, os.waitstatus_to_exitcode(status)))


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
    setting = Setting(*pickle.loads(message))
    sys.path[:] = setting.path
    os.environ.clear()
    os.environ.update(setting.environment | ONE_THREAD)
    os.chdir(setting.folder)
