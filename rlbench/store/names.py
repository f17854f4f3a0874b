"""File names for what people may call as they like."""

from __future__ import annotations

import re

_LONGEST = 100  # characters; file systems take 255 bytes, and a number or an ending may follow


def slug(label: str, taken: set[str]) -> str:
    """Return a file name for a label that is not in `taken` yet, and add it there: letters, digits, '.' and '-'."""
    base = re.sub(r"[^A-Za-z0-9.]+", "-", label)[:_LONGEST].strip("-.") or "unnamed"
    name, number = base, 2
    while name.lower() in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name.lower())
    return name
