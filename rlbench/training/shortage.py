"""A limit on the memory of this process, and whether an error says that there was none left."""

from __future__ import annotations

import contextlib
import errno
from functools import cache
from pathlib import Path

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
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:"))
    except (OSError, StopIteration):
        return 0
