"""The report of a suite: one self-contained page, and everything on it as files.

    OUT/report.html                   opens offline, everything inside
    OUT/verdicts.json, verdicts.csv   every verdict with its numbers
    OUT/specification.json            what was asked; its SHA-256 is on the page
    OUT/manifest.json                 what made the runs
    OUT/figures/, OUT/tables/         as in the report of an experiment
    OUT/runs/                         the runs themselves (`archive`)

The same runs and the same code give the same bytes: nothing here reads a clock.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from rlbench.analysis.pages import PAGE, fresh_folder
from rlbench.analysis.picturefiles import Rendered, drawn, save
from rlbench.analysis.suite.archive import write_archive
from rlbench.analysis.suite.documents import (
    claims_table,
    json_text,
    manifest,
    parts_table,
    specification,
    verdict_rows,
    verdicts_document,
)
from rlbench.analysis.suite.entries import Entry, Progress, SuiteResults, entries_of, silent, stored
from rlbench.analysis.suite.errata import Shown, shown
from rlbench.analysis.suite.figure import Curves, claim_picture
from rlbench.analysis.suite.page import suite_page
from rlbench.analysis.tablefiles import csv_text, write_tables
from rlbench.errors import RlbenchError
from rlbench.files import write

MANIFEST = "manifest.json"
README = "runs/README.md"
_WORTH_PROCESSES = 16  # figures from which on it pays to write their files in processes of their own
_MOST_PROCESSES = 4


class SuiteReport(NamedTuple):
    """Where the page is, every verdict, and what could not be computed or shown, one sentence each."""

    page: Path
    entries: list[Entry]
    problems: list[str]


def write_suite_report(suite: SuiteResults, out_dir: str | Path, progress: Progress = silent) -> SuiteReport:
    """Write the report of a suite under `out_dir`; figures, tables and runs of an earlier one are replaced.

    Raises:
        RlbenchError: no run of any experiment is stored, or `out_dir` cannot be written.
    """
    if suite.members and suite.runs.empty:
        raise RlbenchError(f"No run of the suite {suite.name!r} is stored; `rlbench run` comes first.")
    entries = entries_of(suite, progress)
    errata = shown(suite.suite.errata, progress)
    out = Path(out_dir)
    try:
        figures = fresh_folder(out / "figures", ("svg", "pdf", "png"))
        pictures = _draw(entries, figures, progress)
        tables = [claims_table(entries), parts_table(entries)]
        write_tables([one for one in tables if len(one.data)], fresh_folder(out / "tables", ("csv", "md", "tex")))
        document, sha = specification(suite)
        for name, text in (
            ("verdicts.json", json_text(verdicts_document(suite, entries))),
            ("verdicts.csv", csv_text(verdict_rows(entries))),
            ("specification.json", json_text(document)),
            (PAGE, suite_page(suite, entries, errata, pictures, sha)),
        ):
            write(out / name, text, inside=out)
        if suite.archived is not None:  # what was published says more of the runs than can be read back
            for file in [suite.archived / MANIFEST, *suite.archived.glob("runs/*.parquet"), suite.archived / README]:
                write(out / file.relative_to(suite.archived), file.read_bytes(), inside=out)
        else:
            write(out / MANIFEST, json_text(manifest(suite, errata)), inside=out)
            if suite.members:
                write_archive(suite, fresh_folder(out / "runs", ("parquet", "md")))
    except OSError as problem:
        raise RlbenchError(f"Cannot write the report to {out}: {problem.strerror or problem}.") from problem
    return SuiteReport(out / PAGE, entries, problems(entries, errata))


def problems(entries: Sequence[Entry], errata: Sequence[Shown]) -> list[str]:
    """Return what could not be computed although everything for it was there."""
    said = []
    for one in entries:
        if one.problem and (one.claim is None or (one.results and stored(one.claim, one.results))):
            said.append(f"Claim {one.id or repr(one.statement)}: {one.problem}")
    return [*said, *(f"Error {one.erratum.number}: {one.does}" for one in errata if one.broken)]


def _draw(entries: Sequence[Entry], folder: Path, progress: Progress) -> dict[str, Rendered]:
    """Draw the figure of every claim and return them by the names of the entries."""
    curves = Curves()
    pictures = [picture for entry in entries if (picture := claim_picture(entry, curves))]
    processes = min(os.cpu_count() or 1, _MOST_PROCESSES) if len(pictures) >= _WORTH_PROCESSES else 0
    saved: dict[str, Rendered] = {}
    with ProcessPoolExecutor(max(processes, 1), get_context("spawn")) as pool:  # which start when they are given work
        left = [pool.submit(save, drawn(one), one.name, folder) for one in pictures] if processes else []
        for done, picture in enumerate(pictures):
            uri = left[done].result() if left else save(drawn(picture), picture.name, folder)
            saved[picture.name] = Rendered(picture, uri)
            progress("figures drawn", done + 1, len(pictures))
    return saved
