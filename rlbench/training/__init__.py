"""Training: one program for R replicas, from environment steps to run records.

What stands here the command line finds without importing anything heavy.
"""

import platform
import re
from functools import cache
from pathlib import Path

from rlbench.errors import RlbenchError

INTERVAL = 120.0
"""Seconds between two checkpoints of a pack."""

EPISODES = 20
"""Of an evaluation during training, where nobody says."""

BLOCK = 24
"""Replicas of a pack that train at a time on the CPU. With many more, what a gradient step works on leaves the
processor's own cache, and every replica costs up to a fifth more."""


def check_device(name: str) -> None:
    """Raise RlbenchError for what is no name of a device, whether that is there or not."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise RlbenchError(f"There is no device {name!r}; it is cpu, cuda or cuda:N.")


@cache
def processor() -> str:
    """Return the name of the processor, which Python itself does not know on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
