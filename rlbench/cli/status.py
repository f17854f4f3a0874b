"""`rlbench status`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbench.cli.folders import check_options, load_all, plans_of
from rlbench.cli.run import as_run, changes, plan_of

if TYPE_CHECKING:
    from rlbench.store.folders import Known, State
    from rlbench.store.leases import Holder

_SCHEMA = 1


@click.command()
@click.argument("experiment", required=False, metavar="[FILE|DIR|NAME]")
@changes
@as_run
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
@click.pass_context
def status(ctx: click.Context, /, experiment: str | None, as_json: bool, **_: Any) -> None:
    """Say how many runs are planned, stored, running, failed and missing, who trains, and how long it takes.

    Without an argument, for all experiments that were run in the results folder. It only reads: ask at any time, from
    any shell and any machine that sees the folder.

    \b
    rlbench status
    rlbench status experiments/ppo_vs_reinforce.py
    rlbench status experiments/lecture --json
    """
    from rlbench.store import Store
    from rlbench.store.folders import states
    from rlbench.store.leases import holders

    results = ctx.params["results"]
    experiments, messages = _experiments(ctx, experiment)
    store = Store(results)
    found = holders(results)
    if experiment is not None:
        found = [one for one in found if _works_on(one, experiments)]
    each, total = states(experiments, store, found)
    messages += store.messages
    if as_json:
        click.echo(json.dumps(_document(results, experiments, each, total, found, messages), indent=1))
        return
    for message in messages:
        click.echo(f"warning: {message}", err=True)
    if not experiments:
        click.echo(f"No experiment was run in {results}.")
    else:
        _show_states(experiments, each, total)
    _show_processes(found)


def _experiments(ctx: click.Context, experiment: str | None) -> tuple[list[Known], list[str]]:
    """Return the experiments that are asked for, and a message for each that cannot be read."""
    from rlbench.store.folders import Known, known_experiments, read_specification

    given = ctx.params
    if experiment is None:
        return known_experiments(given["results"])
    check_options([experiment], given | {"until_decided": False})
    if Path(experiment).is_dir():
        plans = plans_of(load_all([experiment], given)[0], given)
    elif experiment.endswith(".py") or Path(experiment).is_file():
        changed = (given[name] for name in ("plugin", "settings", "seeds", "steps", "first_seed"))
        plans = [plan_of(experiment, *changed)]
    else:
        document, cells = read_specification(given["results"], experiment)
        return [Known(str(document["name"]), "", [one.cell for one in cells])], []
    return [Known(plan.experiment.name, plan.suite, [cell.id for cell in plan.cells]) for plan in plans], []


def _works_on(holder: Holder, experiments: Sequence[Known]) -> bool:
    """Return whether a process trains runs of these experiments, or was started for one of them."""
    names = {one.name for one in experiments}
    if any(one["name"] in names for one in holder.document["experiments"]):
        return True
    return any(cell in holder.claimed for one in experiments for cell in one.cells)


def _show_states(experiments: Sequence[Known], each: Sequence[State], total: State) -> None:
    from rlbench.cli.output import print_table
    from rlbench.store.folders import State

    names = [f"{one.suite}/{one.name}" if one.suite else one.name for one in experiments]
    rows = [[name, *map(str, state)] for name, state in zip(names, each, strict=True)]
    if len(rows) > 1:
        rows.append(["all, shared runs once", *map(str, total)])
    print_table([["experiment", *State._fields], *rows])


def _show_processes(found: Sequence[Holder]) -> None:
    """Print who trains what and how far it is; and who ended without a word."""
    from rlbench.records import clock

    for one in found:
        document = one.document
        if not one.alive:
            lost = f"what it trained is open again: {_runs(len(one.claimed))}" if one.claimed else "it trained nothing"
            click.echo(f"{one.name} ended without a word {clock(one.age)} ago; {lost}.")
            continue
        click.echo(
            f"{one.name}, since {document['started']}: {document['done']} of {_runs(document['runs'])} done, "
            f"{document['share']:.0%}, {clock(document['seconds_left'])} left; it trains {_runs(len(one.claimed))}."
        )
        for pack in document["packs"]:
            latest = "" if pack["mean_return"] is None else f", return {pack['mean_return']:.4g}"
            click.echo(f"  {pack['title']}: step {pack['step']:,} of {pack['total']:,}{latest}")
    if not any(one.alive for one in found):
        click.echo("Nothing is running.")


def _runs(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"


def _document(
    results: str,
    experiments: Sequence[Known],
    each: Sequence[State],
    total: State,
    found: Sequence[Holder],
    messages: Sequence[str],
) -> dict[str, Any]:
    processes = [{"alive": one.alive, "seconds_since_sign": one.age, **one.document} for one in found]
    return {
        "schema": _SCHEMA,
        "results": results,
        "experiments": [
            {"name": known.name, "suite": known.suite, **state._asdict()}
            for known, state in zip(experiments, each, strict=True)
        ],
        "total": total._asdict(),
        "processes": processes,
        "messages": list(messages),
    }
