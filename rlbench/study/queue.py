"""What is to be trained: again after it failed, and by one of several processes.

A pack that ends without results - its process died or was ended, there was no memory left, training raised - is tried
again in two halves, and these in halves, until what is guilty is alone. The others have finished by then, with the
numbers that they would have had anyhow, since a run's numbers do not depend on its pack. Of R cells, one that fails
costs about 2 log2(R) starts, and where all fail there are 2 R - 1: it cannot be concluded from two halves that fail
alike that every cell in them does.

What is alone is tried once more where that may help: not after training raised, which it does again. It is then started
in a new interpreter, in case being forked is what it does not survive.

Where several processes train the cells of one results folder, packs are claimed one by one, at the moment a worker is
free for them, without the cells that another process trains or has stored. What others train is waited for; it is taken
over from one that died.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlbench.records import RunRecord, empty_episodes

if TYPE_CHECKING:  # light, as executors are
    from rlbench.store import Store
    from rlbench.store.entry import Signature
    from rlbench.store.leases import Lease
    from rlbench.study.plan import Cell
    from rlbench.study.schedule import Pack


@dataclass(frozen=True)
class PackResult:
    """A pack ended: with the `records` of its runs, or without, because training raised or its process died.

    `again`: whether the same pack may end otherwise when it is tried again. `lost` times it was begun on a machine that
    was lost, for which it is not to blame.
    """

    pack: Pack
    records: list[RunRecord] | None = None
    reason: str = ""
    detail: str = ""
    again: bool = False
    lost: int = 0


@dataclass(frozen=True, eq=False)
class Attempt:
    """One start of a pack, its cells' `number`th. `fresh`: in a new interpreter; `last`: whatever becomes of it."""

    pack: Pack
    number: int = 1
    fresh: bool = False
    last: bool = False


class RetryQueue:
    """What is still to be trained: first what is tried again, then the packs given, each taken when it is asked for.

    `again=False`: nothing is tried again.
    """

    def __init__(self, packs: Iterable[Pack], *, again: bool = True) -> None:
        self._packs, self._again = iter(packs), again
        self._waiting: deque[Attempt] = deque()

    def take(self) -> Attempt | None:
        """Return what is to be started next; None where nothing is left for now."""
        if self._waiting:
            return self._waiting.popleft()
        pack = next(self._packs, None)
        return None if pack is None else Attempt(pack)

    def resolve(self, attempt: Attempt, result: PackResult) -> Iterator[tuple[Pack, list[RunRecord]]]:
        """Yield what of an attempt is final, its cells with their records, and keep what is to be tried again."""
        pack, number = attempt.pack, attempt.number + result.lost
        records = result.records
        if records is None:
            if again := self._parts(attempt, number + 1, result.again):
                self._waiting.extendleft(again[::-1])
                return
            records = [
                RunRecord("failed", result.reason, 0, empty_episodes(), {}, detail=result.detail) for _ in pack.cells
            ]
        final = []
        for cell, record in zip(pack.cells, records, strict=True):
            if record.again and self._again and not attempt.last:
                self._waiting.append(Attempt(pack.part([cell]), number + 1, last=True))
            else:
                record.attempts = number
                final.append((cell, record))
        if len(final) == len(records):
            yield pack, records
        elif final:
            cells, kept = zip(*final, strict=True)
            yield pack.part(cells), list(kept)

    def _parts(self, attempt: Attempt, number: int, may_end_otherwise: bool) -> list[Attempt]:
        if not self._again:
            return []
        if halves := attempt.pack.halves():
            return [Attempt(half, number) for half in halves]
        return [Attempt(attempt.pack, number, fresh=True, last=True)] if may_end_otherwise and not attempt.last else []


POLL_SECONDS = 1.0

Elsewhere = tuple["Cell", dict[str, Any]]
"""A cell that another process trained meanwhile, and the manifest that it left."""


class ClaimQueue(Iterator["Pack"]):
    """The packs that this process trains, without what other processes have, and with what those leave.

    The cells of `packs` were not stored, or failed earlier, when the command began, which was just before; `plan` makes
    packs of what is left of them, and `elsewhere` gets what others have stored. Packs may be asked for again after
    there was none: what others hold may have become free.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        store: Store,
        lease: Lease,
        plan: Callable[[Sequence[Cell]], list[Pack]],
        elsewhere: Callable[[list[Elsewhere]], None],
    ) -> None:
        self._packs = [*packs][::-1]
        self._left = {cell.id: cell for pack in packs for cell in pack.cells}  # not stored, nor failed in this command
        self._store, self._lease, self._plan, self._elsewhere = store, lease, plan, elsewhere
        self._mine: set[str] = set()
        self._before = {name: self._failed(name) for name in self._left}
        self._reported: set[str] = set()  # tokens of those who are waited for

    @property
    def waiting(self) -> int:
        """How many packs are planned and not yet begun."""
        return len(self._packs)

    @property
    def done(self) -> bool:
        """Whether every cell is stored, or failed in this command, here or elsewhere."""
        return not self._left

    def __next__(self) -> Pack:
        while True:
            if not self._packs:
                self._packs = self._plan(self._free())[::-1]
            if not self._packs:
                raise StopIteration
            pack = self._packs.pop()
            if cells := self._claim(pack.cells):
                return pack.part(cells)

    def stored(self, cells: Iterable[Cell]) -> None:
        """Take in that this process has stored cells that it had claimed."""
        names = [cell.id for cell in cells]
        for name in names:
            self._left.pop(name, None)
        self._mine.difference_update(names)
        self._lease.release(names)

    def wait(self, report: Callable[[str], None]) -> None:
        """Wait until a cell is free that others held, or all are done; `report` who is waited for."""
        while self._left and not self._free():
            for other in self._lease.others():
                number = len(other.claimed & self._left.keys())
                if number and other.token not in self._reported:
                    self._reported.add(other.token)
                    report(f"{number} run{' is' if number == 1 else 's are'} trained by {other.name}; waiting for it.")
            time.sleep(POLL_SECONDS)

    def _free(self) -> list[Cell]:
        """Return the cells that no process trains, after what others have stored since is taken out."""
        held = {cell for other in self._lease.others() for cell in other.claimed}
        unheld = [name for name in self._left if name not in held and name not in self._mine]
        return [self._left[name] for name in self._without_stored(unheld)]

    def _claim(self, cells: Sequence[Cell]) -> list[Cell]:
        chosen: list[str] = []

        def choose(held: set[str]) -> list[str]:
            open_ = (cell.id for cell in cells if cell.id in self._left and cell.id not in self._mine)
            chosen.extend(self._without_stored([name for name in open_ if name not in held]))
            return chosen

        self._lease.claim(choose)
        self._mine.update(chosen)
        return [self._left[name] for name in chosen]

    def _without_stored(self, names: Sequence[str]) -> list[str]:
        """Return the names of which nothing was stored since this command began, and count those of the others."""
        changed = {name for name in names if self._store.stamp(name) != self._before[name]}
        manifests = self._store.manifests(changed)
        for name in changed - manifests.keys():
            self._before[name] = self._store.stamp(name)  # damaged: trained, and set aside, by whoever is first
        if manifests:
            self._elsewhere([(self._left.pop(name), manifest) for name, manifest in manifests.items()])
        return [name for name in names if name in self._left]

    def _failed(self, name: str) -> Signature | None:
        """Return the stamp of a run that failed, and so is tried again; None for all others."""
        stamp = self._store.stamp(name)
        manifest = self._store.manifest(name) if stamp else None
        return stamp if manifest and manifest["status"] == "failed" else None
