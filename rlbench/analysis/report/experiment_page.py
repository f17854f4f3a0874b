"""The report of an experiment: one self-contained HTML page, the figures and tables also as files.

    OUT/report.html     opens offline, everything inside
    OUT/figures/        NAME.svg, and NAME.pdf and NAME.png where they are asked for
    OUT/tables/         NAME.csv (full numbers), NAME.md, NAME.tex (as shown)

The same runs and the same seed give the same bytes: nothing here reads a clock.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from rlbench.analysis.draw.style import styles_of
from rlbench.analysis.judge.verdicts import JudgedResults
from rlbench.analysis.report.claims import claim_sentence
from rlbench.analysis.report.entries import Progress, of_experiment, registered, registration
from rlbench.analysis.report.figures import Picture, curves_of_runs, pictures, render
from rlbench.analysis.report.sentences import answer, headline, method_facts, never_learnt, warnings
from rlbench.analysis.report.table import PAGE, Table, fresh_folder, made_from, page, write_tables
from rlbench.analysis.report.tables import all_tables
from rlbench.errors import RlbenchError, explained
from rlbench.files import write

_ON_PAGE_ROWS = 400  # the page shows tables up to this length; the files hold all of it


def write_report(
    results: JudgedResults,
    out_dir: str | Path,
    kinds: Collection[str] = (),
    progress: Progress = lambda *_: None,
    strips: Sequence[Picture] = (),
) -> Path:
    """Write the report of an experiment and return its page.

    `kinds` are those of files of figures, "pdf" and "png", beside SVG; `strips` are pictures of what policies do.
    Figures and tables of an earlier report in `out_dir` that this one does not have are removed.

    Raises:
        RlbenchError: no run was planned, or `out_dir` cannot be written.
    """
    if results.runs.empty:
        raise RlbenchError("There is nothing to report: the experiment plans no run.")
    tables, out = all_tables(results), Path(out_dir)
    with explained(f"Cannot write the report to {out}"):
        figures = fresh_folder(out, "figures")
        write_tables(tables, fresh_folder(out, "tables"))
        drawn = render([*pictures(results), *strips], figures, kinds, progress)
        write(out / PAGE, page_html(results, tables, drawn, kinds, made_from(results, kinds, out)), inside=out)
    return out / PAGE


def page_html(
    results: JudgedResults,
    tables: Iterable[Table],
    drawn: Iterable[Picture],
    kinds: Collection[str] = (),
    source: str = "",
) -> str:
    """Return the page with these tables and drawn figures in it, which are also there as files of these kinds.

    `source` is the hash of what they were made from.
    """
    sections: dict[str, list[Picture]] = {}
    shown, opening, opening_lines = list(drawn), answer(results), headline(results)
    # Beside the answer, where there is one, stand the curves over all environments, or of the only one.
    curves = [picture for picture in shown if picture.name == "learning-curves-all"] or shown
    first = curves[0] if opening and curves else None
    for picture in sorted(shown, key=lambda picture: not picture.files):  # what policies do comes first
        if picture is not first:
            sections.setdefault(picture.section, []).append(picture)
    return page(
        "report.html.j2",
        name=results.experiment.name or "Experiment",
        answer=opening,
        first=first,
        never=never_learnt(results),
        verdicts=[(verdict.verdict, verdict.claim.statement) for verdict in results.verdicts[1:]]
        or [(arm["verdict"], f"{arm['arm']}, against {results.baseline}") for arm in opening_lines["arms"][1:]],
        curves=curves_of_runs(results),
        headline=opening_lines,
        styles=styles_of(results),
        claims=[
            (verdict.verdict, f"{claim_sentence(verdict)} {registration(claim)}")
            for verdict, claim in zip(results.verdicts, registered(results), strict=True)
        ],
        registration=" ".join(of_experiment(results)[0]),
        method=method_facts(results),
        warnings=warnings(results),
        tables={table.name: table for table in tables},
        sections=sections,
        kinds=["svg", *kinds],
        longest=_ON_PAGE_ROWS,
        source=source,
    )
