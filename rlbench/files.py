"""How files come to be and are read: whole or not at all, in the folder that they belong to, under names that are safe.

What rlbench writes is written by `write` into a folder made by `folder`: no symbolic link below the folder that the
user named is followed, so nothing is written anywhere else. What it keeps is read by `opened`: a regular file or none.
A name that comes from a file or a label becomes that of a file only if `is_name` says so, or through `file_name`.

A JSON document is believed only if it passes `check`, since files in a results folder may say anything:

    check(document, {"name": NAME, "seeds": [COUNT], "options": Each(ANY), "reason?": TEXT}, "it")

A shape is a `Kind`, a list with the shape of every item, a dictionary with the shapes of its keys (a key that ends in
"?" may be missing), or `Each` of a mapping with any keys.
"""

import contextlib
import glob
import hashlib
import io
import json
import math
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbench.errors import RlbenchError

if TYPE_CHECKING:
    import numpy as np

LONGEST_NAME = 100  # characters of a name; file systems take 255 bytes, endings and temporary names included
LONGEST_LABEL = 300  # characters
STALE_SECONDS = 3600.0  # something temporary this old belongs to a process that was killed

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SURROGATE = re.compile("[\ud800-\udfff]")


def is_name(text: Any) -> bool:
    """Return whether a text is safe as the name of a file or folder, just as it is."""
    return isinstance(text, str) and len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


def file_name(label: str, taken: set[str] | None = None, otherwise: str = "unnamed") -> str:
    """Return a safe file name for a label that is not in `taken` yet, and add it there."""
    base = re.sub(r"[^A-Za-z0-9.]+", "-", label).strip("-.") or otherwise
    if len(base) > LONGEST_NAME - 20:
        base = f"{base[: LONGEST_NAME - 30]}-{hashlib.sha256(label.encode(errors='replace')).hexdigest()[:8]}"
    name, number = base, 2
    while taken is not None and name.lower() in taken:
        name, number = f"{base}-{number}", number + 1
    if taken is not None:
        taken.add(name.lower())
    return name


def folder(path: str | Path, *, inside: str | Path) -> Path:
    """Make a folder below `inside`, which is made too, and return it.

    Raises:
        RlbenchError: a part of the path below `inside` is a symbolic link, or `path` is not below it.
        OSError: the system refuses.
    """
    refuse_links(path, inside=inside)
    Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def refuse_links(path: str | Path, *, inside: str | Path) -> None:
    """Raise RlbenchError, as `folder` does, where what is written to `path` would get out of `inside`."""
    target, root = Path(path), Path(inside)
    parts = target.relative_to(root).parts if target.is_relative_to(root) else ("..",)
    if ".." in parts:
        raise RlbenchError(f"{target} is not inside {root}, and rlbench writes nowhere else.")
    at = root
    for part in parts:
        at = at / part
        if at.is_symlink():
            raise RlbenchError(
                f"{at} is a link, and rlbench writes into no folder that a link leads to; name the folder itself, or "
                "move the link away."
            )


def write(path: str | Path, data: str | bytes | memoryview, *, inside: str | Path, durable: bool = False) -> None:
    """Write a file below `inside`, whole or not at all; a link that has its name is replaced, not followed.

    Several processes may write the same file at once: one of them is the last. A `durable` one also survives a power
    failure whole, old or new. Raises as `folder` does.
    """
    target = Path(path)
    folder(target.parent, inside=inside)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        fill(temporary, data.encode() if isinstance(data, str) else data, durable=durable)
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):  # by processes that were killed
            if is_stale(left.lstat()):
                left.unlink()


def fill(path: str | Path, data: bytes | memoryview, *, durable: bool) -> None:
    """Make a new file, of which nothing is to be expected before this returns; a `durable` one is on the disk then."""
    with open(path, "xb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def numbered(path: Path) -> Path:
    """Return a path with the first number from 1 on behind its name that gives one where nothing stands."""
    number = 1
    while os.path.lexists(free := path.with_name(f"{path.name}{number}")):
        number += 1
    return free


def is_stale(status: os.stat_result) -> bool:
    """Return whether something temporary is so old that it belongs to a process that was killed."""
    return time.time() - status.st_mtime > STALE_SECONDS


def opened(path: str | Path, flags: int = os.O_RDONLY) -> int:
    """Return a descriptor of a regular file, made if `flags` say so.

    OSError for what is none: a pipe would never end, a device has effects, and a link leads elsewhere.
    """
    for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_BINARY"):  # none of which every system has
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{Path(path).name} is not a file")
    return descriptor


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a regular file; OSError as `opened`."""
    with open(opened(path), "rb") as file:
        return file.read()


def read_json(path: str | Path) -> Any:
    """Return the document in a file; OSError if it cannot be read, ValueError if it is none or too deep to be one."""
    try:
        return json.loads(read_bytes(path))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def pack(header: Any, arrays: Mapping[str, "np.ndarray[Any, Any]"]) -> memoryview:
    """Return arrays by name, and a JSON document as bytes in `header`, as an npz file that needs no pickle."""
    import numpy as np

    buffer = io.BytesIO()
    document = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(buffer, **{**arrays, "header": document})  # type: ignore[arg-type]  # names are free
    return buffer.getbuffer()


def unpack(data: bytes) -> tuple[Any, dict[str, "np.ndarray[Any, Any]"]]:
    """Return the document and the arrays in what `pack` returned; ValueError for anything else.

    Nothing in it is executed, and its members together take no more memory than it has bytes.
    """
    import numpy as np

    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            if sum(member.file_size for member in archive.zip.infolist()) > len(data):
                raise ValueError("its members are larger than it")
            arrays = {name: archive[name] for name in archive.files}
        return json.loads(arrays.pop("header").astype(np.uint8).tobytes()), arrays
    except Exception as problem:  # what reads a damaged archive may raise anything
        raise ValueError("it is no file of arrays, or damaged") from problem


@dataclass(frozen=True)
class Kind:
    """A kind of value: what it is in words, and whether a value is one."""

    words: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Each:
    """A mapping from texts to values of one shape."""

    shape: Any


def is_text(value: Any) -> bool:
    """Return whether a value is text that can be written: half of a surrogate pair cannot."""
    return isinstance(value, str) and _SURROGATE.search(value) is None


def is_label(value: Any) -> bool:
    """Return whether a value is one short line that can be shown."""
    return isinstance(value, str) and bool(value.strip()) and len(value) <= LONGEST_LABEL and value.isprintable()


def is_whole(value: Any) -> bool:
    """Return whether a value is an integer of at most 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    return is_whole(value) or (isinstance(value, float) and math.isfinite(value))


ANY = Kind("anything", lambda value: True)
TEXT = Kind("a text", is_text)
LABEL = Kind("a printable line", is_label)
NAME = Kind("a name of letters, digits, '.', '_' and '-'", is_name)
WHOLE = Kind("a whole number", is_whole)
COUNT = Kind("a whole number of at least 0", lambda value: is_whole(value) and value >= 0)
SIZE = Kind("a number of at least 0", lambda value: is_number(value) and value >= 0)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXT_OR_NONE = Kind("a text or null", lambda value: value is None or is_text(value))
LABEL_OR_NONE = Kind("a printable line or null", lambda value: value is None or is_label(value))


def check(value: Any, shape: Any, what: str) -> None:
    """Raise ValueError, which says where, if a value has not the shape."""
    if isinstance(shape, Kind):
        if not shape.holds(value):
            raise ValueError(f"{what} is not {shape.words}")
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise ValueError(f"{what} is not a list")
        for item in value:
            check(item, shape[0], f"an entry of {what}")
    elif not isinstance(value, dict):
        raise ValueError(f"{what} is not a mapping")
    elif isinstance(shape, Each):
        for key, item in value.items():
            if not is_text(key):
                raise ValueError(f"a key of {what} is not a text")
            check(item, shape.shape, f"{key!r} of {what}")
    else:
        for key, inner in shape.items():
            name = key.removesuffix("?")
            if name in value:
                check(value[name], inner, f"{name!r} of {what}")
            elif name == key:
                raise ValueError(f"{what} has no {name!r}")
