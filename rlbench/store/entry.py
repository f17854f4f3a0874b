"""Files that several processes, perhaps on several machines, read and replace in one folder.

The package `filelock` would do for `exclusively` only: it cannot ask whether another process holds a lock without
taking that lock, and where a file system has no locks it turns to marker files, which a killed process leaves behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbench import files
from rlbench.files import ANY, COUNT, FLAG, SIZE, TEXT, TEXT_OR_NONE, Each, check, fill, opened, read_json
from rlbench.records import RunRecord

if TYPE_CHECKING:
    import pyarrow as pa


fcntl: Any
try:
    import fcntl
except ImportError:  # on Windows, where leases are then judged by their heartbeat alone
    fcntl = None

_PATIENCE = 20.0  # seconds for a lock that is held for milliseconds: who holds it longer was stopped


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` meanwhile, and yield whether it is held.

    It is not where the file system has no locks, or its holder was stopped; what is done under it must then be harmless
    to do twice. The file stays: a lock file that is removed may be locked by two.
    """
    try:
        descriptor = opened(path, os.O_RDWR | os.O_CREAT)
    except OSError:
        yield False
        return
    deadline = time.monotonic() + _PATIENCE
    try:
        while not (held := _locks(descriptor)) and fcntl and time.monotonic() < deadline:
            time.sleep(0.005)
        yield held
    finally:
        os.close(descriptor)


def hold(path: Path) -> int | None:
    """Create the lock file `path` and hold it until `os.close` of what is returned; None where it cannot be locked.

    A process that is killed, however, lets go of it.
    """
    descriptor = opened(path, os.O_RDWR | os.O_CREAT)
    if _locks(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def is_held(path: Path) -> bool | None:
    """Return whether another process holds the lock file `path`; None if that cannot be known here."""
    if fcntl is None:
        return None
    try:
        descriptor = opened(path)
    except OSError:
        return None
    try:
        # Shared, so that two who ask at once do not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)


def sync(directory: Path) -> None:
    """Make what was created or renamed in a folder durable, where the system can open folders."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _locks(descriptor: int) -> bool:
    try:
        if fcntl:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fcntl is not None
    except OSError:
        return False


# One entry of the store: its identity, its files, and whether they can be trusted.
#
# `docs/store.md` describes the format. Entries of every earlier schema are read: `_upgraded` turns their manifests into
# ones of the present schema.

SCHEMA = 3
STATUSES = ("finished", "diverged", "failed")
TABLES = ("episodes", "updates")
MANIFEST = "manifest.json"
POLICY = "policy.npz"  # which may be missing: not every run has one, and whoever needs the room may remove it
_NAMES = {name: f"{name}.parquet" for name in TABLES} | {"policy": POLICY}  # in the manifest, and in the folder
FILES = (MANIFEST, *_NAMES.values())
ID_LENGTH = 32  # hexadecimal digits: 128 bits
_MANIFEST = {
    "identity": Each(ANY),
    "status": TEXT,
    "outcome": {
        "reason": TEXT,
        "steps_done": COUNT,
        "detail?": TEXT,
        "gradient_steps?": COUNT,
        "samples?": COUNT,
        "seconds?": SIZE,
        "peak_bytes?": COUNT,
        "attempts": COUNT,
    },
    "provenance": {
        "commit?": TEXT_OR_NONE,
        "dirty?": FLAG,
        "reproducible?": FLAG,
        "device?": TEXT,
        "versions?": Each(TEXT_OR_NONE),
        "machine?": Each(ANY),
    },
    "files": {name: {"bytes": COUNT, "sha256": TEXT} for name in (*TABLES, "policy?")},
}
_MISSING = -1  # in place of the size of a file that is not there
_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
_COMPACT = json.JSONEncoder(sort_keys=True, separators=(",", ":"))

Signature = tuple[int, ...]
"""What changes whenever one of an entry's files does: times of change, size and number of each."""


class NewerSchema(ValueError):
    """An entry that a later version of rlbench wrote: nothing is wrong with it, but it cannot be read here."""


def canonical(document: Any) -> Any:
    """Return `document` with every number in one form, so that equal values hash equally: 1.0 becomes 1."""
    kind = type(document)  # asked first, since an abstract class takes its time, and a store has a million values
    if kind is str or kind is int or kind is bool:
        return document
    if kind is dict or isinstance(document, Mapping):
        return {str(key): canonical(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [canonical(value) for value in document]
    if isinstance(document, float) and document.is_integer():
        return int(document)
    return document


def cell_id(document: Mapping[str, Any]) -> str:
    """Return the identity of a cell: SHA-256 over the canonical JSON of its identity document."""
    return _sha256(_COMPACT.encode(canonical(document)).encode())[:ID_LENGTH]


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest without its own `digest`: files are hashed there, and this covers the rest."""
    return _sha256(_COMPACT.encode({key: value for key, value in manifest.items() if key != "digest"}).encode())


def is_cell(name: str) -> bool:
    """Return whether `name` can be the identity of a cell, and so the name of an entry."""
    return _ID.fullmatch(name) is not None


def signature(path: Path) -> Signature:
    """Return the signature of an entry's files; ValueError where one is missing or no plain file of this folder."""
    text, marks = str(path), []
    try:
        if not stat.S_ISDIR(os.lstat(text).st_mode):
            raise ValueError("it is a link or a file, not a folder")
        for name in FILES:
            try:
                file = os.lstat(f"{text}/{name}")
            except FileNotFoundError:
                if name != POLICY:
                    raise
                marks += [0, 0, _MISSING, 0]
                continue
            if not stat.S_ISREG(file.st_mode):
                raise ValueError(f"{name} is not a plain file")
            marks += [file.st_mtime_ns, file.st_ctime_ns, file.st_size, file.st_ino]
    except FileNotFoundError as problem:
        raise ValueError(f"{Path(str(problem.filename)).name} is missing") from problem
    return tuple(marks)


def read_manifest(path: Path, known: Signature | None = None) -> dict[str, Any]:
    """Return the manifest in `path` as one of the present schema; ValueError says why it cannot be trusted.

    `known` is the signature of the entry, where that was asked for just before.
    """
    sizes = dict(zip(FILES, (known or signature(path))[2::4], strict=True))
    try:
        written = read_json(path / MANIFEST)
        manifest = _upgraded(written)
        check(manifest, _MANIFEST, "its manifest.json")
        if not is_cell(path.name) or cell_id(manifest["identity"]) != path.name:
            raise ValueError("its identity document does not give its name")
        if "digest" in written and written["digest"] != manifest_digest(written):
            raise ValueError("its manifest.json was changed or damaged")
        if manifest["status"] not in STATUSES:
            raise ValueError(f"its status is {manifest['status']!r}")
        for name in TABLES:
            size, expected = sizes[_NAMES[name]], manifest["files"][name]["bytes"]
            if size != expected:
                raise ValueError(f"{_NAMES[name]} has {size} bytes, not {expected}")
        size, expected = sizes[POLICY], manifest["files"].get("policy", {"bytes": 0})["bytes"]
        if size not in (_MISSING, expected):
            raise ValueError(f"{POLICY} has {size} bytes, not {expected}")
    except FileNotFoundError as problem:
        raise ValueError(f"{Path(str(problem.filename)).name} is missing") from problem
    except (KeyError, TypeError, AttributeError, RecursionError, UnicodeDecodeError, json.JSONDecodeError) as problem:
        raise ValueError("its manifest.json is not one of rlbench's") from problem
    return manifest


def _upgraded(manifest: dict[str, Any]) -> dict[str, Any]:
    schema = manifest["schema"]
    if type(schema) is not int or schema < 1:
        raise ValueError(f"its schema is {schema!r}, this version reads 1 to {SCHEMA}")
    if schema > SCHEMA:
        raise NewerSchema(
            f"it was written by a newer rlbench: its schema is {schema}, this version reads up to {SCHEMA}"
        )
    if schema == 1:  # which did not count how often a run was started
        manifest = manifest | {"outcome": manifest["outcome"] | {"attempts": 1}}
    return manifest | {"schema": SCHEMA}  # schema 2 kept no policies


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_bytes(path: Path, manifest: dict[str, Any], name: str) -> bytes:
    """Return the file of a table, or of the "policy"; raise ValueError where it is not what was written."""
    data = files.read_bytes(path / _NAMES[name])
    if _sha256(data) != manifest["files"][name]["sha256"]:
        raise ValueError(f"{_NAMES[name]} was changed or damaged")
    return data


def policy_bytes(path: Path, manifest: dict[str, Any]) -> bytes | None:
    """Return the policy of the entry in `path`, None where none is kept; ValueError as `file_bytes`."""
    try:
        return file_bytes(path, manifest, "policy") if "policy" in manifest["files"] else None
    except FileNotFoundError:
        return None


def read_table(path: Path, manifest: dict[str, Any], name: str) -> pa.Table:
    """Return the table `name` of the entry in `path`; raise ValueError where it is not what was written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Several times as fast as `pq.read_table`, which prepares for many files; a report reads thousands of small ones.
    data = pa.BufferReader(file_bytes(path, manifest, name))
    try:
        table = pq.ParquetFile(data).read(use_threads=False)
    except pa.ArrowException as problem:
        raise ValueError(f"{name}.parquet cannot be read") from problem
    numeric = all(
        pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
        for kind in table.schema.types
    )
    names = table.column_names  # none of the updates of a run that failed
    needed = {"step", "return", "length"} if name == "episodes" else {"step"} if names else set()
    if not numeric or len(names) != len(set(names)) or not needed <= set(names) or "cell" in names:
        raise ValueError(f"{name}.parquet has not the columns of rlbench's tables")
    return table


def write_entry(
    directory: Path, cell: str, identity: Mapping[str, Any], record: RunRecord, provenance: Mapping[str, Any]
) -> None:
    """Write the files of an entry into an existing empty directory, through to the disk; the manifest last."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = {}
    for name, table in zip(TABLES, (record.episodes, record.updates), strict=True):
        buffer = io.BytesIO()
        pq.write_table(pa.table(dict(table)), buffer, compression="zstd")
        data[name] = buffer.getvalue()
    if record.policy is not None:
        data["policy"] = record.policy
    manifest = {
        "schema": SCHEMA,
        "cell": cell,
        "identity": dict(identity),
        "status": record.status,
        "outcome": {
            # As UTF-8 can hold it: what an environment raises may quote bytes that are none.
            "reason": record.reason.encode(errors="replace").decode(),
            "detail": record.detail.encode(errors="replace").decode(),
            "steps_done": int(record.steps),
            "gradient_steps": int(record.gradient_steps),
            "samples": int(record.samples),
            "seconds": float(record.seconds),
            "peak_bytes": int(record.peak_bytes),
            "attempts": int(record.attempts),
        },
        "provenance": dict(provenance),
        "files": {name: {"bytes": len(part), "sha256": _sha256(part)} for name, part in data.items()},
    }
    manifest["digest"] = manifest_digest(manifest)
    for name, part in data.items():
        fill(directory / _NAMES[name], part, durable=True)
    fill(directory / MANIFEST, json.dumps(manifest, indent=1).encode() + b"\n", durable=True)
    sync(directory)
