"""Expressions over samples as a graph of elementary steps: what a recording is made into, and a program made of.

Every node is one array per replica: `[R, B]` ("full") or `[R, 1]` (a column). The steps work element by element or
along the last axis, so none of them can mix replicas. Equal expressions are one node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

BOOLEAN = frozenset({
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "logical_and", "logical_or", "logical_xor", "logical_not",
})  # fmt: skip
"""The numpy functions whose result is true or false; all others that a node may name give float32."""


class Refused(Exception):
    """A surrogate that cannot be replayed; the message says why."""


@dataclass(frozen=True)
class Constant:
    """One number, the same for every sample and replica: a float or a bool."""

    number: float


@dataclass(frozen=True, eq=False)
class Node:
    """One step: "input", the name of a numpy function, or another one that `Graph` has a method for.

    `full`: `[R, B]` rather than `[R, 1]`. `boolean`: bool rather than float32. `fixed`: made of hyper-parameters alone.
    """

    index: int
    step: str
    operands: tuple[Operand, ...]
    full: bool
    boolean: bool
    fixed: bool


Operand: TypeAlias = Node | Constant


class Graph:
    """Nodes, in an order in which they can be computed, over `size` samples per replica, B."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.nodes: list[Node] = []
        self.names: dict[Node, str] = {}  # of the inputs
        self._known: dict[tuple[str, ...], Node] = {}

    def input(self, name: str, *, full: bool, fixed: bool = False) -> Node:
        """Return a new input; `fixed` for a hyper-parameter."""
        node = self._new("input", (), full=full, boolean=False, fixed=fixed)
        self.names[node] = name
        return node

    def apply(self, function: str, *operands: Operand | float) -> Node:
        """Return the numpy function of this name of the operands, element by element."""
        aligned = self._align(operands)
        if not function.startswith("logical"):
            aligned = tuple(self.number(one) for one in aligned)
        elif not all(_is_boolean(one) for one in aligned):
            raise Refused(f"{function} of numbers")
        return self._node(function, aligned, boolean=function in BOOLEAN)

    def where(self, condition: Operand, chosen: Operand | float, other: Operand | float) -> Operand:
        """Return `chosen` where the condition holds, else `other`."""
        condition, chosen, other = self._align((condition, chosen, other))
        if not _is_boolean(condition):
            raise Refused("a choice by a number")
        both = _is_boolean(chosen) and _is_boolean(other)
        if not both:
            chosen, other = self.number(chosen), self.number(other)
        if isinstance(condition, Constant):
            return chosen if condition.number else other
        return self._node("where", (condition, chosen, other), boolean=both)

    def total(self, x: Operand) -> Node:
        """Return the sum over the last axis, a column."""
        if isinstance(x, Constant) or x.boolean or not x.full:
            raise Refused("a sum of something other than one float32 number per sample")
        return self._node("total", (x,), full=False)

    def spread(self, x: Operand) -> Operand:
        """Return a column repeated for every sample, `[R, B]`."""
        if isinstance(x, Constant) or x.full:
            return x
        return self._node("spread", (x,), full=True, boolean=x.boolean)

    def number(self, x: Operand) -> Operand:
        """Return 1.0 for true and 0.0 for false; numbers as they are."""
        if isinstance(x, Constant):
            return Constant(float(x.number))
        return self._node("number", (x,)) if x.boolean else x

    def _align(self, operands: tuple[Operand | float, ...]) -> tuple[Operand, ...]:
        """Return operands of one shape, constants aside."""
        known = tuple(one if isinstance(one, Node | Constant) else constant(one) for one in operands)
        if any(isinstance(one, Node) and one.full for one in known):
            return tuple(self.spread(one) for one in known)
        return known

    def _node(
        self, step: str, operands: tuple[Operand, ...], *, full: bool | None = None, boolean: bool = False
    ) -> Node:
        key = (step, *map(text, operands))
        if key not in self._known:
            nodes = [one for one in operands if isinstance(one, Node)]
            if not nodes:
                raise Refused(f"{step} of constants alone")
            wide = any(one.full for one in nodes) if full is None else full
            fixed = all(one.fixed for one in nodes)
            self._known[key] = self._new(step, operands, full=wide, boolean=boolean, fixed=fixed)
        return self._known[key]

    def _new(self, step: str, operands: tuple[Operand, ...], **properties: bool) -> Node:
        node = Node(len(self.nodes), step, operands, **properties)
        self.nodes.append(node)
        return node


def constant(number: Any) -> Constant:
    """Return a Python number as a constant; Refused for anything else."""
    if not isinstance(number, bool | int | float):
        raise Refused(f"an operand that is no real number: {number!r}")
    return Constant(number if isinstance(number, bool) else float(number))


def text(operand: Operand) -> str:
    """Return an operand in writing; unlike == it tells 0.0 from -0.0, and one NaN is another."""
    return f"#{operand.index}" if isinstance(operand, Node) else repr(operand.number)


def _is_boolean(operand: Operand) -> bool:
    return operand.boolean if isinstance(operand, Node) else isinstance(operand.number, bool)
