"""`rlbench figures`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlbench.cli.experiments import is_file
from rlbench.cli.options import make_folder, option, usable_folder
from rlbench.errors import RlbenchError, nearest
from rlbench.files import is_name

if TYPE_CHECKING:
    from rlbench.results import Results
    from rlbench.suite import Showpiece


@click.command()
@click.argument("what", metavar="DIR|FILE|NAME")
@click.option("--style", default="paper", show_default=True, metavar="paper|slides", help="Medium of the figures.")
@click.option("--only", multiple=True, metavar="FIGURE", help="Only this figure; repeatable.")
@option("results")
@click.option("--out", callback=usable_folder, help="Folder of the figures; default: RESULTS/NAME/STYLE.")
def figures(what: str, style: str, only: tuple[str, ...], results: str, out: str | None) -> None:
    """Draw the figures of a suite or an experiment for a paper or for slides, as PDF, SVG and PNG with captions.

    The suite.py of a suite may declare its figures. Otherwise they are the learning curves, the KL divergence per
    update, and the swept hyper-parameters. DIR is a suite's folder, FILE an experiment, NAME an experiment or a suite
    that was run.

    \b
    rlbench figures experiments/lecture --style slides --out /tmp/slides
    rlbench figures ppo-vs-reinforce
    """
    from rlbench.analysis.draw.figures import draw_all, missing, usual, write_showpieces
    from rlbench.analysis.draw.style import check_style

    check_style(style)
    name, declared, members, home = _read(what, results)
    pieces = declared or [piece for member, stored in members.items() for piece in usual(member, stored)]
    known = [piece.name for piece in pieces]
    for chosen in only:
        if chosen not in known:
            raise RlbenchError(f"{what} has no figure {chosen!r}.{nearest(chosen, known)}")
    pieces = [piece for piece in pieces if piece.name in (only or known)]
    for piece in pieces:
        if lacking := missing(piece, members):
            click.echo(f"Left out {piece.name}: no run of {' and '.join(lacking)} is stored in {results}.")
    folder = Path(out) if out else make_folder(home / style, results)
    drawn = write_showpieces(draw_all(pieces, members, style), folder, style, f"{name}: figures for {style}")
    click.echo(f"Figures: {folder} ({', '.join(drawn) or 'none'})")


def _read(what: str, results: str) -> tuple[str, Sequence[Showpiece], dict[str, Results], Path]:
    """Return the name, the declared figures, the stored results by experiment, and the folder of their report."""
    from rlbench.results import load_results
    from rlbench.store.folders import FILE, MEMBERS, home
    from rlbench.study.suites import load_experiment, load_suite

    declared: Sequence[Showpiece] = ()
    if os.path.isdir(what):
        suite = load_suite(what)
        name, declared, members = suite.name, suite.suite.figures, [one.name for one in suite.experiments]
    elif is_name(what) and os.path.isdir(Path(results) / what / MEMBERS):
        name = what
        members = sorted(folder.name for folder in (Path(results) / what / MEMBERS).iterdir() if is_name(folder.name))
    else:
        name = load_experiment(what).name if is_file(what) else what
        return name, (), {name: load_results(name, results)}, home(results, name)
    specified = [member for member in members if (home(results, member, name) / FILE).is_file()]
    opened = {member: load_results(member, results, suite=name) for member in specified}
    stored = {member: one for member, one in opened.items() if (one.runs["status"] != "missing").any()}
    return name, declared, stored, Path(results) / name
