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

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from rlbench.analysis.draw.files import Rendered, save
from rlbench.analysis.format import NONE, csv_text
from rlbench.analysis.report.archive import write_archive
from rlbench.analysis.report.claim_figures import claim_pictures
from rlbench.analysis.report.claims import claimed_text, effect_meaning, effect_text, part_row, runs_text
from rlbench.analysis.report.entries import (
    Demonstrated,
    Entry,
    Progress,
    SuiteResults,
    demonstrated,
    entries_of,
    silent,
    stored,
)
from rlbench.analysis.report.suite_page import suite_page
from rlbench.analysis.report.table import FIGURES, PAGE, TABLES, Column, Table, fresh_folder, tabulate, write_tables
from rlbench.analysis.scores.metrics import metric_name
from rlbench.errors import RlbenchError, explained
from rlbench.files import write

MANIFEST = "manifest.json"
README = "runs/README.md"
_WORTH_PROCESSES = 16  # figures from which on it pays to write their files in processes of their own
_MOST_PROCESSES = 4
_OF_ENTRY = ("id", "statement", "source", "verdict", "experiment", "kind", "said")
_OF_CLAIM = ("claim", "verdict", "verdict_with_failures", "direction", "metric", "smallest_effect", "bound")


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
    errata = demonstrated(suite.suite.errata, progress)
    out = Path(out_dir)
    with explained(f"Cannot write the report to {out}"):
        pictures = _draw(entries, fresh_folder(out / "figures", FIGURES), progress)
        tables = [claims_table(entries), parts_table(entries)]
        write_tables([table for table in tables if len(table.data)], fresh_folder(out / "tables", TABLES))
        document, sha = specification(suite)
        for name, text in (
            ("verdicts.json", _json(verdicts_document(suite, entries))),
            ("verdicts.csv", csv_text(tables[0].data)),
            ("specification.json", _json(document)),
            (PAGE, suite_page(suite, entries, errata, pictures, sha)),
        ):
            write(out / name, text, inside=out)
        if suite.archived is not None:  # what was published says more of the runs than can be read back
            for file in [suite.archived / MANIFEST, *suite.archived.glob("runs/*.parquet"), suite.archived / README]:
                write(out / file.relative_to(suite.archived), file.read_bytes(), inside=out)
        else:
            write(out / MANIFEST, _json(manifest(suite, errata)), inside=out)
            if suite.members:
                write_archive(suite, fresh_folder(out / "runs", ("parquet", "md")))
    return SuiteReport(out / PAGE, entries, problems(entries, errata))


def problems(entries: Sequence[Entry], errata: Sequence[Demonstrated]) -> list[str]:
    """Return what could not be computed although everything for it was there."""
    lines = [
        f"Claim {entry.id or repr(entry.statement)}: {entry.problem}"
        for entry in entries
        if entry.problem and (entry.claim is None or (entry.results and stored(entry.claim, entry.results)))
    ]
    return [*lines, *(f"Error {one.erratum.number}: {one.does}" for one in errata if one.broken)]


def _draw(entries: Sequence[Entry], folder: Path, progress: Progress) -> dict[str, Rendered]:
    """Draw the figure of every claim and return them by the names of the entries."""
    pictures = claim_pictures(entries)
    processes = min(os.cpu_count() or 1, _MOST_PROCESSES) if len(pictures) >= _WORTH_PROCESSES else 0
    saved: dict[str, Rendered] = {}
    with ProcessPoolExecutor(max(processes, 1), get_context("spawn")) as pool:  # which start when they are given work
        left = [pool.submit(save, one.draw(), one.name, folder) for one in pictures] if processes else []
        for done, picture in enumerate(pictures):
            uri = left[done].result() if left else save(picture.draw(), picture.name, folder)
            saved[picture.name] = Rendered(picture, uri)
            progress("figures drawn", done + 1, len(pictures))
    return saved


def claims_table(entries: Sequence[Entry]) -> Table:
    """Return the table of all claims; in the CSV file with full numbers, of a claim those of its decisive part."""
    rows, records = [], []
    for entry in entries:
        claim, judged, part = entry.claim, entry.judged, entry.decisive
        row = {key: getattr(entry, key) for key in ("id", "statement", "source", "verdict")}
        row["experiment"] = entry.results.experiment.name if entry.results else ""
        row |= {"kind": "claim" if claim else "exact", "parts": len(judged.parts) if judged else 0}
        shown = {"effect": "exact" if claim is None else NONE, "what": entry.said or entry.problem}
        if claim and judged and part:
            numbers = part_row(judged, part)
            row |= {key: value for key, value in numbers.items() if key not in ("claim", "verdict")}
            shown = {"effect": effect_text(claim, part.effect), "what": effect_meaning(claim, part)}
            shown |= {"claimed": claimed_text(claim), "n": runs_text(judged.parts)}
        rows.append(row | {"said": entry.said or entry.problem})
        records.append(row | {"id": entry.id or None} | shown)
    columns = [
        Column("id", "Claim"),
        Column("statement", "Statement"),
        Column("source", "Source"),
        Column("verdict", "Verdict"),
        Column("effect", "Effect"),
        Column("claimed", "Claimed"),
        Column("what", "Of what"),
        Column("n", "n"),
    ]
    note = (
        "Effect: of the decisive part, with its interval, adjusted for the parts of the claim. n: "
        "runs per arm and environment."
    )
    return tabulate("claims", "All claims", records, columns, note, pd.DataFrame(rows))


def parts_table(entries: Sequence[Entry]) -> Table:
    """Return every part of every claim."""
    parts = [(entry, entry.judged, part) for entry in entries if entry.judged for part in entry.judged.parts]
    records = [
        vars(part)
        | {"id": entry.id or NONE, "other": part.other or NONE, "metric": metric_name(judged.claim.metric)}
        | {"effect": effect_text(judged.claim, part.effect)}
        for entry, judged, part in parts
    ]
    headers = {"id": "Claim", "arm": "Arm", "other": "Against", "environment": "Environment", "metric": "Metric"}
    columns = [Column(key, header) for key, header in (headers | {"effect": "Effect", "verdict": "Verdict"}).items()]
    data = pd.DataFrame([{"id": entry.id} | part_row(judged, part) for entry, judged, part in parts])
    return tabulate("claims-part-by-part", "All claims, part by part", records, columns, data=data)


def verdicts_document(suite: SuiteResults, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return all verdicts with all their parts as JSON."""
    claims = []
    for entry, row in zip(entries, claims_table(entries).data.to_dict("records"), strict=True):
        document = {str(key): value for key, value in row.items() if key in _OF_ENTRY}
        if entry.claim:
            document |= {key: value for key, value in entry.claim.document().items() if key not in document}
        parts = [part_row(entry.judged, part) for part in entry.judged.parts] if entry.judged else []
        document["parts"] = [{key: part[key] for key in part if key not in _OF_CLAIM} for part in parts]
        if entry.judged:
            document["with_failures"] = entry.judged.with_failures or entry.verdict
        if entry.registered:
            document["registered"] = entry.registered.document()
        claims.append(document)
    plain: dict[str, Any] = _without_nan({"suite": suite.name, "quick": suite.quick, "claims": claims})
    return plain


def specification(suite: SuiteResults) -> tuple[dict[str, Any], str]:
    """Return what the suite asks, as JSON, and the SHA-256 of its canonical form."""
    checks = [
        {key: getattr(check, key) for key in ("id", "statement", "source", "known")} for check in suite.suite.checks
    ]
    document = {key: getattr(suite.suite, key) for key in ("title", "introduction")}
    document |= {"checks": checks, "experiments": [results.experiment.json for results in suite.members]}
    plain: dict[str, Any] = _without_nan({"suite": suite.name, **document})
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return plain, hashlib.sha256(text.encode()).hexdigest()


def manifest(suite: SuiteResults, errata: Sequence[Demonstrated]) -> dict[str, Any]:
    """Return what made the runs: versions, commits, machines, outcomes and the time they took."""
    runs = suite.runs

    def tally(values: Iterable[Any]) -> dict[str, int]:
        return dict(sorted(Counter(str(value) for value in values if value not in (None, "")).items()))

    versions = [(one.get("versions") or {}).items() for one in suite.provenance]
    machines = [(one.get("machine") or {}).values() for one in suite.provenance]
    return {
        "suite": suite.name,
        "experiments": len(suite.members),
        "runs": len(runs),
        "outcomes": tally(runs["status"]),
        "seconds": float(runs["seconds"].sum()) if "seconds" in runs else 0.0,
        "commits": tally(runs.get("commit", [])),
        "uncommitted_changes": int(runs["dirty"].sum()) if "dirty" in runs else 0,
        "cannot_be_reproduced": int((~runs["reproducible"].astype(bool)).sum()) if "reproducible" in runs else 0,
        "devices": tally(runs.get("device", [])),
        "packages": tally(f"{name} {value}" for items in versions for name, value in items),
        "machines": tally(", ".join(str(value) for value in values if value) for values in machines),
        "errata_shown": sum(not one.broken for one in errata),
        "errata": len(errata),
    }


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _without_nan(value: Any) -> Any:
    """Return a document with null where a number is not finite, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(key): _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    if hasattr(value, "item"):  # a number of numpy
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
