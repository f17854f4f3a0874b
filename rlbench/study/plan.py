"""From an experiment to cells, one per run, and to those that are left to do.

A cell's identity is the hash of everything that decides its numbers and of nothing else: the algorithm's name
and resolved fields, the fingerprint of the plugin's source, the environment with its options (and its source and
specification, where it is not Gymnasium's own), the budget, the seed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

from rlbench import registry
from rlbench.algorithm import Algorithm
from rlbench.fields import settings
from rlbench.records import Environment
from rlbench.store import Planned, Store
from rlbench.store.entry import canonical, cell_id
from rlbench.study.arms import ResolvedArm, baseline_of, resolve
from rlbench.study.environments import bound, specification_of
from rlbench.study.measurement import Measurement
from rlbench.study.measuring import MeasuredCell, MeasurementPlan, plan_measurement
from rlbench.study.spec import Experiment


@dataclass(frozen=True, eq=False)
class Cell:
    """One run: an arm in an environment with a seed and a budget of environment steps.

    `specification` is what belongs to the environment's identity beside id and options.
    """

    arm: str
    algorithm: Algorithm
    environment: Environment
    steps: int
    seed: int
    fingerprint: str
    specification: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The document whose hash is `id`."""
        return {
            "algorithm": self.algorithm.name,
            "settings": settings(self.algorithm),
            "fingerprint": self.fingerprint,
            "environment": self._environment,
            "steps": self.steps,
            "seed": self.seed,
        }

    @cached_property
    def id(self) -> str:
        """The name of the run in the store."""
        return cell_id(self.identity)

    @cached_property
    def environment_key(self) -> str:
        """What is equal for the same environment only, whatever it is called."""
        return json.dumps(canonical(self._environment), sort_keys=True)

    @property
    def _environment(self) -> dict[str, Any]:
        return {"id": self.environment.id, "options": dict(self.environment.options), **self.specification}

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
class Plan:
    """An experiment with its arms resolved and every cell listed: arm by arm, environment, seed.

    `suite` names the suite that the experiment is run as a part of, if it is.
    """

    experiment: Experiment
    arms: tuple[ResolvedArm, ...]
    cells: tuple[Cell, ...]
    suite: str = ""

    @property
    def planned(self) -> list[Planned]:
        """The rows of the tables."""
        return [cell.planned for cell in self.cells]

    def document(self) -> dict[str, Any]:
        """Return the experiment as JSON for a report: sweeps expanded, every field of every arm.

        An environment has a `specification` where it is not the one that Gymnasium itself registers under its id.
        """
        specified = {cell.environment.label: cell.specification for cell in self.cells if cell.specification}
        return {
            **self.experiment.document(),
            "environments": [
                {"id": one.id, "options": dict(one.options)}
                | ({"specification": specified[one.label]} if one.label in specified else {})
                for one in self.experiment.environments
            ],
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


AnyCell = Cell | MeasuredCell
AnyPlan = Plan | MeasurementPlan


@overload
def make_plan(experiment: Experiment) -> Plan: ...
@overload
def make_plan(experiment: Measurement) -> MeasurementPlan: ...
@overload
def make_plan(experiment: Experiment | Measurement) -> AnyPlan: ...
def make_plan(experiment: Experiment | Measurement) -> AnyPlan:
    """Return the plan of an experiment; RlbenchError where it names something that does not exist or fit."""
    if isinstance(experiment, Measurement):
        return plan_measurement(experiment)
    arms = resolve(experiment)
    prints = {type(arm.algorithm): registry.fingerprint(type(arm.algorithm)) for arm in arms}
    environments = [(one, specification_of(one)) for one in map(bound, experiment.environments)]
    cells = tuple(
        Cell(
            arm.label,
            arm.algorithm,
            environment,
            experiment.budget(environment),
            seed,
            prints[type(arm.algorithm)],
            specification,
        )
        for arm in arms
        for environment, specification in environments
        for seed in experiment.seeds
    )
    return Plan(experiment, tuple(arms), cells)


def cells_of(plans: Iterable[AnyPlan]) -> list[AnyCell]:
    """Return the cells of all plans, each that several of them share once, as the first of them names it."""
    cells: dict[str, AnyCell] = {}
    for plan in plans:
        for cell in plan.cells:
            cells.setdefault(cell.id, cell)
    return list(cells.values())


def to_do(cells: Sequence[AnyCell], store: Store) -> tuple[list[AnyCell], Counter[str]]:
    """Return (the cells that are not stored, or stored as failed; how many of the others ended how).

    Finished and diverged runs are final: the same cell would only give the same numbers again.
    """
    left: list[AnyCell] = []
    final: Counter[str] = Counter()
    manifests = store.manifests((cell.id for cell in cells), thorough=True)
    for cell in cells:
        manifest = manifests.get(cell.id)
        status = manifest["status"] if manifest else ""
        if status in ("finished", "diverged"):
            final[status] += 1
        else:
            left.append(cell)
    return left, final
