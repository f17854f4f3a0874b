"""A part of an experiment's runs, for a process that shares a results folder and nothing else with those of the others.

Which shard a run belongs to is a function of the run and the number of shards, so shards compose by themselves, however
the experiment grows. The seeds of an arm in an environment are dealt out in turn, beginning anywhere: every shard gets
as many of each, within one, and so packs as large as can be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlbench.errors import RlbenchError
from rlbench.store.entry import cell_id

if TYPE_CHECKING:  # a mistaken --shard is said before anything heavy is imported
    from rlbench.study.plan import AnyCell


@dataclass(frozen=True)
class Shard:
    """The shard `index`, from 1, of `count`."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, cell: AnyCell) -> bool:
        """Return whether a run belongs to this shard."""
        return shard_of(cell, self.count) == self.index


def shard_of(cell: AnyCell, count: int) -> int:
    """Return the index, from 1, of the shard of `count` that a run belongs to.

    The runs that one call of a measurement's function gives stay together.
    """
    from rlbench.study.measuring import MeasuredCell

    if isinstance(cell, MeasuredCell):
        document = {"measurement": cell.name, "environment": cell.environment.label}
    else:
        document = {name: value for name, value in cell.identity.items() if name != "seed"}
    return (int(cell_id(document)[:8], 16) + cell.seed) % count + 1


def parse_shard(text: str) -> Shard:
    """Return the shard that `2/3` names; RlbenchError for anything else."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise RlbenchError(
            f"--shard {text} names no part of the runs; it is I/N with I from 1 to N: 2/3 is the second of three."
        )
    return Shard(int(found[1]), int(found[2]))
