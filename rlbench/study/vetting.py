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
from pathlib import Path
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
_SECONDS = 1.0  # of stepping once, after which that is enough


def vet(cells: Sequence[Cell], store: Store) -> None:
    """Refuse, with RlbenchError, what breaks its promise; what passed is remembered by its source and settings."""
    path = store.directory / _FILE
    known = _passed(path)
    algorithms: dict[str, Algorithm] = {}
    for cell in cells:
        if not is_own(type(cell.algorithm)):
            what = {"checks": _VERSION, "fingerprint": cell.fingerprint, "settings": settings(cell.algorithm)}
            algorithms.setdefault(cell_id(what), cell.algorithm)
    new = {key: algorithm for key, algorithm in algorithms.items() if key not in known}
    for algorithm in new.values():
        if problem := broken_promise(algorithm):
            raise RlbenchError(
                f"{algorithm.name} is not trained, since its runs could not be compared: {problem} `rlbench check` "
                "says more."
            )
    if new:
        with contextlib.suppress(OSError):  # they are then checked again the next time
            write(path, json.dumps(sorted({*known, *new})) + "\n", inside=store.root)


def _passed(path: Path) -> set[str]:
    try:
        return {key for key in read_json(path) if isinstance(key, str)}
    except (OSError, ValueError, TypeError):
        return set()


def compare_repetition(
    _: Sequence[Algorithm],
    environment: Environment,
    steps: int,
    seeds: Sequence[int],
    *,
    on_progress: Callable[..., None],
) -> list[RunRecord]:
    """Step an environment twice with one seed and the same actions, the second time beside a copy with another seed.

    It takes and returns what `rlbench.training.trainer.train` does, for one cell, so that it runs where that runs: the
    record's reason says what differed, and is empty otherwise.
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
