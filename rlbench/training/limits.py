"""A time limit for every call of an environment, so that one that does not return ends its replica and not the run.

A timer's signal, four times per limit, looks whether the environments are still in the same call; raising inside the
call is what ends it. That works on the main thread of a process, where the system has such timers (not on Windows), and
as long as the environment runs Python or waits for the system; one that hangs in compiled code never notices, and is
left to who started the process (`rlbench.study.executors.local`). A call costs two assignments more than without.
"""

import contextlib
import errno
import signal
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

TICKS = 4  # of the timer per limit: a call is ended after one limit, or at most a quarter later

Call = Callable[..., Any]
"""What calls a function of an environment with arguments and returns what it returns."""


class Hanging(BaseException):
    """An environment's call took too long. No `Exception`, since environments may catch those and go on hanging."""


class _Watch:
    """Which call of an environment this process is in, and since how many ticks."""

    def __init__(self, seconds: float, alive: Callable[[], None]) -> None:
        self._seconds, self._alive = seconds, alive
        self._calls = 0
        self._inside = self._due = False
        self._seen = self._ticks = 0

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call a function of an environment; raises Hanging inside it where it takes too long."""
        if self._due:  # said here and not by the signal, which may come in the middle of a message
            self._due = False
            self._alive()
        self._calls += 1
        self._inside = True
        try:
            return function(*arguments, **named)
        finally:
            self._inside = False

    def tick(self, *_: object) -> None:
        """Look whether the call is still the one that the last tick saw."""
        self._due = True
        if not self._inside or self._calls != self._seen:
            self._seen, self._ticks = self._calls, 0
            return
        # Counted, not timed: while a laptop sleeps or a process is stopped, a clock may go on, but no tick comes.
        self._ticks += 1
        if self._ticks >= TICKS:
            self._inside = False  # raised once per call, and nowhere else
            raise Hanging(f"did not return within {self._seconds:g} s")


_active: _Watch | None = None


@contextlib.contextmanager
def watching(seconds: float, alive: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Limit each call of an environment made by this thread to `seconds`; 0: no limit.

    `alive` is called now and then while environments return. Without effect where it cannot work: on another thread
    than the main one, without timers, and where somebody else uses the timer already.
    """
    global _active
    if not seconds or not _possible():
        yield
        return
    watch = _Watch(seconds, alive)
    before = signal.signal(signal.SIGALRM, watch.tick)
    signal.setitimer(signal.ITIMER_REAL, seconds / TICKS, seconds / TICKS)
    _active = watch
    try:
        yield
    finally:
        _active = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


def caller() -> Call:
    """Return what an environment's functions are to be called with on this thread."""
    here = threading.current_thread() is threading.main_thread()
    return _active.call if _active is not None and here else plainly


def plainly(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a function without a limit."""
    return function(*arguments, **named)


def _possible() -> bool:
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    )


_TOLD = ("can't allocate memory", "out of memory")  # by torch, of the CPU's memory and of a GPU's

_limit = float("inf")


def limit_memory(size: float) -> None:
    """Let this process take at most `size` bytes beyond what it holds at the first call; infinity: no limit.

    Beyond it, allocations fail in this process, instead of the system ending one of its choice. The limit counts what
    is reserved to be written, whether written or not. Without effect where the system has no such limit.
    """
    global _limit
    held = _held()
    if not held:
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard if size == float("inf") else held + int(size)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        _limit = size


def lift_memory_limit() -> None:
    """Take back the limit of `limit_memory`, where there is one."""
    if _limit != float("inf"):
        limit_memory(float("inf"))


def shortage(error: BaseException | None) -> str:
    """Return `ran out of memory (limit 9.1 GiB)` where that is what an error or its cause says, else nothing."""
    while error is not None:
        if (
            isinstance(error, MemoryError)
            or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
            or (isinstance(error, RuntimeError) and any(words in str(error) for words in _TOLD))
        ):
            return f"ran out of memory{'' if _limit == float('inf') else f' (limit {readable(_limit)})'}"
        error = error.__cause__
    return ""


def readable(size: float) -> str:
    """Return bytes for people: `9.1 GiB`."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


@cache
def _held() -> int:
    """Return the private memory that this process had reserved at the first call, bytes; 0 where it is not known."""
    return proc_bytes("self/status", "VmData") or 0


def proc_bytes(file: str, key: str) -> int | None:
    """Return the bytes that a file of /proc names, None where it does not."""
    try:
        lines = Path("/proc", file).read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
    except (OSError, StopIteration):
        return None
