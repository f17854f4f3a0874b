"""The `updates` table in the making: one row per update, a number per replica in every column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.algorithm import Algorithm
from rlbench.data import Stats
from rlbench.fields import fields_of
from rlbench.improve.diagnostics import Meter
from rlbench.records import Table
from rlbench.training.state import State, UnusableError, from_document, joined, part, put_rows, rows, to_document

Array = npt.NDArray[Any]
_COSTS = ("gradient_steps", "samples")
_METERED = ("clip_fraction", "clip_killed", "value_loss", "grad_norm")


class History:
    """The rows so far, and what the gradients cost: `gradient_steps` and `samples`, `[R]`."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._hypers = [name for name, field in fields_of(type(algorithm)).items() if field.is_hyper]
        replicas = len(getattr(algorithm, self._hypers[0]))
        self.gradient_steps = np.zeros(replicas, np.int64)
        self.samples = np.zeros(replicas, np.int64)
        self._rows: list[dict[str, Array]] = []
        self._learnt: list[Array] = []  # which replicas [R] each row is true of
        self._adapted: set[str] = set()  # the fields that `adapt` has changed
        self._known: tuple[Algorithm | None, dict[str, Array]] = (None, {})

    def add(self, algorithm: Algorithm, meter: Meter, columns: dict[str, Array | float], alive: Array) -> None:
        """Add the row of one update that `algorithm` made, for the replicas in `alive` `[R]`."""
        replicas = len(alive)
        self.gradient_steps += meter.count("samples")
        self.samples += meter.total("samples").astype(np.int64)
        row = {name: np.broadcast_to(values, replicas) for name, values in columns.items()}
        row |= {name: meter.mean(name) for name in _METERED}
        row |= {"gradient_steps": self.gradient_steps.copy()}
        row |= self._fields(algorithm)
        self._rows.append(row)
        self._learnt.append(alive.copy())

    def _fields(self, algorithm: Algorithm) -> dict[str, Array]:
        """Return the columns of the hyper fields; those of an algorithm that stayed the same are made once."""
        if self._known[0] is not algorithm:
            columns = {f"field.{name}": getattr(algorithm, name).numpy()[:, 0].copy() for name in self._hypers}
            self._known = (algorithm, columns)
        return self._known[1]

    def stats(self) -> Stats:
        """Return what `adapt` sees of the latest update."""
        names = ("kl", "entropy", "surrogate", "mean_return", "progress")
        return Stats(**{name: torch.tensor(self._rows[-1][name], dtype=torch.float32)[:, None] for name in names})

    def note_adapted(self, before: Algorithm, after: Algorithm) -> None:
        """Note which fields `adapt` replaced: they get a column for the whole run."""
        self._adapted |= {name for name in self._hypers if getattr(after, name) is not getattr(before, name)}

    def table(self, replica: int) -> Table:
        """Return the `updates` table of one replica."""
        kept = [row for row, learnt in zip(self._rows, self._learnt, strict=True) if learnt[replica]]
        return {name: np.array([row[name][replica] for row in kept]) for name in self._columns()}

    def states(self) -> list[State]:
        """Return the rows of every replica, and what its gradients cost."""
        replicas, names = len(self.samples), list(self._rows[-1]) if self._rows else []
        whole = {name: np.stack([row[name] for row in self._rows]) for name in names}  # [updates, R]
        learnt = np.array(self._learnt, bool).reshape(-1, replicas)
        notes = {"adapted": from_document(sorted(self._adapted)), "order": from_document(names)}
        return [
            joined(columns={name: column[:, replica].copy() for name, column in whole.items()})
            | {"learnt": learnt[:, replica].copy(), **notes}
            | rows(self, _COSTS, replica)
            for replica in range(replicas)
        ]

    def restore(self, states: Sequence[State]) -> None:
        """Go on from the rows of all replicas, one state each."""
        orders = [to_document(state["order"]) for state in states]
        if any(order != orders[0] for order in orders) or len({len(state["learnt"]) for state in states}) > 1:
            raise UnusableError("replicas that were not trained alike have other updates")
        columns = [part(state, "columns") for state in states]
        whole = {name: np.stack([own[name] for own in columns], axis=1) for name in orders[0]}  # [updates, R]
        learnt = np.stack([state["learnt"] for state in states], axis=1)
        self._rows = [{name: column[row] for name, column in whole.items()} for row in range(len(learnt))]
        self._learnt = list(learnt)
        self._adapted = {name for state in states for name in to_document(state["adapted"])}
        for replica, state in enumerate(states):
            put_rows(self, _COSTS, replica, state)

    def _columns(self) -> Sequence[str]:
        names = self._rows[-1] if self._rows else {}
        return [name for name in names if not name.startswith("field.") or name[len("field.") :] in self._adapted]
