"""Draws the showpieces of a suite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from rlbench.analysis.draw.chosen import Chosen
from rlbench.analysis.draw.doses import dose, stability
from rlbench.analysis.draw.files import write_figure
from rlbench.analysis.draw.frame import NoRoom, Sheet, compose
from rlbench.analysis.draw.scale import field_name
from rlbench.analysis.draw.sheets import curves, distribution, effective_ratio, scatter, training
from rlbench.analysis.draw.style import looking
from rlbench.analysis.draw.sweeps import FEWEST, find_sweeps
from rlbench.analysis.format import csv_text
from rlbench.analysis.scores.results import Results
from rlbench.errors import RlbenchError, nearest
from rlbench.files import write
from rlbench.suite import Showpiece, Suite

KINDS: Mapping[str, Callable[[Chosen], Sheet]] = {
    "curves": curves,
    "dose": dose,
    "stability": stability,
    "training": training,
    "distribution": distribution,
    "scatter": scatter,
}
WITHOUT_RUNS = "effective-ratio"
MOST = 10  # arms in one figure that nobody chose


class Drawing(NamedTuple):
    """A drawn showpiece, as `draw_showpieces` hands it out."""

    name: str
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Drawn:
    """A drawn showpiece with the tidy table of the numbers in it."""

    piece: Showpiece
    figure: Figure
    caption: str
    numbers: pd.DataFrame


def draw_showpieces(suite: Suite, members: Mapping[str, Results], style: str = "paper") -> Iterator[Drawing]:
    """Draw the figures of a suite, one after the other; `members` are the results of its experiments by name.

    A figure is left out if an experiment of it is not among the members. A suite that declares no figures has the
    usual ones of every member. Save a figure inside of `looking(style)`, as `files.write_showpieces` does.

    Raises:
        RlbenchError: a showpiece asks for what its experiment does not have, or there is no such style.
    """
    for one in draw_all(suite.figures, members, style):
        yield Drawing(one.piece.name, one.figure, one.caption)


def draw_all(pieces: Sequence[Showpiece], members: Mapping[str, Results], style: str = "paper") -> Iterator[Drawn]:
    """Draw showpieces, the usual ones of every member if there are none; otherwise as `draw_showpieces`."""
    chosen = list(pieces) or [piece for name, results in members.items() for piece in usual(name, results)]
    for piece in chosen:
        if not missing(piece, members):
            with looking(style) as look:
                sheet = _sheet(piece, members)
                try:
                    figure = compose(sheet, look, piece.title)
                except NoRoom as problem:
                    raise RlbenchError(f"Figure {piece.name!r}: {problem}") from problem
            caption = " ".join(f"{piece.caption} {sheet.caption}".split())
            yield Drawn(piece, figure, caption, sheet.numbers)


def missing(piece: Showpiece, members: Mapping[str, Results]) -> list[str]:
    """Return the experiments of a showpiece that are not among the members."""
    return [name for name in piece.experiments if name not in members]


def usual(name: str, results: Results) -> list[Showpiece]:
    """Return what is drawn of an experiment that declares no figures: curves, KL per update, and what was swept.

    Of more than `MOST` arms there are no curves and no KL: such a figure has to be declared, with some of them.
    """
    pieces = []
    few, learned = len(results.arms) <= MOST, results.curves["return"].notna().any()
    if few and learned:
        pieces.append(Showpiece(f"{name}-curves", "curves", name, title="Learning curves"))
    if few and "kl" in results.updates and results.updates["kl"].notna().any():
        pieces.append(Showpiece(f"{name}-kl", "distribution", name, title="KL divergence per update"))
    swept = [one.field for one in find_sweeps(results.arm_entries.values()) if len(one.values) >= FEWEST]
    metric = "auc_normalised" if results.scores["auc_normalised"].notna().any() else "auc"
    for field in dict.fromkeys(swept) if learned else ():
        title = f"Score against the {field_name(field)}"
        pieces.append(Showpiece(f"{name}-{field}", "dose", name, metric=metric, title=title, field=field))
    return pieces


def _sheet(piece: Showpiece, members: Mapping[str, Results]) -> Sheet:
    if piece.kind == WITHOUT_RUNS:
        return effective_ratio(piece)
    if piece.kind not in KINDS:
        hint = nearest(piece.kind, [*KINDS, WITHOUT_RUNS])
        raise RlbenchError(f"Figure {piece.name!r}: there is no kind {piece.kind!r}.{hint}")
    if not piece.experiments:
        raise RlbenchError(f"Figure {piece.name!r} of the kind {piece.kind!r} needs an experiment.")
    return KINDS[piece.kind](Chosen(piece, tuple(members[name] for name in piece.experiments)))


CAPTIONS = "captions.md"


def write_showpieces(drawn: Iterable[Drawn], out_dir: str | Path, style: str = "paper", heading: str = "") -> list[str]:
    """Write drawn showpieces into a folder and return their names; each is written before the next is drawn.

    Raises:
        RlbenchError: the folder cannot be written.
    """
    out = Path(out_dir)
    captions, names = [f"# {heading or 'Figures'}\n"], []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for one in drawn:
            name = one.piece.name
            with looking(style) as look:
                write_figure(one.figure, out, name, look.dpi)
            write(out / f"{name}.csv", csv_text(one.numbers), inside=out)
            captions.append(f"## {name}\n\n{f'**{one.piece.title}.** ' if one.piece.title else ''}{one.caption}\n")
            names.append(name)
        write(out / CAPTIONS, "\n".join(captions), inside=out)
    except OSError as problem:
        raise RlbenchError(f"Cannot write the figures to {out}: {problem.strerror or problem}.") from problem
    return names
