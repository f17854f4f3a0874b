"""Which cells train together, and in which order.

A pack holds a fixed number of replicas at most, the one that was measured to be the best (`training.BLOCK` on the CPU),
and fewer where memory or idle workers ask for it. What a pack costs decides which starts first: measured where packs of
the kind were trained before on this machine, else by rule of thumb. A kind is what decides the cost: algorithm, static
fields, environment.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from rlbench.algorithm import Peer, settings
from rlbench.fields import fields_of
from rlbench.files import read_json, write
from rlbench.records import RunRecord
from rlbench.store.entry import cell_id
from rlbench.store.runs import COSTS
from rlbench.study import limits
from rlbench.study.plan import Cell
from rlbench.training import BLOCK, processor

GPU_BLOCK = 1000  # replicas of a pack on a GPU, where each costs next to nothing beside the calls
_GPU_EACH = 0.016  # of what a call takes
_LEAST_ROLLOUTS = 10  # of a pack whose time is kept: the first one loads and compiles
_OBSERVATIONS = 16  # numbers in an observation, where nobody has looked


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
        # By kind and number of replicas: seconds per environment step, and bytes at the peak.
        self._known: dict[str, dict[str, list[float]]] = _read(self._path)
        self._noted: dict[str, dict[str, list[float]]] = {}

    def per_step(self, cell: Cell, replicas: int) -> float:
        """Return the seconds per environment step of a pack: the rule of thumb, times what was measured of its kind."""
        rule = rule_of_thumb(cell, replicas, self.device)
        known = self._known.get(self.kind(cell), {}).items()
        ratios = [seconds / rule_of_thumb(cell, int(size), self.device) for size, (seconds, _) in known]
        return rule * fmean(ratios) if ratios else rule

    def largest(self, cell: Cell, room: float) -> int:
        """Return how many such runs a pack holds at most: as many as are best, and fit into `room` bytes."""
        if isinstance(cell.algorithm, Peer):
            return 1
        observations = self._observations.get(cell.environment.label, _OBSERVATIONS)
        needed = limits.replica_bytes(cell.algorithm, observations, cell.steps)
        known = self._known.get(self.kind(cell), {}).items()
        # A small pack's peak is mostly not its replicas'.
        needed = max([needed, *(peak / int(replicas) for replicas, (_, peak) in known if int(replicas) >= 8)])
        return max(1, math.floor(min(room / needed, BLOCK if self.device == "cpu" else GPU_BLOCK)))

    def note(self, cell: Cell, records: Sequence[RunRecord]) -> None:
        """Keep what a pack took, if it spent its whole budget and that is long enough to tell."""
        rollouts = cell.steps / cell.algorithm.samples_per_update
        if rollouts < _LEAST_ROLLOUTS or not any(record.status == "finished" for record in records):
            return
        seconds = sum(record.seconds for record in records) / cell.steps
        # What the process held says nothing of a GPU's memory.
        peak = max(record.peak_bytes for record in records) if self.device == "cpu" else 0
        for points in (self._known, self._noted):
            points.setdefault(self.kind(cell), {})[str(len(records))] = [seconds, peak]

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
        key = (cell.resolved.pack_key, cell.environment_key, cell.resolved.fingerprint)
        if key not in self._kinds:
            fields = fields_of(type(cell.algorithm))
            statics = {name: value for name, value in settings(cell.algorithm).items() if not fields[name].is_hyper}
            self._kinds[key] = cell_id(
                {
                    "algorithm": cell.algorithm.name,
                    "fingerprint": cell.resolved.fingerprint,
                    "static": statics,
                    "environment": cell.identity["environment"],
                    "processor": processor() if self.device == "cpu" else self.device,
                }
            )
        return self._kinds[key]


def rule_of_thumb(cell: Cell, replicas: int, device: str = "cpu") -> float:
    """Return about how many seconds per environment step a pack takes: small networks and environments, one core.

    On a GPU every call takes its time and a replica next to none.
    """
    algorithm = cell.algorithm
    gradient_steps = algorithm.epochs * algorithm.minibatches / algorithm.samples_per_update
    size = (1000 + sum(before * after for before, after in itertools.pairwise(algorithm.hidden))) / 5096
    fixed = 6e-6 / algorithm.num_envs + 40e-6 * gradient_steps
    return fixed + replicas * (0.3e-6 + 1.2e-6 * algorithm.epochs * size if device == "cpu" else _GPU_EACH * fixed)


def _read(path: Path | None) -> dict[str, dict[str, list[float]]]:
    """Return what was measured, as far as a machine can have: another's file, or a damaged one, may say anything."""
    try:
        document = read_json(path) if path else {}
        return {
            str(kind): {
                str(int(key)): [float(seconds), float(peak)]
                for key, (seconds, peak) in points.items()
                if 1 <= int(key) <= 10**6 and 1e-9 <= float(seconds) <= 1e3 and 0 <= float(peak) <= 2**50
            }
            for kind, points in document.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, OverflowError):
        return {}


@dataclass(frozen=True, eq=False)
class Pack:
    """Cells that train together in one program, equal in class, static fields, environment and budget.

    Or cells that one call of a measurement's function gives. `cost` is the expected duration, seconds; its relation to
    that of other packs is what matters.
    """

    cells: tuple[Cell, ...]
    cost: float = 1.0

    @property
    def title(self) -> str:
        """What trains here, for people: `ppo-clip on CartPole-v1 x10`."""
        arms = list(dict.fromkeys(cell.arm for cell in self.cells))
        shown = arms[0] if len(arms) == 1 else f"{arms[0]} and {len(arms) - 1} more"
        return f"{shown} on {self.cells[0].environment.label} x{len(self.cells)}"

    def part(self, cells: Sequence[Cell]) -> Pack:
        """Return a pack of some of the cells."""
        return Pack(tuple(cells), self.cost * len(cells) / len(self.cells))

    def halves(self) -> list[Pack]:
        """Return the pack in two, to be trained apart; none where it cannot be: one cell, or one call."""
        if len(self.cells) < 2 or not self.cells[0].trains:
            return []
        middle = (len(self.cells) + 1) // 2
        return [self.part(self.cells[:middle]), self.part(self.cells[middle:])]


def make_packs(
    cells: Sequence[Cell],
    workers: int,
    costs: Costs | None = None,
    room: float = math.inf,
    begun: Mapping[str, int] | None = None,
) -> list[Pack]:
    """Return packs that cover `cells`, so that `workers` processes end at about one time: measured ones, then by cost.

    Cells that may train together start as few packs as the size of a pack, `room` bytes of memory and the workers
    allow. `begun` holds the steps, by cell id, after which cells go on that were interrupted.
    """
    costs, begun = costs or Costs(), begun or {}
    together: dict[Hashable, list[Cell]] = {}
    for cell in cells:
        # One call gives all arms of a measurement with a seed; runs go on together after equal numbers of steps.
        apart = begun.get(cell.id, 0) if cell.trains else cell.seed
        key = (cell.resolved.pack_key, cell.environment_key, cell.steps, cell.evaluation, apart)
        together.setdefault(key, []).append(cell)
    packs = [Pack(tuple(group)) for group in together.values() if not group[0].trains]
    groups = [group for group in together.values() if group[0].trains]
    if not groups:
        return packs

    def cost(group: Sequence[Cell], replicas: int) -> float:
        return costs.per_step(group[0], replicas) * max(group[0].steps - begun.get(group[0].id, 0), 1)

    # No pack costs more than an even share of the work, ...
    share = sum(cost(group, len(group)) for group in groups) / workers
    parts = [
        min(
            max(
                math.ceil(len(group) / costs.largest(group[0], room)),
                math.ceil(cost(group, len(group)) / share - 1e-9),
            ),
            len(group),
        )
        for group in groups
    ]
    # ... and every worker gets as many packs: the cheapest are split further, since they come last.
    missing = -sum(parts) % workers
    able = [index for index, group in enumerate(groups) if len(group) >= parts[index] + missing]
    if able:
        last = min(able, key=lambda index: cost(groups[index], len(groups[index]) // parts[index]))
        parts[last] += missing
    trained = []
    for group, count in zip(groups, parts, strict=True):  # of sizes that differ by one at most
        edges = [-(-len(group) * part // count) for part in range(count + 1)]
        trained += [Pack(tuple(group[a:b]), cost(group, b - a)) for a, b in itertools.pairwise(edges)]
    # Measurements first: nobody knows how long they take, and none is in the way of a pack for long.
    return packs + sorted(trained, key=lambda pack: -pack.cost)


@dataclass(frozen=True)
class Placement:
    """Where packs train, `workers` at once (0: in this process); `label` is how a manifest records the device.

    `memory` is what each may take, bytes; None: what this machine has is shared.
    """

    device: str = "cpu"
    label: str = "cpu"
    workers: int = 0
    memory: float | None = None

    @property
    def at_once(self) -> int:
        """How many packs train at one time."""
        return max(self.workers, 1)

    def room(self) -> float:
        """Return the bytes that packs are made for."""
        if self.memory is not None:
            return self.memory
        if self.device == "cpu":
            return limits.room(self.at_once)
        import torch

        free, _ = torch.cuda.mem_get_info(torch.device(self.device))
        return limits.SHARE * float(free) / self.at_once

    def most(self, processes: int) -> float:
        """Return the bytes that each of so many processes may take before it is refused more.

        A driver reserves addresses by the terabyte, so on a GPU no limit could tell.
        """
        if self.device != "cpu":
            return math.inf
        return limits.most(processes) if self.memory is None else self.memory + limits.IMPORTED

    def trainer(self, train: Callable[..., Any] | None) -> Callable[..., Any] | None:
        """Return what trains there; `train` (None: the default trainer) as it is on the CPU."""
        if self.device == "cpu":
            return train
        from rlbench.training import trainer

        return partial(train or trainer.train, device=self.device)


def place(device: str, workers: int | None) -> Placement:
    """Return where runs train on this machine; RlbenchError if the device that a user asked for is not there.

    `workers` None: a process per CPU, or one where they would share a GPU.
    """
    if device == "cpu":  # without importing torch
        return Placement(workers=default_workers() if workers is None else workers)
    from rlbench.training.engines import describe, resolve

    resolved = resolve(device)
    if workers is None:
        workers = default_workers() if resolved == "cpu" else 1
    return Placement(resolved, describe(device), workers)


def default_workers() -> int:
    """Return the number of CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
