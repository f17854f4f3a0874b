"""What a SUITE must be made of: a file may say anything, and what is wrong is said before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rlbench.errors import RlbenchError, brief
from rlbench.files import is_name
from rlbench.shapes import is_number, is_text, is_whole
from rlbench.suite import Erratum, Exact, Showpiece, Suite


def check_suite(suite: Suite, file: Path) -> None:
    """Raise RlbenchError, which says where, if a part of the SUITE of a file is not of its kind."""
    _check(suite, f"{file}", _SUITE)
    parts: list[tuple[str, Sequence[Any], type, _Kinds]] = [
        ("checks", suite.checks, Exact, _EXACT),
        ("errata", suite.errata, Erratum, _ERRATUM),
        ("figures", suite.figures, Showpiece, _SHOWPIECE),
    ]
    for what, entries, kind, kinds in parts:
        for entry in entries:
            if not isinstance(entry, kind):
                raise RlbenchError(f"{file}: {what} must be of type {kind.__name__}, and {brief(entry)} is not.")
            _check(entry, f"{file}, {what}", kinds)


def _check(made: Any, where: str, kinds: _Kinds) -> None:
    for one in fields(made):
        words, holds = kinds.get(one.name, _TEXT)
        value = getattr(made, one.name)
        if not holds(value):
            raise RlbenchError(f"{where}: {one.name} must be {words}, not {brief(value)}.")


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _are_texts(value: Any) -> bool:
    return _is_list(value) and all(map(is_text, value))


def _is_one_or_more(value: Any) -> bool:
    return is_text(value) or _are_texts(value)


def _is_mapping(value: Any, holds: Callable[[Any], bool]) -> bool:
    return isinstance(value, Mapping) and all(is_text(key) and holds(one) for key, one in value.items())


def _is_band(value: Any) -> bool:
    return value is None or (_is_list(value) and len(value) == 2 and all(map(is_number, value)))


_Kind = tuple[str, Callable[[Any], bool]]
_Kinds = dict[str, _Kind]

_TEXT: _Kind = ("a text", is_text)
_LIST: _Kind = ("a list", _is_list)
_TEXTS: _Kind = ("a list of texts", _are_texts)
_ONE_OR_MORE: _Kind = ("a text or a list of texts", _is_one_or_more)

_SUITE: _Kinds = {
    "checks": _LIST,
    "errata": _LIST,
    "figures": _LIST,
    "remarks": ("a mapping from ids to texts", lambda value: _is_mapping(value, is_text)),
    "quick": _TEXTS,
    "quick_seeds": ("a whole number", is_whole),
}
_EXACT: _Kinds = {"check": ("a function", callable)}
_ERRATUM: _Kinds = {"demonstrate": ("a function or None", lambda value: value is None or callable(value))}
_SHOWPIECE: _Kinds = {
    "name": ("a file's name of letters, digits, '.', '_' and '-'", is_name),
    "experiment": _ONE_OR_MORE,
    "field": _ONE_OR_MORE,
    "arms": _TEXTS,
    "environments": _TEXTS,
    "mark": ("a number or None", lambda value: value is None or is_number(value)),
    "band": ("two numbers or None", _is_band),
    "labels": ("a mapping from texts to texts", lambda value: _is_mapping(value, is_text)),
    "relative_to": ("a mapping from texts to numbers", lambda value: _is_mapping(value, is_number)),
}
