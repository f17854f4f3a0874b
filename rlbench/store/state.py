"""How far the experiments of a results folder are: what `rlbench status` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from rlbench.store.leases import Holder
from rlbench.store.runs import Store


class Known(NamedTuple):
    """An experiment by its name, the suite that it ran in (or none), and its cells."""

    name: str
    suite: str
    cells: Collection[str]


class State(NamedTuple):
    """How many runs are planned, and how many of them are in which state; a run is in exactly one."""

    planned: int
    finished: int
    diverged: int
    failed: int
    running: int
    missing: int


def states(experiments: Sequence[Known], store: Store, holders: Iterable[Holder]) -> tuple[list[State], State]:
    """Return the state of each experiment, and that of all their different runs together.

    A run that a living process trains is running, even where an earlier attempt failed.
    """
    cells = dict.fromkeys(cell for one in experiments for cell in one.cells)
    claimed = {cell for one in holders if one.alive for cell in one.claimed}
    found = {cell: manifest["status"] for cell, manifest in store.manifests(cells).items()}
    for cell in claimed & cells.keys():
        if found.get(cell) not in ("finished", "diverged"):
            found[cell] = "running"
    return [_state(one.cells, found) for one in experiments], _state(cells, found)


def _state(cells: Collection[str], found: dict[str, str]) -> State:
    different = dict.fromkeys(cells)
    counts = Counter(found.get(cell, "missing") for cell in different)
    return State(len(different), *(counts[name] for name in State._fields[1:]))
