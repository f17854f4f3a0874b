"""What every report is made of: an HTML page from a template, with everything escaped, folders, and tables.

One list of columns gives a table with full numbers for programs and with text for people:

    tabulate(
        "worst-runs",
        "The worst runs",
        [{"arm": "trpo", "worst": 12.3, "cvar": estimate, "form": ".1f"}, ...],
        [Column("arm", "Arm"), Column("worst", "Worst run"), Column("cvar", "Mean of the worst quarter")],
    )

is written as NAME.csv (full numbers), NAME.md and NAME.tex (as shown).
"""

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from math import isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rlbench.analysis.format import NONE, csv_text, number, text
from rlbench.analysis.scores.results import Results
from rlbench.analysis.stats.estimates import Estimate
from rlbench.files import folder, read_bytes, write

PAGE = "report.html"
_ENDINGS = {
    "figures": (".svg", ".pdf", ".png", ".webp"),
    "tables": (".csv", ".md", ".tex"),
    "runs": (".parquet", ".md"),
}


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


def fresh_folder(report: Path, name: str) -> Path:
    """Make a folder in that of a report, "figures", "tables" or "runs", and remove the files of an earlier one."""
    path = folder(report / name, inside=report)
    for old in path.iterdir():
        if old.name.endswith(_ENDINGS[name]) and (old.is_symlink() or not old.is_dir()):
            old.unlink()
    return path


def made_from(results: Results, kinds: Collection[str], report: Path) -> str:
    """Return a hash of all that a report follows from, and of the files that it has left in its folder."""
    document = results.experiment
    known = [getattr(document, name) for name in ("name", "register", "sequential", "source", "digest", "notes")]
    asked = [{**document.json, "name": ""}, *known]
    package = Path(__file__).parents[2]
    read = [path for path in sorted(package.rglob("*")) if path.suffix in (".py", ".j2", ".css", ".js", ".csv")]
    files = [path for name in ("figures", "tables") for path in sorted((report / name).glob("*")) if path.is_file()]
    facts = [asked, results.references, results.seed, results.metrics, sorted(kinds)]
    facts += [find_spec("pygame") is not None]  # which draws film strips
    facts += [path.name for path in files]
    facts += [version(library) for library in ("matplotlib", "numpy", "pandas", "scipy", "seaborn")]
    total = hashlib.sha256(json.dumps(facts, default=str).encode())
    for path in (*read, *files):
        total.update(path.read_bytes())
    for frame in [*results.frames(), *(results.searched.frames() if results.searched else [])]:
        total.update(repr(list(frame)).encode())
        # Rows in another order are the same runs.
        total.update(np.sort(pd.util.hash_pandas_object(frame, index=False).to_numpy()).tobytes())
    return total.hexdigest()


def is_current(results: Results, kinds: Collection[str], report: Path) -> bool:
    """Return whether the page in a folder, and what belongs to it, is what would be written now."""
    try:
        begins = read_bytes(report / PAGE)[:1000]  # where there is none, nothing need be hashed
        return f'content="{made_from(results, kinds, report)}"'.encode() in begins
    except OSError:
        return False


Record = Mapping[str, Any]
"""A row: a value by the key of each column. `form` is the format of its numbers that have none of their own."""


class Column(NamedTuple):
    """One column of a table.

    key     names the value in a record and, in the CSV file, its column; of an estimate also KEY_low and KEY_high
    header  on the page; empty: the column is in the CSV file only
    show    a format such as ".2f", or a function from the record to text
    sign    "+": positive numbers show their sign
    empty   what stands for a number that is not finite, with values of the record in braces
    best    the key of the records among which the highest value stands in bold, such as "environment"; empty: none does
    """

    key: str
    header: str = ""
    show: str | Callable[[Any], str] = ""
    sign: str = ""
    empty: str = NONE
    best: str = ""

    def text(self, record: Record) -> str:
        """Return the cell as it is shown; a dash where the record has no value."""
        if callable(self.show):
            return self.show(record)
        value, form = record.get(self.key), self.show or record.get("form", "")
        if isinstance(value, Estimate):
            return text(value, form, self.sign)
        if isinstance(value, float):
            return number(value, form, self.sign) if isfinite(value) else self.empty.format_map(record)
        return NONE if value is None else str(value)


@dataclass(frozen=True)
class Table:
    """A table of a report: `data` with full numbers for the CSV file, `shown` as text for people.

    `best` are the places, row and column, of what stands in bold.
    """

    name: str
    title: str
    data: pd.DataFrame
    shown: pd.DataFrame
    note: str = ""
    best: Collection[tuple[int, int]] = ()


def tabulate(
    name: str,
    title: str,
    records: Sequence[Record] | pd.DataFrame,
    columns: Sequence[Column],
    note: str = "",
    data: pd.DataFrame | None = None,
) -> Table:
    """Return the table of `records`; `data` is given where the CSV file holds other columns than the page."""
    if isinstance(records, pd.DataFrame):
        names, data = [str(name) for name in records], records if data is None else data
        records = [dict(zip(names, row, strict=True)) for row in records.itertuples(index=False)]
    elif data is None:
        keys = [column.key for column in columns]
        rows = [_numbers(record, keys) for record in records]
        data = pd.DataFrame(rows) if rows else pd.DataFrame(columns=keys)
    return Table(name, title, data, shown(records, columns), note, _best(records, columns))


def _best(records: Sequence[Record], columns: Sequence[Column]) -> set[tuple[int, int]]:
    found = set()
    for place, column in enumerate(column for column in columns if column.header):
        groups: dict[Any, dict[int, float]] = {}
        for row, record in enumerate(records if column.best else ()):
            if isfinite(value := getattr(record.get(column.key), "point", nan)):
                groups.setdefault(record.get(column.best), {})[row] = value
        for values in groups.values():
            found |= {(row, place) for row, value in values.items() if value == max(values.values())}
    return found


def shown(records: Sequence[Any], columns: Sequence[Column]) -> pd.DataFrame:
    """Return the columns that have a header as text."""
    on_page = [column for column in columns if column.header]
    rows = [[column.text(record) for column in on_page] for record in records]
    return pd.DataFrame(rows, columns=[column.header for column in on_page])


def ends(key: str, estimate: Any, point: str = "point") -> dict[str, float]:
    """Return an estimate as three columns: KEY, KEY_low and KEY_high; `point` names its middle."""
    return {
        f"{key}{end}": getattr(estimate, name, nan) for end, name in zip(_ENDS, (point, "low", "high"), strict=True)
    }


_ENDS = ("", "_low", "_high")


def _numbers(record: Record, keys: Sequence[str]) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for key in keys:
        if key in record:
            numbers |= ends(key, record[key]) if isinstance(record[key], Estimate) else {key: record[key]}
    return numbers


def write_tables(tables: Sequence[Table], directory: Path) -> None:
    """Write each table as NAME.csv, NAME.md and NAME.tex into an existing directory."""
    for table in tables:
        for kind, written in (("csv", csv_text(table.data)), ("md", markdown(table)), ("tex", latex(table))):
            write(directory / f"{table.name}.{kind}", written, inside=directory)


def markdown(table: Table) -> str:
    """Return the table as Markdown with its title and note."""
    header, *rows = _cells(table, _markdown_text, "**{}**".format)
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    note = f"\n{_markdown_text(table.note)}\n" if table.note else ""
    return f"**{_markdown_text(table.title)}**\n\n" + "\n".join(lines) + f"\n{note}"


def latex(table: Table) -> str:
    """Return the table as a LaTeX `table` with booktabs rules, columns of numbers at the right."""
    cells = _cells(table, str, str)
    caption = escape_latex(f"{table.title}. {table.note}".strip())
    letters = set("".join([caption, *itertools.chain(*cells)])) - _LATEX.keys()
    sides = ["r" if _are_numbers(column[1:]) else "l" for column in zip(*cells, strict=True)]
    header, *rows = (" & ".join(row) + r" \\" for row in _cells(table, escape_latex, r"\textbf{{{}}}".format))
    lines = [
        r"% needs \usepackage{booktabs}",
        *([_OTHER_LETTERS] if any(ord(letter) > _LATIN for letter in letters) else []),
        r"\begin{table}",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{''.join(sides)}}}",
        r"\toprule",
        header,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


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


def escape_latex(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def _markdown_text(text: str) -> str:
    plain = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return plain.replace("<", "&lt;").replace("*", "\\*").replace("](", "]\\(")


def _are_numbers(cells: Sequence[str]) -> bool:
    written = [cell for cell in cells if cell not in ("", NONE)]
    return bool(written) and all(re.match(r"[-+−]?[\d.,]+( [\[(%].*| of \d+)?$", cell) for cell in written)


def _cells(table: Table, plain: Callable[[str], str], bold: Callable[[str], str]) -> list[list[str]]:
    """Return the header and the rows, each value written by `plain`, and then by `bold` where it is the best."""
    rows = [
        [bold(plain(str(value))) if (at, place) in table.best else plain(str(value)) for place, value in enumerate(row)]
        for at, row in enumerate(table.shown.to_numpy().tolist())
    ]
    return [[plain(str(name)) for name in table.shown.columns], *rows]
