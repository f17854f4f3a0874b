"""From an experiment to cells, one per run, and to those that are left to do.

A cell's identity is the hash of everything that decides its numbers and of nothing else: the algorithm's name
and resolved fields, the fingerprint of the plugin's source, the environment with its options (and its source and
specification, where it is not Gymnasium's own), the budget, the seed.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

from rlbench import registry
from rlbench.algorithm import Algorithm, configure, settings
from rlbench.errors import RlbenchError, brief, nearest
from rlbench.fields import Field, fields_of
from rlbench.records import Environment
from rlbench.store import Planned, Store
from rlbench.store.entry import canonical, cell_id
from rlbench.study.environments import bound, specification_of
from rlbench.study.experiment import Arm, Experiment, Measurement, check_claims, repeats
from rlbench.study.measuring import MeasuredCell, MeasurementPlan, plan_measurement


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


@dataclass(frozen=True, eq=False)
class ResolvedArm:
    """One arm as it trains: its label, an algorithm with every field set, the settings that were given."""

    label: str
    algorithm: Algorithm
    settings: Mapping[str, Any]


def resolve(experiment: Experiment) -> list[ResolvedArm]:
    """Return the arms of an experiment, sweeps expanded, in the order in which they are written.

    Raises RlbenchError for an unknown algorithm, field or baseline, a value out of range, a list for a static
    field, two arms of one label or of exactly equal settings, and a budget that an arm cannot spend exactly.
    """
    arms = [one for arm in experiment.arms for one in _expand(experiment, arm)]
    if repeated := repeats([arm.label for arm in arms]):
        raise RlbenchError(f"{experiment.where}: two arms are called {brief(repeated[0])}; give one of them a label.")
    _no_equal_arms(experiment, arms)
    for arm in arms:
        for environment in experiment.environments:
            _check_budget(experiment, arm, environment.label, experiment.budget(environment))
    baseline_of(experiment, arms)
    check_claims(experiment.where, experiment.claims, [arm.label for arm in arms], experiment.environments)
    return arms


def baseline_of(experiment: Experiment, arms: list[ResolvedArm]) -> str:
    """Return the baseline's label: the one named, the only arm of the algorithm named, or the first."""
    if not experiment.baseline:
        return arms[0].label
    labels = [arm.label for arm in arms]
    if experiment.baseline in labels:
        return experiment.baseline
    of_algorithm = [arm.label for arm in arms if arm.algorithm.name == experiment.baseline]
    if len(of_algorithm) == 1:
        return of_algorithm[0]
    raise RlbenchError(
        f"{experiment.where}: baseline {brief(experiment.baseline)} is not the label of an arm."
        f"{nearest(experiment.baseline, labels)}"
    )


def _expand(experiment: Experiment, arm: Arm) -> list[ResolvedArm]:
    """Return one arm per combination of the values that are listed for hyper fields."""
    where = f"{experiment.where}, arm {arm.label or arm.name!r}"
    cls = _class_of(arm)
    fields = fields_of(cls)
    listed = {name: value for name, value in arm.settings.items() if _is_sweep(where, name, value, fields)}
    resolved: list[ResolvedArm] = []
    for values in itertools.product(*listed.values()):
        chosen = dict(zip(listed, values, strict=True))
        algorithm = configure(cls, {**arm.settings, **chosen}, where)
        suffix = "".join(f" {name}={getattr(algorithm, name):g}" for name in chosen)
        label = f"{arm.label or cls.name}{suffix}"
        deviations = {name: getattr(algorithm, name) for name in arm.settings}
        resolved.append(ResolvedArm(label, algorithm, deviations))
    return resolved


def _class_of(arm: Arm) -> type[Algorithm]:
    if isinstance(arm.algorithm, str):
        return registry.load(arm.algorithm)
    if not issubclass(arm.algorithm, Algorithm) or not arm.algorithm.name:
        raise RlbenchError(f"{arm.algorithm.__name__} is not an Algorithm subclass with a name.")
    registry.add_class(arm.algorithm)
    return arm.algorithm


def _is_sweep(where: str, name: str, value: Any, fields: Mapping[str, Field]) -> bool:
    """Return whether a list stands for several arms; for a tuple field such as `hidden` it is a value."""
    field = fields.get(name)
    if field is None or not isinstance(value, list | tuple):
        return False
    if field.is_hyper:
        if not value:
            raise RlbenchError(f"{where}: {name} is an empty list; give at least one value.")
        if repeated := repeats(list(value)):
            raise RlbenchError(f"{where}: {name} lists {brief(repeated[0])} twice.")
        return True
    if isinstance(field.default, tuple) and not any(isinstance(item, list | tuple) for item in value):
        return False
    raise RlbenchError(
        f"{where}: {name} is a static field, which cannot vary inside one arm; "
        "write one arm per value, each with a label."
    )


def _no_equal_arms(experiment: Experiment, arms: list[ResolvedArm]) -> None:
    """Refuse arms that would share every run: their difference is 0 by construction, not by evidence."""
    seen: dict[Any, str] = {}
    for arm in arms:
        values = tuple(getattr(arm.algorithm, name) for name in fields_of(type(arm.algorithm)))
        other = seen.setdefault((type(arm.algorithm), values), arm.label)
        if other != arm.label:
            raise RlbenchError(
                f"{experiment.where}: arms {brief(other)} and {brief(arm.label)} have exactly the same settings; "
                "drop one of them."
            )


def _check_budget(experiment: Experiment, arm: ResolvedArm, environment: str, steps: int) -> None:
    """Budgets are exact: a whole number of steps per environment copy, and at least one rollout."""
    copies, rollout = arm.algorithm.num_envs, arm.algorithm.samples_per_update
    where = f"{experiment.where}, arm {brief(arm.label)} on {environment}"
    if steps < rollout:
        raise RlbenchError(
            f"{where}: {steps} steps are less than one rollout of horizon {arm.algorithm.horizon} x "
            f"num_envs {copies}; the least is {rollout}."
        )
    if steps % copies:
        below = steps // copies * copies
        raise RlbenchError(
            f"{where}: {steps} steps are not a multiple of num_envs {copies}; "
            f"the nearest are {below} and {below + copies}."
        )
