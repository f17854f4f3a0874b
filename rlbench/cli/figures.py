"""`rlbench figures`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlbench.cli.folders import own_folder, results_folder, usable_folder
from rlbench.errors import RlbenchError, nearest
from rlbench.files import is_name

if TYPE_CHECKING:
    from rlbench.results import Results
    from rlbench.suite import Showpiece


@click.command()
@click.argument("what", metavar="DIR|FILE|NAME")
@click.option("--style", default="paper", show_default=True, metavar="paper|slides", help="What the figures are for.")
@click.option("--only", multiple=True, metavar="FIGURE", help="Only this figure; repeatable.")
@results_folder
@click.option("--out", callback=usable_folder, help="Folder of the figures; default: RESULTS/NAME/STYLE.")
def figures(what: str, style: str, only: tuple[str, ...], results: str, out: str | None) -> None:
    """Draw the figures of a suite or an experiment for a paper or for slides, as PDF, SVG and PNG with captions.

    A suite says in its suite.py which ones; otherwise they are the learning curves, the KL divergence per update and
    what was swept. DIR is a suite's folder, FILE or NAME an experiment that was run, NAME also a suite.

    \b
    rlbench figures experiments/lecture --style slides --out /tmp/slides
    rlbench figures ppo-vs-reinforce
    """
    from rlbench.analysis.draw.figures import draw_all, missing, usual, write_showpieces
    from rlbench.analysis.draw.style import check_style

    check_style(style)
    name, pieces, members, home = _read(what, results)
    pieces = pieces or [piece for member, stored in members.items() for piece in usual(member, stored)]
    known = [one.name for one in pieces]
    for chosen in only:
        if chosen not in known:
            raise RlbenchError(f"{what} has no figure {chosen!r}.{nearest(chosen, known)}")
    pieces = [one for one in pieces if one.name in (only or known)]
    for piece in pieces:
        if lacking := missing(piece, members):
            click.echo(f"Left out {piece.name}: no run of {' and '.join(lacking)} is stored in {results}.")
    where = Path(out) if out else own_folder(home / style, results)
    drawn = write_showpieces(draw_all(pieces, members, style), where, style, f"{name}: figures for {style}")
    click.echo(f"Figures: {where} ({', '.join(drawn) or 'none'})")


def _read(what: str, results: str) -> tuple[str, Sequence[Showpiece], dict[str, Results], Path]:
    """Return the name, the declared figures, the stored results by experiment, and the folder of their report."""
    from rlbench.results import load_results
    from rlbench.store.folders import MEMBERS, home

    members = Path(results) / what / MEMBERS if is_name(what) else None
    if os.path.isdir(what):
        from rlbench.study.suites import load_suite

        suite = load_suite(what)
        stored = _stored([one.name for one in suite.experiments], results, suite.name)
        return suite.name, suite.suite.figures, stored, Path(results) / suite.name
    if members and os.path.isdir(members):
        return (
            what,
            (),
            _stored(sorted(one.name for one in members.iterdir() if is_name(one.name)), results, what),
            Path(results) / what,
        )
    name = what
    if what.endswith(".py") or os.path.isfile(what):
        from rlbench.study.suites import load_experiment

        name = load_experiment(what).name
    return name, (), {name: load_results(name, results)}, home(results, name)


def _stored(names: Sequence[str], results: str, suite: str) -> dict[str, Results]:
    """Return the results of the experiments of a suite of which runs are stored."""
    from rlbench.results import load_results
    from rlbench.store.folders import FILE, home

    found: dict[str, Results] = {}
    for name in names:
        folder = home(results, name, suite)
        if (folder / FILE).is_file():
            stored = load_results(name, results, suite=suite)
            if (stored.runs["status"] != "missing").any():
                found[name] = stored
    return found
