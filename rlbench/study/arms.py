"""From what an experiment says to algorithms: names looked up, sweeps expanded, budgets checked."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlbench import registry
from rlbench.algorithm import Algorithm
from rlbench.errors import RlbenchError, brief, nearest
from rlbench.fields import Field, configure, fields_of
from rlbench.study.spec import Arm, Experiment, check_claims, repeats


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
