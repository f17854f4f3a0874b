"""Hyper-parameters as dataclass fields: declaring, listing and checking them."""

import dataclasses
import math
from typing import Any, Literal, TypeVar

from rlbench.errors import RlbenchError, brief

T = TypeVar("T")
_KEY = "rlbench"


@dataclasses.dataclass(frozen=True)
class Field:
    """One hyper-parameter: `kind` "hyper" (a float, may differ per replica) or "static" (shared by a pack)."""

    name: str
    kind: Literal["hyper", "static"]
    default: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] | None = None
    doc: str = ""

    @property
    def is_hyper(self) -> bool:
        """Whether replicas of one pack may hold different values."""
        return self.kind == "hyper"

    def parse(self, value: Any, where: str) -> Any:
        """Return `value` as this field's type; raise RlbenchError if type, choice or range is wrong."""
        if self.is_hyper:
            parsed: Any = _number(value)
            wanted = "a number"
        else:
            parsed, wanted = _as_type_of(self.default, value)
        if parsed is None:
            hint = " (one value per arm: make it several arms)" if isinstance(value, list) else ""
            raise RlbenchError(f"{where}: {self.name} must be {wanted}, not {brief(value)}{hint}.")
        if self.choices is not None and parsed not in self.choices:
            options = ", ".join(map(repr, self.choices))
            raise RlbenchError(f"{where}: {self.name} must be one of {options}, not {brief(value)}.")
        for number in parsed if isinstance(parsed, tuple) else (parsed,):
            self._check_range(number, where)
        return parsed

    def _check_range(self, number: Any, where: str) -> None:
        if isinstance(number, float) and math.isnan(number):
            raise RlbenchError(f"{where}: {self.name} must be a number, not NaN.")
        if self.low is not None and number < self.low:
            raise RlbenchError(f"{where}: {self.name} must be at least {self.low:g}, not {brief(number)}.")
        if self.high is not None and number > self.high:
            raise RlbenchError(f"{where}: {self.name} must be at most {self.high:g}, not {brief(number)}.")


def hyper(default: float, *, low: float | None = None, high: float | None = None, doc: str = "") -> Any:
    """Declare a float that may differ between replicas of one pack; `low` and `high` are allowed values."""
    details = {"kind": "hyper", "low": low, "high": high, "doc": doc}
    return dataclasses.field(default=float(default), metadata={_KEY: details})


def static(
    default: T,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[T, ...] | None = None,
    doc: str = "",
) -> T:
    """Declare a value that all replicas of a pack share: whatever changes shapes or the flow of control."""
    details = {"kind": "static", "low": low, "high": high, "choices": choices, "doc": doc}
    declared: T = dataclasses.field(default=default, metadata={_KEY: details})
    return declared


def fields_of(cls: type) -> dict[str, Field]:
    """Return the hyper-parameters of an `Algorithm` by name, the base class's first."""
    return {
        field.name: Field(name=field.name, default=field.default, **field.metadata[_KEY])
        for field in dataclasses.fields(cls)
        if _KEY in field.metadata
    }


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _as_type_of(default: Any, value: Any) -> tuple[Any, str]:
    """Return (`value` as the type of `default` or None, the type in words)."""
    if isinstance(default, bool):
        words = {"true": True, "false": False}
        return (value if isinstance(value, bool) else words.get(str(value).lower())), "true or false"
    if isinstance(default, int):
        number = _number(value)
        return (int(number) if number is not None and number.is_integer() else None), "a whole number"
    if isinstance(default, float):
        return _number(value), "a number"
    if isinstance(default, tuple):
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not parts:
            return None, "a list such as 64,64"
        items = [_as_type_of(default[0], part)[0] for part in parts]
        return (None if None in items else tuple(items)), "a list such as 64,64"
    return (value if isinstance(value, str) else None), "a word"
