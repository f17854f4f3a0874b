"""The code that trains."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


@cache
def source() -> str:
    """Return the SHA-256 of rlbench's own source: the names and the content of its files."""
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()
