"""`rlbench run --until-decided`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbench.cli.external import compare_file, from_file
from rlbench.cli.folders import check_options, is_one_file, own_folder, results_folder, run_together, usable_folder
from rlbench.cli.options import options_of, training, watched, watching
from rlbench.cli.suites import report_folder
from rlbench.errors import RlbenchError

if TYPE_CHECKING:
    from rlbench.results import Results
    from rlbench.store import Planned
    from rlbench.study.executors import Executor
    from rlbench.study.experiment import Investigation
    from rlbench.study.plan import Plan
    from rlbench.study.progress import Summary


def execute_in_stages(ctx: click.Context, plan: Plan, executor: Executor) -> bool:
    """Train a plan stage by stage, say what each look decides, and return whether every run finished."""
    from rlbench.cli.options import watched
    from rlbench.cli.output import show_summary
    from rlbench.stages import planned_looks, run_until_decided

    if not plan.experiment.trains:
        raise RlbenchError(f"{plan.experiment.where} has no baseline, so there is nothing to decide in stages.")
    stage = ctx.params["stage"]
    looks = ", ".join(map(str, planned_looks(plan, stage)))
    click.echo(f"{plan.experiment.name}: looks after {looks} seeds per arm and environment")
    fine: list[bool] = []

    def ended(part: Plan, summary: Summary) -> None:
        show_summary(part, summary, debug=ctx.obj["debug"])
        fine.append(summary.fine)

    with watched([plan], ctx.params) as sinks:
        run_until_decided(
            plan,
            ctx.params["results"],
            stage=stage,
            say=click.echo,
            ended=ended,
            executor=executor,
            sinks=sinks,
            **options_of(ctx.params),
        )
    return all(fine)


FAILED_RUNS = 1


def changes(command: Callable[..., None]) -> Callable[..., None]:
    """Options that change an experiment and say where its results are."""
    for option in (
        results_folder,
        click.option("--plugin", multiple=True, metavar="FILE", help="Python file with algorithms; repeatable."),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="ARM.FIELD=VALUE",
            help="Set a field of an arm, such as ppo-clip.clip=0.1; repeatable. "
            "Several values, 0.1,0.2, are an arm each.",
        ),
    ):
        command = option(command)
    return command


def as_run(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say which runs of an experiment `rlbench run` was asked for."""
    for option in (
        click.option("--only", multiple=True, metavar="NAME", help="As given to `rlbench run`; repeatable."),
        click.option("--quick", is_flag=True, help="As given to `rlbench run`."),
        *(
            click.option(name, type=int, help="As given to `rlbench run`.")
            for name in ("--steps", "--first-seed", "--seeds")
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR...")
@changes
@click.option("--seeds", type=int, help="Number of seeds, instead of the file's.")
@click.option("--first-seed", type=int, help="Use the seeds from this one on, as many as the file has or --seeds says.")
@click.option("--steps", type=int, help="Environment steps per run, instead of the file's.")
@click.option("--quick", is_flag=True, help="Of a DIR only what its suite.py calls quick, with few seeds.")
@click.option("--only", multiple=True, metavar="NAME", help="Of a DIR only this experiment; repeatable.")
@click.option("--until-decided", is_flag=True, help="Add seeds in stages and stop each arm when it is decided.")
@click.option("--stage", type=int, default=5, show_default=True, help="Seeds per stage of --until-decided.")
@training
@watching
@click.pass_context
def run(
    ctx: click.Context,
    paths: tuple[str, ...],
    settings: tuple[str, ...],
    plugin: tuple[str, ...],
    results: str,
    seeds: int | None,
    first_seed: int | None,
    steps: int | None,
    quick: bool,
    only: tuple[str, ...],
    workers: int | None,
    executor: str,
    address: str | None,
    device: str,
    checkpoint_every: float,
    time_limit: float | None,
    until_decided: bool,
    stage: int,
    tensorboard: bool,
    wandb: bool,
) -> None:
    """Train the runs of experiment FILEs that are not stored yet; of a DIR, those of all its experiments.

    Interrupt it at any time: the same command continues. Ends with status 1 if a run failed or diverged. Several
    experiments are trained together: runs that they share once, and what fits together in one pack. Several processes
    may do so in one results folder, on one machine or on several: each trains what no other does, and waits for the
    rest.

    With --until-decided the experiment's seeds are the most that an arm gets: after every stage a test that accounts
    for looking often decides which arms are better or worse than the baseline, and they get no more.

    \b
    rlbench run experiments/ppo_vs_reinforce.py
    rlbench run experiments/ppo_vs_reinforce.py --until-decided --seeds 30
    rlbench run my_experiment.py --set ppo-clip.lr=0.001 --seeds 3
    rlbench run experiments/lecture --quick
    rlbench run my_experiment.py --tensorboard
    """
    check_options(paths, ctx.params)
    with _executor(ctx) as opened:
        if is_one_file(paths) or until_decided:
            fine = _run_each(ctx, paths, opened)
        else:
            fine = run_together(ctx, paths, opened)
    for path in paths:
        click.echo(f"Next: rlbench report {path}")
    if not fine:
        ctx.exit(FAILED_RUNS)


def _run_each(ctx: click.Context, files: Sequence[str], executor: Executor) -> bool:
    """Train what is left of experiment files one by one, and return whether every run finished."""
    given = ctx.params
    experiments = [_load(file, given["seeds"], given["steps"], given["first_seed"]) for file in files]
    _prepare(executor, experiments, given["settings"], given["results"], given["workers"])
    _load_plugins(given["plugin"])
    plans = [_plan(experiment, given["settings"]) for experiment in experiments]
    execute = execute_in_stages if given["until_decided"] else _execute
    fine = [execute(ctx, plan, executor) for plan in plans]
    return all(fine)


@click.command()
@click.argument("experiment", metavar="FILE|DIR|NAME")
@changes
@as_run
@click.option(
    "--out",
    callback=usable_folder,
    help="Folder of the report; default: RESULTS/NAME, of a part of a folder RESULTS/NAME-part.",
)
@click.pass_context
def report(
    ctx: click.Context,
    experiment: str,
    settings: tuple[str, ...],
    plugin: tuple[str, ...],
    results: str,
    seeds: int | None,
    first_seed: int | None,
    steps: int | None,
    quick: bool,
    only: tuple[str, ...],
    out: str | None,
) -> None:
    """Write the report of an experiment, or of all experiments of a DIR: an HTML page, figures and tables.

    NAME is an experiment that was run; its file is then not needed. The report of a DIR says of every claim what the
    runs say of it, also while some of them are missing.

    \b
    rlbench report experiments/ppo_vs_reinforce.py
    rlbench report ppo-vs-reinforce --out /tmp/report
    rlbench report experiments/lecture --quick
    """
    check_options([experiment], ctx.params | {"until_decided": False})
    if os.path.isdir(experiment):
        report_folder(ctx, experiment)
        return
    if experiment.endswith(".py") or os.path.isfile(experiment):
        plan = plan_of(experiment, plugin, settings, seeds, steps, first_seed)
        document, cells = plan.document(), plan.planned
    else:
        from rlbench.store.folders import read_specification

        document, cells = read_specification(results, experiment)
    click.echo(f"Report: {_write_report(results_of(document, cells, results), results, out)}")


@click.command()
@click.argument("names", nargs=-1, metavar="ALGORITHM...")
@click.option("--env", "environments", multiple=True, metavar="ID", help="Gymnasium id; repeatable.")
@click.option("--seeds", type=int, default=10, show_default=True, help="Independent runs per algorithm.")
@click.option("--steps", type=int, default=100_000, show_default=True, help="Environment steps per run.")
@click.option("--baseline", default="", help="What the others are compared with; default: the last one.")
@changes
@training
@click.option("--out", callback=usable_folder, help="Folder of the report; default: RESULTS/NAME.")
@from_file
@click.pass_context
def compare(
    ctx: click.Context,
    names: tuple[str, ...],
    environments: tuple[str, ...],
    seeds: int,
    steps: int,
    baseline: str,
    settings: tuple[str, ...],
    plugin: tuple[str, ...],
    results: str,
    workers: int | None,
    executor: str,
    address: str | None,
    device: str,
    checkpoint_every: float,
    time_limit: float | None,
    out: str | None,
    file: str | None,
    reference: tuple[str, ...],
) -> None:
    """Train ALGORITHMs on environments, say which is better and how sure that is, and write a report.

    An ALGORITHM is a name or a plugin file. With --from nothing is trained: the runs are read from a table with the
    columns algorithm, environment, seed and score (and step, for learning curves).

    \b
    rlbench compare ppo-clip reinforce --env CartPole-v1 --seeds 10 --steps 100000
    rlbench compare my-variant ppo-clip --plugin my_variant.py --env CartPole-v1
    rlbench compare ppo-clip --set ppo-clip.clip=0.1,0.2,0.4 --env Acrobot-v1 --baseline "ppo-clip clip=0.2"
    rlbench compare --from runs.csv --baseline sac --reference Walker2d-v5=2,5000
    """
    if file is not None:
        compare_file(ctx, file, names, baseline, reference, Path(out or results))
        return
    if reference:
        raise click.UsageError("--reference goes with --from.")
    for given, what in ((names, "argument 'ALGORITHM...'"), (environments, "option '--env'")):
        if not given:
            raise click.UsageError(f"Missing {what}.")
    from rlbench.api import comparison
    from rlbench.cli.output import show_comparisons

    with _executor(ctx) as opened:
        _prepare(opened, [comparison(names, environments, seeds, steps, baseline)], settings, results, workers)
        from rlbench import registry

        _load_plugins(plugin)
        arms = [arm for name in names for arm in (registry.add_file(name) if name.endswith(".py") else [name])]
        plan = _plan(comparison(arms, environments, seeds, steps, baseline), settings)
        if len(plan.arms) < 2:
            raise RlbenchError("A comparison needs two algorithms, or one with --set ARM.FIELD=VALUE,VALUE.")
        fine = _execute(ctx, plan, opened, _import_report)
    stored = results_of(plan.document(), plan.planned, results)
    where = _write_report(stored, results, out)
    show_comparisons(stored.comparisons, plan.document()["baseline"])
    click.echo(f"Report: {where}")
    if not fine:
        ctx.exit(FAILED_RUNS)


def _load_plugins(files: tuple[str, ...]) -> None:
    from rlbench import registry

    for file in files:
        registry.add_file(file)


def plan_of(
    file: str,
    plugin: tuple[str, ...],
    settings: tuple[str, ...],
    seeds: int | None,
    steps: int | None,
    first_seed: int | None = None,
) -> Plan:
    """Return the plan of an experiment file with what the command line changes."""
    _load_plugins(plugin)
    return _plan(_load(file, seeds, steps, first_seed), settings)


def _executor(ctx: click.Context) -> contextlib.closing[Executor]:
    from rlbench.study.executors import executor_for

    return contextlib.closing(executor_for(ctx.params["executor"], ctx.params["address"], ctx.params["workers"]))


def _prepare(
    executor: Executor,
    experiments: Sequence[Investigation],
    settings: tuple[str, ...],
    results: str,
    workers: int | None,
) -> None:
    """Let the executor begin before this process imports anything heavy, unless all seems to be stored already."""
    from rlbench.store.folders import seems_stored

    if workers != 0 and (settings or not all(seems_stored(results, one.document()) for one in experiments)):
        executor.prepare()


def _load(file: str, seeds: int | None, steps: int | None, first_seed: int | None = None) -> Investigation:
    """Return the experiment of a file with the seeds and steps of the command line."""
    from rlbench.study.suites import load_experiment, override, shifted

    experiment = load_experiment(file)
    return override(experiment, (), shifted(experiment, seeds, first_seed), steps)


def _plan(experiment: Investigation, settings: tuple[str, ...]) -> Plan:
    """Return the plan of an experiment with the settings of the command line."""
    from rlbench.study.startup import uncollected
    from rlbench.study.suites import override

    with uncollected():
        from rlbench.study.plan import make_plan

    return make_plan(override(experiment, settings))


def _import_report() -> None:
    """Import what a report needs."""
    from rlbench.study.startup import uncollected

    with uncollected():
        import rlbench.analysis.draw
        import rlbench.analysis.report.experiment_page  # noqa: F401


def _execute(ctx: click.Context, plan: Plan, executor: Executor, meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Train what is left of a plan, say what happened, and return whether every run of it finished."""
    from rlbench.cli.output import show_summary
    from rlbench.study.run import execute

    sizes = (
        (len(plan.arms), "arm"),
        (len(plan.experiment.environments), "environment"),
        (len(plan.experiment.seeds), "seed"),
    )
    counts = " x ".join(f"{size} {what}{'s' if size > 1 else ''}" for size, what in sizes)
    click.echo(f"{plan.experiment.name}: {counts} = {len(plan.cells)} runs")
    with watched([plan], ctx.params) as sinks:
        summary = execute(
            plan,
            ctx.params["results"],
            executor=executor,
            meanwhile=meanwhile,
            sinks=sinks,
            **options_of(ctx.params),
        )
    show_summary(plan, summary, debug=ctx.obj["debug"])
    return summary.fine


def results_of(document: dict[str, Any], cells: list[Planned], results: str) -> Results:
    """Return the results of an experiment of which at least one run is stored."""
    from rlbench.results import open_results

    stored = open_results(document, cells, results)
    if (stored.runs["status"] == "missing").all():
        raise RlbenchError(f"No run of {document['name']!r} is stored in {results}; `rlbench run` comes first.")
    return stored


def _write_report(stored: Results, results: str, out: str | None) -> Path:
    from rlbench.store.folders import home

    return stored.report(Path(out) if out else own_folder(home(results, stored.experiment.name), results))
