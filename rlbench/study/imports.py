"""What importing much at once costs: garbage is searched for, again and again, where there is none."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
from collections.abc import Iterator
from functools import cache


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage meanwhile: imports leave none, and every search for it takes longer than the one before."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@cache
def leave_quickly() -> None:
    """Let this process end without a last search for garbage, which takes longer than half a second after torch.

    Python promises no `__del__` of what is left by then. Nor does it promise that what was written to files that were
    never closed reaches the disk; it does so if they are found in that search, hence they are flushed here.
    """
    atexit.register(_freeze)


def _freeze() -> None:
    kinds = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)  # texts first: they write into the others
    files = [one for one in gc.get_objects() if type(one) in kinds]
    for file in sorted(files, key=lambda one: kinds.index(type(one))):
        with contextlib.suppress(OSError, ValueError):  # closed, or nowhere to write to
            file.flush()
    gc.freeze()
