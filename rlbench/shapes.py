"""What a JSON document must look like before it is believed: files in a results folder may say anything.

    check(document, {"name": NAME, "seeds": [WHOLE], "options": Each(ANY), "reason?": TEXT}, "it")

A shape is a `Kind`, a list with the shape of every item, a dictionary with the shapes of its keys (one that ends in "?"
may be missing), or `Each` of a mapping with any keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlbench.files import is_name

_LARGEST = 2**63


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
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_label(value: Any) -> bool:
    """Return whether a value is one short line that can be shown."""
    return isinstance(value, str) and bool(value.strip()) and len(value) <= LONGEST_LABEL and value.isprintable()


def is_whole(value: Any) -> bool:
    """Return whether a value is an integer of at most 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and -_LARGEST <= value < _LARGEST


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return is_whole(value) if isinstance(value, int) else math.isfinite(value)


LONGEST_LABEL = 300  # characters
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
