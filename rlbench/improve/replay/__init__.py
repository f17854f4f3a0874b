"""Surrogates without autograd: recorded once, replayed in numpy at every later gradient step.

Why. On tensors `[R, B]` of a minibatch torch and autograd cost several times what the arithmetic does. Of PPO-Clip's
training (32 minibatches of 64 samples, 10 epochs) the surrogate took 45.3, 6.1 and 4.8 microseconds per environment
step and replica at R = 1, 5 and 10 by autograd, and takes 2.9, 1.0 and 0.7 replayed; all the rest of a step takes 24.6,
14.6 and 13.9. Forward-mode dual numbers, which run the author's code at every step, were built and measured as well:
they made training 4 to 10 % slower than replay does at R = 5 and 10, and 11 to 16 % at R = 1.

What is recorded (`recording`). The surrogate runs once on made-up samples, and autograd differentiates it. Every
elementary operation of both becomes a node of a graph. The author of a surrogate need not know of it. A surrogate is
replayed if it is a function of the samples and of its hyper fields, made of operations in the table (`OPERATIONS`) that
keep the replicas apart. Whatever else is refused: numbers that are read out of a tensor, random numbers, tensors from
outside, reductions over replicas, changes in place of an input, derivatives that are the author's code.

When it is trusted. A surrogate is recorded twice, on other numbers and for another R. Both recordings must be the same:
else something that is not among the operations, such as Python's random numbers, a counter or the number of replicas,
decides what is computed. And the replay must give what autograd gave in both recordings, to 1e-4 of a number plus 1e-5,
with NaN and infinities in the same places. What stays unseen is a change of Python's state later on, such as of a
global variable, and that the contract of `Algorithm.surrogate` rules out: "keep no state".

What falls back. `record` returns the reason why a surrogate is refused; then autograd differentiates it at every step,
as it does any other objective than the surrogate. Nobody who writes such a surrogate notices more than the time.

What is replayed (`Replay`). The graph's nodes as calls of numpy functions on arrays that are allocated once: a
statement per node, such as `multiply(v7, v2, out=v9)`, in the text of a function. Called from a list instead, the same
calls took 12 % longer (PPO-Clip, R = 1 and 10); sharing arrays among nodes gained nothing in minibatches. What is
recorded depends on class, static fields and B alone, not on anybody's samples, so a replica is replayed or not whatever
it trains together with; and what is replayed rounds alike for every R and every place in a pack.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rlbench.data import Samples
from rlbench.functional.compiled import Array
from rlbench.improve.replay.recording import OWN_STEPS, Constant, Graph, Node, Operand, Recorder, Refused, Watch

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm

__all__ = ["SURROGATE_INPUTS", "Replay", "record"]

RELATIVE, ABSOLUTE = 1e-4, 1e-5
UPSTREAM = "upstream"
"""The input that holds the gradient of the objective by the surrogate."""
SURROGATE_INPUTS = ("log_prob", "entropy", "kl", "value")
"""What a surrogate may be differentiated by, `[R, B]` each."""


def record(algorithm: Algorithm, size: int, *, weighted: bool) -> Replay | str:
    """Return the replay of an algorithm's surrogate on `size` samples per replica, or why autograd has to do it.

    `algorithm` is a stacked one, its hyper fields `[R, 1]`; `weighted`: the samples have weights. The answer is kept,
    for all algorithms that differ in hyper fields only. Ask again after `adapt`, which may have made something of a
    field that cannot be replayed.
    """
    settings = {}
    for field in dataclasses.fields(algorithm):  # type: ignore[arg-type]  # a dataclass since subclassing
        value = getattr(algorithm, field.name)
        if not isinstance(value, torch.Tensor):
            settings[field.name] = value
        elif value.dtype != torch.float32 or value.dim() != 2 or value.shape[1] != 1:
            return f"the field {field.name} is {value.dtype} {tuple(value.shape)} instead of float32 [R, 1]"
    return _record(type(algorithm), tuple(settings.items()), size, weighted)  # type: ignore[arg-type]  # hashable


@lru_cache(maxsize=64)
def _record(kind: type[Algorithm], settings: tuple[tuple[str, Any], ...], size: int, weighted: bool) -> Replay | str:
    replicas = [count for count in (2, 3, 4) if count != size][:2]
    try:
        trials = [Trial(kind, dict(settings), size, weighted=weighted, replicas=count) for count in replicas]
    except Refused as refused:
        return str(refused)
    first, second = trials
    if first.replay.source != second.replay.source:
        return "what is computed depends on numbers, on how many replicas there are, or on something else outside"
    if not all(trial.agrees(first.replay) for trial in trials):
        return "numpy and torch disagree"
    return first.replay


class Trial:
    """A surrogate recorded on made-up numbers for R `replicas`, `size` samples each; raises Refused.

    The numbers depend on these arguments alone, so that nobody's samples decide what is replayed.

    replay    what was recorded
    expected  what autograd made of `inputs` and `upstream`: the surrogate and its gradients, `[R, B]` each
    """

    def __init__(
        self, kind: type[Algorithm], settings: Mapping[str, Any], size: int, *, weighted: bool, replicas: int
    ) -> None:
        rng = np.random.default_rng(replicas)
        self.inputs = draw_samples(rng, replicas, size, weighted=weighted)
        self.upstream = rng.uniform(0.5, 1.5, (replicas, size if weighted else 1)).astype(np.float32)
        columns = {
            field.name: torch.from_numpy(draw_column(rng, field.default, replicas))  # type: ignore[arg-type]  # a float
            for field in dataclasses.fields(kind)  # type: ignore[arg-type]  # a dataclass since subclassing
            if field.name not in settings
        }
        tensors = {name: torch.from_numpy(values) for name, values in self.inputs.items()}
        upstream = torch.from_numpy(self.upstream)
        recorder = Recorder(replicas, size)
        for name, tensor in [*tensors.items(), (UPSTREAM, upstream)]:
            recorder.name(tensor, name)
        for name, tensor in columns.items():
            recorder.name(tensor, name, fixed=True)
        by = [tensors.pop(name).requires_grad_() for name in SURROGATE_INPUTS]
        terms = {name: lambda tensor=tensor: tensor for name, tensor in zip(SURROGATE_INPUTS, by, strict=True)}
        x = Samples(**{"weight": None, **tensors}, terms=SimpleNamespace(**terms))  # type: ignore[arg-type]
        try:
            self.algorithm = kind(**settings, **columns)
            with torch.enable_grad():
                surrogate, grads = _differentiate(recorder, self.algorithm, x, by, upstream)
        except Refused:
            raise
        except Exception as error:  # an author's code may raise anything; where it is run in earnest, it will again
            raise Refused(f"the surrogate raised {error!r}") from error
        if recorder.refusal is not None:
            raise Refused(recorder.refusal)
        reached = {name: grad for name, grad in zip(SURROGATE_INPUTS, grads, strict=True) if grad is not None}
        nodes = {name: recorder.operand(grad) for name, grad in reached.items()}
        self.replay = Replay(recorder.graph, recorder.operand(surrogate), nodes)
        self.expected = [result.detach().numpy() for result in (surrogate, *reached.values())]

    def agrees(self, replay: Replay) -> bool:
        """Return whether a replay gives what autograd gave."""
        surrogate, grads = replay(self.algorithm, self.inputs, self.upstream)
        return all(
            np.allclose(replayed, expected, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
            for replayed, expected in zip((surrogate, *grads.values()), self.expected, strict=True)
        )


def _differentiate(
    recorder: Recorder, algorithm: Algorithm, x: Samples, by: Sequence[torch.Tensor], upstream: torch.Tensor
) -> tuple[torch.Tensor, Sequence[torch.Tensor | None]]:
    """Return the surrogate and its gradients, with the recorder looking on."""
    with recorder, Watch(recorder):
        surrogate = algorithm.surrogate(x)
    if not isinstance(surrogate, torch.Tensor) or surrogate.shape != x.advantage.shape:
        raise Refused("a surrogate that is not one number per sample")
    if surrogate.dtype != torch.float32:
        raise Refused(f"a surrogate of type {surrogate.dtype}")
    if not surrogate.requires_grad:
        return surrogate, [None] * len(by)
    _check_functions(surrogate.grad_fn)
    # Given `upstream` as an argument instead, torch would import its symbolic shapes, which takes a quarter second.
    objective = (surrogate * upstream).sum()
    with recorder:
        return surrogate, torch.autograd.grad(objective, by, allow_unused=True)


def _check_functions(root: Any) -> None:
    """Refuse an author's own `torch.autograd.Function`: its backward pass is Python that nobody watches."""
    left, seen = [root], set()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            raise Refused("a torch.autograd.Function")
        seen.add(node)
        left += [following for following, _ in node.next_functions]


def draw_samples(rng: np.random.Generator, replicas: int, size: int, *, weighted: bool) -> dict[str, Array]:
    """Return samples as training makes them, with ties, zeros and, in the last replica, a NaN among them."""
    normal = [rng.standard_normal((replicas, size)).astype(np.float32) for _ in range(7)]
    log_prob = -np.abs(normal[0])
    samples = {
        "log_prob": log_prob,
        "old_log_prob": log_prob + np.float32(0.3) * normal[1],
        "entropy": np.abs(normal[2]),
        "kl": np.float32(0.1) * np.abs(normal[3]),
        "value": normal[4],
        "old_value": normal[4] + np.float32(0.5) * normal[5],
        "target": normal[4] + normal[5] * normal[6],
        "advantage": normal[6],
    }
    if weighted:
        samples["weight"] = (rng.random((replicas, size)) < 0.8).astype(np.float32)
    if size > 3:
        samples["old_log_prob"][:, 0] = log_prob[:, 0]  # the ratio is 1
        samples["old_value"][:, 1] = samples["value"][:, 1]
        samples["advantage"][:, 2] = 0
        samples["log_prob"][-1, 3] = np.nan
    return samples


def draw_column(rng: np.random.Generator, default: float, replicas: int) -> Array:
    """Return values of a hyper-parameter `[R, 1]` near its default."""
    return ((default or 0.1) * rng.uniform(0.8, 1.2, (replicas, 1))).astype(np.float32)


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
