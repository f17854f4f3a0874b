"""The signs of life of a command that trains: what its lease says of its progress, for `rlbench status`."""

from __future__ import annotations

import math
from typing import Any

from rlbench.records import Progress
from rlbench.study.packs import Pack
from rlbench.study.pool import Event
from rlbench.study.progress import Meter


class Signs:
    """How far the packs are that train, and the whole; written and read by different threads."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._packs: dict[Pack, Progress] = {}

    def event(self, event: Event) -> None:
        """Take in the progress of a pack."""
        if event.pack is not None and event.progress is not None:
            self._packs[event.pack] = event.progress

    def ended(self, pack: Pack) -> None:
        """Take in the end of a pack, which may be a part of one that was heard of."""
        for one in [one for one in list(self._packs) if not {*one.cells}.isdisjoint(pack.cells)]:
            del self._packs[one]

    def document(self) -> dict[str, Any]:
        """Return runs done and planned, seconds left (None: not known) and each pack that trains, as JSON."""
        return {
            "done": self._meter.done,
            "runs": self._meter.runs,
            "share": self._meter.share,
            "seconds_left": self._meter.seconds_left,
            "packs": [
                {
                    "title": pack.title,
                    "runs": len(pack.cells),
                    "step": progress.step,
                    "total": progress.total,
                    "mean_return": progress.mean_return if math.isfinite(progress.mean_return) else None,
                }
                for pack, progress in list(self._packs.items())
            ],
        }
