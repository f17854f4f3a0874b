"""Experiment files, and what the command line changes in an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from rlbench.errors import RlbenchError, nearest
from rlbench.fields import fields_of
from rlbench.study.environments import bound
from rlbench.study.measurement import Measurement
from rlbench.study.spec import Arm, Experiment
from rlbench.userfiles import import_file

E = TypeVar("E", Experiment, Measurement, Experiment | Measurement)


def load_experiment(path: str | Path) -> Experiment | Measurement:
    """Return the EXPERIMENT of a Python file, which is code and runs.

    Raises RlbenchError, with file and line where there is one, if the file is missing, raises or has none.
    """
    module = import_file(path, "experiment")
    experiment = getattr(module, "EXPERIMENT", None)
    if not isinstance(experiment, Experiment | Measurement):
        what = "no EXPERIMENT" if experiment is None else f"an EXPERIMENT of type {type(experiment).__name__}"
        raise RlbenchError(f"{path} has {what}; it must say EXPERIMENT = Experiment(...) or Measurement(...).")
    if any(not hasattr(experiment, one.name) for one in fields(experiment)):
        raise RlbenchError(f"{path} has an EXPERIMENT whose own __init__ does not call that of {_base(experiment)}.")
    # In place, and once: a file is imported once, and what it registered may have been registered over since.
    here = tuple(bound(one, Path(path).resolve().parent) for one in experiment.environments)
    object.__setattr__(experiment, "environments", here)
    return experiment


def _base(experiment: Experiment | Measurement) -> str:
    return (Experiment if isinstance(experiment, Experiment) else Measurement).__name__


def override(
    experiment: E,
    settings: Iterable[str] = (),
    seeds: int | Sequence[int] | None = None,
    steps: int | None = None,
) -> E:
    """Return an experiment with other settings, each `ARM.FIELD=VALUE`, other seeds or another budget.

    ARM is the label or the algorithm of an arm; `FIELD=0.1,0.2` on a hyper field stands for one arm per value.
    """
    if isinstance(experiment, Measurement):
        return _override_measurement(experiment, settings, seeds, steps)
    arms = list(experiment.arms)
    for text in settings:
        arms = _override_arms(experiment, arms, text)
    return Experiment(
        experiment.name,
        arms,
        experiment.environments,
        experiment.seeds if seeds is None else seeds,
        experiment.steps if steps is None else steps,
        experiment.baseline,
        experiment.question,
        experiment.claims,
        experiment.design,
    )


def shifted(experiment: Experiment | Measurement, seeds: int | None, first: int | None) -> int | Sequence[int] | None:
    """Return `seeds` seeds (None: as many as the experiment has) from `first` on; None where nothing is asked for."""
    if first is None:
        return seeds
    return range(first, first + (len(experiment.seeds) if seeds is None else seeds))


def _override_measurement(
    measurement: Measurement, settings: Iterable[str], seeds: int | Sequence[int] | None, steps: int | None
) -> Measurement:
    for text in settings:
        raise RlbenchError(f"--set {text}: {measurement.where} trains nothing, so its arms have no fields.")
    if steps is not None:
        raise RlbenchError(f"--steps {steps}: {measurement.where} trains nothing, so it has no budget.")
    return measurement if seeds is None else measurement.with_seeds(seeds)


def _override_arms(experiment: Experiment, arms: list[Arm], text: str) -> list[Arm]:
    names = list(dict.fromkeys(name for arm in arms for name in (arm.label or arm.name, arm.name)))
    named = next((name for name in sorted(names, key=len, reverse=True) if text.startswith(f"{name}.")), None)
    target, _, value = text.partition("=")
    if "=" not in text or "." not in target:
        raise RlbenchError(f"--set takes ARM.FIELD=VALUE, such as {names[0]}.lr=0.001, not {text!r}.")
    if named is None:
        arm = target.rpartition(".")[0]
        raise RlbenchError(f"--set {text}: {experiment.where} has no arm {arm!r}.{nearest(arm, names)}")
    field = target[len(named) + 1 :]
    return [
        _with_setting(arm, field, value, f"--set {text}") if named in (arm.label or arm.name, arm.name) else arm
        for arm in arms
    ]


def _with_setting(arm: Arm, name: str, text: str, where: str) -> Arm:
    """Return the arm with one field set from a command line's text."""
    from rlbench import registry

    cls = registry.load(arm.algorithm) if isinstance(arm.algorithm, str) else arm.algorithm
    fields = fields_of(cls)
    if name not in fields:
        raise RlbenchError(f"{where}: {cls.name} has no field {name!r}.{nearest(name, list(fields))}")
    field = fields[name]
    value: Any
    if field.is_hyper and "," in text:
        value = [field.parse(part, where) for part in text.split(",")]
    else:
        value = field.parse(text, where)
    return Arm(arm.algorithm, arm.label, **{**arm.settings, name: value})
