"""A suite in a few sentences: what came out, what a reader must be warned of, and how it was judged."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbench.analysis.draw.files import Rendered
from rlbench.analysis.format import NONE
from rlbench.analysis.judge.judged import JudgedResults
from rlbench.analysis.judge.verdicts import Part, Verdict, clearance, regions
from rlbench.analysis.report.claims import (
    asked_text,
    claimed_text,
    effect_meaning,
    effect_text,
    metric_definition,
    needed_text,
    number,
    part_name,
    runs_text,
    short_labels,
)
from rlbench.analysis.report.entries import Entry, Shown, SuiteResults, claim_runs
from rlbench.analysis.report.files import page
from rlbench.analysis.report.registration import registered as registered_of
from rlbench.analysis.report.registration import registration
from rlbench.analysis.report.registration import summary as summary_of_registered
from rlbench.analysis.scores.document import Document
from rlbench.analysis.scores.identity import IDENTICAL
from rlbench.analysis.scores.scores import ALL
from rlbench.claims import Claim

VERDICTS = ("supported", "refuted", "inconclusive", "undecidable")


def counted(entries: Sequence[Entry]) -> dict[str, int]:
    """Return how many entries have each verdict."""
    found = Counter[str](one.verdict for one in entries)
    return {name: found[name] for name in VERDICTS}


def summary(suite: SuiteResults, entries: Sequence[Entry]) -> list[str]:
    """Return the answer in two or three sentences."""
    counts, exact = counted(entries), sum(one.claim is None for one in entries)
    if not entries:
        return [f"{suite.title} makes no claims."]
    listed = f"{counts['supported']} {_are(counts['supported'])} supported, {counts['refuted']} refuted and "
    never = [one.id or f"“{one.statement}”" for one in entries if one.verdict == "undecidable"]
    also = f"; {len(never)} cannot be decided ({', '.join(never)})" if never else ""
    said = [f"Of {some(len(entries), 'claim')}, {listed}{counts['inconclusive']} inconclusive{also}."]
    runs, environments = len(suite.runs), suite.runs["environment"].nunique()
    asked = sum(bool(one.claims) for one in suite.members)
    if asked:
        said.append(
            f"They were judged from {some(runs, 'run')} of {some(asked, 'experiment')} on "
            f"{some(environments, 'environment')}"
            + (f"; {exact} of them {_are(exact)} a matter of calculation and needed no run." if exact else ".")
        )
        said += registered(suite)[:-1]
    missing = sum(int((one.runs["status"] == "missing").sum()) for one in suite.members)
    if missing:
        said.append(f"{some(missing, 'planned run')} {'is' if missing == 1 else 'are'} not stored and missing here.")
    return said


def underpowered(suite: SuiteResults) -> str:
    """Return the banner of a report that rests on less than was designed; empty if there is nothing to say."""
    known = dict(suite.designed) or {_name(one): len(set(one.runs["seed"])) for one in suite.members}
    present = {_name(one): _seeds(one) for one in suite.members}
    some_runs = {name: seeds for name, seeds in present.items() if seeds}
    fewer = any(seeds < known.get(name, 0) for name, seeds in present.items())
    if not (suite.quick or fewer or len(some_runs) < len(known)):
        return ""
    seeds = sorted(set(some_runs.values())) or [0]
    span = some(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    most = max(known.values(), default=0)
    return (
        f"Underpowered: {len(some_runs)} of {some(len(known), 'experiment')}, {span} instead of up to {most}. With so "
        "few runs many claims stay inconclusive; do not take that for an answer."
    )


def registered(suite: SuiteResults) -> list[str]:
    """Say when the claims were written down, and whether before their own runs; the last sentence is their hash."""
    found = [one for results in suite.members for one in registered_of(results)]
    registers = [suite.register, *(one.experiment.register for one in suite.members)]
    return summary_of_registered(found, registers, suite.claimed or suite.claims)[0]


def method(suite: SuiteResults, sha: str) -> list[tuple[str, str]]:
    """Return the method in plain words, as (term, text) pairs."""
    levels = sorted({claim.level for claim in suite.claims}) or [0.95]
    level = " and ".join(f"{100 * one:g} %" for one in levels)
    return [
        (
            "What a verdict means",
            "Every claim was turned into numbers beforehand: which variants (arms) are compared, on which "
            "environments, by which measured quantity, and how large an effect must be to matter. A claim has one part "
            "for each pair of arms and environment. A part is supported if the interval of its effect lies wholly "
            "where the claim says, and refuted if it lies wholly where the claim cannot be true; a test, corrected for "
            "all parts of the claim, must agree. Everything else is inconclusive. A claim is supported if all its "
            "parts are, and refuted if one of them is. It is undecidable, which no number of runs would change, if "
            "there is nothing to compare although the runs were made: no run of an arm has a value of the measured "
            "quantity, as where no variant meets the premise of the claim.",
        ),
        (
            "Inconclusive is not refuted",
            "It means that these runs decide neither way. Each such claim says how many seeds would probably decide.",
        ),
        (
            "n",
            "One run is one training from scratch with one seed; n counts the runs per arm and environment. Episodes "
            "and updates within a run are never counted as if they were independent.",
        ),
        (
            "Intervals and levels",
            f"Intervals hold at {level} for all parts of a claim together: the more parts, the wider each. At 95 %, a "
            "claim that is false is called supported in at most 2.5 % of such experiments, and one that is true "
            "refuted in at most 2.5 %. Claims are not corrected for each other: of many, a few verdicts may be wrong "
            "by chance.",
        ),
        (
            "Normalised returns",
            "0 is what uniformly random actions reach, 1 a fixed target of the environment. So environments can be "
            "compared and averaged.",
        ),
        (
            "Failed runs",
            "Runs that failed or diverged are counted and drawn. Claims about returns are judged a second time with "
            "these runs as the worst possible score; where there are such runs, the section of the claim says what "
            "that changes.",
        ),
        (
            "When the claims were made",
            " ".join(registered(suite)) if suite.claims else "The suite makes no claims about runs.",
        ),
        ("Specification", f"All experiments with all settings and claims are in specification.json, SHA-256 {sha}."),
        (
            "The quick version",
            "`--quick` runs a few experiments with few seeds: enough to see that everything works, too little for most "
            "verdicts. A page made from it is marked at the top.",
        ),
    ]


def some(count: int, what: str) -> str:
    """Return `1 claim`, `1,200 claims`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _name(results: JudgedResults) -> str:
    return results.experiment.name


def _seeds(results: JudgedResults) -> int:
    """Return how many seeds took place."""
    return int(results.runs["seed"][results.runs["status"] != "missing"].nunique())


def change_text(entry: Entry) -> list[str]:
    """Say, from the numbers, what would change the verdict."""
    judged, hinge = entry.judged, entry.hinge
    if judged is None or hinge is None:
        return []
    say = {"supported": _supported, "refuted": _refuted, "inconclusive": _inconclusive, "undecidable": _undecidable}
    said = _identical(judged, hinge) if hinge.effect.method == IDENTICAL else say[judged.verdict](judged, hinge)
    if judged.with_failures is not None:
        other = judged.with_failures
        counted = "If the runs that failed or diverged count as the worst possible score, it is"
        said.append(f"{counted} {other}{', too' if other == judged.verdict else ' instead'}.")
    return said


def counts_text(entry: Entry) -> str:
    """Count the runs of a claim's arms: planned, finished, failed, diverged, missing, and those that entered."""
    if entry.claim is None or entry.results is None:
        return ""
    status = claim_runs(entry.claim, entry.results)["status"].value_counts()
    counts = [f"{status[name]} {name}" for name in ("finished", "diverged", "failed", "missing") if status.get(name)]
    said = f"{status.sum()} runs planned: {', '.join(counts)}."
    if entry.judged is not None and entry.judged.left_out:
        said += f" {entry.judged.left_out} did not enter the verdict."
    return said


def _supported(verdict: Verdict, hinge: Part) -> list[str]:
    support, _ = regions(verdict.claim)
    lead = "" if len(verdict.parts) == 1 else f"All {len(verdict.parts)} parts support it; the closest call is "
    margin = clearance(hinge.effect, support)
    return [
        f"{lead}{part_name(hinge)}: its interval {effect_text(verdict.claim, hinge.effect)} stays "
        f"{_distance(verdict.claim, margin)} clear of the limit (claimed: {claimed_text(verdict.claim)}). The verdict "
        "would be inconclusive if the interval reached the limit."
    ]


def _refuted(verdict: Verdict, hinge: Part) -> list[str]:
    _, refute = regions(verdict.claim)
    against = [part for part in verdict.parts if part.verdict == "refuted"]
    said = []
    if len(verdict.parts) > 1:
        others = {part.verdict for part in verdict.parts if part.verdict != "refuted"}
        rest = next((one for one in ("inconclusive", "undecidable") if one in others), "supported")
        alone = f"; without {'it' if len(against) == 1 else 'them'} the claim would be {rest}" if others else ""
        verb = "refutes" if len(against) == 1 else "refute"
        said.append(f"{len(against)} of {len(verdict.parts)} parts {verb} it{alone}.")
    beyond = _distance(verdict.claim, clearance(hinge.effect, refute))
    lead = "" if len(verdict.parts) == 1 else "The clearest of them is " if len(against) > 1 else "It hangs on "
    said.append(
        f"{lead}{part_name(hinge)}: the interval {effect_text(verdict.claim, hinge.effect)} lies {beyond} beyond the "
        f"point from which the claim cannot be true (claimed: {claimed_text(verdict.claim)})."
    )
    return said


def _inconclusive(verdict: Verdict, hinge: Part) -> list[str]:
    support, _ = regions(verdict.claim)
    undecided = [part for part in verdict.parts if part.verdict == "inconclusive"]
    said = []
    if len(verdict.parts) > 1:
        fine = len(verdict.parts) - len(undecided)
        said.append(f"{fine} of {len(verdict.parts)} parts support it, {len(undecided)} decide nothing.")
    if not np.isfinite(hinge.effect.low):
        return [*said, hinge.note or f"{part_name(hinge)}: there are too few runs for an interval."]
    reach = clearance(hinge.effect, support)
    where = f"{part_name(hinge)}: the interval {effect_text(verdict.claim, hinge.effect)}"
    if reach > 0:
        said.append(f"{where} would support it, but the corrected p of {number(hinge.p)} does not.")
    else:
        beyond = _distance(verdict.claim, -reach)
        said.append(f"{where} reaches {beyond} beyond the limit (claimed: {claimed_text(verdict.claim)}).")
    if hinge.note:
        said.append(hinge.note)
    elif np.isfinite(verdict.needed):
        said.append(
            f"If the effects and spreads are as estimated, about {verdict.needed:,.0f} seeds per arm and environment "
            "would decide it."
        )
    else:
        said.append("The estimated effect lies so close to the limit that no reasonable number of seeds would decide.")
    return said


def _identical(verdict: Verdict, hinge: Part) -> list[str]:
    """Say that no chance is involved."""
    return [
        f"{part_name(hinge)}: every seed gave exactly the same with both, so that the difference is 0 (claimed: "
        f"{claimed_text(verdict.claim)}). Only settings in which the arms do something different would change that."
    ]


def _undecidable(verdict: Verdict, hinge: Part) -> list[str]:
    return [hinge.note, "More seeds of the same arms would not change that, but for a rare one that has a value."]


def _distance(claim: Claim, value: float) -> str:
    return number(value) if claim.event is None else f"{number(100 * value)} percentage points"


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
    experiment = results.experiment if results else Document()
    return Section(
        entry=entry,
        figure=figure,
        effect=effect_text(claim, hinge.effect) if claim and hinge else "exact" if claim is None else NONE,
        meaning=effect_meaning(claim, hinge) if claim and hinge else entry.said or entry.problem,
        claimed=claimed_text(claim) if claim and hinge else "",
        n=runs_text(judged.parts) if judged else NONE,
        asked=asked_text(claim, claim.environments or results.environments) if claim and results else "",
        design=experiment.design or experiment.question,
        experiment=experiment.name,
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


def _settings(claim: Claim, results: JudgedResults) -> tuple[Grid | None, list[str]]:
    """Return the settings in which the arms differ, one column per arm, and lines with the others."""
    arms = [results.arm_entries[name] for name in claim.arms if name in results.arm_entries]
    fields = [{**arm.settings, **arm.fields} for arm in arms]
    if not any(fields):
        return None, []
    fields = [{"algorithm": arm.algorithm, **one} for arm, one in zip(arms, fields, strict=True)]
    names = list(dict.fromkeys(name for one in fields for name in one))
    differing = [name for name in names if len({_value(one, name) for one in fields}) > 1]
    given = {"algorithm", *(name for arm in arms for name in arm.settings)}
    rows = [[name, *(_value(one, name) for one in fields)] for name in differing]
    alike = [(name in given, f"{name} {_value(fields[0], name)}") for name in names if name not in differing]
    lines = [
        f"{what}: {', '.join(said for own, said in alike if own == chosen)}."
        for what, chosen in (("Set alike in all arms", True), ("Left at their defaults", False))
        if any(own == chosen for own, _ in alike)
    ]
    return (Grid(["Setting", *short_labels([arm.label for arm in arms])[1]], rows) if rows else None), lines


def _value(fields: Mapping[str, Any], name: str) -> str:
    if name not in fields:
        return NONE
    value = fields[name]
    return value if isinstance(value, str) else json.dumps(value)


def _p(p: float) -> str:
    return "≤ 0.0001" if p <= 1e-4 else number(p)
