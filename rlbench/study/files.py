"""Experiment files, and what the command line changes in an experiment."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from rlbench import registry
from rlbench.errors import RlbenchError, nearest
from rlbench.fields import fields_of
from rlbench.study.spec import Arm, Experiment


def load_experiment(path: str | Path) -> Experiment:
    """Return the EXPERIMENT of a Python file, which is code and runs.

    Raises RlbenchError, with file and line where there is one, if the file is missing, raises or has none.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise RlbenchError(f"There is no experiment file {str(path)!r}.")
    module = _import_file(file, str(path))
    experiment = getattr(module, "EXPERIMENT", None)
    if not isinstance(experiment, Experiment):
        what = "no EXPERIMENT" if experiment is None else f"an EXPERIMENT of type {type(experiment).__name__}"
        raise RlbenchError(f"{path} has {what}; it must say EXPERIMENT = Experiment(...).")
    # Worker processes cannot import the module by name, so what it defines travels whole.
    cloudpickle.register_pickle_by_value(module)
    return experiment


def _import_file(file: Path, shown: str) -> ModuleType:
    name = f"rlbench_experiment_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise RlbenchError(f"{shown} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        message = str(error) if isinstance(error, RlbenchError) else f"{type(error).__name__}: {error}"
        raise RlbenchError(f"{shown}{_line(error, file)}: {message}") from error
    return module


def _line(error: Exception, file: Path) -> str:
    """Return `, line 12`: where in the file an exception came from."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}" if error.lineno else ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {lines[-1]}" if lines else ""


def override(
    experiment: Experiment,
    settings: Iterable[str] = (),
    seeds: int | Sequence[int] | None = None,
    steps: int | None = None,
) -> Experiment:
    """Return an experiment with other settings, each `ARM.FIELD=VALUE`, other seeds or another budget.

    ARM is the label or the algorithm of an arm; `FIELD=0.1,0.2` on a hyper field stands for one arm per value.
    """
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
    )


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
