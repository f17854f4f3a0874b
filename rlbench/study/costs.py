"""What packs cost: measured where packs of the kind were trained before on this machine, else by rule of thumb.

A kind is what decides the cost: algorithm, static fields, environment. Of each, seconds per environment step are known
for some numbers of replicas; a pack of R takes `fixed + each * R`, since every call on a whole pack has a price of its
own and a part per replica.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlbench.algorithm import pack_key
from rlbench.fields import fields_of, settings
from rlbench.files import read_json, write
from rlbench.records import RunRecord
from rlbench.store.entry import cell_id
from rlbench.store.runs import COSTS
from rlbench.study.memory import replica_bytes
from rlbench.study.plan import Cell
from rlbench.training.machine import processor

SAVING = 0.03  # what twice as large a pack must save of the cost of a replica, to be worth its lateness
LEAST = 8  # replicas that a pack may always hold, as far as memory allows
_GPU_EACH = 0.016  # of what a call takes: packs of up to 1000 replicas, as long as memory lasts
_LEAST_ROLLOUTS = 10  # of a pack whose time is kept: the first one loads and compiles
_OBSERVATIONS = 16  # numbers in an observation, where nobody has looked


class Cost(NamedTuple):
    """Seconds per environment step of a run: of a pack whatever its size, and more with each replica."""

    fixed: float
    each: float

    def per_step(self, replicas: int) -> float:
        """Return the seconds per environment step of a pack."""
        return self.fixed + self.each * replicas

    @property
    def worthwhile(self) -> int:
        """The largest number of replicas at which twice as many would still cost each of them less, by `SAVING`.

        It is at least `LEAST`: the price of a call is the small difference of two times, which may come out as none.
        """
        return max(LEAST, math.ceil((0.5 - SAVING) / SAVING * self.fixed / self.each))


class Costs:
    """The costs of all kinds; kept in `folder`, if there is one, from one call to the next.

    `observations` gives the size of an observation by the label of an environment, for the estimate of memory; `device`
    is the one that packs train on, a GPU with its model.
    """

    def __init__(
        self, folder: Path | None = None, observations: Mapping[str, int] | None = None, device: str = "cpu"
    ) -> None:
        self.device = device
        self._path = folder / COSTS if folder else None
        self._observations = observations or {}
        self._kinds: dict[tuple[Any, ...], str] = {}
        self._known: dict[str, dict[str, list[float]]] = _read(self._path)
        self._noted: dict[str, dict[str, list[float]]] = {}

    def measured(self, cell: Cell) -> bool:
        """Return whether packs of the cell's kind were trained before."""
        return bool(self._known.get(self.kind(cell)))

    def of(self, cell: Cell) -> Cost:
        """Return the cost of packs of the cell's kind."""
        points = {int(replicas): values[0] for replicas, values in self._known.get(self.kind(cell), {}).items()}
        return _fit(points, rule_of_thumb(cell, self.device))

    def seconds(self, cell: Cell, replicas: int) -> float:
        """Return the expected duration of `replicas` such runs in one pack."""
        return self.of(cell).per_step(replicas) * cell.steps

    def largest(self, cell: Cell, room: float) -> int:
        """Return how many such runs a pack should hold at most: as many as pay, and fit into `room` bytes."""
        needed = replica_bytes(
            cell.algorithm, self._observations.get(cell.environment.label, _OBSERVATIONS), cell.steps
        )
        known = self._known.get(self.kind(cell), {}).items()
        # A small pack's peak is mostly not its replicas'.
        needed = max([needed, *(values[1] / int(replicas) for replicas, values in known if int(replicas) >= 8)])
        fitting = room / needed
        worthwhile = self.of(cell).worthwhile
        return worthwhile if fitting >= worthwhile else max(1, int(fitting))

    def note(self, cell: Cell, replicas: int, per_step: float, peak: int) -> None:
        """Keep what a pack of `replicas` took: seconds per environment step of a run, and bytes at its peak."""
        for points in (self._known, self._noted):
            points.setdefault(self.kind(cell), {})[str(replicas)] = [per_step, peak]

    def note_pack(self, cell: Cell, records: list[RunRecord]) -> None:
        """Keep what a pack took, if it spent its whole budget and that is long enough to tell."""
        rollouts = cell.steps / cell.algorithm.samples_per_update
        if rollouts >= _LEAST_ROLLOUTS and any(record.status == "finished" for record in records):
            seconds = sum(record.seconds for record in records)
            # What the process held says nothing of a GPU's memory.
            peak = max(record.peak_bytes for record in records) if self.device == "cpu" else 0
            self.note(cell, len(records), seconds / cell.steps, peak)

    def save(self) -> None:
        """Write what was noted to what is known; a disk that refuses is no matter here."""
        if self._path is None:
            return
        latest = _read(self._path)  # other processes may have written meanwhile
        for kind, points in self._noted.items():
            latest.setdefault(kind, {}).update(points)
        with contextlib.suppress(OSError):
            write(self._path, json.dumps(latest, indent=1) + "\n", inside=self._path.parent.parent)

    def kind(self, cell: Cell) -> str:
        """Return the name of the kind that a cell belongs to."""
        key = (pack_key(cell.algorithm), cell.environment_key, cell.fingerprint)
        if key not in self._kinds:
            fields = fields_of(type(cell.algorithm))
            statics = {name: value for name, value in settings(cell.algorithm).items() if not fields[name].is_hyper}
            self._kinds[key] = cell_id(
                {
                    "algorithm": cell.algorithm.name,
                    "fingerprint": cell.fingerprint,
                    "static": statics,
                    "environment": cell.identity["environment"],
                    "processor": processor() if self.device == "cpu" else self.device,
                }
            )
        return self._kinds[key]


def rule_of_thumb(cell: Cell, device: str = "cpu") -> Cost:
    """Return what a kind costs about, where it was never measured: small networks and environments, one core.

    On a GPU every call takes its time and a replica next to none.
    """
    algorithm = cell.algorithm
    gradient_steps = algorithm.epochs * algorithm.minibatches / algorithm.samples_per_update
    widths = algorithm.hidden
    size = (1000 + sum(before * after for before, after in itertools.pairwise(widths))) / 5096
    fixed = 6e-6 / algorithm.num_envs + 40e-6 * gradient_steps
    return Cost(fixed, 0.3e-6 + 1.2e-6 * algorithm.epochs * size if device == "cpu" else _GPU_EACH * fixed)


def _fit(points: Mapping[int, float], prior: Cost) -> Cost:
    """Return the cost that fits seconds by replicas best, relative to their size; one point scales `prior`."""
    if not points:
        return prior
    replicas, seconds = np.array([*points], float), np.array([*points.values()])
    if len(points) > 1:
        each, fixed = np.polyfit(replicas, seconds, 1, w=1 / seconds)
        if fixed >= 0 and each > 0:
            return Cost(float(fixed), float(each))
    ratio = float(np.mean(seconds / (prior.fixed + prior.each * replicas)))
    return Cost(prior.fixed * ratio, prior.each * ratio)


def _read(path: Path | None) -> dict[str, dict[str, list[float]]]:
    try:
        document = read_json(path) if path else {}
        return {
            str(kind): {
                str(int(key)): [float(seconds), float(peak)]
                for key, (seconds, peak) in points.items()
                if _is_possible(int(key), float(seconds), float(peak))
            }
            for kind, points in document.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, OverflowError):
        return {}


def _is_possible(replicas: int, seconds: float, peak: float) -> bool:
    """Return whether a machine can have measured this; another's file, or a damaged one, may say anything."""
    return 1 <= replicas <= 10**6 and 1e-9 <= seconds <= 1e3 and 0 <= peak <= 2**50
