"""The report of an experiment: one self-contained HTML page, the figures and tables also as files.

    OUT/report.html     opens offline, everything inside
    OUT/figures/        NAME.svg, NAME.pdf, NAME.png
    OUT/tables/         NAME.csv (full numbers), NAME.md, NAME.tex (as shown)

The same runs and the same seed give the same bytes: nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rlbench.analysis.draw.files import Rendered, render
from rlbench.analysis.judge.judged import JudgedResults
from rlbench.analysis.report.claims import claim_sentence, claims_table
from rlbench.analysis.report.figures import pictures
from rlbench.analysis.report.files import PAGE, Table, fresh_folder, page, write_tables
from rlbench.analysis.report.measured import is_measured, measured_answer, measured_method, measured_tables
from rlbench.analysis.report.method import Method, describe, warnings
from rlbench.analysis.report.registration import of_experiment, registered, registration
from rlbench.analysis.report.reliability import reliability_tables
from rlbench.analysis.report.sentences import Answer, answer
from rlbench.analysis.report.tables import (
    accounts_table,
    aggregate_table,
    arms_table,
    causes_table,
    comparison_table,
    compute_table,
    score_table,
    stopped_table,
    summary_table,
)
from rlbench.errors import RlbenchError
from rlbench.files import write

_ON_PAGE_ROWS = 400  # the page shows tables up to this length; the files hold all of it


def write_report(results: JudgedResults, out_dir: str | Path) -> Path:
    """Write the report of an experiment and return its page.

    Figures and tables of an earlier report in `out_dir` that this one does not have are removed.

    Raises:
        RlbenchError: no run was planned, or `out_dir` cannot be written.
    """
    if results.runs.empty:
        raise RlbenchError("There is nothing to report: the experiment plans no run.")
    tables = measured_tables(results) if is_measured(results) else [*all_tables(results), *reliability_tables(results)]
    out = Path(out_dir)
    try:
        figures = fresh_folder(out / "figures", ("svg", "pdf", "png"))
        write_tables(tables, fresh_folder(out / "tables", ("csv", "md", "tex")))
        rendered = [render(picture, figures) for picture in pictures(results)]
        path = out / PAGE
        write(path, page_html(results, tables, rendered), inside=out)
    except OSError as problem:
        raise RlbenchError(f"Cannot write the report to {out}: {problem.strerror or problem}.") from problem
    return path


def all_tables(results: JudgedResults) -> list[Table]:
    """Return every table of a report, the most important first."""
    tables = [
        summary_table(results),
        aggregate_table(results),
        comparison_table(results),
        claims_table(results),
        accounts_table(results),
        causes_table(results),
        stopped_table(results),
        compute_table(results),
        arms_table(results),
        score_table(results),
    ]
    return [table for table in tables if len(table.data)]


def page_html(results: JudgedResults, tables: Iterable[Table], rendered: Iterable[Rendered]) -> str:
    """Return the page with these tables and drawn figures in it."""
    measured = is_measured(results)
    said: Answer = measured_answer(results) if measured else answer(results)
    method: Method = measured_method(results) if measured else describe(results)
    sections: dict[str, list[Rendered]] = {}
    for one in rendered:
        sections.setdefault(one.picture.section, []).append(one)
    return page(
        "report.html.j2",
        name=results.experiment.name or "Experiment",
        answer=said,
        claims=[
            (one.verdict, f"{claim_sentence(one)} {registration(written)}")
            for one, written in zip(results.verdicts, registered(results), strict=True)
        ],
        registration=" ".join(of_experiment(results)[0]),
        method=method,
        warnings=warnings(results),
        tables={table.name: table for table in tables},
        sections=sections,
        longest=_ON_PAGE_ROWS,
    )
