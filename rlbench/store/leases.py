"""Who is at work on a results folder: every process that trains keeps a file there, and claims in it what it trains.

    results/store/.running/<token>.json    who, what it trains and how far it is; rewritten every few seconds
    results/store/.running/<token>.lock    held by the process as long as it lives

On the machine of a process its lock says whether it lives, to the second. From another one its file does: it must not
stay as it is for `LATE` seconds on the watcher's own clock, nor bear a time further away. Claims are made under the
store's lock. Where a file system has no locks the worst is that a cell is trained twice, with the same numbers.
"""

import contextlib
import datetime
import json
import os
import platform
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from rlbench.errors import RlbenchError, explained
from rlbench.files import ANY, COUNT, SIZE, TEXT, Each, Kind, check, folder, is_number, read_json, write
from rlbench.store.entry import hold, is_cell, is_held
from rlbench.store.runs import RUNNING, STORE, Store

LATE = 120.0  # seconds without a sign of life, after which a process elsewhere counts as dead
BEAT = 3.0  # seconds between two signs of life
_FORMAT = 1

_NUMBER_OR_NONE = Kind("a number or null", lambda value: value is None or is_number(value))
_PACK = {"title": TEXT, "runs": COUNT, "step": COUNT, "total": COUNT, "mean_return": _NUMBER_OR_NONE}
_UNSAID: dict[str, Any] = {"done": 0, "runs": 0, "share": 0.0, "seconds_left": None, "packs": []}
_LEASE = {
    "format": Kind("a version that is known", lambda value: value == _FORMAT),
    **dict.fromkeys(("host", "machine", "started"), TEXT),
    "pid": COUNT,
    "claimed": [Kind("the name of a cell", lambda value: isinstance(value, str) and is_cell(value))],
    "experiments": [{"name": TEXT, "suite": TEXT}],
    "done": COUNT,
    "runs": COUNT,
    "share": SIZE,
    "seconds_left": _NUMBER_OR_NONE,
    "packs": [_PACK],
}


class Holder(NamedTuple):
    """A process that is at work on a results folder, or was and ended without a word."""

    token: str
    alive: bool
    age: float  # seconds since its last sign of life
    sign: float  # the time of its file
    document: dict[str, Any]

    @property
    def claimed(self) -> frozenset[str]:
        """The cells that it trains."""
        return frozenset(self.document["claimed"])

    @property
    def name(self) -> str:
        """The process as people look for it."""
        return f"process {self.document['pid']} on {self.document['host']}"


def holders(results_dir: str | Path, now: float | None = None) -> list[Holder]:
    """Return the processes whose files lie in a results folder, the first to start first.

    `now` is the time on the clock of the file system, where it is known. Files that are not of that kind are passed
    over.
    """
    listed = []
    for path in (Path(results_dir) / STORE / RUNNING).glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            sign = path.lstat().st_mtime
            age = (time.time() if now is None else now) - sign
            document = read_json(path)
            check(document, Each(ANY), "it")
            document = _UNSAID | document
            check(document, _LEASE, "it")
            listed.append(Holder(path.stem, _lives(path, document, age), max(age, 0.0), sign, document))
    return sorted(listed, key=lambda holder: (holder.document["started"], holder.token))


class Lease:
    """The own process as others see it, until `close`: `about` never changes, `describe()` says how far it is.

    Raises RlbenchError where the folder cannot be written to; later on a disk that refuses delays a sign of life only.
    """

    def __init__(self, store: Store, about: dict[str, Any]) -> None:
        self.describe: Callable[[], dict[str, Any]] = dict
        self._store = store
        self._token = secrets.token_hex(8)
        # Absolute, since code of users may change the working directory while it trains in this process.
        self._root = store.root.absolute()
        self._path = self._root / STORE / RUNNING / f"{self._token}.json"
        self._claimed: dict[str, None] = {}
        self._seen: dict[str, tuple[float, float]] = {}  # of others: (last sign, when it was first seen here)
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._descriptor: int | None = None
        self._about = {
            "format": _FORMAT,
            "host": platform.node(),
            "machine": _machine(),
            "pid": os.getpid(),
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **about,
        }
        try:
            with explained(f"Cannot write to {self._path.parent}"):
                folder(self._path.parent, inside=self._root)
                self._descriptor = hold(self._path.with_suffix(".lock"))
                self._write()
        except RlbenchError:
            self.close()
            raise
        threading.Thread(target=self._beat, daemon=True).start()

    @property
    def path(self) -> Path:
        """The file of this process, absolute: who sees it there sees this results folder."""
        return self._path.resolve()

    def others(self) -> list[Holder]:
        """Return the other processes at work, and remove the files of those that ended without a word."""
        now = None
        with contextlib.suppress(OSError):
            os.utime(self._path)
            now = self._path.stat().st_mtime
        others = [holder for holder in holders(self._store.root, now) if holder.token != self._token]
        living = [holder for holder in others if holder.alive and not self._is_silent(holder)]
        for holder in others:
            if holder not in living:
                for suffix in (".json", ".lock"):
                    with contextlib.suppress(OSError):
                        (self._path.parent / f"{holder.token}{suffix}").unlink()
        return living

    def _is_silent(self, other: Holder) -> bool:
        # By the clock of this process, whatever others were set to meanwhile.
        sign, since = self._seen.get(other.token, (None, 0.0))
        if sign != other.sign:
            self._seen[other.token] = (other.sign, time.monotonic())
            return False
        return time.monotonic() - since > LATE

    def companions(self) -> list[Holder]:
        """Return the other processes that are at work on an experiment that this one works on."""
        mine = self._about["experiments"]
        return [other for other in self.others() if any(each in mine for each in other.document["experiments"])]

    def claim(self, choose: Callable[[set[str]], Iterable[str]]) -> None:
        """Claim the cells that `choose` returns of the set of those that others hold, and so must not be among them."""
        with self._store.locked():
            held = {cell for other in self.others() for cell in other.claimed}
            self._claimed.update(dict.fromkeys(choose(held)))
            with contextlib.suppress(OSError):
                self._write()

    def release(self, cells: Iterable[str]) -> None:
        """Say that these cells are stored, or will not be trained here."""
        for cell in cells:
            self._claimed.pop(cell, None)
        with contextlib.suppress(OSError):
            self._write()

    def close(self) -> None:
        """Remove the files of this process."""
        self._ended.set()
        with self._writing, contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            with contextlib.suppress(OSError):
                self._path.with_suffix(".lock").unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with contextlib.suppress(OSError):
                self._write()

    def _write(self) -> None:
        with self._writing:
            if self._ended.is_set():
                return
            document = {**self._about, "claimed": list(self._claimed), **self.describe()}
            write(self._path, json.dumps(document), inside=self._root)


def _lives(path: Path, document: dict[str, Any], age: float) -> bool:
    if document["machine"] == _machine() and is_held(path.with_suffix(".lock")) is False:
        return False
    return abs(age) <= LATE


@cache
def _machine() -> str:
    """Return what tells this system, since it started, from every other: their locks do not reach each other."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{platform.node()}-{uuid.getnode():x}"
