"""The page of a suite: what is in it, section by section; how it looks is in the template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlbench.analysis.claimtable import needed_text, number
from rlbench.analysis.compare import ALL
from rlbench.analysis.pages import page
from rlbench.analysis.picturefiles import Rendered
from rlbench.analysis.registration import registration
from rlbench.analysis.results import Results
from rlbench.analysis.suite.changes import change_text, counts_text
from rlbench.analysis.suite.entries import Entry, SuiteResults
from rlbench.analysis.suite.errata import Shown
from rlbench.analysis.suite.labels import arms_by_label, short_labels
from rlbench.analysis.suite.summary import VERDICTS, counted, method, summary, underpowered
from rlbench.analysis.suite.words import (
    asked_text,
    claimed_text,
    effect_meaning,
    effect_text,
    metric_definition,
    runs_text,
)
from rlbench.analysis.tables import NONE
from rlbench.analysis.verdicts import Part
from rlbench.claims import Claim

SYMBOLS = {"supported": "✓", "refuted": "✗", "inconclusive": "?", "undecidable": "–"}
_OPEN_PARTS = 12  # up to so many parts are on the page without a click


@dataclass(frozen=True)
class Grid:
    """A small table: header and rows of text."""

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Section:
    """What the page says of one claim."""

    entry: Entry
    figure: Rendered | None
    effect: str
    meaning: str
    claimed: str
    n: str
    asked: str
    design: str
    experiment: str
    parts: Grid | None
    folded: bool
    change: list[str]
    counts: str
    remark: str
    definition: str
    details: Grid | None
    settings: Grid | None
    others: list[str]
    registration: str


def suite_page(
    suite: SuiteResults,
    entries: Sequence[Entry],
    errata: Sequence[Shown],
    drawn: Mapping[str, Rendered],
    sha: str,
) -> str:
    """Return the page as HTML."""
    return page(
        "suite.html.j2",
        title=suite.title,
        name=suite.name,
        introduction=suite.suite.introduction,
        summary=summary(suite, entries),
        banner=underpowered(suite),
        counts=counted(entries),
        verdicts=VERDICTS,
        symbols=SYMBOLS,
        sections=[_section(suite, one, drawn.get(one.name)) for one in entries],
        errata=errata,
        method=method(suite, sha),
        archived=bool(suite.members),
    )


def _section(suite: SuiteResults, entry: Entry, figure: Rendered | None) -> Section:
    """Return what is said of an entry; an exact check has no runs, design or arms."""
    claim, judged, hinge, results = entry.claim, entry.judged, entry.hinge, entry.results
    known = judged is not None and hinge is not None and claim is not None
    settings, others = _settings(claim, results) if claim and results else (None, [])
    experiment = results.experiment if results else {}
    return Section(
        entry=entry,
        figure=figure,
        effect=effect_text(claim, hinge.effect) if claim and hinge else "exact" if claim is None else NONE,
        meaning=effect_meaning(claim, hinge) if claim and hinge else entry.said or entry.problem,
        claimed=claimed_text(claim) if claim and hinge else "",
        n=runs_text(judged.parts) if judged else NONE,
        asked=asked_text(claim, claim.environments or results.environments) if claim and results else "",
        design=str(experiment.get("design") or experiment.get("question") or ""),
        experiment=str(experiment.get("name") or ""),
        parts=_parts(claim, judged.parts) if known and claim and judged else None,
        folded=judged is not None and len(judged.parts) > _OPEN_PARTS,
        change=change_text(entry),
        counts=counts_text(entry),
        remark=str(suite.suite.remarks.get(entry.id, "")) if entry.id else "",
        definition=metric_definition(claim.metric) if claim else "",
        details=_details(claim, judged.parts) if claim and judged else None,
        settings=settings,
        others=others,
        registration=registration(entry.registered) if entry.registered else "",
    )


def _parts(claim: Claim, parts: Sequence[Part]) -> Grid:
    """Return the numbers of every part."""
    compared = any(part.other for part in parts)
    header = ["Arm", *(["Against"] if compared else []), "Environment", "Effect", "Interval", "p", "n", "Verdict"]
    rows = []
    for part in parts:
        effect, _, interval = effect_text(claim, part.effect).partition(" [")
        rows.append(
            [
                part.arm,
                *([part.other or NONE] if compared else []),
                "mean of all" if part.environment == ALL else part.environment,
                effect,
                f"[{interval}" if interval else NONE,
                _p(part.p_against if part.verdict == "refuted" else part.p),
                runs_text([part]),
                part.verdict,
            ]
        )
    return Grid(header, rows)


def _details(claim: Claim, parts: Sequence[Part]) -> Grid:
    """Return what an expert asks for besides."""
    header = [
        "Part",
        "p against its being false",
        "p against its being true",
        "Effect size",
        "Found with 80 %",
        "Seeds needed",
        "Interval",
    ]
    rows = []
    for part in parts:
        size = NONE
        if part.size is not None:
            size = f"{part.size_name}: {number(part.size.point)} [{number(part.size.low)}, {number(part.size.high)}]"
        against = f" against {part.other}" if part.other else ""
        kind = f"{100 * part.effect.level:.4g} %, {part.effect.method}"
        row = [f"{part.arm}{against}, {part.environment}", _p(part.p), _p(part.p_against), size]
        rows.append([*row, number(part.detectable), needed_text(part), kind])
    return Grid(header, rows)


def _settings(claim: Claim, results: Results) -> tuple[Grid | None, list[str]]:
    """Return the settings in which the arms differ, one column per arm, and lines with the others."""
    by_label = arms_by_label(results)
    labels = [name for name in claim.arms if name in by_label]
    arms = [by_label[name] for name in labels]
    fields = [dict(arm.get("settings") or {}) | dict(arm.get("fields") or {}) for arm in arms]
    if not any(fields):
        return None, []
    fields = [{"algorithm": arm.get("algorithm"), **one} for arm, one in zip(arms, fields, strict=True)]
    names = list(dict.fromkeys(name for one in fields for name in one))
    differing = [name for name in names if len({_value(one, name) for one in fields}) > 1]
    given = {"algorithm", *(name for arm in arms for name in arm.get("settings") or {})}
    rows = [[name, *(_value(one, name) for one in fields)] for name in differing]
    alike = [(name in given, f"{name} {_value(fields[0], name)}") for name in names if name not in differing]
    lines = [
        f"{what}: {', '.join(said for own, said in alike if own == chosen)}."
        for what, chosen in (("Set alike in all arms", True), ("Left at their defaults", False))
        if any(own == chosen for own, _ in alike)
    ]
    return (Grid(["Setting", *short_labels(labels)[1]], rows) if rows else None), lines


def _value(fields: Mapping[str, Any], name: str) -> str:
    if name not in fields:
        return NONE
    value = fields[name]
    return value if isinstance(value, str) else json.dumps(value)


def _p(p: float) -> str:
    return "≤ 0.0001" if p <= 1e-4 else number(p)
