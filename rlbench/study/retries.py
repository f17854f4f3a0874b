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

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from rlbench.records import RunRecord, empty_episodes
from rlbench.study.packs import Pack, halves


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
