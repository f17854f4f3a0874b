"""`rlbench report` of a suite's folder, and `rlbench agreement`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbench.cli.folders import load_all, own_folder, plans_of

if TYPE_CHECKING:
    from rlbench.analysis.judge.judged import JudgedResults
    from rlbench.analysis.report import SuiteResults

NOT_COMPUTED = 1


def report_folder(ctx: click.Context, folder: str) -> None:
    """Write the report of a suite; ends with status 1 if something on it could not be computed."""
    from rlbench.analysis.report import write_suite_report
    from rlbench.analysis.report.suite_page import summary

    given = ctx.params
    suite = _results(folder, given)
    # Beside the report of everything, which that of a part must not replace.
    part = "-quick" if given["quick"] else "-part" if given["only"] else ""
    results = given["results"]
    out = Path(given["out"]) if given["out"] else own_folder(Path(results) / f"{suite.name}{part}", results)
    report = write_suite_report(suite, out, _show)
    for problem in report.problems:
        click.echo(f"warning: {problem}", err=True)
    click.echo(" ".join(summary(suite, report.entries)))
    click.echo(f"Report: {report.page}")
    if report.problems:
        ctx.exit(NOT_COMPUTED)


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
def agreement(first: str, second: str) -> None:
    """Say how many claims that are decided in report A have the same verdict in report B.

    A and B are folders of reports, or their verdicts.json: of the same suite with other seeds.

    \b
    rlbench agreement results/lecture /tmp/replication
    """
    from rlbench.analysis.report.archive import agreement as compare
    from rlbench.analysis.report.archive import read_verdicts

    found = compare(read_verdicts(first), read_verdicts(second))
    compared = found.decided - len(found.absent)
    share = f" ({100 * found.same / compared:.0f} %)" if compared else ""
    click.echo(
        f"{found.same} of {compared} claims that are decided in {first} have the same verdict in {second}{share}."
    )
    for number, statement, verdict, other in found.differing:
        click.echo(f"{number or '-'}: {verdict}, then {other}: {statement}")
    if found.absent:
        click.echo(f"Not in {second}: {', '.join(found.absent)}.")


def _results(folder: str, given: Mapping[str, Any]) -> SuiteResults:
    """Return the suite of a folder with all of its runs that are stored."""
    from rlbench.analysis.report import SuiteResults
    from rlbench.analysis.report.archive import is_archived, read_archive
    from rlbench.results import open_results
    from rlbench.store.folders import read_register
    from rlbench.store.runs import STORE

    chosen, (suite,) = load_all([folder], given)
    published = Path(given["results"]) / suite.name
    claimed = [claim.document() for one in suite.experiments for claim in one.claims]
    members: list[JudgedResults] = []
    # Other seeds or budgets than those that were published are not in an archive.
    whole = not (given["quick"] or any(given[name] is not None for name in ("seeds", "first_seed", "steps")))
    alone = whole and is_archived(published) and not (Path(given["results"]) / STORE).exists()
    archived = published if alone else None
    if archived:
        click.echo(f"There is no store: experiments and runs are those archived in {archived}.", err=True)
        names = {one.name for one, _ in chosen}
        members = [one for one in read_archive(archived) if one.experiment.name in names]
    else:
        plans = plans_of(chosen, given)
        for done, plan in enumerate(plans):
            members.append(open_results(plan.document(), plan.planned, given["results"], suite=plan.suite))
            _show("experiments read", done + 1, len(plans))
    return SuiteResults(
        suite.name,
        suite.suite,
        members,
        register=read_register(published),
        claimed=claimed,
        quick=given["quick"],
        designed={one.name: len(one.seeds) for one in suite.experiments},
        provenance=[] if archived else _provenance(members, given["results"]),
        archived=archived,
    )


def _provenance(members: Sequence[JudgedResults], results: str) -> list[dict[str, Any]]:
    """Return what the manifests say of code, packages and machines, one document per stored run."""
    from rlbench.store.runs import Store

    store = Store(results)
    ran = (one.runs["cell"][one.runs["status"] != "missing"] for one in members)
    cells = dict.fromkeys(cell for column in ran for cell in column)
    manifests = (store.manifest(cell) for cell in cells)
    return [manifest["provenance"] for manifest in manifests if manifest is not None]


def _show(what: str, done: int, total: int) -> None:
    """Show how far it is: one line that counts on a terminal, elsewhere a line when a part is done."""
    if sys.stderr.isatty():
        click.echo(f"\r{what}: {done} of {total}", nl=done == total, err=True)
    elif done == total:
        click.echo(f"{what}: {total}", err=True)
