"""The verdicts and the suite as files for programs: JSON and CSV, and the table of claims as a `Table`."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rlbench.analysis.claimtable import part_row
from rlbench.analysis.suite.entries import Entry, SuiteResults
from rlbench.analysis.suite.errata import Shown
from rlbench.analysis.suite.words import claimed_text, effect_meaning, effect_text, metric_name, runs_text
from rlbench.analysis.tables import NONE, Table

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
            "experiment": one.results.experiment.get("name") if one.results else "",
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
        "experiments": [
            {key: value for key, value in one.experiment.items() if key != "register"} for one in suite.members
        ],
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
