"""From an experiment to cells, one per run, and from the cells that are left to do to packs of replicas.

A cell's identity is the hash of everything that decides its numbers and of nothing else: the algorithm's name
and resolved fields, the fingerprint of the plugin's source, the environment with its options, the budget, the
seed.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rlbench import registry
from rlbench.algorithm import Algorithm, pack_key
from rlbench.fields import settings
from rlbench.records import Environment
from rlbench.store import Planned, Store
from rlbench.store.entry import canonical, cell_id
from rlbench.study.arms import ResolvedArm, baseline_of, resolve
from rlbench.study.spec import Experiment

MAX_REPLICAS = 64
"""Replicas of one pack at most: beyond, a pack gains little and an interruption loses more."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One run: an arm in an environment with a seed and a budget of environment steps."""

    arm: str
    algorithm: Algorithm
    environment: Environment
    steps: int
    seed: int
    fingerprint: str

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The document whose hash is `id`."""
        return {
            "algorithm": self.algorithm.name,
            "settings": settings(self.algorithm),
            "fingerprint": self.fingerprint,
            "environment": {"id": self.environment.id, "options": dict(self.environment.options)},
            "steps": self.steps,
            "seed": self.seed,
        }

    @cached_property
    def id(self) -> str:
        """The name of the run in the store."""
        return cell_id(self.identity)

    @property
    def planned(self) -> Planned:
        """The run as a row of the tables."""
        return Planned(
            self.id,
            self.arm,
            self.algorithm.name,
            self.environment.label,
            self.seed,
            self.steps,
            self.fingerprint,
        )


@dataclass(frozen=True, eq=False)
class Pack:
    """Cells that train together in one program: equal class, static fields, environment and budget."""

    cells: tuple[Cell, ...]

    @property
    def cost(self) -> float:
        """Expected relative duration, see `cost_of`."""
        return cost_of(self.cells[0], len(self.cells))

    @property
    def title(self) -> str:
        """What trains here, for people: `ppo-clip on CartPole-v1 x10`."""
        arms = list(dict.fromkeys(cell.arm for cell in self.cells))
        shown = arms[0] if len(arms) == 1 else f"{arms[0]} and {len(arms) - 1} more"
        return f"{shown} on {self.cells[0].environment.label} x{len(self.cells)}"


@dataclass(frozen=True, eq=False)
class Plan:
    """An experiment with its arms resolved and every cell listed: arm by arm, environment, seed."""

    experiment: Experiment
    arms: tuple[ResolvedArm, ...]
    cells: tuple[Cell, ...]

    @property
    def planned(self) -> list[Planned]:
        """The rows of the tables."""
        return [cell.planned for cell in self.cells]

    def document(self) -> dict[str, Any]:
        """Return the experiment as JSON for a report: sweeps expanded, every field of every arm."""
        return {
            **self.experiment.document(),
            "arms": [
                {
                    "label": arm.label,
                    "algorithm": arm.algorithm.name,
                    "settings": {name: settings(arm.algorithm)[name] for name in arm.settings},
                    "fields": settings(arm.algorithm),
                }
                for arm in self.arms
            ],
            "steps": {one.label: self.experiment.budget(one) for one in self.experiment.environments},
            "baseline": baseline_of(self.experiment, list(self.arms)),
        }


def make_plan(experiment: Experiment) -> Plan:
    """Return the plan of an experiment; RlbenchError where it names something that does not exist or fit."""
    arms = resolve(experiment)
    prints = {type(arm.algorithm): registry.fingerprint(type(arm.algorithm)) for arm in arms}
    cells = tuple(
        Cell(
            arm.label,
            arm.algorithm,
            environment,
            experiment.budget(environment),
            seed,
            prints[type(arm.algorithm)],
        )
        for arm in arms
        for environment in experiment.environments
        for seed in experiment.seeds
    )
    return Plan(experiment, tuple(arms), cells)


def to_do(cells: Sequence[Cell], store: Store) -> tuple[list[Cell], Counter[str]]:
    """Return (the cells that are not stored, or stored as failed; how many of the others ended how).

    Finished and diverged runs are final: the same cell would only give the same numbers again.
    """
    left: list[Cell] = []
    final: Counter[str] = Counter()
    for cell in cells:
        manifest = store.manifest(cell.id, thorough=True)
        status = manifest["status"] if manifest else ""
        if status in ("finished", "diverged"):
            final[status] += 1
        else:
            left.append(cell)
    return left, final


def cost_of(cell: Cell, replicas: int) -> float:
    """Return the expected relative duration of `replicas` such runs in one pack.

    Every batched call costs a fixed overhead and, per replica, a share of it: about 1 : 0.25 for the small
    networks and environments of control tasks, on one core.
    """
    algorithm = cell.algorithm
    environment_calls = cell.steps / algorithm.num_envs
    updates = cell.steps / algorithm.samples_per_update
    gradient_steps = updates * algorithm.epochs * algorithm.minibatches
    per_gradient_step = 5.0 + algorithm.samples_per_update / algorithm.minibatches / 100
    return (environment_calls + per_gradient_step * gradient_steps) * (1.0 + 0.25 * replicas)


def make_packs(cells: Sequence[Cell], workers: int, max_replicas: int = MAX_REPLICAS) -> list[Pack]:
    """Return packs that cover `cells`, costliest first, so that `workers` processes end at about one time.

    Cells that may train together start as one pack each (or several of at most `max_replicas`); a group is
    split further only while that shortens the whole.
    """
    groups: dict[Any, list[Cell]] = {}
    for cell in cells:
        options = json.dumps(canonical(cell.environment.options), sort_keys=True)
        key = (pack_key(cell.algorithm), cell.environment.id, options, cell.steps)
        groups.setdefault(key, []).append(cell)
    listed = list(groups.values())
    parts = _parts(listed, workers, max_replicas)
    packs = [Pack(tuple(part)) for group, count in zip(listed, parts, strict=True) for part in _split(group, count)]
    return sorted(packs, key=lambda pack: -pack.cost)


def _parts(groups: list[list[Cell]], workers: int, max_replicas: int) -> list[int]:
    """Return into how many packs each group is split: greedily, while a further split shortens the whole."""
    parts = [-(-len(group) // max_replicas) for group in groups]
    length, last = _schedule(groups, parts, workers)
    while True:
        costs = [cost_of(group[0], -(-len(group) // count)) for group, count in zip(groups, parts, strict=True)]
        longest = [index for index, cost in enumerate(costs) if cost > 0.97 * max(costs)]
        # One group that ends last; or all of the longest, since splitting one of several gains nothing.
        for chosen in [*([index] for index in last), longest]:
            tried = [min(count + (index in chosen), len(groups[index])) for index, count in enumerate(parts)]
            shorter, candidates = _schedule(groups, tried, workers)
            if shorter < 0.97 * length:  # not worth another start-up otherwise
                parts, length, last = tried, shorter, candidates
                break
        else:
            return parts


def _split(group: Sequence[Cell], count: int) -> list[Sequence[Cell]]:
    """Return `group` in `count` parts whose sizes differ by one at most."""
    size, larger = divmod(len(group), count)
    starts = [index * size + min(index, larger) for index in range(count + 1)]
    return [group[start:stop] for start, stop in itertools.pairwise(starts)]


def _schedule(groups: list[list[Cell]], parts: list[int], workers: int) -> tuple[float, list[int]]:
    """Return (duration, groups with a pack on the worker that ends last) of starting the costliest first."""
    costs = []
    for index, (group, count) in enumerate(zip(groups, parts, strict=True)):
        size, larger = divmod(len(group), count)
        costs += [(cost_of(group[0], size + (part < larger)), index) for part in range(count)]
    busy = [(0.0, worker) for worker in range(workers)]
    held: list[list[int]] = [[] for _ in range(workers)]
    for cost, index in sorted(costs, reverse=True):
        load, worker = heapq.heappop(busy)
        heapq.heappush(busy, (load + cost, worker))
        held[worker].append(index)
    load, worker = max(busy)
    return load, list(dict.fromkeys(held[worker]))
