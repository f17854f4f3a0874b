"""Showpieces as files: NAME.pdf, .svg, .png, the numbers in them as NAME.csv, and captions.md for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rlbench.analysis.picturefiles import write_figure
from rlbench.analysis.showpieces.drawing import Drawn
from rlbench.analysis.showpieces.looks import looking
from rlbench.analysis.tablefiles import csv_text
from rlbench.errors import RlbenchError
from rlbench.files import write

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
