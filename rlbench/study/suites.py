"""A folder of experiments: read, checked as a whole, and registered as a whole before its first run.

Every Python file of the folder that gives a value to EXPERIMENT is a member, in the order of the files' names.
`suite.py`, where there is one, says SUITE = Suite(...); the other files are helpers that members import by name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rlbench.errors import RlbenchError, brief, nearest
from rlbench.store import Planned
from rlbench.store.specification import home, register
from rlbench.study.files import load_experiment
from rlbench.study.measurement import Measurement
from rlbench.study.spec import Experiment, as_name, repeats
from rlbench.study.suitetypes import check_suite
from rlbench.suite import Suite
from rlbench.userfiles import assigns, import_file, importable

FILE = "suite.py"


@dataclass(frozen=True)
class LoadedSuite:
    """The experiments of a folder in the order of their files, and what the folder says of itself.

    `name` is that of the folder. What `suite` calls (`Exact.check`, `Erratum.demonstrate`) may import the files of the
    folder while it runs.
    """

    name: str
    folder: Path
    suite: Suite
    experiments: tuple[Experiment | Measurement, ...]

    def chosen(self, only: Sequence[str] = (), *, quick: bool = False) -> tuple[Experiment | Measurement, ...]:
        """Return the members named by `only`, of those that a quick run has; RlbenchError where a name is unknown."""
        known = [one.name for one in self.experiments]
        for name in only:
            if name not in known:
                raise RlbenchError(f"{self.folder} has no experiment {brief(name)}.{nearest(name, known)}")
        named = set(only or known)
        if quick and self.suite.quick:
            named &= set(self.suite.quick)
        if not named:
            raise RlbenchError(f"None of {', '.join(only)} belongs to what SUITE.quick runs.")
        return tuple(one for one in self.experiments if one.name in named)


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
    experiments = {file: load_experiment(file) for file in files}
    suite = _read(path / FILE)
    if not experiments and not suite.checks and not suite.errata:
        raise RlbenchError(f"{folder} holds no file that says EXPERIMENT = Experiment(...).")
    _check_names(experiments)
    loaded = LoadedSuite(name, path, suite, tuple(experiments.values()))
    _check_ids(loaded, files)
    return loaded


def register_suite(
    results_dir: str | Path, suite: LoadedSuite, planned: Sequence[tuple[Experiment | Measurement, Sequence[Planned]]]
) -> None:
    """Register the claims of a whole suite in RESULTS/SUITE, and those of each experiment in its own folder.

    `planned` holds every experiment with its runs, also of those that are not run now: they may share runs with those
    that are.
    """
    asked = [([claim.document() for claim in experiment.claims], cells) for experiment, cells in planned]
    for (experiment, _), own in zip(planned, asked, strict=True):
        register(results_dir, home(results_dir, experiment.name, suite.name), [own])
    register(results_dir, Path(results_dir) / suite.name, asked)


def _read(file: Path) -> Suite:
    """Return the SUITE of a file, or an empty one where there is no file."""
    if not file.is_file():
        return Suite()
    suite = getattr(import_file(file, "suite"), "SUITE", None)
    if not isinstance(suite, Suite):
        what = "no SUITE" if suite is None else f"a SUITE of type {type(suite).__name__}"
        raise RlbenchError(f"{file} has {what}; it must say SUITE = Suite(...).")
    check_suite(suite, file)
    checks = [replace(one, check=partial(_inside, file.parent, one.check)) for one in suite.checks]
    errata = [
        replace(one, demonstrate=partial(_inside, file.parent, one.demonstrate)) if one.demonstrate else one
        for one in suite.errata
    ]
    return replace(suite, checks=checks, errata=errata)


def _inside(folder: Path, call: Any) -> Any:
    with importable(folder.resolve()):
        return call()


def _check_names(experiments: dict[Path, Experiment | Measurement]) -> None:
    """Refuse experiments of one name: their runs would share a folder."""
    seen: dict[str, Path] = {}
    for file, experiment in experiments.items():
        other = seen.setdefault(experiment.name, file)
        if other != file:
            raise RlbenchError(
                f"Two experiments are called {brief(experiment.name)}: in {other} and {file}; rename one."
            )


def _check_ids(loaded: LoadedSuite, files: Sequence[Path]) -> None:
    """Refuse ids that occur twice, and what refers to something that is not there."""
    suite, where = loaded.suite, loaded.folder / FILE
    members = zip(loaded.experiments, files, strict=True)
    made = [(claim.id, file) for one, file in members for claim in one.claims]
    made += [(one.id, where) for one in suite.checks]
    seen: dict[str, Path] = {}
    for number, file in made:
        if number and number in seen:
            both = f"in {seen[number]} and {file}" if seen[number] != file else f"both in {file}"
            raise RlbenchError(f"Two claims have the id {brief(number)}, {both}; give one of them another.")
        seen[number] = file
    ids = [number for number in seen if number]
    for number in suite.remarks:
        if number not in ids:
            raise RlbenchError(f"{where}: remarks name {brief(number)}, which is no claim's id.{_nearest(number, ids)}")
    names = [one.name for one in loaded.experiments]
    named = [("quick", name) for name in suite.quick]
    named += [(f"figure {brief(one.name)}", name) for one in suite.figures for name in one.experiments]
    for what, name in named:
        if name not in names:
            raise RlbenchError(
                f"{where}: {what} names {brief(name)}, which is no experiment here.{_nearest(name, names)}"
            )
    if repeated := repeats([one.name for one in suite.figures]):
        raise RlbenchError(f"{where}: two figures are called {brief(repeated[0])}.")
    if suite.quick_seeds < 1:
        raise RlbenchError(f"{where}: quick_seeds must be at least 1, not {brief(suite.quick_seeds)}.")


def _nearest(word: str, known: list[str]) -> str:
    return nearest(word, known) if known else ""
