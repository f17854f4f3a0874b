"""`rlbench status`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rlbench.cli.experiments import check_options, is_file, load, make_plans, stored_results
from rlbench.cli.options import CHANGES, CHOICE, RunOptions, takes

if TYPE_CHECKING:
    from rlbench.results import Results
    from rlbench.store.folders import Known
    from rlbench.store.leases import Holder


_SCHEMA = 1


@click.command()
@click.argument("experiment", required=False, metavar="[FILE|DIR|NAME]")
@takes(*CHANGES, *CHOICE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def status(experiment: str | None, as_json: bool, options: RunOptions) -> None:
    """Say how many runs are planned, stored, running, failed and missing, which processes train, and how long it takes.

    Without an argument, for all experiments that were run in the results folder. For other runs than those of the
    file, repeat the options of `rlbench run`. It only reads: ask at any time, from any shell and any machine that sees
    the folder.

    \b
    rlbench status
    rlbench status experiments/ppo_vs_reinforce.py
    rlbench status experiments/lecture --json
    """
    from rlbench.cli.output import print_table
    from rlbench.store import Store
    from rlbench.store.folders import State, known_experiments, states
    from rlbench.store.leases import holders

    messages: list[str] = []
    if experiment is None:
        experiments, messages = known_experiments(options.results)
    else:
        experiments = _experiments(experiment, options)
    store = Store(options.results)
    processes = holders(options.results)
    if experiment is not None:
        processes = [process for process in processes if _works_on(process, experiments)]
    each, total = states(experiments, store, processes)
    messages += store.messages
    if as_json:
        document = {
            "schema": _SCHEMA,
            "results": options.results,
            "experiments": [
                {"name": known.name, "suite": known.suite, **state._asdict()}
                for known, state in zip(experiments, each, strict=True)
            ],
            "total": total._asdict(),
            "processes": [
                {"alive": process.alive, "seconds_since_sign": process.age, **process.document} for process in processes
            ],
            "messages": messages,
        }
        click.echo(json.dumps(document, indent=1))
        return
    for message in messages:
        click.echo(f"warning: {message}", err=True)
    if experiments:
        names = [f"{known.suite}/{known.name}" if known.suite else known.name for known in experiments]
        rows = [[name, *map(str, state)] for name, state in zip(names, each, strict=True)]
        if len(rows) > 1:
            rows.append(["all, shared runs once", *map(str, total)])
        print_table([["experiment", *State._fields], *rows])
    else:
        click.echo(f"No experiment was run in {options.results}.")
    _show_processes(processes)


def _experiments(what: str, options: RunOptions) -> list[Known]:
    """Return the experiments that the command line names, with their planned runs."""
    from rlbench.store.folders import Known, read_specification

    check_options([what], options)
    if os.path.isdir(what) or is_file(what):
        plans = make_plans(load([what], options)[0], options)
        return [Known(plan.experiment.name, plan.suite, [cell.id for cell in plan.cells]) for plan in plans]
    document, planned = read_specification(options.results, what)  # needs no torch
    return [Known(str(document["name"]), "", [run.cell for run in planned])]


def _works_on(process: Holder, experiments: Sequence[Known]) -> bool:
    """Return whether a process trains runs of these experiments, or was started for one of them."""
    names = {known.name for known in experiments}
    if any(started["name"] in names for started in process.document["experiments"]):
        return True
    return any(cell in process.claimed for known in experiments for cell in known.cells)


def _show_processes(processes: Sequence[Holder]) -> None:
    """Print which process trains what and how far it is, and which ended without a word."""
    from rlbench.records import clock

    for process in processes:
        document, claimed = process.document, _runs(len(process.claimed))
        if not process.alive:
            lost = f"what it trained is open again: {claimed}" if process.claimed else "it trained nothing"
            click.echo(f"{process.name} ended without a word {clock(process.age)} ago; {lost}.")
            continue
        click.echo(
            f"{process.name}, since {document['started']}: {document['done']} of {_runs(document['runs'])} done, "
            f"{document['share']:.0%}, {clock(document['seconds_left'])} left; it trains {claimed}."
        )
        for pack in document["packs"]:
            latest = "" if pack["mean_return"] is None else f", return {pack['mean_return']:.4g}"
            click.echo(f"  {pack['title']}: step {pack['step']:,} of {pack['total']:,}{latest}")
    if not any(process.alive for process in processes):
        click.echo("Nothing is running.")


def _runs(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"


@click.command()
@click.argument("experiment", metavar="FILE|NAME")
@takes(*CHANGES, "seeds", "steps")
@click.option("--effect", type=float, default=0.05, show_default=True, help="The difference to detect.")
@click.option("--metric", default="auc_normalised", show_default=True, help="The score that differs by --effect.")
@click.option("--power", type=float, default=0.8, show_default=True, help="Probability of detecting it.")
def plan(experiment: str, effect: float, metric: str, power: float, options: RunOptions) -> None:
    """Say how many seeds it takes to detect an effect, with the stored runs as a pilot study.

    The brackets hold an 80 % range, since a pilot of a few runs estimates the spread of runs badly. Claims of the
    experiment are planned for the effect that the pilot shows.

    \b
    rlbench run experiments/ppo_vs_reinforce.py --seeds 5
    rlbench plan experiments/ppo_vs_reinforce.py --seeds 5 --effect 0.05
    """
    results = stored_results(experiment, options)
    if results.baseline or not results.claims:
        _show_comparisons(results, effect, metric, power)
    for verdict in results.verdicts:
        click.echo(f"\nClaim: {verdict.claim.statement} (now {verdict.verdict})")
        for part in verdict.parts:
            against = f" against {part.other}" if part.other else ""
            needed = _range(part.needed.n, part.needed.low, part.needed.high) if part.needed else "-"
            click.echo(f"  {part.arm}{against} on {part.environment}: {part.verdict}; seeds needed: {needed}")


def _show_comparisons(results: Results, effect: float, metric: str, power: float) -> None:
    """Print what every comparison with the baseline needs."""
    from rlbench.analysis.judge.verdicts import cost, seeds_for
    from rlbench.cli.output import print_table, shown

    wanted = seeds_for(results, effect, metric, power)
    click.echo(f"To find a difference in {metric} of {effect:g} with probability {power:g}, 5 % for all comparisons:")
    header = ["environment", "arm", "baseline", "runs", "spread of a run", "found with these", "seeds needed"]
    rows = [
        [
            row.environment,
            row.arm,
            row.baseline,
            f"{row.n_arm} vs {row.n_baseline}",
            shown(row.spread, ".3g"),
            shown(row.detectable, ".3g"),
            _range(row.needed.n, row.needed.low, row.needed.high),
        ]
        for row in wanted
    ]
    print_table([header, *rows], words=(0, 1, len(header) - 1))
    more, duration = cost(results, wanted)
    if math.isfinite(more):
        click.echo(f"For all of them: {more:.0f} more runs, about {duration / 60:.0f} minutes of one process.")


def _range(*values: float) -> str:
    if math.isnan(values[0]):
        return "-"
    n, low, high = (f"{value:.0f}" if math.isfinite(value) else "over 100000" for value in values)
    return f"{n} ({low} to {high})"
