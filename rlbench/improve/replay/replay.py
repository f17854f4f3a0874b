"""A surrogate and its derivative, recorded once and replayed in numpy for every later gradient step.

On tensors `[R, B]` of a minibatch torch and autograd cost several times what the arithmetic does. What is replayed is
what they did, operation by operation, so the author of a surrogate need not know of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.improve.replay.graph import Refused
from rlbench.improve.replay.program import Program, compile_graph
from rlbench.improve.replay.trial import UPSTREAM, Trial, record_trial

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm

Array = npt.NDArray[Any]
RELATIVE, ABSOLUTE = 1e-4, 1e-5


class Replay:
    """The surrogate of a class with certain static fields, on B samples per replica, for any number of replicas R.

    inputs  names of the arrays that the surrogate reads: leaves (`log_prob`, `entropy`, `kl`, `value`) and fields of
            `Samples` that do not depend on parameters (`advantage`, `old_log_prob`, `old_value`, `target`, `weight`)
    leaves  those of the leaves that the surrogate's gradient reaches

    A surrogate is replayed if it is a function of these inputs and of its hyper fields, made of operations in the table
    (`rlbench.improve.replay.operations`) that keep the replicas apart. It is recorded twice, on other numbers and for
    another R. Both recordings must be the same, and give what autograd gave, to 1e-4 of a number plus 1e-5, and NaN and
    infinities in the same places. Whatever else is refused. What stays unseen is a change of Python's state later on,
    such as of a global variable, and that the contract of `Algorithm.surrogate` rules out: "keep no state".

    What is recorded depends on class, static fields and B alone, not on anybody's samples, so a replica is replayed or
    not whatever it trains together with; and what is replayed rounds alike for every R and every place in a pack.
    """

    def __init__(self, program: Program, leaves: tuple[str, ...]) -> None:
        self.inputs = tuple(name for name in program.inputs if name != UPSTREAM)
        self.leaves = leaves
        self._program = program
        self._algorithm: Algorithm | None = None
        self._fixed: tuple[Array, ...] = ()
        self._shape = (0, program.size)
        self._buffers: tuple[Array, ...] = ()

    @classmethod
    def record(cls, algorithm: Algorithm, size: int, *, weighted: bool) -> Replay | None:
        """Return the replay of an algorithm's surrogate on `size` samples per replica, or None: leave it to autograd.

        `algorithm` is a stacked one, its hyper fields `[R, 1]`; `weighted`: the samples have weights. What is found is
        kept, for all algorithms that differ in hyper fields only. Ask again after `adapt`, which may have made
        something of a field that cannot be replayed.
        """
        found = attempt(algorithm, size, weighted=weighted)
        return None if isinstance(found, str) else found

    def __call__(
        self, algorithm: Algorithm, inputs: Mapping[str, Array], upstream: Array
    ) -> tuple[Array, dict[str, Array]]:
        """Return the surrogate `[R, B]`, and for every name in `leaves` the gradient `[R, B]`, as new arrays.

        `algorithm` holds the hyper fields `[R, 1]`, read anew whenever it is another one than in the last call;
        `inputs` the arrays `[R, B]` named by `self.inputs`, float32, and is asked for no other. `upstream` is the
        gradient of the objective by the surrogate, each sample's share in a mean: `[R, B]` if weighted, else `[R, 1]`.
        """
        if algorithm is not self._algorithm:
            self._fixed = self._program.fix(*(_column(algorithm, name) for name in self._program.hypers))
            self._algorithm = algorithm
        if len(upstream) != self._shape[0]:
            self._shape = (len(upstream), self._program.size)
            self._buffers = self._program.allocate(len(upstream))
        arrays = [np.ascontiguousarray(upstream if n == UPSTREAM else inputs[n]) for n in self._program.inputs]
        surrogate, *slopes = self._program.step(self._shape, self._buffers, self._fixed, *arrays)
        return surrogate, dict(zip(self.leaves, slopes, strict=True))


def attempt(algorithm: Algorithm, size: int, *, weighted: bool) -> Replay | str:
    """Return what `Replay.record` does or, where that is None, the reason."""
    settings = {}
    for field in dataclasses.fields(algorithm):  # type: ignore[arg-type]  # a dataclass since subclassing
        value = getattr(algorithm, field.name)
        if not isinstance(value, torch.Tensor):
            settings[field.name] = value
        elif value.dtype != torch.float32 or value.dim() != 2 or value.shape[1] != 1:
            return f"the field {field.name} is {value.dtype} {tuple(value.shape)} instead of float32 [R, 1]"
    return _attempt(type(algorithm), tuple(settings.items()), size, weighted)  # type: ignore[arg-type]  # hashable


@lru_cache(maxsize=64)
def _attempt(kind: type[Algorithm], settings: tuple[tuple[str, Any], ...], size: int, weighted: bool) -> Replay | str:
    """Record a surrogate twice and try what comes of it."""
    replicas = [count for count in (2, 3, 4) if count != size][:2]
    try:
        trials = [record_trial(kind, dict(settings), size, weighted=weighted, replicas=count) for count in replicas]
    except Refused as refused:
        return str(refused)
    first, second = trials
    if first.script() != second.script():
        return "what is computed depends on numbers, on how many replicas there are, or on something else outside"
    replay = Replay(compile_graph(first.graph, first.outputs), first.leaves)
    if not all(_agrees(replay, trial) for trial in trials):
        return "numpy and torch disagree"
    return replay


def _agrees(replay: Replay, trial: Trial) -> bool:
    surrogate, slopes = replay(trial.algorithm, trial.inputs, trial.upstream)
    found = (surrogate, *slopes.values())
    return all(
        np.allclose(one, other, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
        for one, other in zip(found, trial.expected, strict=True)
    )


def _column(algorithm: Algorithm, name: str) -> Array:
    column: Array = getattr(algorithm, name).numpy()
    return column
