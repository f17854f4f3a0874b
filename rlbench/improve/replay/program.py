"""A graph as a Python function of numpy calls on arrays that are allocated once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlbench.improve.replay.graph import Constant, Graph, Node, Operand, text

Array = npt.NDArray[Any]
Layout = tuple[bool, bool]  # [R, B] rather than [R, 1]; bool rather than float32


@dataclass(frozen=True)
class Program:
    """The functions that a graph was made into.

    inputs   the names of the arrays that `step` takes, in order
    hypers   the names of the columns that `fix` takes, in order
    fix      from the columns to the arrays that depend on nothing else
    step     (shape [R, B], buffers, what `fix` returned, *inputs) to the outputs, new arrays
    buffers  the layouts of the arrays that `step` works in
    """

    size: int
    inputs: tuple[str, ...]
    hypers: tuple[str, ...]
    fix: Callable[..., tuple[Array, ...]]
    step: Callable[..., tuple[Array, ...]]
    buffers: tuple[Layout, ...]

    def allocate(self, replicas: int) -> tuple[Array, ...]:
        """Return the arrays that `step` works in, for R replicas."""
        return tuple(
            np.empty((replicas, self.size if full else 1), bool if boolean else np.float32)
            for full, boolean in self.buffers
        )


def compile_graph(graph: Graph, outputs: Sequence[Operand]) -> Program:
    """Return the program that computes `outputs` `[R, B]`; what they do not need is left out."""
    nodes = needed(graph, outputs)
    inputs = [node for node in nodes if node.step == "input" and not node.fixed]
    hypers = [node for node in nodes if node.step == "input" and node.fixed]
    writer = _Writer(nodes, outputs)
    source = "\n    ".join(
        [
            f"def fix({_names(hypers)}):",
            *(f"{_name(node)} = {_expression(node)}" for node in nodes if node.fixed and node.step != "input"),
            f"return ({_names(writer.kept)})",
        ]
    ) + "\n    ".join(
        [
            f"\ndef step(shape, buffers, fixed, {_names(inputs)}):",
            *(["(" + "".join(f"{name}, " for name in writer.buffers) + ") = buffers"] if writer.buffers else []),
            *([f"({_names(writer.kept)}) = fixed"] if writer.kept else []),
            *writer.lines,
            "return (" + "".join(f"o{k}, " for k in range(len(outputs))) + ")",
        ]
    )
    space = _space(graph, nodes, outputs)
    exec(source, space)  # made of nothing but the names in this file and those in the table of operations
    quiet = np.errstate(all="ignore")  # as in torch, whose log of a negative number is NaN without a word
    return Program(
        size=graph.size,
        inputs=tuple(graph.names[node] for node in inputs),
        hypers=tuple(graph.names[node] for node in hypers),
        fix=quiet(space["fix"]),
        step=quiet(space["step"]),
        buffers=tuple(writer.buffers.values()),
    )


def needed(graph: Graph, outputs: Sequence[Operand]) -> list[Node]:
    """Return the nodes that the outputs depend on, in the graph's order."""
    found = {one for one in outputs if isinstance(one, Node)}
    for node in reversed(graph.nodes):
        if node in found:
            found |= {one for one in node.operands if isinstance(one, Node)}
    return [node for node in graph.nodes if node in found]


class _Writer:
    """Writes the statements of `step`, one per node, and shares buffers among nodes that are not needed at a time."""

    def __init__(self, nodes: Sequence[Node], outputs: Sequence[Operand]) -> None:
        self.buffers: dict[str, Layout] = {}
        self._free: dict[Layout, list[str]] = {}
        self._place = {node: _name(node) for node in nodes if node.fixed or node.step == "input"}
        steps = [node for node in nodes if node not in self._place]
        # An output is asked for once more, at the end, so that its array is never given away.
        self._uses = Counter(one for node in steps for one in set(node.operands))
        self._uses.update(set(outputs))
        self.kept = [node for node in nodes if node.fixed and self._uses[node]]
        self._results = {node: f"o{k}" for k, node in reversed(list(enumerate(outputs))) if node in set(steps)}
        self.lines = [f"o{k} = empty(shape, float32)" for k in range(len(outputs))]
        for node in steps:
            self.lines += self._statements(node)
        copies = [(f"o{k}", self._read(one)) for k, one in enumerate(outputs)]
        self.lines += [f"copyto({out}, {place})" for out, place in copies if out != place]

    def _statements(self, node: Node) -> list[str]:
        operands = [self._read(one) for one in node.operands]
        if node.step == "where":
            return self._choice(node, *operands)
        self._release(node.operands)  # first: a function may write where it reads, element by element
        out = self._claim(node)
        if node.step in ("spread", "number"):
            return [f"copyto({out}, {operands[0]})"]
        if node.step == "total":
            return [f"add.reduce({operands[0]}, -1, None, {out}, True)"]
        # By keyword, which numpy insists on for some functions and takes as fast.
        return [f"{node.step}({', '.join(operands)}, out={out})"]

    def _choice(self, node: Node, condition: str, chosen: str, other: str) -> list[str]:
        """Write `chosen` over `other`, in its place if nobody else needs it, else in a copy."""
        operand = node.operands[2]
        over = other in self.buffers and self._uses[operand] == 1 and other not in (condition, chosen)
        if over and node not in self._results:
            self._place[node] = other
            self._release(node.operands[:2])
            return [f"putmask({other}, {condition}, {chosen})"]
        out = self._claim(node)
        self._release(node.operands)
        return [f"copyto({out}, {other})", f"putmask({out}, {condition}, {chosen})"]

    def _read(self, operand: Operand) -> str:
        return self._place[operand] if isinstance(operand, Node) else _constant_name(operand)

    def _claim(self, node: Node) -> str:
        layout = (node.full, node.boolean)
        if node in self._results:
            self._place[node] = self._results[node]
        elif self._free.get(layout):
            self._place[node] = self._free[layout].pop()
        else:
            self._place[node] = f"b{len(self.buffers)}"
            self.buffers[self._place[node]] = layout
        return self._place[node]

    def _release(self, operands: Sequence[Operand]) -> None:
        for one in set(operands):
            self._uses[one] -= 1
            if isinstance(one, Node) and not self._uses[one] and self._place[one] in self.buffers:
                self._free.setdefault((one.full, one.boolean), []).append(self._place[one])


def _expression(node: Node) -> str:
    """Return a node of hyper-parameters as an expression; it is computed rarely and may allocate."""
    operands = [_name(one) if isinstance(one, Node) else _constant_name(one) for one in node.operands]
    if node.step == "spread":
        return f"repeat({operands[0]}, size, -1)"
    if node.step == "number":
        return f"{operands[0]}.astype(float32)"
    if node.step == "total":
        return f"add.reduce({operands[0]}, -1, keepdims=True)"
    return f"{node.step}({', '.join(operands)})"


def _space(graph: Graph, nodes: Sequence[Node], outputs: Sequence[Operand]) -> dict[str, Any]:
    """Return what the names in a program's source mean."""
    functions = {node.step for node in nodes} - {"input", "spread", "number", "total"}
    space = {name: getattr(np, name) for name in functions | {"add", "copyto", "putmask", "empty", "repeat", "float32"}}
    constants = [one for node in nodes for one in node.operands] + list(outputs)
    with np.errstate(over="ignore"):
        for one in constants:
            if isinstance(one, Constant):
                kind = bool if isinstance(one.number, bool) else np.float32
                space[_constant_name(one)] = np.array(one.number, kind)
    return space | {"size": graph.size}


def _constant_name(one: Constant) -> str:
    return "c_" + text(one).translate(str.maketrans("-+.", "mqp"))


def _name(node: Node) -> str:
    return f"v{node.index}"


def _names(nodes: Sequence[Node]) -> str:
    return "".join(f"{_name(node)}, " for node in nodes)
