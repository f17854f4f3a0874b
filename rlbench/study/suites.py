"""Experiment files and folders of them, and what the command line changes in an experiment.

A folder is read, checked as a whole, and registered as a whole before its first run. Every Python file of it that gives
a value to EXPERIMENT is a member, in the order of the files' names. `suite.py`, where there is one, says
SUITE = Suite(...); the other files are helpers that members import by name.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rlbench.errors import RlbenchError, brief, nearest
from rlbench.fields import Field, fields_of, hint_at
from rlbench.files import COUNT, TEXT, Kind, is_name, is_number, is_text, is_whole
from rlbench.records import Environment
from rlbench.store import Planned
from rlbench.store.folders import home, read_tuned, register
from rlbench.study.environments import bound
from rlbench.study.experiment import (
    Arm,
    Investigation,
    as_every,
    as_name,
    as_positive,
    as_seeds,
    as_steps,
    check_metrics,
    repeats,
)
from rlbench.suite import Erratum, Exact, Showpiece, Suite
from rlbench.userfiles import assigns, import_file, importable

FILE = "suite.py"

E = TypeVar("E", bound=Investigation)
V = TypeVar("V")


def load_experiment(path: str | Path) -> Investigation:
    """Return the EXPERIMENT of a Python file, which is code and runs.

    Raises RlbenchError, with file and line where there is one, if the file is missing, raises or has none.
    """
    experiment = _value_of(path, "EXPERIMENT", Investigation, "Experiment(...) or Measurement(...)")
    if any(not hasattr(experiment, field.name) for field in fields(experiment)):
        raise RlbenchError(f"{path} has an EXPERIMENT whose own __init__ does not call that of {experiment.kind}.")
    # In place, and once: a file is imported once, and what it registered may have been registered over since.
    here = tuple(bound(environment, Path(path).resolve().parent) for environment in experiment.environments)
    object.__setattr__(experiment, "environments", here)
    return experiment


def _value_of(file: str | Path, name: str, kind: type[V], must_be: str) -> V:
    """Return what a file, which runs, gives to a name; RlbenchError where that is not of its kind."""
    value = getattr(import_file(file, name.lower()), name, None)
    if not isinstance(value, kind):
        article = "an" if name == "EXPERIMENT" else "a"
        what = f"no {name}" if value is None else f"{article} {name} of type {type(value).__name__}"
        raise RlbenchError(f"{file} has {what}; it must say {name} = {must_be}.")
    return value


def override(
    experiment: E,
    settings: Iterable[str] = (),
    seeds: int | Sequence[int] | None = None,
    steps: int | None = None,
    plugins: Sequence[str] = (),
    evaluate_every: int | None = None,
    evaluation_episodes: int | None = None,
    environments: Sequence[str] = (),
    tuned: str | Path | None = None,
) -> E:
    """Return an experiment with other settings, each `ARM.FIELD=VALUE`, other seeds, budget or evaluations.

    `environments` are ids or labels of those that it keeps, with the claims about them; none: all.

    ARM is the label or the algorithm of an arm, and may be left out if only one has the field. Several values stand for
    an arm each: `FIELD=0.1,0.2`, and `FIELD=64,64/128,128` of a field that is a list itself. `plugins` are files of
    algorithms that need not be imported yet. `tuned` is the results folder of settings that were searched for: arms get
    those of the fields that they do not set themselves.
    """
    where, changes = experiment.where, dict[str, Any]()
    if environments:
        experiment = _only_in(experiment, environments)
    for text in settings:
        if not experiment.trains:
            raise RlbenchError(f"--set {text}: {where} trains nothing, so its arms have no fields.")
        changes["arms"] = _override_arms(where, changes.get("arms", experiment.arms), text, plugins)
    if tuned is not None and experiment.trains:
        chosen = changes.get("arms", experiment.arms)
        changes["arms"] = tuple(_tuned(where, arm, experiment.environments, tuned) for arm in chosen)
    if steps is not None and not experiment.trains:
        raise RlbenchError(f"--steps {steps}: {where} trains nothing, so it has no budget.")
    if seeds is not None:
        changes["seeds"] = as_seeds(where, seeds)
    if steps is not None:
        changes["steps"] = as_steps(where, steps, experiment.environments)
    if evaluate_every is not None or evaluation_episodes is not None:
        if not experiment.trains:
            raise RlbenchError(f"--evaluate-every: {where} trains nothing, so it has no policy.")
        if evaluate_every is not None:
            changes["evaluate_every"] = as_every(where, evaluate_every)
        if evaluation_episodes is not None:
            changes["evaluation_episodes"] = as_positive(where, "evaluation_episodes", evaluation_episodes)
        evaluated = bool(changes.get("evaluate_every", experiment.evaluation))
        if not evaluated and evaluation_episodes is not None:
            raise RlbenchError(f"--evaluation-episodes goes with --evaluate-every: {where} evaluates no policy.")
        check_metrics(where, experiment.claims, evaluated=evaluated)
    return experiment.changed(**changes)


def _tuned(where: str, arm: Arm, environments: Sequence[Environment], results_dir: str | Path) -> Arm:
    """Return an arm with the settings that were found for its algorithm on each environment."""
    known, given = read_tuned(results_dir, arm.name), dict[str, dict[str, Any]]()
    for environment in environments:
        if environment.label not in known:
            raise RlbenchError(
                f"{where}: no good settings of {arm.name} on {environment.label} are known, neither in {results_dir} "
                f"nor in rlbench; `rlbench tune {arm.name} --env {environment.id}` searches for them."
            )
        for name, value in known[environment.label]["settings"].items():
            given.setdefault(name, {})[environment.label] = value
    return Arm(arm.algorithm, arm.label, **{**given, **arm.settings})


def _only_in(experiment: E, names: Sequence[str]) -> E:
    """Return an experiment with only the environments of some ids or labels, and the claims that are about them."""
    known = [name for each in experiment.environments for name in dict.fromkeys((each.label, each.id))]
    for name in names:
        if name not in known:
            raise RlbenchError(f"--env {name}: {experiment.where} has no such environment.{nearest(name, known)}")
    kept = tuple(each for each in experiment.environments if {each.label, each.id} & {*names})
    labels = {each.label for each in kept}
    about = [
        replace(claim, environments=tuple(label for label in claim.environments if label in labels))
        for claim in experiment.claims
        if not claim.environments or labels & {*claim.environments}
    ]
    return experiment.changed(environments=kept, claims=tuple(about))


def shifted(experiment: Investigation, seeds: int | None, first: int | None) -> int | Sequence[int] | None:
    """Return `seeds` seeds (None: as many as the experiment has) from `first` on; None where nothing is asked for."""
    if first is None:
        return seeds
    return range(first, first + (len(experiment.seeds) if seeds is None else seeds))


def _override_arms(where: str, arms: Sequence[Arm], text: str, plugins: Sequence[str]) -> tuple[Arm, ...]:
    names = list(dict.fromkeys(name for arm in arms for name in (arm.label or arm.name, arm.name)))
    named = next((name for name in sorted(names, key=len, reverse=True) if text.startswith(f"{name}.")), None)
    target, equals, value = text.partition("=")
    if not equals or not target:
        raise RlbenchError(f"--set takes ARM.FIELD=VALUE, such as {names[0]}.lr=0.001, not {text!r}.")
    if ":" in target and target.replace(":", ".", 1).startswith(tuple(f"{name}." for name in names)):
        raise RlbenchError(f"--set {text}: write {text.replace(':', '.', 1)}.")
    if named is None and "." in target:
        name = target.rpartition(".")[0]
        raise RlbenchError(f"--set {text}: {where} has no arm {name!r}.{nearest(name, names)}")
    field = target if named is None else target[len(named) + 1 :]
    fields = [_fields(arm, plugins) for arm in arms]
    meant = [
        named in (arm.label or arm.name, arm.name) if named else field in known
        for arm, known in zip(arms, fields, strict=True)
    ]
    if not any(meant):
        hint = hint_at(field, {name: each for known in fields for name, each in known.items()})
        raise RlbenchError(f"--set {text}: no arm has a field {field!r}.{hint}")
    if named is None and sum(meant) > 1:
        some = [f"{arm.label or arm.name}.{field}" for arm, chosen in zip(arms, meant, strict=True) if chosen][:3]
        raise RlbenchError(f"--set {text}: {sum(meant)} arms have {field}; say of which: {', '.join(some)}.")
    changed = []
    for arm, known, chosen in zip(arms, fields, meant, strict=True):
        if chosen and field not in known:
            raise RlbenchError(f"--set {text}: {arm.name} has no field {field!r}.{hint_at(field, known)}")
        setting = {field: known[field].parse_text(value, f"--set {text}")} if chosen else {}
        changed.append(Arm(arm.algorithm, arm.label, **{**arm.settings, **setting}))
    return tuple(changed)


def _fields(arm: Arm, plugins: Sequence[str]) -> dict[str, Field]:
    from rlbench import registry

    if not isinstance(arm.algorithm, str):
        return fields_of(arm.algorithm)
    sketched = registry.sketch(arm.algorithm, plugins)
    for file in plugins if sketched is None else ():
        registry.add_file(file)
    return fields_of(sketched or registry.load(arm.algorithm))


def _is_list(value: Any, holds: Callable[[Any], bool] = lambda item: True) -> bool:
    return isinstance(value, list | tuple) and all(map(holds, value))


def _mapping_to(words: str, holds: Callable[[Any], bool]) -> Kind:
    def fits(value: Any) -> bool:
        return isinstance(value, Mapping) and all(is_text(key) and holds(item) for key, item in value.items())

    return Kind(f"a mapping from {words}", fits)


def _or_none(words: str, holds: Callable[[Any], bool]) -> Kind:
    return Kind(f"{words} or None", lambda value: value is None or holds(value))


_LIST, _TEXTS = Kind("a list", _is_list), Kind("a list of texts", lambda value: _is_list(value, is_text))
_ONE_OR_MORE = Kind("a text or a list of texts", lambda value: is_text(value) or _is_list(value, is_text))
_KINDS: dict[type, dict[str, Kind]] = {
    Suite: {
        "checks": _LIST,
        "errata": _LIST,
        "figures": _LIST,
        "remarks": _mapping_to("ids to texts", is_text),
        "again": _mapping_to("headings to names of suites", is_name),
        "quick": _TEXTS,
        "take_home": _TEXTS,
        "quick_seeds": Kind("a whole number", is_whole),
    },
    Exact: {"check": Kind("a function", callable)},
    Erratum: {"demonstrate": _or_none("a function", callable)},
    Showpiece: {
        "name": Kind("a file's name of letters, digits, '.', '_' and '-'", is_name),
        "experiment": _ONE_OR_MORE,
        "field": _ONE_OR_MORE,
        "arms": _TEXTS,
        "environments": _TEXTS,
        "columns": COUNT,
        "mark": _or_none("a number", is_number),
        "band": _or_none("two numbers", lambda value: _is_list(value, is_number) and len(value) == 2),
        "labels": _mapping_to("texts to texts", is_text),
        "relative_to": _mapping_to("texts to numbers", is_number),
    },
}
"""What the fields of these are, where it is not a text."""


def _check(part: Any, kind: type, where: str) -> None:
    """Raise RlbenchError if a part of a SUITE is not of its kind."""
    for field in fields(part):
        expected, value = _KINDS[kind].get(field.name, TEXT), getattr(part, field.name)
        if not expected.holds(value):
            raise RlbenchError(f"{where}: {field.name} must be {expected.words}, not {brief(value)}.")


@dataclass(frozen=True)
class LoadedSuite:
    """The experiments of a folder in the order of their files, and what the folder says of itself.

    `name` is that of the folder. What `suite` calls (`Exact.check`, `Erratum.demonstrate`) may import the files of the
    folder while it runs.
    """

    name: str
    folder: Path
    suite: Suite
    experiments: tuple[Investigation, ...]

    def chosen(self, only: Sequence[str] = (), *, quick: bool = False) -> tuple[Investigation, ...]:
        """Return the members named by `only`, of those that a quick run has; RlbenchError where a name is unknown."""
        known = [experiment.name for experiment in self.experiments]
        for name in only:
            if name not in known:
                raise RlbenchError(f"{self.folder} has no experiment {brief(name)}.{nearest(name, known)}")
        named = set(only or known)
        if quick and self.suite.quick:
            named &= set(self.suite.quick)
        if not named:
            raise RlbenchError(f"None of {', '.join(only)} belongs to what SUITE.quick runs.")
        return tuple(experiment for experiment in self.experiments if experiment.name in named)


def load_suite(folder: str | Path) -> LoadedSuite:
    """Return the suite of a folder, whose files are code and run.

    Raises:
        RlbenchError: there is no such folder or nothing in it, a file raises (with file and line), or the parts do not
            go together: names or ids that occur twice, or that nothing has.
    """
    path = Path(folder)
    if not os.path.isdir(folder):
        raise RlbenchError(f"There is no folder {str(folder)!r}.")
    name = path.resolve().name
    try:
        as_name(name)
    except RlbenchError as problem:
        raise RlbenchError(f"The folder {str(folder)!r} cannot be a suite. {problem}") from None
    files = [file for file in sorted(path.glob("*.py")) if file.name != FILE and assigns(file, "EXPERIMENT")]
    experiments, suite = tuple(map(load_experiment, files)), _read(path / FILE)
    if not experiments and not suite.checks and not suite.errata:
        raise RlbenchError(f"{folder} holds no file that says EXPERIMENT = Experiment(...).")
    loaded = LoadedSuite(name, path, suite, experiments)
    _check_names(loaded, files)
    return loaded


def register_suite(
    results_dir: str | Path, suite: LoadedSuite, planned: Sequence[tuple[Investigation, Sequence[Planned]]]
) -> None:
    """Register the claims of a whole suite in RESULTS/SUITE, and those of each experiment in its own folder.

    `planned` holds every experiment with its runs, also of those that are not run now: they may share runs with those
    that are.
    """
    asked = [([claim.document() for claim in experiment.claims], cells) for experiment, cells in planned]
    for (experiment, _), part in zip(planned, asked, strict=True):
        register(results_dir, home(results_dir, experiment.name, suite.name), [part])
    register(results_dir, Path(results_dir) / suite.name, asked)


def _read(file: Path) -> Suite:
    """Return the SUITE of a file, or an empty one where there is no file; RlbenchError where a part is wrong."""
    if not file.is_file():
        return Suite()
    suite = _value_of(file, "SUITE", Suite, "Suite(...)")
    _check(suite, Suite, f"{file}")
    parts = (("checks", suite.checks, Exact), ("errata", suite.errata, Erratum), ("figures", suite.figures, Showpiece))
    for what, entries, kind in parts:
        for entry in entries:
            if not isinstance(entry, kind):
                raise RlbenchError(f"{file}: {what} must be of type {kind.__name__}, and {brief(entry)} is not.")
            _check(entry, kind, f"{file}, {what}")
    checks = [replace(entry, check=partial(_inside, file.parent, entry.check)) for entry in suite.checks]
    errata = [
        replace(entry, demonstrate=partial(_inside, file.parent, entry.demonstrate)) if entry.demonstrate else entry
        for entry in suite.errata
    ]
    return replace(suite, checks=checks, errata=errata)


def _inside(folder: Path, call: Any) -> Any:
    with importable(folder.resolve()):
        return call()


def _check_names(loaded: LoadedSuite, files: Sequence[Path]) -> None:
    """Refuse names and ids that occur twice, and what refers to something that is not there."""
    suite, where = loaded.suite, loaded.folder / FILE
    members = list(zip(loaded.experiments, files, strict=True))
    seen: dict[str, Path] = {}
    for experiment, file in members:
        if (other := seen.setdefault(experiment.name, file)) != file:  # their runs would share a folder
            raise RlbenchError(
                f"Two experiments are called {brief(experiment.name)}: in {other} and {file}; rename one."
            )
    owners = [(claim.id, file) for experiment, file in members for claim in experiment.claims]
    ids: dict[str, Path] = {}
    for number, file in [*owners, *((entry.id, where) for entry in suite.checks)]:
        if number in ids:
            both = f"in {ids[number]} and {file}" if ids[number] != file else f"both in {file}"
            raise RlbenchError(f"Two claims have the id {brief(number)}, {both}; give one of them another.")
        if number:
            ids[number] = file
    referred = [("remarks name", number, ids, "claim's id") for number in suite.remarks]
    referred += [("quick names", name, seen, "experiment here") for name in suite.quick]
    for figure in suite.figures:
        referred += [
            (f"figure {brief(figure.name)} names", name, seen, "experiment here") for name in figure.experiments
        ]
    for what, name, known, kind in referred:
        if name not in known:
            hint = nearest(name, list(known)) if known else ""
            raise RlbenchError(f"{where}: {what} {brief(name)}, which is no {kind}.{hint}")
    if repeated := repeats([entry.name for entry in suite.figures]):
        raise RlbenchError(f"{where}: two figures are called {brief(repeated[0])}.")
    if suite.quick_seeds < 1:
        raise RlbenchError(f"{where}: quick_seeds must be at least 1, not {brief(suite.quick_seeds)}.")
