"""Training: one program for R replicas, from environment steps to run records.

What stands here the command line finds without importing anything heavy.
"""

import platform
from functools import cache
from pathlib import Path

INTERVAL = 120.0
"""Seconds between two checkpoints of a pack."""

BLOCK = 24
"""Replicas of a pack that train at a time on the CPU. With many more, what a gradient step works on leaves the
processor's own cache, and every replica costs up to a fifth more."""


@cache
def processor() -> str:
    """Return the name of the processor, which Python itself does not know on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
