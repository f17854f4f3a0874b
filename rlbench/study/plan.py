"""From an experiment to cells, one per run, and to those that are left to do.

A cell's identity is the hash of everything that decides its numbers and of nothing else: the algorithm's name
and resolved fields, the fingerprint of the plugin's source, the environment with its options (and its source and
specification, where it is not Gymnasium's own), the budget, the seed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, singledispatch
from types import FunctionType
from typing import Any

from rlbench import registry
from rlbench.algorithm import Algorithm, configure, pack_key, settings
from rlbench.errors import RlbenchError, brief, nearest
from rlbench.fields import Field, fields_of
from rlbench.records import MEASURED, Environment, RunRecord
from rlbench.store import Planned, Store
from rlbench.store.entry import canonical, cell_id
from rlbench.study.environments import bound, specification_of
from rlbench.study.experiment import Arm, Experiment, Investigation, Measurement, check_claims, repeats
from rlbench.study.measuring import Measuring
from rlbench.userfiles import folder_of, source_of


@dataclass(frozen=True, eq=False)
class Work:
    """What gives cells their numbers: an algorithm that is trained, or a function that computes them.

    title      what stands for the algorithm in the tables
    identity   what identifies the numbers beside the source, environment, budget and seed
    pack_key   what is equal for cells that may be in one pack
    algorithm  what learns, if anything does
    call       what a worker calls instead of the trainer, which has no budget and gives all arms of a seed at once
    """

    title: str
    identity: Mapping[str, Any] = field(default_factory=dict)
    pack_key: Hashable = None
    algorithm: Algorithm | None = None
    call: Callable[..., list[RunRecord]] | None = None


def training(algorithm: Algorithm) -> Work:
    """Return the training of an algorithm."""
    identity = {"algorithm": algorithm.name, "settings": settings(algorithm)}
    return Work(algorithm.name, identity, pack_key(algorithm), algorithm)


@dataclass(frozen=True, eq=False)
class Cell:
    """One run: an arm in an environment with a seed and a budget of environment steps, and what gives its numbers.

    `specification` is what belongs to the environment's identity beside id and options.
    """

    arm: str
    work: Work
    environment: Environment
    steps: int
    seed: int
    fingerprint: str
    specification: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The document whose hash is `id`."""
        return {
            **self.work.identity,
            "fingerprint": self.fingerprint,
            "environment": self._environment,
            **({"steps": self.steps} if self.trains else {}),
            "seed": self.seed,
        }

    @cached_property
    def id(self) -> str:
        """The name of the run in the store."""
        return cell_id(self.identity)

    @property
    def trains(self) -> bool:
        """Whether something learns in this run."""
        return self.work.call is None

    @property
    def algorithm(self) -> Algorithm:
        """What learns, in a run in which something does."""
        assert self.work.algorithm is not None
        return self.work.algorithm

    @property
    def runs_user_code(self) -> bool:
        """Whether anything but rlbench and Gymnasium runs in it: an environment, an algorithm, a measurement."""
        return bool(self.specification) or not registry.is_own(type(self.work.algorithm))

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
        where = self.environment.label
        return Planned(self.id, self.arm, self.work.title, where, self.seed, self.steps, self.fingerprint)


@dataclass(frozen=True, eq=False)
class ResolvedArm:
    """One arm as it runs: its label, what gives its numbers and the hash of that's source, the settings given."""

    label: str
    work: Work
    fingerprint: str
    settings: Mapping[str, Any]

    @property
    def algorithm(self) -> Algorithm:
        """What learns, in an arm in which something does."""
        assert self.work.algorithm is not None
        return self.work.algorithm

    def document(self) -> dict[str, Any]:
        """Return the arm as JSON, with the settings that were given and every field."""
        resolved = settings(self.work.algorithm) if self.work.algorithm else {}
        given = {name: resolved[name] for name in self.settings}
        return {"label": self.label, "algorithm": self.work.title, "settings": given, "fields": resolved}


@dataclass(frozen=True, eq=False)
class Plan:
    """An experiment with its arms resolved and every cell listed: arm by arm, environment, seed.

    `suite` names the suite that the experiment is run as a part of, if it is.
    """

    experiment: Investigation
    arms: tuple[ResolvedArm, ...]
    cells: tuple[Cell, ...]
    baseline: str
    suite: str = ""

    @property
    def planned(self) -> list[Planned]:
        """The rows of the tables."""
        return [cell.planned for cell in self.cells]

    def document(self) -> dict[str, Any]:
        """Return the experiment as JSON for a report: sweeps expanded, every field of every arm.

        An environment has a `specification` where runs are trained in it and it is not the one that Gymnasium itself
        registers under its id.
        """
        document, environments = self.experiment.document(), self.experiment.environments
        specified = {cell.environment.label: cell.specification for cell in self.cells if cell.trains}
        for entry, environment in zip(document["environments"], environments, strict=True):
            if specification := specified.get(environment.label):
                entry["specification"] = specification
        return document | {
            "arms": [arm.document() for arm in self.arms],
            "steps": {environment.label: self.experiment.budget(environment) for environment in environments},
            "baseline": self.baseline,
        }


def make_plan(experiment: Investigation) -> Plan:
    """Return the plan of an experiment; RlbenchError where it names something that does not exist or fit."""
    arms, baseline = resolve(experiment)
    environments = [(environment, specification_of(environment)) for environment in map(bound, experiment.environments)]
    cells = tuple(
        Cell(arm.label, arm.work, environment, experiment.budget(environment), seed, arm.fingerprint, specification)
        for arm in arms
        for environment, specification in environments
        for seed in experiment.seeds
    )
    return Plan(experiment, tuple(arms), cells, baseline)


def cells_of(plans: Iterable[Plan]) -> list[Cell]:
    """Return the cells of all plans, each that several of them share once, as the first of them names it."""
    cells: dict[str, Cell] = {}
    for plan in plans:
        for cell in plan.cells:
            cells.setdefault(cell.id, cell)
    return list(cells.values())


def to_do(cells: Sequence[Cell], store: Store) -> tuple[list[Cell], Counter[str]]:
    """Return (the cells that are not stored, or stored as failed; how many of the others ended how).

    Finished and diverged runs are final: the same cell would only give the same numbers again.
    """
    left: list[Cell] = []
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


@singledispatch
def resolve(experiment: Investigation) -> tuple[list[ResolvedArm], str]:
    """Return the arms of an experiment, sweeps expanded, in the order in which they are written; and the baseline.

    Raises RlbenchError for an unknown algorithm, field or baseline, a value out of range, a list for a static
    field, two arms of one label or of exactly equal settings, and a budget that an arm cannot spend exactly.
    """
    raise TypeError(f"{type(experiment).__name__} is no experiment.")


@resolve.register(Measurement)
def _(measurement: Measurement) -> tuple[list[ResolvedArm], str]:
    name, measure = measurement.name, measurement.measure
    assert isinstance(measure, FunctionType)
    source = f"{measure.__qualname__}\n{source_of(measure)}"
    fingerprint = hashlib.sha256(source.encode()).hexdigest()[:16]
    call = Measuring(measure, measurement.arms, folder_of(measure.__module__))
    return [
        ResolvedArm(arm, Work(MEASURED, {"kind": MEASURED, "name": name, "arm": arm}, name, call=call), fingerprint, {})
        for arm in measurement.arms
    ], ""


@resolve.register(Experiment)
def _(experiment: Experiment) -> tuple[list[ResolvedArm], str]:
    arms = [resolved for arm in experiment.arms for resolved in _expand(experiment, arm)]
    labels = [arm.label for arm in arms]
    if repeated := repeats(labels):
        raise RlbenchError(f"{experiment.where}: two arms are called {brief(repeated[0])}; give one of them a label.")
    _refuse_equal(experiment, arms)
    for arm in arms:
        for environment in experiment.environments:
            _check_budget(experiment, arm, environment.label, experiment.budget(environment))
    baseline = _baseline(experiment, arms)
    check_claims(experiment.where, experiment.claims, labels, experiment.environments)
    return arms, baseline


def _baseline(experiment: Experiment, arms: list[ResolvedArm]) -> str:
    """Return the baseline's label: the one named, the only arm of the algorithm named, or the first."""
    if not experiment.baseline:
        return arms[0].label
    labels = [arm.label for arm in arms]
    if experiment.baseline in labels:
        return experiment.baseline
    of_algorithm = [arm.label for arm in arms if arm.work.title == experiment.baseline]
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
        given = {name: getattr(algorithm, name) for name in arm.settings}
        label = f"{arm.label or cls.name}{suffix}"
        resolved.append(ResolvedArm(label, training(algorithm), registry.fingerprint(cls), given))
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


def _refuse_equal(experiment: Experiment, arms: list[ResolvedArm]) -> None:
    """Refuse arms that would share every run: their difference is 0 by construction, not by evidence."""
    seen: dict[Any, str] = {}
    for arm in arms:
        cls = type(arm.algorithm)
        values = tuple(getattr(arm.algorithm, name) for name in fields_of(cls))
        other = seen.setdefault((cls, values), arm.label)
        if other != arm.label:
            raise RlbenchError(
                f"{experiment.where}: arms {brief(other)} and {brief(arm.label)} have exactly the same settings; "
                "drop one of them."
            )


def _check_budget(experiment: Experiment, arm: ResolvedArm, environment: str, steps: int) -> None:
    """Budgets are exact: a whole number of steps per environment copy, and at least one rollout."""
    algorithm = arm.algorithm
    copies, rollout = algorithm.num_envs, algorithm.samples_per_update
    where = f"{experiment.where}, arm {brief(arm.label)} on {environment}"
    if steps < rollout:
        raise RlbenchError(
            f"{where}: {steps} steps are less than one rollout of horizon {algorithm.horizon} x "
            f"num_envs {copies}; the least is {rollout}."
        )
    if steps % copies:
        below = steps // copies * copies
        raise RlbenchError(
            f"{where}: {steps} steps are not a multiple of num_envs {copies}; "
            f"the nearest are {below} and {below + copies}."
        )
