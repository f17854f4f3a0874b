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
import time
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from rlbench.files import read_bytes, write
from rlbench.store.entry import SCHEMA, Signature

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
