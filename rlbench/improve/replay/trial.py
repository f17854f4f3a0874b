"""Made-up samples on which a surrogate is recorded and its program is held against autograd."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.data import Samples
from rlbench.improve.leaves import LEAVES
from rlbench.improve.replay.graph import Graph, Operand, Refused, text
from rlbench.improve.replay.program import needed
from rlbench.improve.replay.recording import Recorder, Watch

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm

Array = npt.NDArray[Any]
UPSTREAM = "upstream"


@dataclass(frozen=True, eq=False)
class Trial:
    """A recorded surrogate, with the numbers it was recorded on and what autograd makes of them.

    `outputs` are the surrogate and its gradient by every leaf in `leaves`, as nodes of `graph`; `expected` are their
    values `[R, B]`.
    """

    graph: Graph
    leaves: tuple[str, ...]
    outputs: tuple[Operand, ...]
    algorithm: Algorithm
    inputs: Mapping[str, Array]
    upstream: Array
    expected: tuple[Array, ...]

    def script(self) -> list[str]:
        """Return what was recorded in writing; it must depend neither on the numbers nor on R."""
        nodes = needed(self.graph, self.outputs)
        lines = [
            f"{text(node)} = {node.step} {self.graph.names.get(node, '')} {[text(one) for one in node.operands]}"
            for node in nodes
        ]
        return [*lines, f"{self.leaves} {[text(one) for one in self.outputs]}"]


def record_trial(
    kind: type[Algorithm], settings: Mapping[str, Any], size: int, *, weighted: bool, replicas: int
) -> Trial:
    """Record the surrogate of a class on made-up numbers for R `replicas`, `size` samples each.

    The numbers depend on these arguments alone, so that nobody's samples decide what is replayed. Raises Refused.
    """
    rng = np.random.default_rng(replicas)
    inputs = _draw_samples(rng, replicas, size, weighted=weighted)
    upstream = rng.uniform(0.5, 1.5, (replicas, size if weighted else 1)).astype(np.float32)
    columns = {
        field.name: torch.from_numpy(_draw_column(rng, field.default, replicas))  # type: ignore[arg-type]  # a float
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]  # a dataclass since subclassing
        if field.name not in settings
    }
    tensors = {name: torch.from_numpy(values).requires_grad_(name in LEAVES) for name, values in inputs.items()}
    share = torch.from_numpy(upstream)
    recorder = Recorder(replicas, size)
    for name, tensor in [*tensors.items(), (UPSTREAM, share)]:
        recorder.name(tensor, name)
    for name, tensor in columns.items():
        recorder.name(tensor, name, fixed=True)
    batch = {name: tensor for name, tensor in tensors.items() if name not in LEAVES}
    x = Samples(**{"weight": None, **batch}, terms=_Given(tensors))  # type: ignore[arg-type]
    try:
        with torch.enable_grad():
            algorithm = kind(**settings, **columns)
            surrogate, slopes = _differentiate(recorder, algorithm, x, [tensors[name] for name in LEAVES], share)
    except Refused:
        raise
    except Exception as error:  # an author's code may raise anything; where it is run in earnest, it will again
        raise Refused(f"the surrogate raised {error!r}") from error
    if recorder.refusal is not None:
        raise Refused(recorder.refusal)
    found = {name: slope for name, slope in zip(LEAVES, slopes, strict=True) if slope is not None}
    results = [surrogate, *found.values()]
    return Trial(
        graph=recorder.graph,
        leaves=tuple(found),
        outputs=tuple(recorder.graph.spread(recorder.operand(one)) for one in results),
        algorithm=algorithm,
        inputs=inputs,
        upstream=upstream,
        expected=tuple(one.detach().numpy() for one in results),
    )


def _differentiate(
    recorder: Recorder, algorithm: Algorithm, x: Samples, leaves: Sequence[torch.Tensor], share: torch.Tensor
) -> tuple[torch.Tensor, Sequence[torch.Tensor | None]]:
    """Return the surrogate and its gradients, with the recorder looking on."""
    with recorder, Watch(recorder):
        surrogate = algorithm.surrogate(x)
    if not isinstance(surrogate, torch.Tensor) or surrogate.shape != x.advantage.shape:
        raise Refused("a surrogate that is not one number per sample")
    if surrogate.dtype != torch.float32:
        raise Refused(f"a surrogate of type {surrogate.dtype}")
    if not surrogate.requires_grad:
        return surrogate, [None] * len(leaves)
    _check_functions(surrogate.grad_fn)
    # Given `share` as an argument instead, torch would import its symbolic shapes, which takes a quarter second.
    objective = (surrogate * share).sum()
    with recorder:
        return surrogate, torch.autograd.grad(objective, leaves, allow_unused=True)


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
        left += [one for one, _ in node.next_functions]


def _draw_samples(rng: np.random.Generator, replicas: int, size: int, *, weighted: bool) -> dict[str, Array]:
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


def _draw_column(rng: np.random.Generator, default: float, replicas: int) -> Array:
    """Return values of a hyper-parameter `[R, 1]` near its default."""
    return ((default or 0.1) * rng.uniform(0.8, 1.2, (replicas, 1))).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Given:
    """The terms of samples, as they are."""

    tensors: Mapping[str, torch.Tensor]

    def log_prob(self) -> torch.Tensor:
        return self.tensors["log_prob"]

    def entropy(self) -> torch.Tensor:
        return self.tensors["entropy"]

    def kl(self) -> torch.Tensor:
        return self.tensors["kl"]

    def value(self) -> torch.Tensor:
        return self.tensors["value"]
