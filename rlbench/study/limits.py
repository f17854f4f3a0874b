"""What a worker may take: time without a sign of life, and memory; how much of it there is, and a replica needs.

Light: workers read it before they import anything heavy.
"""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlbench.errors import RlbenchError
from rlbench.training.limits import proc_bytes

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm

CALL_SECONDS = 60.0
SILENT_CALLS = 10  # as many times as long as a call may a rollout take, with what is learnt from it
STARTING_SECONDS = 600.0  # that a worker may at least be silent until it has imported what its pack needs

SHARE = 0.5  # of what is available, for all packs together
IMPORTED = 2**29  # bytes that a process holds before it trains, and some to spare: torch, numba and rlbench
_MOST = 0.9  # of what is available, for all workers together, whatever their packs do
_BESIDE_PACKS = 2.0**28  # bytes, for what is imported and compiled while a pack trains; about half was seen
_BEFORE_OTHERS = "500"  # of 1000, see proc_pid_oom_score_adj(5)
_CGROUP = Path("/sys/fs/cgroup")
_FLOAT = 4


def patience(silence: float, *, started: bool) -> float:
    """Return the seconds that a worker may be silent, before and after its first sign of life; 0: for ever."""
    return silence if started or not silence else max(silence, STARTING_SECONDS)


def overdue(seconds: float) -> str:
    """Return in one sentence that a worker was silent for too long."""
    return f"its worker process gave no sign of life for {seconds:g} s and was ended"


@dataclass(frozen=True)
class Limits:
    """The limits of all packs.

    `seconds` is what a call of an environment (a step, a reset) may take: one that does not return then ends its
    replica. Ten times as long may pass without a sign of life, which are: calls of environments that return, the end of
    a rollout with what was learnt from it, the end of a pack. Then the process is ended. 0: for ever; None: 60 s for
    training, and for ever for the call of a measurement's function, which gives no signs. `memory` is what a worker may
    take beyond what it imported, bytes.
    """

    seconds: float | None = None
    memory: float = math.inf

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0 <= self.seconds < math.inf:
            raise RlbenchError(f"The time limit must be a number of seconds, or 0 for none, not {self.seconds}.")

    @property
    def silence(self) -> float:
        """The seconds that may pass without a sign of life; 0: for ever."""
        return SILENT_CALLS * (self.seconds or 0.0)

    def of(self, *, trains: bool) -> Limits:
        """Return the limits of one pack, which trains or measures, with its seconds."""
        return self if self.seconds is not None else replace(self, seconds=CALL_SECONDS if trains else 0.0)


def available() -> float:
    """Return the bytes that new processes may take, as far as the system says; else infinity."""
    return min(_free(), _unlimited(_CGROUP / "memory.max", _CGROUP / "memory.current"))


def room(workers: int) -> float:
    """Return the bytes that the pack of each of `workers` processes may take beyond what they import."""
    return SHARE * available() / workers


def most(workers: int) -> float:
    """Return the bytes that each of `workers` processes may take beyond what they import, before they are refused more.

    Nearly twice the `room` that packs are made for, so only what is wrong comes near it.
    """
    return _MOST * available() / workers + _BESIDE_PACKS


def be_ended_first() -> None:
    """Let the system end this process rather than others where memory runs out in spite of the limit (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_BEFORE_OTHERS)


def replica_bytes(algorithm: Algorithm, observations: int, steps: int) -> float:
    """Return about how much one replica takes at its peak, bytes; rather too much than too little.

    A rollout is held as it was seen and once more in the order of an epoch, with a permutation per epoch; the networks'
    activations and their gradients are those of a whole rollout, since an algorithm may improve on all of it at once;
    parameters come with their gradient, Adam's two averages and a few copies.
    """
    samples, epochs = algorithm.samples_per_update, algorithm.epochs
    widths = [observations, *algorithm.hidden]
    weights = 2 * sum(before * after for before, after in zip(widths, [*algorithm.hidden, 1], strict=True))
    per_sample = _FLOAT * (4 * observations + 40) + 8 * epochs + 2 * 2 * _FLOAT * sum(algorithm.hidden)
    recorded = 4 * steps + 400 * steps / samples  # episodes and the rows of `updates`
    return float(samples * per_sample + 12 * _FLOAT * weights + recorded)


def peak() -> int:
    """Return the most memory that this process has held since `forget_peak`, bytes; 0 where it is not known."""
    return proc_bytes("self/status", "VmHWM") or 0


def held() -> int:
    """Return the memory that this process holds now, bytes; 0 where it is not known."""
    return proc_bytes("self/status", "VmRSS") or 0


def forget_peak() -> None:
    """Let `peak` begin anew, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _free() -> float:
    if (free := proc_bytes("meminfo", "MemAvailable")) is not None:
        return float(free)
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return math.inf


def _unlimited(limit: Path, current: Path) -> float:
    """Return what a control group, such as a container, leaves of its limit."""
    try:
        return float(int(limit.read_text()) - int(current.read_text()))
    except (OSError, ValueError):  # no such group, or no limit ("max")
        return math.inf
