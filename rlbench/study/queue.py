"""What is trained again after it failed, so that one bad run takes no other along.

A pack that ends without results - its process died or was ended, there was no memory left, training raised - is tried
again in two halves, and these in halves, until what is guilty is alone. The others have finished by then, with the
numbers that they would have had anyhow, since a run's numbers do not depend on its pack. Of R cells, one that fails
costs about 2 log2(R) starts, and where all fail there are 2 R - 1: it cannot be concluded from two halves that fail
alike that every cell in them does.

What is alone is tried once more where that may help: not after training raised, which it does again. It is then started
in a new interpreter, in case being forked is what it does not survive.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlbench.records import RunRecord, empty_episodes
from rlbench.store import Store
from rlbench.store.entry import Signature
from rlbench.store.leases import Holder, Lease
from rlbench.study.plan import AnyCell
from rlbench.study.schedule import Pack, halves


@dataclass(frozen=True)
class Ended:
    """A pack ended: with the `records` of its runs, or without, because training raised or its process died.

    `again`: whether the same pack may end otherwise when it is tried again. `lost` times it was begun on a machine that
    was lost, for which it is not to blame.
    """

    pack: Pack
    records: list[Any] | None = None
    reason: str = ""
    detail: str = ""
    again: bool = False
    lost: int = 0


@dataclass(frozen=True, eq=False)
class Try:
    """One start of a pack; `attempts` counts those of its cells, this one included. `fresh`: in a new interpreter."""

    pack: Pack
    attempts: int = 1
    fresh: bool = False
    last: bool = False


class Agenda:
    """What is still to be trained: first what is tried again, then the packs given, each taken when it is asked for.

    `again=False`: nothing is tried again.
    """

    def __init__(self, packs: Iterable[Pack], *, again: bool = True) -> None:
        self._packs, self._again = iter(packs), again
        self._waiting: deque[Try] = deque()

    def take(self) -> Try | None:
        """Return what is to be started next; None where nothing is left for now."""
        if self._waiting:
            return self._waiting.popleft()
        pack = next(self._packs, None)
        return None if pack is None else Try(pack)

    def settle(self, tried: Try, ended: Ended) -> tuple[Pack, list[RunRecord]] | None:
        """Return what of a try is final, its cells with their records, and keep what is to be tried again."""
        records = ended.records
        tried = replace(tried, attempts=tried.attempts + ended.lost)
        if records is None:
            if again := self._parts(tried, ended):
                self._waiting.extendleft(again[::-1])
                return None
            records = failed_records(tried.pack, ended.reason, ended.detail)
        final = []
        for cell, record in zip(tried.pack.cells, records, strict=True):
            if record.again and self._again and not tried.last:
                alone = Pack((cell,), tried.pack.cost / len(records))
                self._waiting.append(Try(alone, tried.attempts + 1, last=True))
            else:
                record.attempts = tried.attempts
                final.append((cell, record))
        if len(final) == len(records):
            return tried.pack, records
        if not final:
            return None
        cells, kept = zip(*final, strict=True)
        return Pack(cells, tried.pack.cost * len(cells) / len(records)), list(kept)

    def _parts(self, tried: Try, ended: Ended) -> list[Try]:
        if not self._again:
            return []
        if parts := halves(tried.pack):
            return [Try(part, tried.attempts + 1) for part in parts]
        if ended.again and not tried.last:
            return [Try(tried.pack, tried.attempts + 1, fresh=True, last=True)]
        return []


def failed_records(pack: Pack, reason: str, detail: str) -> list[RunRecord]:
    """Return the record of a failed run for every cell of a pack."""
    return [RunRecord("failed", reason, 0, empty_episodes(), {}, detail=detail) for _ in pack.cells]


# One command's part of the work, where several processes may train the cells of one results folder.
#
# Packs are claimed one by one, at the moment a worker is free for them, without the cells that another process trains
# or has stored. What others train is waited for; it is taken over from one that died.

POLL_SECONDS = 1.0

Outcome = tuple[AnyCell, dict[str, Any]]
"""A cell that another process trained meanwhile, and the manifest that it left."""


class Share(Iterator[Pack]):
    """The packs that this process trains, without what other processes have, and with what those leave.

    `cells` were not stored, or failed earlier, when the command began, which was just before. Packs may be asked for
    again after there was none: what others hold may have become free.
    """

    def __init__(self, cells: Sequence[AnyCell], store: Store, lease: Lease) -> None:
        self._left = {cell.id: cell for cell in cells}  # neither stored nor, in this command, failed
        self._store, self._lease = store, lease
        self._mine: set[str] = set()
        self._before = {name: self._failed(name) for name in self._left}
        self._packs: list[Pack] = []
        self._said: set[str] = set()  # tokens of those who are waited for

    def begin(
        self,
        packs: Sequence[Pack],
        plan: Callable[[Sequence[AnyCell]], list[Pack]],
        elsewhere: Callable[[list[Outcome]], None],
    ) -> None:
        """Train these packs first; `plan` makes packs of cells, `elsewhere` hears of what others have stored."""
        self._packs, self._plan, self._elsewhere = [*packs][::-1], plan, elsewhere

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
                return Pack(cells, pack.cost * len(cells) / len(pack.cells))

    def stored(self, cells: Iterable[AnyCell]) -> None:
        """Take in that this process has stored cells that it had claimed."""
        names = [cell.id for cell in cells]
        for name in names:
            self._left.pop(name, None)
        self._mine.difference_update(names)
        self._lease.release(names)

    def wait(self, say: Callable[[str], None]) -> None:
        """Wait until a cell is free that others held, or all are done; `say` who is waited for."""
        while self._left and not self._free():
            for one in self._lease.others():
                number = len(one.claimed & self._left.keys())
                if number and one.token not in self._said:
                    self._said.add(one.token)
                    say(f"{number} run{' is' if number == 1 else 's are'} trained by {one.name}; waiting for it.")
            time.sleep(POLL_SECONDS)

    def _free(self) -> list[AnyCell]:
        """Return the cells that no process trains, after what others have stored since is taken out."""
        held = self._held(self._lease.others())
        unheld = [name for name in self._left if name not in held and name not in self._mine]
        return [self._left[name] for name in self._without_stored(unheld)]

    def _claim(self, cells: Sequence[AnyCell]) -> tuple[AnyCell, ...]:
        chosen: list[str] = []

        def choose(held: set[str]) -> list[str]:
            open_ = (cell.id for cell in cells if cell.id in self._left and cell.id not in self._mine)
            chosen.extend(self._without_stored([name for name in open_ if name not in held]))
            return chosen

        self._lease.claim(choose)
        self._mine.update(chosen)
        return tuple(self._left[name] for name in chosen)

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

    @staticmethod
    def _held(others: Sequence[Holder]) -> set[str]:
        return {cell for one in others for cell in one.claimed}
