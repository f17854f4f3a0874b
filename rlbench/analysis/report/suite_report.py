"""The verdicts and the suite as files for programs: JSON and CSV, and the table of claims as a `Table`."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from rlbench.analysis.draw.files import Rendered, save
from rlbench.analysis.format import NONE, csv_text
from rlbench.analysis.report.archive import write_archive
from rlbench.analysis.report.claim_figures import claim_pictures
from rlbench.analysis.report.claims import claimed_text, effect_meaning, effect_text, metric_name, part_row, runs_text
from rlbench.analysis.report.entries import Entry, Progress, Shown, SuiteResults, entries_of, shown, silent, stored
from rlbench.analysis.report.files import PAGE, Table, fresh_folder, write_tables
from rlbench.analysis.report.suite_page import suite_page
from rlbench.errors import RlbenchError
from rlbench.files import write

_OF_CLAIM = ("claim", "verdict", "verdict_with_failures", "direction", "metric", "smallest_effect", "bound")


def verdict_rows(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return one row per entry with full numbers: of a claim, those of the part on which it hangs."""
    rows = []
    for one in entries:
        row: dict[str, Any] = {
            "id": one.id,
            "statement": one.statement,
            "source": one.source,
            "verdict": one.verdict,
            "experiment": one.results.experiment.name if one.results else "",
            "kind": "claim" if one.claim else "exact",
            "parts": len(one.judged.parts) if one.judged else 0,
        }
        if one.judged and one.hinge:
            numbers = part_row(one.judged, one.hinge)
            row |= {key: value for key, value in numbers.items() if key not in ("claim", "verdict")}
        rows.append(row | {"said": one.said or one.problem})
    return pd.DataFrame(rows)


def part_rows(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return one row per part of every claim, with full numbers."""
    return pd.DataFrame(
        [{"id": one.id} | part_row(one.judged, part) for one in entries if one.judged for part in one.judged.parts]
    )


def verdicts_document(suite: SuiteResults, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return all verdicts with all their parts as JSON."""
    claims = []
    for one, row in zip(entries, verdict_rows(entries).to_dict("records"), strict=True):
        own = {str(key): value for key, value in row.items() if key in _OF_ENTRY}
        parts = [part_row(one.judged, part) for part in one.judged.parts] if one.judged else []
        document = one.claim.document() if one.claim else {}
        claims.append(
            own
            | {key: document[key] for key in document if key not in own}
            | {"parts": [{key: value for key, value in part.items() if key not in _OF_CLAIM} for part in parts]}
            | ({"with_failures": one.judged.with_failures or one.verdict} if one.judged else {})
            | ({"registered": one.registered.document()} if one.registered else {})
        )
    plain: dict[str, Any] = without_nan({"suite": suite.name, "quick": suite.quick, "claims": claims})
    return plain


_OF_ENTRY = ("id", "statement", "source", "verdict", "experiment", "kind", "said")


def specification(suite: SuiteResults) -> tuple[dict[str, Any], str]:
    """Return what the suite asks, as JSON, and the SHA-256 of its canonical form."""
    own = suite.suite
    document = {
        "suite": suite.name,
        "title": own.title,
        "introduction": own.introduction,
        "checks": [
            {"id": one.id, "statement": one.statement, "source": one.source, "known": one.known} for one in own.checks
        ],
        "experiments": [one.experiment.json for one in suite.members],
    }
    plain: dict[str, Any] = without_nan(document)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return plain, hashlib.sha256(text.encode()).hexdigest()


def manifest(suite: SuiteResults, errata: Sequence[Shown]) -> dict[str, Any]:
    """Return what made the runs: versions, commits, machines, outcomes and the time they took."""
    runs = suite.runs

    def tally(values: Sequence[Any]) -> dict[str, int]:
        return dict(sorted(Counter(str(value) for value in values if value not in (None, "")).items()))

    versions = [f"{name} {value}" for one in suite.provenance for name, value in (one.get("versions") or {}).items()]
    machines = [
        ", ".join(str(value) for value in (one.get("machine") or {}).values() if value) for one in suite.provenance
    ]
    return {
        "suite": suite.name,
        "experiments": len(suite.members),
        "runs": len(runs),
        "outcomes": tally(list(runs["status"])),
        "seconds": float(runs["seconds"].sum()) if "seconds" in runs else 0.0,
        "commits": tally(list(runs.get("commit", []))),
        "uncommitted_changes": int(runs["dirty"].sum()) if "dirty" in runs else 0,
        "cannot_be_reproduced": int((~runs["reproducible"].astype(bool)).sum()) if "reproducible" in runs else 0,
        "devices": tally(list(runs.get("device", []))),
        "packages": tally(versions),
        "machines": tally(machines),
        "errata_shown": sum(not one.broken for one in errata),
        "errata": len(errata),
    }


def claims_table(entries: Sequence[Entry]) -> Table:
    """Return the table of all claims as it is shown."""
    shown = []
    for one in entries:
        hinge, claim = one.hinge, one.claim
        row = {"Claim": one.id or NONE, "Statement": one.statement, "Source": one.source, "Verdict": one.verdict}
        if hinge and claim and one.judged:
            row |= {
                "Effect": effect_text(claim, hinge.effect),
                "Claimed": claimed_text(claim),
                "Of what": effect_meaning(claim, hinge),
                "n": runs_text(one.judged.parts),
            }
        else:
            effect = "exact" if claim is None else NONE
            row |= {"Effect": effect, "Claimed": NONE, "Of what": one.said or one.problem, "n": NONE}
        shown.append(row)
    note = (
        "Effect: of the part on which the verdict hangs, with its interval, adjusted for the parts of the claim. n: "
        "runs per arm and environment."
    )
    return Table("claims", "All claims", verdict_rows(entries), pd.DataFrame(shown), note)


def parts_table(entries: Sequence[Entry]) -> Table:
    """Return every part of every claim."""
    shown = [
        {
            "Claim": one.id or NONE,
            "Arm": part.arm,
            "Against": part.other or NONE,
            "Environment": part.environment,
            "Metric": metric_name(one.judged.claim.metric),
            "Effect": effect_text(one.judged.claim, part.effect),
            "Verdict": part.verdict,
        }
        for one in entries
        if one.judged
        for part in one.judged.parts
    ]
    return Table("claims-part-by-part", "All claims, part by part", part_rows(entries), pd.DataFrame(shown))


def json_text(document: Mapping[str, Any]) -> str:
    """Return JSON to be read by people, too."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def without_nan(value: Any) -> Any:
    """Return a document with null where a number is not finite, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(key): without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    if hasattr(value, "item"):  # a number of numpy
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


# The report of a suite: one self-contained page, and everything on it as files.
#
#     OUT/report.html                   opens offline, everything inside
#     OUT/verdicts.json, verdicts.csv   every verdict with its numbers
#     OUT/specification.json            what was asked; its SHA-256 is on the page
#     OUT/manifest.json                 what made the runs
#     OUT/figures/, OUT/tables/         as in the report of an experiment
#     OUT/runs/                         the runs themselves (`archive`)
#
# The same runs and the same code give the same bytes: nothing here reads a clock.

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
