"""Files that several processes, perhaps on several machines, read and replace in one folder.

The package `filelock` would do for `exclusively` only: it cannot ask whether another process holds a lock without
taking that lock, and where a file system has no locks it turns to marker files, which a killed process leaves behind.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlbench.files import opened

fcntl: Any
try:
    import fcntl
except ImportError:  # on Windows, where leases are then judged by their heartbeat alone
    fcntl = None

_PATIENCE = 20.0  # seconds for a lock that is held for milliseconds: who holds it longer was stopped


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` meanwhile, and yield whether it is held.

    It is not where the file system has no locks, or its holder was stopped; what is done under it must then be harmless
    to do twice. The file stays: a lock file that is removed may be locked by two.
    """
    try:
        descriptor = opened(path, os.O_RDWR | os.O_CREAT)
    except OSError:
        yield False
        return
    deadline = time.monotonic() + _PATIENCE
    try:
        while not (held := _locks(descriptor)) and fcntl and time.monotonic() < deadline:
            time.sleep(0.005)
        yield held
    finally:
        os.close(descriptor)


def hold(path: Path) -> int | None:
    """Create the lock file `path` and hold it until `os.close` of what is returned; None where it cannot be locked.

    A process that is killed, however, lets go of it.
    """
    descriptor = opened(path, os.O_RDWR | os.O_CREAT)
    if _locks(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def is_held(path: Path) -> bool | None:
    """Return whether another process holds the lock file `path`; None if that cannot be known here."""
    if fcntl is None:
        return None
    try:
        descriptor = opened(path)
    except OSError:
        return None
    try:
        # Shared, so that two who ask at once do not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)


def sync(directory: Path) -> None:
    """Make what was created or renamed in a folder durable, where the system can open folders."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _locks(descriptor: int) -> bool:
    try:
        if fcntl:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fcntl is not None
    except OSError:
        return False
