"""`rlbench run`, and the training that `rlbench compare` shares with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from rlbench.cli.experiments import check_options, load, make_plans, prepare, register
from rlbench.cli.options import CHANGES, CHOICE, TRAINING, RunOptions, takes
from rlbench.errors import RlbenchError

if TYPE_CHECKING:
    from rlbench.study.executors import Executor
    from rlbench.study.plan import Plan
    from rlbench.study.progress import Summary

FAILED_RUNS = 1


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR...")
@takes(*CHANGES, *CHOICE, "until_decided", "stage", *TRAINING, "tensorboard", "wandb")
@click.pass_context
def run(ctx: click.Context, paths: tuple[str, ...], options: RunOptions) -> None:
    """Train the runs of experiment FILEs that are not stored yet. A DIR stands for all experiments in it.

    Interrupt it at any time: the same command continues. It exits with status 1 if a run failed or diverged. Several
    experiments are trained together: a run that they share is trained once, and runs that fit together train in one
    pack. Several processes, on one machine or on several, may work in one results folder: each trains what no other
    process trains, and waits for the rest.

    With --until-decided the experiment's seeds are the most that an arm gets. After every stage a test that accounts
    for the repeated looks decides which arms are better or worse than the baseline, and those get no more seeds.

    \b
    rlbench run experiments/ppo_vs_reinforce.py
    rlbench run experiments/ppo_vs_reinforce.py --until-decided --seeds 30
    rlbench run my_experiment.py --set ppo-clip.lr=0.001 --seeds 3
    rlbench run experiments/lecture --quick
    rlbench run my_experiment.py --tensorboard
    """
    check_options(paths, options)
    with open_executor(options) as executor:
        chosen, suites = load(paths, options)
        prepare(executor, chosen, options)
        plans = make_plans(chosen, options)
        for suite in suites:
            register(suite, plans, options)
        if options.until_decided:
            ended = [_train_in_stages(plan, options, executor) for plan in plans]
            fine = all(ended)
        else:
            fine = train(plans, options, executor)
    for path in paths:
        click.echo(f"Next: rlbench report {path}")
    if not fine:
        ctx.exit(FAILED_RUNS)


def open_executor(options: RunOptions) -> contextlib.closing[Executor]:
    """Return the executor that the options name, to be closed by `with`."""
    from rlbench.study.executors import executor_for

    return contextlib.closing(executor_for(options.executor, options.address, options.workers))


def train(
    plans: Sequence[Plan],
    options: RunOptions,
    executor: Executor,
    meanwhile: Callable[[], None] = lambda: None,
) -> bool:
    """Train what is left of plans, say what happened, and return whether every run finished."""
    from rlbench.cli.output import show_plans, show_summary
    from rlbench.study.run import execute_all

    show_plans(plans)
    with _how_to_train(plans, options, executor) as how:
        summary = execute_all(plans, options.results, meanwhile=meanwhile, **how)
    show_summary(plans, summary, debug=options.debug)
    return summary.fine


def _train_in_stages(plan: Plan, options: RunOptions, executor: Executor) -> bool:
    """Train a plan stage by stage, say what each look decides, and return whether every run finished."""
    from rlbench.cli.output import show_summary
    from rlbench.stages import planned_looks, run_until_decided

    if not plan.experiment.trains:
        raise RlbenchError(f"{plan.experiment.where} has no baseline, so there is nothing to decide in stages.")
    looks = ", ".join(map(str, planned_looks(plan, options.stage)))
    click.echo(f"{plan.experiment.name}: looks after {looks} seeds per arm and environment")
    fine: list[bool] = []

    def ended(part: Plan, summary: Summary) -> None:
        show_summary([part], summary, debug=options.debug)
        fine.append(summary.fine)

    with _how_to_train([plan], options, executor) as how:
        run_until_decided(plan, options.results, stage=options.stage, say=click.echo, ended=ended, **how)
    return all(fine)


@contextlib.contextmanager
def _how_to_train(plans: Sequence[Plan], options: RunOptions, executor: Executor) -> Iterator[dict[str, Any]]:
    """Give the options of `execute_all`, with the sinks that are asked for; say where those write."""
    from rlbench.study.sinks import folder_of, open_sinks

    names = [name for name in ("tensorboard", "wandb") if getattr(options, name)]
    with open_sinks(plans, options.results, names, _warn) as sinks:
        folders = dict.fromkeys(folder_of(plan, options.results) for plan in plans)
        for name in names:
            click.echo(f"{name}: {', '.join(str(folder / name) for folder in folders)}")
        yield {
            "executor": executor,
            "sinks": sinks,
            "device": options.device,
            "checkpoint_every": options.checkpoint_every,
            "time_limit": options.time_limit,
        }


def _warn(sentence: str) -> None:
    click.echo(f"warning: {sentence}", err=True)
