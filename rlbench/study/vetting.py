"""Before anything is trained: whether code of users keeps what every run promises, as far as can be seen in a moment.

A run has the same numbers in every pack and every time. A formula that mixes replicas or draws random numbers, and an
environment that is more than a function of its seed, break that in silence. The one is refused with the sentence of
`rlbench check`; the other is warned of and marked, since what it simulates may be worth measuring all the same.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rlbench.algorithm import Algorithm
from rlbench.checks import broken_promise
from rlbench.errors import RlbenchError
from rlbench.fields import settings
from rlbench.files import read_json, write
from rlbench.records import Environment, RunRecord, empty_episodes
from rlbench.registry import is_own
from rlbench.store import Store
from rlbench.store.entry import cell_id
from rlbench.study.plan import Cell

_FILE = ".vetted.json"
_VERSION = 1  # of the checks that were passed
_STEPS = 300  # that an environment is stepped twice
LIMIT = 1.0  # seconds of a call of an environment; ten times as long without a sign of life, and training goes on
_SECONDS = 1.0  # of stepping once, after which that is enough


class Passed:
    """The algorithms that kept their promises, by their source and settings, from one command to the next."""

    def __init__(self, store: Store) -> None:
        self._path, self._root = store.directory / _FILE, store.root
        try:
            self._keys = {key for key in read_json(self._path) if isinstance(key, str)}
        except (OSError, ValueError, TypeError):
            self._keys = set()

    def left(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return a cell of each algorithm that is to be looked at: neither rlbench's own nor known."""
        foreign = [cell for cell in cells if not is_own(type(cell.algorithm))]
        return list({key: cell for cell in foreign if (key := _key(cell)) not in self._keys}.values())

    def add(self, cells: Sequence[Cell]) -> None:
        """Remember the algorithms of cells; where the disk refuses, they are looked at again the next time."""
        if not cells:
            return
        self._keys.update(map(_key, cells))
        with contextlib.suppress(OSError):
            write(self._path, json.dumps(sorted(self._keys)) + "\n", inside=self._root)


def _key(cell: Cell) -> str:
    return cell_id({"checks": _VERSION, "fingerprint": cell.fingerprint, "settings": settings(cell.algorithm)})


def look_at_formulas(
    algorithms: Sequence[Algorithm],
    _: Environment,
    steps: int,
    seeds: Sequence[int],
    *,
    on_progress: Callable[..., None],
) -> list[RunRecord]:
    """Look whether an algorithm's formulas mix replicas or draw random numbers.

    It takes and returns what `rlbench.training.trainer.train` does, for one cell, so that it runs where that runs and
    takes nobody along: the record's reason says what is broken, and is empty otherwise.
    """
    return [RunRecord("finished", broken_promise(algorithms[0]), steps, empty_episodes(), {})]


def step_twice(
    _: Sequence[Algorithm],
    environment: Environment,
    steps: int,
    seeds: Sequence[int],
    *,
    on_progress: Callable[..., None],
) -> list[RunRecord]:
    """Step an environment twice with one seed and the same actions, the second time beside a copy with another seed.

    It takes and returns what `look_at_formulas` does; the record's reason says what differed.
    """
    with np.errstate(all="ignore"):  # as in training
        first = _walk(environment, [0], _STEPS)
        try:
            second = _walk(environment, [1, 0], len(first))
        except RlbenchError:  # only one at a time can be made
            second = _walk(environment, [0], len(first))
    alike = all(
        np.array_equal(one[0], other[-1], equal_nan=True)
        for before, after in zip(first, second, strict=False)
        for one, other in zip(before, after, strict=True)
    )
    said = "" if alike else "gave other observations or rewards when it was stepped again"
    return [RunRecord("finished", said, steps, empty_episodes(), {})]


def _walk(environment: Environment, seeds: Sequence[int], steps: int) -> list[tuple[Any, ...]]:
    """Return what each step gave, the first of them the reset; the last replica gets the same actions every time."""
    from rlbench.training import envs

    with contextlib.closing(envs.make(environment, len(seeds), 1)) as batch:
        seen: list[tuple[Any, ...]] = [(batch.reset(seeds),)]
        drawn = [np.random.default_rng(seed) for seed in seeds]
        until = time.monotonic() + _SECONDS
        while len(seen) < steps and not batch.failures and time.monotonic() < until:
            seen.append(tuple(batch.step(np.stack([batch.action.draw(rng) for rng in drawn]))))
    return seen
