"""What a pack may take before it is ended: time without a sign of life, and memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from rlbench.errors import RlbenchError
from rlbench.study.measuring import MeasuredCell
from rlbench.study.packs import Pack

CALL_SECONDS = 60.0
SILENT_CALLS = 10  # as many times as long as a call may a rollout take, with what is learnt from it
STARTING_SECONDS = 600.0  # that a worker may at least be silent until it has imported what its pack needs


class PackLimits(NamedTuple):
    """The limits of one pack: of a call of an environment, of silence (seconds, 0: none), and of memory, bytes."""

    call: float
    silence: float
    memory: float


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

    def of(self, pack: Pack) -> PackLimits:
        """Return the limits of one pack."""
        default = 0.0 if isinstance(pack.cells[0], MeasuredCell) else CALL_SECONDS
        seconds = default if self.seconds is None else self.seconds
        return PackLimits(seconds, SILENT_CALLS * seconds, self.memory)
