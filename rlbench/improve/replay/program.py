"""From a graph to numpy: `Replay`, a recorded surrogate and its gradients as two functions of numpy calls.

A statement per node, such as `multiply(v7, v2, out=v9)`, on an array per node. Sharing arrays among nodes gained
nothing in minibatches. Called from a list instead of from a function's text, the same calls took 12 % longer (PPO-Clip,
R = 1 and 10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rlbench.improve.replay.recording import OWN_STEPS, Constant, Graph, Node, Operand

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm

Array = npt.NDArray[Any]
UPSTREAM = "upstream"
"""The input that holds the gradient of the objective by the surrogate."""


class Replay:
    """The surrogate of a class with certain static fields, on B samples per replica, for any number of replicas R.

    inputs   names of the arrays that the surrogate reads: `SURROGATE_INPUTS`, and fields of `Samples` that do not
             depend on parameters (`advantage`, `old_log_prob`, `old_value`, `target`, `weight`)
    grads    those of `SURROGATE_INPUTS` that the surrogate's gradient reaches
    source   the text of two functions: `fix` computes what depends on hyper-parameters alone, `step` all the rest
    """

    def __init__(self, graph: Graph, surrogate: Operand, grads: Mapping[str, Operand]) -> None:
        outputs = [graph.spread(x) for x in (surrogate, *grads.values())]
        needed = {x for x in outputs if isinstance(x, Node)}
        for node in reversed(graph.nodes):
            if node in needed:
                needed |= {x for x in node.operands if isinstance(x, Node)}
        nodes = [node for node in graph.nodes if node in needed]
        self.inputs = tuple(node.name for node in nodes if node.name not in ("", UPSTREAM) and not node.fixed)
        self.grads = tuple(grads)
        self.source, self._buffers = _write(nodes, outputs)
        names = {"add", "array", "ascontiguousarray", "broadcast_to", "copyto", "empty", "float32", "putmask"}
        space: dict[str, Any] = {name: getattr(np, name) for name in names | {node.step for node in nodes} - OWN_STEPS}
        constants = [x for x in (*outputs, *(x for node in nodes for x in node.operands)) if isinstance(x, Constant)]
        with np.errstate(over="ignore"):
            space |= {str(x): np.array(x.number, bool if isinstance(x.number, bool) else np.float32) for x in constants}
        exec(self.source, space)  # made of nothing but the names in this file and those in the table of operations
        quiet = np.errstate(all="ignore")  # as in torch, whose log of a negative number is NaN without a word
        self._fix, self._step = quiet(space["fix"]), quiet(space["step"])
        self._shape = (0, graph.size)
        self._arrays: list[Array] = []
        self._algorithm: Algorithm | None = None

    def __call__(
        self, algorithm: Algorithm, inputs: Mapping[str, Array], upstream: Array
    ) -> tuple[Array, dict[str, Array]]:
        """Return the surrogate `[R, B]`, and for every name in `grads` the gradient `[R, B]`, as new arrays.

        `algorithm` holds the hyper fields `[R, 1]`, read anew whenever it is another one than in the last call;
        `inputs` the arrays `[R, B]` named by `self.inputs`, float32, and is asked for no other. `upstream` is the
        gradient of the objective by the surrogate, each sample's weight in a mean: `[R, B]` if weighted, else `[R, 1]`.
        """
        if len(upstream) != self._shape[0]:
            replicas, size = self._shape = (len(upstream), self._shape[1])
            layouts = [((replicas, size if x.full else 1), bool if x.boolean else np.float32) for x in self._buffers]
            self._arrays = [np.empty(shape, dtype) for shape, dtype in layouts]
            self._algorithm = None
        if algorithm is not self._algorithm:
            self._fix(self._arrays, algorithm)
            self._algorithm = algorithm
        surrogate, *grads = self._step(self._shape, self._arrays, inputs, upstream)
        return surrogate, dict(zip(self.grads, grads, strict=True))


def _write(nodes: Sequence[Node], outputs: Sequence[Operand]) -> tuple[str, list[Node]]:
    """Return the source of a replay, and the nodes whose arrays its functions take as `buffers`."""
    fix: list[str] = []
    step: list[str] = []
    buffers: list[Node] = []
    for node in nodes:
        lines = fix if node.fixed else step
        if node in outputs and _is_computed(node):
            lines.append(f"{node} = empty(shape, float32)")
        elif node.fixed or not node.name:
            buffers.append(node)
        lines += _statements(node, *map(str, node.operands))
    results: list[str] = []
    for x in outputs:
        is_new = _is_computed(x) and str(x) not in results
        results.append(str(x) if is_new else f"array(broadcast_to({x}, shape))")
    unpack = f"[{', '.join(map(str, buffers))}] = buffers"
    functions = (
        ["def fix(buffers, algorithm):", unpack, *fix],
        [f"def step(shape, buffers, inputs, {UPSTREAM}):", unpack, *step, f"return [{', '.join(results)}]"],
    )
    return "\n".join("\n    ".join(lines) for lines in functions), buffers


def _statements(node: Node, *operands: str) -> list[str]:
    """Return what computes a node's array."""
    if node.name and node.fixed:
        return [f"copyto({node}, algorithm.{node.name}.numpy())"]
    if node.name:
        given = UPSTREAM if node.name == UPSTREAM else f"inputs[{node.name!r}]"
        return [f"{node} = ascontiguousarray({given})"]
    if node.step == "where":
        condition, chosen, other = operands
        return [f"copyto({node}, {other})", f"putmask({node}, {condition}, {chosen})"]
    if node.step in ("spread", "number"):
        return [f"copyto({node}, {operands[0]})"]
    if node.step == "total":
        return [f"add.reduce({operands[0]}, -1, None, {node}, True)"]
    # By keyword, which numpy insists on for some functions and takes as fast.
    return [f"{node.step}({', '.join(operands)}, out={node})"]


def _is_computed(x: Operand) -> bool:
    """Return whether an operand is computed anew in every step."""
    return isinstance(x, Node) and not x.name and not x.fixed
