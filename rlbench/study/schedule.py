"""What packs cost: measured where packs of the kind were trained before on this machine, else by rule of thumb.

A kind is what decides the cost: algorithm, static fields, environment. Of each, seconds per environment step are known
for some numbers of replicas; a pack of R takes `fixed + each * R`, since every call on a whole pack has a price of its
own and a part per replica.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlbench.algorithm import pack_key, settings
from rlbench.errors import RlbenchError
from rlbench.fields import fields_of
from rlbench.files import read_json, write
from rlbench.records import RunRecord
from rlbench.registry import is_own
from rlbench.store.entry import cell_id
from rlbench.store.runs import COSTS
from rlbench.study import memory
from rlbench.study.measuring import MeasuredCell
from rlbench.study.memory import replica_bytes
from rlbench.study.plan import AnyCell, Cell
from rlbench.training.devices import processor

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


@dataclass(frozen=True, eq=False)
class Pack:
    """Cells that train together in one program, equal in class, static fields, environment and budget.

    Or cells that one call of a measurement's function gives. `cost` is the expected duration, seconds; its relation to
    that of other packs is what matters.
    """

    cells: tuple[AnyCell, ...]
    cost: float = 1.0

    @property
    def title(self) -> str:
        """What trains here, for people: `ppo-clip on CartPole-v1 x10`."""
        arms = list(dict.fromkeys(cell.arm for cell in self.cells))
        shown = arms[0] if len(arms) == 1 else f"{arms[0]} and {len(arms) - 1} more"
        return f"{shown} on {self.cells[0].environment.label} x{len(self.cells)}"

    @property
    def is_measured(self) -> bool:
        """Whether a measurement's function gives its numbers, and nothing is trained."""
        return isinstance(self.cells[0], MeasuredCell)

    @property
    def runs_user_code(self) -> bool:
        """Whether anything but rlbench and Gymnasium runs in it: an environment, an algorithm, a measurement."""
        first = self.cells[0]
        return isinstance(first, MeasuredCell) or bool(first.specification) or not is_own(type(first.algorithm))


def halves(pack: Pack) -> list[Pack]:
    """Return a pack in two, to be trained apart; none where it cannot be: one cell, or one call of a measurement."""
    cells = pack.cells
    if len(cells) < 2 or isinstance(cells[0], MeasuredCell):
        return []
    middle = (len(cells) + 1) // 2
    return [Pack(part, pack.cost * len(part) / len(cells)) for part in (cells[:middle], cells[middle:])]


def make_packs(
    cells: Sequence[Cell],
    workers: int,
    costs: Costs | None = None,
    room: float = math.inf,
    begun: Mapping[str, int] | None = None,
) -> list[Pack]:
    """Return packs that cover `cells`, costliest first, so that `workers` processes end at about one time.

    A pack holds at most as many replicas as pay by `costs` and as fit into `room`, bytes. Cells that may train together
    start as few packs as that allows; a group is split further only while that shortens the whole. `begun` holds the
    steps, by cell id, after which cells go on that were interrupted.
    """
    costs = costs or Costs()
    groups = [_Group(group, costs, (begun or {}).get(group[0].id, 0)) for group in groups_of(cells, begun)]
    for group in groups:
        group.parts = -(-len(group.cells) // costs.largest(group.cells[0], room))
    _split_further(groups, workers)
    packs = [Pack(tuple(part), group.cost(len(part))) for group in groups for part in _split(group.cells, group.parts)]
    return sorted(packs, key=lambda pack: -pack.cost)


def measured_packs(cells: Sequence[MeasuredCell]) -> list[Pack]:
    """Return a pack for each environment and seed of every measurement."""
    groups: dict[Hashable, list[MeasuredCell]] = {}
    for cell in cells:
        groups.setdefault((cell.name, cell.environment.label, cell.seed), []).append(cell)
    return [Pack(tuple(group)) for group in groups.values()]


def groups_of(cells: Sequence[Cell], begun: Mapping[str, int] | None = None) -> list[list[Cell]]:
    """Return the cells by what may train together, in the order in which they come.

    Those cannot that go on after different numbers of steps, by `begun`.
    """
    groups: dict[Hashable, list[Cell]] = {}
    for cell in cells:
        after = begun.get(cell.id, 0) if begun else 0
        key = (pack_key(cell.algorithm), cell.environment_key, cell.steps, after)
        groups.setdefault(key, []).append(cell)
    return list(groups.values())


class _Group:
    """Cells that may train together, and into how many packs they are split."""

    def __init__(self, cells: Sequence[Cell], costs: Costs, begun: int) -> None:
        self.cells, self.parts = cells, 1
        self._cost, self._steps = costs.of(cells[0]), max(cells[0].steps - begun, 1)

    def cost(self, replicas: int) -> float:
        """Return the expected seconds of a pack."""
        return self._cost.per_step(replicas) * self._steps


def _split_further(groups: list[_Group], workers: int) -> None:
    """Split groups into more packs: greedily, while a further split shortens the whole."""
    length, last = _schedule(groups, workers)
    while True:
        costs = [group.cost(-(-len(group.cells) // group.parts)) for group in groups]
        longest = [group for group, cost in zip(groups, costs, strict=True) if cost > 0.97 * max(costs)]
        # One group that ends last; or all of the longest, since splitting one of several gains nothing.
        for chosen in [*([group] for group in last), longest]:
            before = [group.parts for group in chosen]
            for group in chosen:
                group.parts = min(group.parts + 1, len(group.cells))
            shorter, candidates = _schedule(groups, workers)
            if shorter < 0.97 * length:  # not worth another pack otherwise
                length, last = shorter, candidates
                break
            for group, parts in zip(chosen, before, strict=True):
                group.parts = parts
        else:
            return


def _schedule(groups: list[_Group], workers: int) -> tuple[float, list[_Group]]:
    """Return (duration, groups with a pack on the worker that ends last) of starting the costliest first."""
    costs = []
    for index, group in enumerate(groups):
        size, larger = divmod(len(group.cells), group.parts)
        costs += [(group.cost(size + (part < larger)), index) for part in range(group.parts)]
    busy = [(0.0, worker) for worker in range(workers)]
    held: list[list[int]] = [[] for _ in range(workers)]
    for cost, index in sorted(costs, reverse=True):
        load, worker = heapq.heappop(busy)
        heapq.heappush(busy, (load + cost, worker))
        held[worker].append(index)
    load, worker = max(busy)
    return load, [groups[index] for index in dict.fromkeys(held[worker])]


def _split(group: Sequence[Cell], count: int) -> list[Sequence[Cell]]:
    """Return `group` in `count` parts whose sizes differ by one at most."""
    size, larger = divmod(len(group), count)
    starts = [index * size + min(index, larger) for index in range(count + 1)]
    return [group[start:stop] for start, stop in itertools.pairwise(starts)]


@dataclass(frozen=True)
class Placement:
    """A device that is there: "cpu", "cuda" or "cuda:N"; `label` is how a manifest records it."""

    device: str = "cpu"
    label: str = "cpu"

    def workers(self, cpus: int) -> int:
        """Return how many processes train by default: one per CPU, or one where they would share a GPU."""
        return cpus if self.device == "cpu" else 1

    def room(self, workers: int) -> float:
        """Return the bytes that the pack of each of `workers` processes may take."""
        if self.device == "cpu":
            return memory.room(workers)
        import torch

        free, _ = torch.cuda.mem_get_info(torch.device(self.device))
        return memory.SHARE * float(free) / workers

    def most(self, workers: int) -> float:
        """Return the bytes that each of `workers` processes may take before it is refused more.

        A driver reserves addresses by the terabyte, so on a GPU no limit could tell.
        """
        return memory.most(workers) if self.device == "cpu" else math.inf

    def trainer(self, train: Callable[..., Any] | None) -> Callable[..., Any] | None:
        """Return what trains there; `train` (None: the default trainer) as it is on the CPU."""
        if self.device == "cpu":
            return train
        from rlbench.training import trainer

        return partial(train or trainer.train, device=self.device)


@dataclass(frozen=True)
class OnCluster(Placement):
    """A device of a cluster's nodes, for `processes` packs at once with `memory` bytes each."""

    processes: int = 1
    memory: float = 0.0

    def workers(self, cpus: int) -> int:
        """Return how many packs train at once."""
        return self.processes

    def room(self, workers: int) -> float:
        """Return the bytes that a pack may take."""
        return self.memory

    def most(self, workers: int) -> float:
        """Return the bytes that a task may take before it is refused more: its whole share of the smallest node."""
        return self.memory + memory.IMPORTED if self.device == "cpu" else math.inf


def place(device: str) -> Placement:
    """Return where runs train for what a user asked for; RlbenchError if that device is not there."""
    if device == "cpu":  # without importing torch
        return Placement()
    from rlbench.training.devices import describe, resolve

    return Placement(resolve(device), describe(device))


CALL_SECONDS = 60.0
SILENT_CALLS = 10  # as many times as long as a call may a rollout take, with what is learnt from it
STARTING_SECONDS = 600.0  # that a worker may at least be silent until it has imported what its pack needs


class PackLimits(NamedTuple):
    """The limits of one pack: of a call of an environment, of silence (seconds, 0: none), and of memory, bytes."""

    call: float
    silence: float
    memory: float


def patience(silence: float, *, started: bool) -> float:
    """Return the seconds that a worker may be silent, before and after its first sign of life; 0: for ever."""
    return silence if started or not silence else max(silence, STARTING_SECONDS)


def overdue(seconds: float) -> str:
    """Return in one sentence that a worker was silent for too long."""
    return f"its worker process gave no sign of life for {seconds:g} s and was ended"


@dataclass(frozen=True)
class Limits:
    """The limits of all packs.

    `seconds` is what a call of an environment (a step, a reset) may take: one that does not return then ends its
    replica. Ten times as long may pass without a sign of life, which are: calls of environments that return, the end of
    a rollout with what was learnt from it, the end of a pack. Then the process is ended. 0: for ever; None: 60 s for
    training, and for ever for the call of a measurement's function, which gives no signs. `memory` is what a worker may
    take beyond what it imported, bytes.
    """

    seconds: float | None = None
    memory: float = math.inf

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0 <= self.seconds < math.inf:
            raise RlbenchError(f"The time limit must be a number of seconds, or 0 for none, not {self.seconds}.")

    def of(self, pack: Pack) -> PackLimits:
        """Return the limits of one pack."""
        default = 0.0 if isinstance(pack.cells[0], MeasuredCell) else CALL_SECONDS
        seconds = default if self.seconds is None else self.seconds
        return PackLimits(seconds, SILENT_CALLS * seconds, self.memory)
