"""A suite's folder, or several files, on the command line: what they hold, and one training for all of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbench.cli.options import options_of
from rlbench.errors import RlbenchError
from rlbench.files import folder

if TYPE_CHECKING:
    from rlbench.study.executors import Executor
    from rlbench.study.experiment import Investigation
    from rlbench.study.plan import Plan
    from rlbench.study.suites import LoadedSuite


def usable_folder(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the folder that an option names; BadParameter where the system cannot take the name."""
    try:
        if value is not None:
            os.stat(value)
    except (FileNotFoundError, NotADirectoryError):  # said where it is needed
        pass
    except OSError as problem:
        raise click.BadParameter(f"{problem.strerror or problem}.", ctx, parameter) from problem
    except ValueError as problem:
        raise click.BadParameter("A folder's name cannot hold this.", ctx, parameter) from problem
    return value


results_folder = click.option(
    "--results", callback=usable_folder, default="results", show_default=True, help="Folder of the stored runs."
)


def own_folder(path: Path, results: str) -> Path:
    """Make a folder of the results and return it; RlbenchError where a link would lead out of them."""
    try:
        return folder(path, inside=results)
    except OSError as problem:
        raise RlbenchError(f"Cannot write to {path}: {problem.strerror or problem}.") from problem


def is_one_file(paths: Sequence[str]) -> bool:
    """Return whether a command line names a single file and no folder."""
    return len(paths) == 1 and not os.path.isdir(paths[0])


def check_options(paths: Sequence[str], given: Mapping[str, Any]) -> None:
    """Refuse options that do not go with what is named."""
    folders = [path for path in paths if os.path.isdir(path)]
    if (given["quick"] or given["only"]) and len(folders) < len(paths):
        raise click.UsageError(f"--{'quick' if given['quick'] else 'only'} chooses among the experiments of a folder.")
    if folders and given["settings"]:
        raise click.UsageError("--set goes with files: the experiments of a folder have different arms.")
    if folders and given["until_decided"]:
        raise click.UsageError("--until-decided goes with files, not with folders.")


def run_together(ctx: click.Context, paths: Sequence[str], executor: Executor) -> bool:
    """Train what is left of folders and files, say what happened, and return whether every run of it finished.

    The claims of all experiments of a folder are registered first, also of those that are not chosen.
    """
    from rlbench.cli.options import watched
    from rlbench.cli.output import show_together

    given = ctx.params
    chosen, suites = load_all(paths, given)
    _prepare(executor, chosen, given)
    plans = plans_of(chosen, given)
    for suite in suites:
        _register(suite, [plan for plan in plans if plan.suite == suite.name], given)
    from rlbench.study.plan import cells_of
    from rlbench.study.run import execute_all

    title = ", ".join(dict.fromkeys(plan.suite or plan.experiment.name for plan in plans))
    different, planned = len(cells_of(plans)), sum(len(plan.cells) for plan in plans)
    shared = f" ({planned - different} more are shared between experiments)" if planned > different else ""
    click.echo(f"{title}: {len(plans)} experiment{'s' if len(plans) > 1 else ''}, {different} runs{shared}")
    with watched(plans, given) as sinks:
        summary = execute_all(plans, given["results"], executor=executor, sinks=sinks, **options_of(given))
    show_together(title, plans, summary, debug=ctx.obj["debug"])
    return summary.fine


Chosen = list[tuple["Investigation", str]]
"""Experiments as they are to be run, each with the name of its suite, or none."""


def load_all(paths: Sequence[str], given: Mapping[str, Any]) -> tuple[Chosen, list[LoadedSuite]]:
    """Return the experiments that are to be run, and the suites that were named."""
    from rlbench.study.suites import load_experiment, load_suite

    chosen: Chosen = []
    suites: list[LoadedSuite] = []
    for path in paths:
        if not os.path.isdir(path):
            chosen.append((_changed(load_experiment(path), given), ""))
            continue
        suite = load_suite(path)
        suites.append(suite)
        for one in suite.chosen(given["only"], quick=given["quick"]):
            chosen.append((_changed(one, given, suite), suite.name))
    seen: set[tuple[str, str]] = set()
    for experiment, name in chosen:
        if (experiment.name, name) in seen:
            raise RlbenchError(f"Two experiments are called {experiment.name!r}; run one of them, or rename it.")
        seen.add((experiment.name, name))
    return chosen, suites


def _changed(experiment: Investigation, given: Mapping[str, Any], suite: LoadedSuite | None = None) -> Investigation:
    """Return an experiment with the seeds and steps of the command line; settings need its algorithms, and come later.

    In a suite, the number of steps is for what trains.
    """
    from rlbench.study.suites import override, shifted

    seeds = given["seeds"]
    if seeds is None and given["quick"] and suite:
        experiment = override(experiment, seeds=experiment.seeds[: suite.suite.quick_seeds])
    steps = None if suite and not experiment.trains else given["steps"]
    return override(experiment, (), shifted(experiment, seeds, given["first_seed"]), steps)


def _prepare(executor: Executor, chosen: Chosen, given: Mapping[str, Any]) -> None:
    """Let the executor begin before this process imports anything heavy, unless all seems to be stored already."""
    from rlbench.store.folders import seems_stored

    stored = (seems_stored(given["results"], one.document(), suite) for one, suite in chosen)
    if given["workers"] != 0 and (given["settings"] or not all(stored)):
        executor.prepare()


def plans_of(chosen: Chosen, given: Mapping[str, Any]) -> list[Plan]:
    """Return the plans of what was chosen, with the plugins and settings of the command line."""
    from rlbench.study.startup import uncollected

    with uncollected():
        from rlbench import registry
        from rlbench.study.plan import make_plan
        from rlbench.study.suites import override

    for file in given["plugin"]:
        registry.add_file(file)
    return [replace(make_plan(override(one, given["settings"])), suite=suite) for one, suite in chosen]


def _register(suite: LoadedSuite, plans: Sequence[Plan], given: Mapping[str, Any]) -> None:
    """Register the claims of all experiments of a suite; `plans` are those that are run."""
    from rlbench.study.plan import make_plan
    from rlbench.study.suites import register_suite

    made = {plan.experiment.name: plan for plan in plans}
    planned = [(one, made.get(one.name) or make_plan(_changed(one, given, suite))) for one in suite.experiments]
    register_suite(given["results"], suite, [(one, plan.planned) for one, plan in planned])
