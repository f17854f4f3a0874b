"""From an experiment to cells, one per run, and to those that are left to do.

A cell's identity is the hash of everything that decides its numbers and of nothing else: the algorithm's name
and resolved fields, the fingerprint of the plugin's source, the environment with its options (and its source and
specification, where it is not Gymnasium's own), the budget, the seed, and how the policy is evaluated, if it is: its
training has the same numbers with and without, but what is stored of it has not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from rlbench import registry
from rlbench.algorithm import Algorithm, Peer, configure, identifying, pack_key, settings
from rlbench.errors import RlbenchError, brief, nearest
from rlbench.fields import fields_of, sweep, written
from rlbench.records import MEASURED, Environment, Evaluation, RunRecord, Table, empty_episodes
from rlbench.store import Planned, Store
from rlbench.store.entry import canonical, cell_id
from rlbench.study.environments import bound, specification_of
from rlbench.study.experiment import Arm, Experiment, Investigation, Measure, Measurement, check_claims, repeats
from rlbench.userfiles import folder_of, importable, source_of

_COLUMN = re.compile(r"[A-Za-z_][\w.]*")
_TAKEN = ("cell", "step")  # by the store, and so no names of columns


@dataclass(frozen=True, eq=False)
class ResolvedArm:
    """One arm as it runs, and what gives its numbers: an algorithm that is trained, or a function that computes them.

    label        in tables and figures
    title        what stands for the algorithm in the tables
    fingerprint  the hash of the source of what gives the numbers
    identity     what identifies the numbers beside the source, environment, budget and seed
    pack_key     what is equal for cells that may be in one pack
    given        the fields that the experiment sets
    algorithm    what learns, if anything does
    places       the arm as it runs where settings of its own were given, by the environment's label
    call         what a worker calls instead of the trainer, which has no budget and gives all arms of a seed at once
    """

    label: str
    title: str
    fingerprint: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)
    pack_key: Hashable = None
    given: Sequence[str] = ()
    algorithm: Algorithm | None = None
    call: Callable[..., list[RunRecord]] | None = None
    places: Mapping[str, ResolvedArm] = field(default_factory=dict)

    def on(self, environment: str) -> ResolvedArm:
        """Return the arm as it runs in an environment, by its label."""
        return self.places.get(environment, self)

    def document(self) -> dict[str, Any]:
        """Return the arm as JSON, with the settings that were given and every field, by environment if it differs."""
        fields = settings(self.algorithm) if self.algorithm else {}
        for name in self.given:
            here = {place: settings(arm.algorithm)[name] for place, arm in self.places.items() if arm.algorithm}
            fields[name] = here if any(value != fields[name] for value in here.values()) else fields[name]
        given = {name: fields[name] for name in self.given}
        return {"label": self.label, "algorithm": self.title, "settings": given, "fields": fields}


def trained_arm(
    algorithm: Algorithm, label: str = "", given: Sequence[str] = (), fingerprint: str | None = None
) -> ResolvedArm:
    """Return the arm in which an algorithm is trained."""
    return ResolvedArm(
        label or algorithm.name,
        algorithm.name,
        registry.fingerprint(type(algorithm)) if fingerprint is None else fingerprint,
        {"algorithm": algorithm.name, "settings": identifying(algorithm)},
        pack_key(algorithm),
        given,
        algorithm,
    )


@dataclass(frozen=True, eq=False)
class Cell:
    """One run: an arm in an environment with a seed and a budget of environment steps.

    `specification` is what belongs to the environment's identity beside id and options.
    """

    resolved: ResolvedArm
    environment: Environment
    steps: int
    seed: int
    specification: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Evaluation | None = None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The document whose hash is `id`."""
        environment = {"id": self.environment.id, "options": dict(self.environment.options), **self.specification}
        return {
            **self.resolved.identity,
            "fingerprint": self.resolved.fingerprint,
            "environment": environment,
            **({"steps": self.steps} if self.trains else {}),
            **({"evaluation": asdict(self.evaluation)} if self.evaluation else {}),
            "seed": self.seed,
        }

    @cached_property
    def id(self) -> str:
        """The name of the run in the store."""
        return cell_id(self.identity)

    @property
    def arm(self) -> str:
        """The label of the arm."""
        return self.resolved.label

    @property
    def trains(self) -> bool:
        """Whether something learns in this run."""
        return self.resolved.call is None

    @property
    def algorithm(self) -> Algorithm:
        """What learns, in a run in which something does."""
        assert self.resolved.algorithm is not None
        return self.resolved.algorithm

    @property
    def runs_user_code(self) -> bool:
        """Whether anything but rlbench and Gymnasium runs in it: an environment, an algorithm, a measurement."""
        return bool(self.specification) or not registry.is_own(type(self.resolved.algorithm))

    @cached_property
    def environment_key(self) -> str:
        """What is equal for the same environment only, whatever it is called."""
        return json.dumps(canonical(self.identity["environment"]), sort_keys=True)

    @property
    def planned(self) -> Planned:
        """The run as a row of the tables."""
        arm, where = self.resolved, self.environment.label
        return Planned(self.id, arm.label, arm.title, where, self.seed, self.steps, arm.fingerprint)


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
    evaluation = experiment.evaluation
    cells = tuple(
        Cell(arm.on(environment.label), environment, experiment.budget(environment), seed, specification, evaluation)
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


def resolve(
    experiment: Investigation, find: Callable[[Arm], type[Algorithm]] | None = None
) -> tuple[list[ResolvedArm], str]:
    """Return the arms of an experiment, sweeps expanded, in the order in which they are written; and the baseline.

    `find` gives the algorithm of an arm; None: the registry. Raises RlbenchError for an unknown algorithm, field or
    baseline, a value out of range, two arms of one label or of exactly equal settings, and a budget that an arm cannot
    spend exactly.
    """
    if isinstance(experiment, Measurement):
        return _measured_arms(experiment), ""
    assert isinstance(experiment, Experiment)
    arms = [resolved for arm in experiment.arms for resolved in _expand(experiment, arm, find or class_of)]
    labels = [arm.label for arm in arms]
    if repeated := repeats(labels):
        raise RlbenchError(f"{experiment.where}: two arms are called {brief(repeated[0])}; give one of them a label.")
    _refuse_equal(experiment, arms)
    for arm in arms:
        if experiment.evaluation and isinstance(arm.algorithm, Peer):
            raise RlbenchError(f"{experiment.where}: {arm.label} trains in a library of its own, without evaluations.")
        for environment in experiment.environments:
            _check_budget(experiment, arm.on(environment.label), environment.label, experiment.budget(environment))
    baseline = _baseline(experiment, arms)
    check_claims(experiment.where, experiment.claims, labels, experiment.environments)
    for label in experiment.published.scores if experiment.published else ():
        if label not in labels:
            hint = nearest(label, labels)
            raise RlbenchError(f"{experiment.where}: published names {brief(label)}, which is no arm of it.{hint}")
    return arms, baseline


def _baseline(experiment: Experiment, arms: list[ResolvedArm]) -> str:
    """Return the baseline's label: the one named, the only arm of the algorithm named, or the first."""
    if not experiment.baseline:
        return arms[0].label
    labels = [arm.label for arm in arms]
    if experiment.baseline in labels:
        return experiment.baseline
    of_algorithm = [arm.label for arm in arms if arm.title == experiment.baseline]
    if len(of_algorithm) == 1:
        return of_algorithm[0]
    raise RlbenchError(
        f"{experiment.where}: baseline {brief(experiment.baseline)} is not the label of an arm."
        f"{nearest(experiment.baseline, labels)}"
    )


def check_early(experiment: Investigation, plugins: Sequence[str] = ()) -> None:
    """Raise RlbenchError as `resolve` does, without importing an algorithm whose fields can be read from its source.

    Rules of an algorithm's own (`Algorithm.validate`) are left to `resolve`, and so is all of an experiment with an
    algorithm that has to be imported.
    """
    with contextlib.suppress(LookupError):
        resolve(experiment, sketched(plugins))


def sketched(plugins: Sequence[str] = ()) -> Callable[[Arm], type[Algorithm]]:
    """Return what finds an arm's algorithm without importing it, or raises LookupError where it has to be imported."""

    def find(arm: Arm) -> type[Algorithm]:
        cls = registry.sketch(arm.algorithm, plugins) if isinstance(arm.algorithm, str) else None
        if cls is None:
            raise LookupError
        return cls

    return find


def _expand(experiment: Experiment, arm: Arm, find: Callable[[Arm], type[Algorithm]]) -> list[ResolvedArm]:
    """Return one arm per combination of the values that are listed for fields."""
    where = f"{experiment.where}, arm {arm.label or arm.name!r}"
    cls = find(arm)
    resolved: list[ResolvedArm] = []
    for chosen in sweep(arm.settings, fields_of(cls), where):
        suffix = "".join(f" {name}={written(value)}" for name, value in chosen.items())

        def made(settings: Mapping[str, Any], label: str = f"{arm.label or cls.name}{suffix}") -> ResolvedArm:
            return trained_arm(configure(cls, settings, where), label, list(arm.settings))

        everywhere = {name: value for name, value in arm.settings.items() if not isinstance(value, Mapping)} | chosen
        places = {
            environment.label: made(arm.settings_on(environment) | chosen) for environment in experiment.environments
        }
        varied = len(everywhere) < len(arm.settings)
        resolved.append(replace(made(everywhere), places=places if varied else {}))
    return resolved


def class_of(arm: Arm) -> type[Algorithm]:
    """Return the algorithm of an arm, from now on known by its name."""
    if isinstance(arm.algorithm, str):
        return registry.load(arm.algorithm)
    if not issubclass(arm.algorithm, Algorithm) or not arm.algorithm.name:
        raise RlbenchError(f"{arm.algorithm.__name__} is not an Algorithm subclass with a name.")
    registry.add_class(arm.algorithm)
    return arm.algorithm


def _refuse_equal(experiment: Experiment, arms: list[ResolvedArm]) -> None:
    """Refuse arms that would share every run: their difference is 0 by construction, not by evidence."""
    seen: dict[Any, str] = {}
    for arm in arms:
        cls = type(arm.algorithm)
        here = [arm.on(environment.label).algorithm for environment in experiment.environments]
        values = tuple(getattr(algorithm, name) for algorithm in here for name in fields_of(cls))
        other = seen.setdefault((cls, values), arm.label)
        if other != arm.label:
            raise RlbenchError(
                f"{experiment.where}: arms {brief(other)} and {brief(arm.label)} have exactly the same settings; "
                "drop one of them."
            )


def _check_budget(experiment: Experiment, arm: ResolvedArm, environment: str, steps: int) -> None:
    """Budgets are exact: a whole number of steps per environment copy, and at least one rollout."""
    algorithm = arm.algorithm
    assert algorithm is not None
    copies, rollout = algorithm.copies, algorithm.samples_per_update
    where = f"{experiment.where}, arm {brief(arm.label)} on {environment}"
    if steps < rollout:
        raise RlbenchError(
            f"{where}: {steps} steps are less than one rollout of horizon {rollout // copies} x "
            f"num_envs {copies}; the least is {rollout}."
        )
    if steps % copies:
        below = steps // copies * copies
        raise RlbenchError(
            f"{where}: {steps} steps are not a multiple of num_envs {copies}; "
            f"the nearest are {below} and {below + copies}."
        )


def _measured_arms(measurement: Measurement) -> list[ResolvedArm]:
    name, measure, labels = measurement.name, measurement.measure, measurement.arms
    assert isinstance(measure, FunctionType)
    source = f"{measure.__qualname__}\n{source_of(measure)}"
    fingerprint = hashlib.sha256(source.encode()).hexdigest()[:16]
    call = partial(call_measure, measure, labels, folder_of(measure.__module__))
    identity = {"kind": MEASURED, "name": name}
    return [ResolvedArm(arm, MEASURED, fingerprint, identity | {"arm": arm}, name, call=call) for arm in labels]


def call_measure(
    measure: Measure,
    labels: Sequence[str],
    folder: Path | None,
    arms: Sequence[str],
    environment: Environment,
    steps: int,
    seeds: Sequence[int],
    **_: Any,
) -> list[RunRecord]:
    """Return the records of `arms` of a measurement that has these `labels`, for one environment and seed.

    `folder` has the files that `measure` may import. An arm without proper numbers has failed. Raises what the function
    raises.
    """
    started = time.perf_counter()
    with importable(folder):
        measured = measure(environment, seeds[0])
    seconds = (time.perf_counter() - started) / len(labels)
    if not isinstance(measured, Mapping):
        raise TypeError(f"measure must return the columns of every arm by its label, not {_short(measured)}")
    if unknown := [arm for arm in measured if arm not in labels]:
        raise ValueError(f"measure returned numbers of {unknown[0]!r}, which is no arm: {', '.join(labels)}")
    records = []
    for arm in arms:
        try:
            if arm not in measured:
                raise ValueError(f"measure returned nothing for {arm!r}")
            updates = _table(f"measure, arm {arm!r}:", measured[arm])
            records.append(RunRecord("finished", "", steps, empty_episodes(), updates, seconds=seconds))
        except ValueError as problem:
            records.append(RunRecord("failed", str(problem), 0, empty_episodes(), {}))
    return records


def _table(where: str, columns: Any) -> Table:
    """Return the columns as a table with rows for the longest, the others filled up with NaN."""
    if not isinstance(columns, Mapping) or not columns:
        raise ValueError(f"{where} its numbers must be given by the names of columns, not as {_short(columns)}")
    numbers = {name: _numbers(where, name, value) for name, value in columns.items()}
    rows = max(len(values) for values in numbers.values())
    padded = {name: np.concatenate([values, np.full(rows - len(values), np.nan)]) for name, values in numbers.items()}
    return {"step": np.arange(1, rows + 1), **padded}


def _numbers(where: str, name: Any, value: Any) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return a column, `[rows]`."""
    if not isinstance(name, str) or not _COLUMN.fullmatch(name) or name in _TAKEN:
        raise ValueError(f"{where} a column's name is a word other than {' and '.join(_TAKEN)}, not {name!r}")
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        array = np.empty((0, 0))
    if array.dtype.kind not in "biuf" or array.ndim > 1:
        raise ValueError(f"{where} {name} must be a number or a list of numbers, not {_short(value)}")
    return np.atleast_1d(array).astype(np.float64)


def _short(value: Any) -> str:
    text = repr(value).partition("\n")[0]
    return text if len(text) <= 60 else f"{text[:57]}..."
