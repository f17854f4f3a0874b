"""A cache of the manifests of a store, so that ten thousand of them are read as one file and not as ten thousand.

    results/store/.index.json    a line with the SHA-256 of the rest, then one JSON document

An entry's manifest is taken from here only while its files have the times, sizes and numbers that they had when they
were read; that its tables have their checksums is remembered in the same way. A damaged, missing or foreign
index is only a lost cache.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rlbench.errors import RlbenchError, explained
from rlbench.files import folder, is_stale, numbered, read_bytes, refuse_links, write
from rlbench.records import RunRecord
from rlbench.store.entry import (
    POLICY,
    SCHEMA,
    TABLES,
    NewerSchema,
    Signature,
    cell_id,
    exclusively,
    file_bytes,
    is_cell,
    policy_bytes,
    read_manifest,
    read_table,
    signature,
    sync,
    write_entry,
)

if TYPE_CHECKING:
    import pyarrow as pa


FILE = ".index.json"
_FORMAT = [1, SCHEMA]
_SETTLED_SECONDS = 2.0  # a file may change again within one tick of its file system's clock, unnoticed by its times
_WORTHWHILE = 100  # entries that had to be read, for the index to be written anew

_Known = list[Any]  # [signature as a list, whether the tables have their checksums, manifest]


class Index:
    """What is known of the entries of a store, by their names; loaded from `folder` when it is first asked."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._new = 0

    @cached_property
    def _entries(self) -> dict[str, _Known]:
        return _read(self._path)

    def get(self, name: str, signature: Signature, *, verified: bool = False) -> dict[str, Any] | None:
        """Return the manifest of an entry whose files have this signature; `verified`: and intact tables."""
        known = self._entries.get(name)
        if known is None or known[0] != list(signature) or (verified and not known[1]):
            return None
        manifest: dict[str, Any] = known[2]
        return manifest

    def put(self, name: str, signature: Signature, manifest: dict[str, Any], *, verified: bool) -> None:
        """Keep a manifest that was read from files which had this signature before and after."""
        newest = max(max(signature[0::4]), max(signature[1::4]))
        if newest / 1e9 < time.time() - _SETTLED_SECONDS:
            self._entries[name] = [list(signature), verified, manifest]
            self._new += 1

    def forget(self, name: str) -> None:
        """Forget an entry that turned out to be damaged, whatever its files' times say."""
        if self._entries.pop(name, None) is not None:
            self._new += _WORTHWHILE

    def keep(self, names: Iterable[str]) -> None:
        """Forget all other entries."""
        for gone in self._entries.keys() - set(names):
            del self._entries[gone]

    def save(self) -> None:
        """Write the index if that saves the next reader much; a folder that cannot be written to is no matter here."""
        if self._new < _WORTHWHILE:
            return
        data = json.dumps({"format": _FORMAT, "entries": self._entries}, separators=(",", ":")).encode()
        with contextlib.suppress(OSError):
            write(self._path, hashlib.sha256(data).hexdigest().encode() + b"\n" + data, inside=self._path.parent.parent)
            self._new = 0


def _read(path: Path) -> dict[str, _Known]:
    enabled = gc.isenabled()
    gc.disable()  # millions of small objects, none of them garbage
    try:
        digest, _, data = read_bytes(path).partition(b"\n")
        if hashlib.sha256(data).hexdigest().encode() != digest:
            return {}
        document = json.loads(data)
        entries: dict[str, _Known] = document["entries"] if document["format"] == _FORMAT else {}
        return entries
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    finally:
        if enabled:
            gc.enable()


# Where runs are kept, one entry per cell; no torch here. `docs/store.md` describes every file.
#
# An entry is written under a temporary name and renamed, so it exists whole or not at all. An entry that does not read
# as what its name says is never trusted and never deleted: it counts as missing, `Store.messages` says why, and who
# trains the cell sets it aside, into `.set-aside`. What else lies in the folder is left alone.

Content = TypeVar("Content")

STORE = "store"  # the folder of the entries
LOCK = ".lock"
ASIDE = ".set-aside"
RUNNING = ".running"  # who trains what, see `rlbench.store.leases`
CHECKPOINTS = ".checkpoints"  # runs in training, see `rlbench.training.checkpoints`
COSTS = "costs.json"  # what packs took, for planning the next ones
_AGAIN_SECONDS = 0.02  # after which an entry that another process may be replacing is read once more
_MANY = 200  # entries, for which the index is worth loading


class Store:
    """The entries under `root/store`; `messages` says which of them could not be trusted, and why."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.directory = self.root / STORE
        self.messages: list[str] = []
        self.distrusted: dict[str, Exception] = {}
        self._index = Index(self.directory)

    def manifest(self, cell: str, *, thorough: bool = False) -> dict[str, Any] | None:
        """Return the manifest of a trusted entry, or None; `thorough` also compares the checksums of its files."""
        return self._trusted(cell, lambda path: _manifest(path, thorough))

    def manifests(self, cells: Iterable[str], *, thorough: bool = False) -> dict[str, dict[str, Any]]:
        """Return `manifest` of every cell that has a trusted entry; of many in a fraction of the time."""
        listed = list(dict.fromkeys(cells))
        read = self._indexed if len(listed) >= _MANY else self.manifest
        stored = {cell: manifest for cell in listed if (manifest := read(cell, thorough=thorough)) is not None}
        self._index.save()
        return stored

    def stamp(self, cell: str) -> Signature | None:
        """Return what changes when an entry is written anew; None where nothing is stored."""
        try:
            return signature(self.directory / cell)
        except (OSError, ValueError):
            return None

    def list(self) -> dict[str, dict[str, Any]]:
        """Return the manifest of every trusted entry by cell id, in the order of the ids."""
        try:
            names = sorted(os.listdir(self.directory))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as problem:
            raise RlbenchError(f"Cannot read {self.directory}: {problem.strerror or problem}.") from problem
        cells = [name for name in names if is_cell(name)]
        # Earlier versions set entries aside as `CELL.aside-...`.
        ours = {name for name in names if name.startswith(".") or is_cell(name.partition(".aside-")[0])} | {COSTS}
        if foreign := [name for name in names if name not in ours]:
            more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
            self._say(f"Ignored in {self.directory}, since no runs have such names: {', '.join(foreign[:3])}{more}")
        if len(cells) >= _MANY:
            self._index.keep(cells)
        return self.manifests(cells)

    def read(self, cell: str) -> tuple[dict[str, Any], pa.Table, pa.Table] | None:
        """Return (manifest, episodes, updates) of a trusted entry whose tables are intact, else None."""
        return self._trusted(cell, _manifest_and_tables)

    def policy(self, cell: str) -> bytes | None:
        """Return the policy of a trusted entry, as `rlbench.training.policy` keeps it; None where there is none."""
        return self._trusted(cell, lambda path: policy_bytes(path, read_manifest(path)))

    def keeps_policy(self, cell: str) -> bool:
        """Return whether there is a policy in an entry, which may turn out to be damaged."""
        return (self.directory / cell / POLICY).is_file()

    def drop_policy(self, cell: str) -> None:
        """Remove the policy of a run, which stays as it is otherwise."""
        with self.locked(), contextlib.suppress(OSError):
            (self.directory / cell / POLICY).unlink()

    def write(self, identity: Mapping[str, Any], record: RunRecord, provenance: Mapping[str, Any]) -> str:
        """Store one run, whole or not at all, and return its cell id.

        A failed run is replaced; a finished or diverged one stays, since a cell gives the same numbers again.
        `identity` and `provenance` are JSON documents. Raises RlbenchError where the disk refuses, which
        leaves everything stored before as it was.
        """
        cell = cell_id(identity)
        temporary = self.directory / f".{cell}.{secrets.token_hex(4)}.tmp"
        try:
            folder(temporary, inside=self.root)
            write_entry(temporary, cell, identity, record, provenance)
            with self.locked():
                self._put(temporary, cell)
        except OSError as problem:
            reason = problem.strerror or str(problem)
            raise RlbenchError(
                f"Cannot write results to {self.directory}: {reason}. What was stored before is kept; "
                "the same command continues from there."
            ) from problem
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return cell

    def locked(self) -> contextlib.AbstractContextManager[bool]:
        """Keep other processes from changing what is stored and who trains what, for a moment."""
        return exclusively(self.directory / LOCK)

    def sweep(self) -> None:
        """Remove the unfinished temporary entries and files that killed processes left behind.

        Raises RlbenchError where a link in place of a folder would lead this, and what is written later, elsewhere.
        """
        for name in (RUNNING, ASIDE, CHECKPOINTS):
            refuse_links(self.directory / name, inside=self.root)
        for path in [*self.directory.glob(".*.tmp"), *(self.directory / RUNNING).glob(".*.tmp")]:
            with contextlib.suppress(OSError):  # another process may be faster
                if is_stale(path.lstat()) and path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                elif is_stale(path.lstat()):
                    path.unlink()

    def set_aside(self) -> None:
        """Move the entries that turned out not to be trusted out of the way, and say so in `messages`.

        Raises RlbenchError for one that a newer rlbench wrote, or where the disk refuses.
        """
        for cell, problem in list(self.distrusted.items()):
            if isinstance(problem, NewerSchema):
                raise RlbenchError(
                    f"{self.directory / cell} cannot be used: {problem}. Update rlbench, or use another results folder."
                )
            with explained(f"Cannot set aside {self.directory / cell}"), self.locked():
                del self.distrusted[cell]  # it is asked again, since another process may have been faster
                if self.manifest(cell, thorough=True) is None and cell in self.distrusted:
                    self._move_aside(cell)

    def _trusted(self, cell: str, read: Callable[[Path], Content]) -> Content | None:
        path = self.directory / cell
        for again in (False, True):
            if not is_cell(cell) or not os.path.lexists(path):
                return None
            try:
                return read(path)
            except (OSError, ValueError) as problem:
                if again:
                    self._distrust(cell, problem)
                else:
                    time.sleep(_AGAIN_SECONDS)  # another process may just have replaced a failed run
        return None

    def _indexed(self, cell: str, *, thorough: bool) -> dict[str, Any] | None:
        path = self.directory / cell
        try:
            before = signature(path)
            manifest = self._index.get(cell, before, verified=thorough)
            if manifest is None:
                manifest = _manifest(path, thorough, before)
                self._index.put(cell, before, manifest, verified=thorough)
            return manifest
        except (OSError, ValueError):
            return self.manifest(cell, thorough=thorough)

    def _put(self, temporary: Path, cell: str) -> None:
        target = self.directory / cell
        replaced: Path | None = None
        if os.path.lexists(target):
            present = self.manifest(cell, thorough=True)
            if present is not None and present["status"] != "failed":
                return
            if present is None:
                self._move_aside(cell)
            else:
                replaced = temporary.with_name(f"{temporary.name[: -len('.tmp')]}.old.tmp")
                target.rename(replaced)
        try:
            os.replace(temporary, target)
        except OSError:
            if replaced:
                replaced.rename(target)
            raise
        sync(self.directory)
        if replaced:
            shutil.rmtree(replaced, ignore_errors=True)

    def _move_aside(self, cell: str) -> None:
        # To `.set-aside/NAME.1`, `.2` ..., for a person to look at.
        path = self.directory / cell
        aside = numbered(folder(self.directory / ASIDE, inside=self.root) / f"{cell}.")
        problem = self.distrusted.pop(cell)
        path.rename(aside)
        self.messages.remove(self._ignored(cell, problem))
        self._say(f"Set aside {path} as {aside}: {problem}")

    def _distrust(self, cell: str, problem: Exception) -> None:
        self.distrusted[cell] = problem
        self._index.forget(cell)
        self._index.save()
        self._say(self._ignored(cell, problem))

    def _ignored(self, cell: str, problem: Exception) -> str:
        return f"Ignored {self.directory / cell}, which counts as missing: {problem}"

    def _say(self, message: str) -> None:
        if message not in self.messages:
            self.messages.append(message)


def _manifest(path: Path, thorough: bool, known: Signature | None = None) -> dict[str, Any]:
    manifest = read_manifest(path, known)
    if thorough:
        for name in TABLES:
            file_bytes(path, manifest, name)
        policy_bytes(path, manifest)
    return manifest


def _manifest_and_tables(path: Path) -> tuple[dict[str, Any], pa.Table, pa.Table]:
    manifest = read_manifest(path)
    episodes, updates = (read_table(path, manifest, name) for name in TABLES)
    return manifest, episodes, updates
