"""`rlbench report` of an experiment or a suite, `rlbench figures`, and `rlbench agreement` of two reports."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbench.cli.experiments import check_options, load, make_plans, stored_results
from rlbench.cli.options import CHANGES, CHOICE, RunOptions, figure_kinds, make_folder, takes, usable_folder
from rlbench.cli.output import show_progress
from rlbench.errors import RlbenchError, nearest
from rlbench.files import is_name

if TYPE_CHECKING:
    from rlbench.analysis.judge.verdicts import JudgedResults
    from rlbench.analysis.report.entries import SuiteResults
    from rlbench.suite import Showpiece


NOT_COMPUTED = 1


@click.command()
@click.argument("experiment", metavar="FILE|DIR|NAME")
@takes(*CHANGES, *CHOICE)
@click.option(
    "--out",
    callback=usable_folder,
    help="Folder of the report; default: RESULTS/NAME, of a part of a folder RESULTS/NAME-part.",
)
@figure_kinds
@click.pass_context
def report(ctx: click.Context, experiment: str, out: str | None, kinds: tuple[str, ...], options: RunOptions) -> None:
    """Write the report of an experiment, or of all experiments of a DIR: an HTML page, figures and tables.

    NAME is an experiment that was run; its file is then not needed. For other runs than those of the file, repeat the
    options of `rlbench run`. The report of a DIR gives a verdict on every claim, also while some runs are missing.

    \b
    rlbench report experiments/ppo_vs_reinforce.py
    rlbench report ppo-vs-reinforce --out /tmp/report
    rlbench report experiments/lecture --quick
    """
    from rlbench.store.folders import home

    check_options([experiment], options)
    if os.path.isdir(experiment):
        problems = _report_suite(experiment, out, kinds, options)
        if problems:
            ctx.exit(NOT_COMPUTED)
        return
    results = stored_results(experiment, options)
    folder = Path(out) if out else make_folder(home(options.results, results.experiment.name), options.results)
    click.echo(f"Report: {results.report(folder, kinds, show_progress)}")


def _report_suite(folder: str, out: str | None, kinds: Sequence[str], options: RunOptions) -> Sequence[str]:
    """Write the report of a suite and return what on it could not be computed."""
    from rlbench.analysis.report.suite_page import summary, write_suite_report

    suite = _suite_results(folder, options)
    path = Path(out) if out else make_folder(_report_folder(suite.name, options), options.results)
    written = write_suite_report(suite, path, show_progress, kinds)
    for problem in written.problems:
        click.echo(f"warning: {problem}", err=True)
    click.echo(" ".join(summary(suite, written.entries)))
    click.echo(f"Report: {written.page}")
    return written.problems


def _suite_results(folder: str, options: RunOptions) -> SuiteResults:
    """Return the suite of a folder with all of its runs that are stored."""
    from rlbench.analysis.report.archive import is_archived, read_archive
    from rlbench.analysis.report.entries import SuiteResults
    from rlbench.results import open_results
    from rlbench.store.folders import read_register
    from rlbench.store.runs import STORE

    chosen, (suite,) = load([folder], options)
    published = Path(options.results) / suite.name
    # An archive has neither other seeds nor other budgets than those that were published.
    whole = not options.quick and options.seeds is options.first_seed is options.steps is None
    members: list[JudgedResults] = []
    archived = None
    if whole and is_archived(published) and not (Path(options.results) / STORE).exists():
        archived = published
        click.echo(f"There is no store: experiments and runs are those archived in {archived}.", err=True)
        names = {experiment.name for experiment, _ in chosen}
        members += [member for member in read_archive(archived) if member.experiment.name in names]
    else:
        plans = make_plans(chosen, options)
        for done, plan in enumerate(plans, start=1):
            members.append(open_results(plan.document(), plan.planned, options.results, suite=plan.suite))
            show_progress("experiments read", done, len(plans))
    return SuiteResults(
        suite.name,
        suite.suite,
        members,
        register=read_register(published),
        claimed=[claim.document() for experiment in suite.experiments for claim in experiment.claims],
        quick=options.quick,
        designed={experiment.name: len(experiment.seeds) for experiment in suite.experiments},
        provenance=[] if archived else _provenance(members, options.results),
        archived=archived,
        again={} if options.quick else _tried_again(suite.suite.again, Path(options.results)),
    )


def _tried_again(suites: Mapping[str, str], folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the claims of those suites that have a report in the folder of results, by heading and id."""
    from rlbench.analysis.report.archive import read_verdicts

    return {
        heading: {claim["id"]: claim for claim in read_verdicts(folder / name) if claim["id"]}
        for heading, name in suites.items()
        if (folder / name / "verdicts.json").is_file()
    }


def _provenance(members: Sequence[JudgedResults], results: str) -> list[dict[str, Any]]:
    """Return what the manifests say of code, packages and machines, one document per stored run."""
    from rlbench.store.runs import Store

    store = Store(results)
    stored = (member.runs["cell"][member.runs["status"] != "missing"] for member in members)
    manifests = (store.manifest(cell) for cell in dict.fromkeys(cell for cells in stored for cell in cells))
    return [manifest["provenance"] for manifest in manifests if manifest is not None]


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
def agreement(first: str, second: str) -> None:
    """Say how many of the claims that are decided in report A have the same verdict in report B.

    A and B are folders of reports, or their verdicts.json: of the same suite with other seeds.

    \b
    rlbench agreement results/lecture /tmp/replication
    """
    from rlbench.analysis.report.archive import agreement as compare
    from rlbench.analysis.report.archive import read_verdicts

    result = compare(read_verdicts(first), read_verdicts(second))
    compared = result.decided - len(result.absent)
    share = f" ({100 * result.same / compared:.0f} %)" if compared else ""
    click.echo(
        f"{result.same} of {compared} claims that are decided in {first} have the same verdict in {second}{share}."
    )
    for number, statement, verdict, other in result.differing:
        click.echo(f"{number or '-'}: {verdict}, then {other}: {statement}")
    if result.absent:
        click.echo(f"Not in {second}: {', '.join(result.absent)}.")


@click.command()
@click.argument("what", metavar="DIR|FILE|NAME")
@click.option(
    "--style",
    type=click.Choice(["paper", "slides", "icml", "jmlr", "neurips"]),
    default="paper",
    show_default=True,
    help="Medium of the figures: their widths and letters.",
)
@click.option(
    "--kind", "drawn_kinds", multiple=True, help="Draw this kind of figure, such as curves or iqm; repeatable."
)
@click.option("--arm", "arms", multiple=True, metavar="LABEL", help="Only this arm; repeatable, in this order.")
@click.option("--label", "labels", multiple=True, metavar="OLD=NEW", help="Call an arm or environment so; repeatable.")
@click.option(
    "--metric", default="", help="What is drawn, such as final_normalised or kl; default: usual for the kind."
)
@click.option("--field", default="", help="The swept field of a dose, a stability or a scatter.")
@click.option(
    "--x",
    "against",
    default="",
    help="What is across: of curves steps, gradient-steps or seconds; of a scatter a metric, such as kl:mean.",
)
@click.option("--width", type=click.FloatRange(1.0, 20.0), metavar="INCHES", help="Width of the figures.")
@click.option("--columns", type=click.IntRange(min=0), default=0, help="Panels side by side; 0: as many as fit.")
@click.option("--name", default="", help="Name of the files; of several figures the beginning of it.")
@takes(
    *CHANGES,
    *(name for name in CHOICE if name != "only"),
    click.option("--only", "chosen", multiple=True, metavar="FIGURE", help="Only this figure; repeatable."),
)
@click.option("--out", callback=usable_folder, help="Folder of the figures; default: RESULTS/NAME/STYLE.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["pdf", "png", "svg"]),
    multiple=True,
    help="Write the figures in this format; repeatable. Default: all three.",
)
def figures(
    what: str,
    style: str,
    drawn_kinds: tuple[str, ...],
    arms: tuple[str, ...],
    labels: tuple[str, ...],
    metric: str,
    field: str,
    against: str,
    width: float | None,
    columns: int,
    name: str,
    chosen: tuple[str, ...],
    out: str | None,
    formats: tuple[str, ...],
    options: RunOptions,
) -> None:
    """Draw the figures of a suite or an experiment for a paper or for slides, as PDF, SVG and PNG with captions.

    The suite.py of a suite may declare its figures. Otherwise they are the learning curves, the KL divergence per
    update, and the swept hyper-parameters, or those that --kind names (`rlbench/suite.py` lists them). DIR is a
    suite's folder, FILE an experiment, NAME an experiment or a suite that was run. For other runs than those of the
    file, repeat the options of `rlbench run`.

    \b
    rlbench figures experiments/lecture --style slides --out /tmp/slides
    rlbench figures ppo-vs-reinforce --kind curves --kind iqm --arm PPO-Clip --arm REINFORCE --style neurips
    """
    check_options([what], options)
    called = dict(map(_renamed, labels))
    title, declared, members, home = _declared(what, options)
    from rlbench.analysis.draw.figures import KINDS, draw_all, missing, usual, write_showpieces
    from rlbench.analysis.draw.style import STYLES
    from rlbench.suite import Showpiece

    if unknown := [kind for kind in drawn_kinds if kind not in KINDS]:
        raise RlbenchError(f"There is no kind {unknown[0]!r} of figures.{nearest(unknown[0], list(KINDS))}")
    pieces = declared or [piece for member, stored in members.items() for piece in usual(member, stored)]
    if drawn_kinds:
        pieces = [Showpiece(f"{one}-{kind}", kind, one, field=field) for one in members for kind in drawn_kinds]
    pieces = [
        replace(
            piece,
            name=piece.name if not name else name if len(pieces) == 1 else f"{name}-{piece.name}",
            arms=arms or piece.arms,
            environments=options.env or piece.environments,
            metric=metric or piece.metric,
            against=against.replace("gradient-steps", "gradient_steps") or piece.against,
            labels={**piece.labels, **called},
            columns=columns or piece.columns,
        )
        for piece in pieces
    ]
    known = [piece.name for piece in pieces]
    for figure in chosen:
        if figure not in known:
            raise RlbenchError(f"{what} has no figure {figure!r}.{nearest(figure, known)}")
    pieces = [piece for piece in pieces if piece.name in (chosen or known)]
    for piece in pieces:
        if lacking := missing(piece, members):
            click.echo(f"Left out {piece.name}: no run of {' and '.join(lacking)} is stored in {options.results}.")
    if all(missing(piece, members) for piece in pieces):
        raise RlbenchError(
            f"No figure of {what} can be drawn from {options.results}; `rlbench run` comes first, and its --seeds, "
            "--steps and --set have to be repeated here."
        )
    folder = Path(out) if out else make_folder(home / style, options.results)
    look = replace(STYLES[style], narrow=width, wide=width) if width else STYLES[style]
    heading, files = f"{title}: figures for {style}", formats or ("pdf", "png", "svg")
    drawn = write_showpieces(draw_all(pieces, members, look), folder, look, heading, files)
    click.echo(f"Figures: {folder} ({', '.join(drawn)})")


def _renamed(label: str) -> tuple[str, str]:
    old, equals, new = label.rpartition("=")
    if not equals or not old or not new:
        raise RlbenchError(f"--label takes OLD=NEW, such as ppo-clip=PPO, not {label!r}.")
    return old, new


def _declared(what: str, options: RunOptions) -> tuple[str, Sequence[Showpiece], Mapping[str, JudgedResults], Path]:
    """Return the name, the declared figures, the stored results by experiment, and the folder of their report."""
    from rlbench.results import load_results
    from rlbench.store.folders import FILE, MEMBERS, home

    results = Path(options.results)
    if os.path.isdir(what):
        suite = _suite_results(what, options)
        name, declared, opened = suite.name, suite.suite.figures, suite.members
    elif is_name(what) and os.path.isdir(results / what / MEMBERS):
        name, declared, folders = what, (), sorted((results / what / MEMBERS).glob(f"*/{FILE}"))
        opened = [load_results(file.parent.name, results, suite=name) for file in folders]
    else:
        stored = stored_results(what, options)
        return stored.experiment.name, (), {stored.experiment.name: stored}, home(results, stored.experiment.name)
    members = {one.experiment.name: one for one in opened if (one.runs["status"] != "missing").any()}
    return name, declared, members, _report_folder(name, options)


def _report_folder(name: str, options: RunOptions) -> Path:
    """Return the folder of a suite's report: a part's beside the report of everything, which it must not replace."""
    return Path(options.results) / f"{name}{'-quick' if options.quick else '-part' if options.only else ''}"
