"""What every report is made of: an HTML page from a template, with everything escaped, and folders for its files."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rlbench.analysis.format import csv_text
from rlbench.files import folder, write

PAGE = "report.html"


@dataclass(frozen=True)
class Table:
    """A table of a report: `data` with full numbers for the CSV file, `shown` as text for people."""

    name: str
    title: str
    data: pd.DataFrame
    shown: pd.DataFrame
    note: str = ""


def page(template: str, **values: Any) -> str:
    """Return the page of a template in `templates`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text: str = environment.get_template(template).render(**values)
    return text


def fresh_folder(path: Path, kinds: Iterable[str]) -> Path:
    """Make a folder in that of a report and remove the files of an earlier one, by the endings of their names."""
    folder(path, inside=path.parent)
    for kind in kinds:
        for old in path.glob(f"*.{kind}"):
            if old.is_symlink() or not old.is_dir():
                old.unlink()
    return path


_LATIN = 0x17F  # the last letter of European languages, up to which every LaTeX knows them
_OTHER_LETTERS = r"""% holds letters that pdflatex does not know: compile with lualatex, and with \usepackage{fontspec}
% and \setmainfont{a font that has them}, since other fonts leave them out"""

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "−": "$-$",
    "–": "--",
    "“": "``",
    "”": "''",
}


def write_tables(tables: list[Table], directory: Path) -> None:
    """Write each table as NAME.csv, NAME.md and NAME.tex into an existing directory."""
    for table in tables:
        for kind, text in (("csv", csv_text(table.data)), ("md", markdown(table)), ("tex", latex(table))):
            write(directory / f"{table.name}.{kind}", text, inside=directory)


def markdown(table: Table) -> str:
    """Return the table as Markdown with its title and note."""

    def row(cells: list[str]) -> str:
        return f"| {' | '.join(_markdown_cell(cell) for cell in cells)} |"

    lines = [row(_header(table.shown)), row(["---"] * table.shown.shape[1])]
    lines += [row(cells) for cells in _cells(table.shown)]
    note = f"\n{_markdown_cell(table.note)}\n" if table.note else ""
    return f"**{_markdown_cell(table.title)}**\n\n" + "\n".join(lines) + f"\n{note}"


def latex(table: Table) -> str:
    """Return the table as a LaTeX `table` with booktabs rules."""

    def row(cells: list[str]) -> str:
        return " & ".join(escape_latex(cell) for cell in cells) + r" \\"

    caption = escape_latex(f"{table.title}. {table.note}".strip())
    letters = set("".join([caption, *_header(table.shown), *itertools.chain(*_cells(table.shown))]))
    lines = [
        r"% needs \usepackage{booktabs}",
        *([_OTHER_LETTERS] if any(ord(one) > _LATIN for one in letters - _LATEX.keys()) else []),
        r"\begin{table}",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{'l' * table.shown.shape[1]}}}",
        r"\toprule",
        row(_header(table.shown)),
        r"\midrule",
        *(row(cells) for cells in _cells(table.shown)),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def _markdown_cell(text: str) -> str:
    plain = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return plain.replace("<", "&lt;").replace("*", "\\*").replace("](", "]\\(")


def _header(shown: pd.DataFrame) -> list[str]:
    return [str(column) for column in shown.columns]


def _cells(shown: pd.DataFrame) -> list[list[str]]:
    return [[str(value) for value in row] for row in shown.itertuples(index=False)]
