"""Waiting until something happens, however long a busy machine takes."""

from __future__ import annotations

import time
from collections.abc import Callable

HANGS = 600.0
"""Seconds after which a test gives up, which only keeps it from hanging for ever."""


def wait_until(condition: Callable[[], object], possible: Callable[[], bool] = lambda: True) -> None:
    """Wait until `condition` holds; fail where it does not and is no longer `possible`."""
    until = time.monotonic() + HANGS
    while not condition():
        going = possible() and time.monotonic() < until
        assert going or condition(), "what is waited for does not happen"
        time.sleep(0.02)
