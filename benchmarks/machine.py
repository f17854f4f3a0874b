"""The machine that measured, and what else it was doing meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from rlbench.study.provenance import provenance


def describe() -> dict[str, Any]:
    """Return commit, package versions, processor, cores and memory; not the machine's name."""
    made = provenance(workers=0)
    machine = {**made["machine"], "memory_gib": round(_memory() / 2**30, 1)}
    return {key: made[key] for key in ("commit", "dirty", "versions", "created")} | {"machine": machine}


class Bystanders:
    """How much processor time went to other processes while this one and its children measured."""

    def __init__(self) -> None:
        self._load = os.getloadavg()[0]
        self._started, self._own, self._all = time.perf_counter(), _own(), _all()

    def report(self) -> dict[str, Any]:
        """Return the load average before, and the cores that others kept busy on average (None: not known)."""
        others = None
        if self._all is not None and (now := _all()) is not None:
            seconds = time.perf_counter() - self._started
            others = round(max(now - self._all - (_own() - self._own), 0.0) / seconds, 2)
        return {"load_before": round(self._load, 2), "cores_used_by_others": others}


def _own() -> float:
    """Return the processor time of this process and of the children it has waited for, seconds."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _all() -> float | None:
    """Return the time that all cores were busy since the start of the system, seconds; Linux only."""
    try:
        words = Path("/proc/stat").read_text().splitlines()[0].split()
    except OSError:
        return None
    user, nice, system = map(int, words[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def _memory() -> int:
    """Return the size of the main memory, bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
