"""The experiments that a command line names: by file, by a suite's folder, or by the name under which they were run.

Every command takes the same way: `load` the experiments, plan them with `make_plans`, train or open their runs.
A file is a suite of one experiment.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rlbench.cli.options import RunOptions
from rlbench.errors import RlbenchError

if TYPE_CHECKING:
    from rlbench.results import Results
    from rlbench.study.executors import Executor
    from rlbench.study.experiment import Investigation
    from rlbench.study.plan import Plan
    from rlbench.study.suites import LoadedSuite

Chosen = Sequence[tuple["Investigation", str]]
"""Experiments as they are to be run, each with the name of its suite, or none."""


def is_file(what: str) -> bool:
    """Return whether a command line names a file, and neither a folder nor an experiment that was run."""
    return not os.path.isdir(what) and (what.endswith(".py") or os.path.isfile(what))


def check_options(paths: Sequence[str], options: RunOptions) -> None:
    """Refuse options that do not go with what is named."""
    folders = [path for path in paths if os.path.isdir(path)]
    if (options.quick or options.only) and len(folders) < len(paths):
        raise click.UsageError(f"--{'quick' if options.quick else 'only'} chooses among the experiments of a folder.")
    if folders and options.env:
        raise click.UsageError("--env goes with files: the experiments of a folder have different environments.")
    if folders and options.settings:
        raise click.UsageError("--set goes with files: the experiments of a folder have different arms.")
    if folders and options.until_decided:
        raise click.UsageError("--until-decided goes with files, not with folders.")


def load(paths: Sequence[str], options: RunOptions) -> tuple[Chosen, list[LoadedSuite]]:
    """Return the experiments of files and folders as they are to be run, and the suites among them."""
    from rlbench.study.suites import load_experiment, load_suite

    chosen: list[tuple[Investigation, str]] = []
    suites: list[LoadedSuite] = []
    for path in paths:
        if os.path.isdir(path):
            suite = load_suite(path)
            suites.append(suite)
            members = suite.chosen(options.only, quick=options.quick)
            chosen += [(changed(member, options, suite), suite.name) for member in members]
        else:
            chosen.append((changed(load_experiment(path), options), ""))
    seen: set[tuple[str, str]] = set()
    for experiment, suite_name in chosen:
        if (experiment.name, suite_name) in seen:
            raise RlbenchError(f"Two experiments are called {experiment.name!r}; run one of them, or rename it.")
        seen.add((experiment.name, suite_name))
    return chosen, suites


def changed(experiment: Investigation, options: RunOptions, suite: LoadedSuite | None = None) -> Investigation:
    """Return an experiment with the seeds and steps of the command line; in a suite, steps are for what trains.

    Its settings come later, in `make_plans`: they need the algorithms.
    """
    from rlbench.study.suites import override, shifted

    if suite and options.quick and options.seeds is None:
        experiment = override(experiment, seeds=experiment.seeds[: suite.suite.quick_seeds])
    seeds = shifted(experiment, options.seeds, options.first_seed)
    if suite and not experiment.trains:
        return override(experiment, (), seeds)
    return override(
        experiment,
        (),
        seeds,
        options.steps,
        evaluate_every=options.evaluate_every,
        evaluation_episodes=options.evaluation_episodes,
        environments=options.env,
    )


def prepare(executor: Executor, chosen: Chosen, options: RunOptions) -> None:
    """Let the executor begin before this process imports anything heavy, unless all seems to be stored already.

    What is wrong with the arguments is said first.
    """
    from rlbench.store.folders import seems_stored
    from rlbench.study.plan import check_early
    from rlbench.study.process import has_to_compile

    for experiment, _ in chosen:
        check_early(_with_settings(experiment, options, options.plugin), options.plugin)
    stored = (seems_stored(options.results, experiment.document(), suite) for experiment, suite in chosen)
    if not (options.settings or options.tuned) and all(stored):
        return
    if has_to_compile():
        click.echo("Compiling the training loops for this machine, once: about half a minute.", err=True)
    executor.prepare()
    if not options.plugin:  # which may register what is missing
        from rlbench.study.environments import bound, registered
        from rlbench.training.envs import require_registered

        for environment in [each for experiment, _ in chosen if experiment.trains for each in experiment.environments]:
            with registered(bound(environment)):
                require_registered(environment)


def make_plans(chosen: Chosen, options: RunOptions) -> list[Plan]:
    """Return the plans of experiments, with the plugins and settings of the command line."""
    from rlbench.study.process import uncollected

    with uncollected():
        from rlbench import registry
        from rlbench.study.plan import make_plan

    for file in options.plugin:
        registry.add_file(file)
    return [replace(make_plan(_with_settings(one, options)), suite=suite) for one, suite in chosen]


def _with_settings(experiment: Investigation, options: RunOptions, plugins: Sequence[str] = ()) -> Investigation:
    from rlbench.study.suites import override

    tuned = options.results if options.tuned else None
    return override(experiment, options.settings, plugins=plugins, tuned=tuned)


def register(suite: LoadedSuite, plans: Sequence[Plan], options: RunOptions) -> None:
    """Register the claims of all experiments of a suite, also of those that are not chosen and have no plan here."""
    from rlbench.study.plan import make_plan
    from rlbench.study.suites import register_suite

    chosen = {plan.experiment.name: plan for plan in plans if plan.suite == suite.name}
    planned = [(one, chosen.get(one.name) or make_plan(changed(one, options, suite))) for one in suite.experiments]
    register_suite(options.results, suite, [(one, plan.planned) for one, plan in planned])


def stored_results(what: str, options: RunOptions) -> Results:
    """Return the results of the experiment of a file or a name; RlbenchError where none of its runs is stored."""
    from rlbench import registry
    from rlbench.results import load_results, open_results
    from rlbench.store.folders import FILE, home

    for file in options.plugin:  # may build networks and register environments
        registry.add_file(file)
    if is_file(what):
        (plan,) = make_plans(load([what], options)[0], options)
        results = open_results(plan.document(), plan.planned, options.results)
    else:
        results = load_results(what, options.results)
    if (results.runs["status"] == "missing").all():
        name = results.experiment.name
        first = "`rlbench run` comes first."
        if (home(options.results, name) / FILE).is_file():
            first = "it ran with other --seeds, --steps or --set, which have to be repeated here."
        raise RlbenchError(f"No run of {name!r} is stored in {options.results}; {first}")
    return results
