"""The page of a suite: what came out, what a reader must be warned of, and a section for every claim."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd

from rlbench.analysis.draw.files import Rendered
from rlbench.analysis.format import NONE, count, listed, number, p_value, text
from rlbench.analysis.judge.verdicts import JudgedResults, Part, Verdict, clearance, regions
from rlbench.analysis.report.claims import (
    asked_text,
    claimed_text,
    effect_meaning,
    effect_text,
    needed_text,
    pair_name,
    part_name,
    runs_text,
    short_labels,
)
from rlbench.analysis.report.entries import (
    Demonstrated,
    Entry,
    SuiteResults,
    claim_runs,
    registered,
    registration,
    summary_of,
)
from rlbench.analysis.report.table import Column, page, shown
from rlbench.analysis.scores.metrics import metric_definition
from rlbench.analysis.scores.results import Document
from rlbench.analysis.scores.scores import ALL, IDENTICAL
from rlbench.claims import Claim

SYMBOLS = {"supported": "✓", "refuted": "✗", "inconclusive": "?", "undecidable": "–"}
_OPEN_PARTS = 12  # up to so many parts are on the page without a click


def suite_page(
    suite: SuiteResults,
    entries: Sequence[Entry],
    errata: Sequence[Demonstrated],
    drawn: Mapping[str, Rendered],
    sha: str,
) -> str:
    """Return the page as HTML; `drawn` are the figures by the names of the entries, `sha` is of the specification."""
    return page(
        "suite.html.j2",
        suite=suite,
        summary=summary(suite, entries),
        banner=underpowered(suite),
        counts=_counts(entries),
        symbols=SYMBOLS,
        sections=[_section(suite, entry, drawn.get(entry.name)) for entry in entries],
        errata=errata,
        levels=listed([f"{100 * level:g} %" for level in sorted({claim.level for claim in suite.claims}) or [0.95]]),
        registered=" ".join(_registered(suite)),
        sha=sha,
    )


def _counts(entries: Sequence[Entry]) -> dict[str, int]:
    counts = Counter[str](entry.verdict for entry in entries)
    return {verdict: counts[verdict] for verdict in SYMBOLS}


def summary(suite: SuiteResults, entries: Sequence[Entry]) -> list[str]:
    """Return what came out, in two or three sentences."""
    if not entries:
        return [f"{suite.title} makes no claims."]
    counts, exact = _counts(entries), sum(entry.claim is None for entry in entries)
    decided = f"{counts['supported']} {_are(counts['supported'])} supported, {counts['refuted']} refuted"
    never = [entry.id or f"“{entry.statement}”" for entry in entries if entry.verdict == "undecidable"]
    also = f"; {len(never)} cannot be decided ({', '.join(never)})" if never else ""
    lines = [f"Of {count(len(entries), 'claim')}, {decided} and {counts['inconclusive']} inconclusive{also}."]
    if asked := sum(bool(results.claims) for results in suite.members):
        runs, places = count(len(suite.runs), "run"), count(suite.runs["environment"].nunique(), "environment")
        without = f"{count(exact, 'claim')} {_are(exact)} decided by calculation, without a run"
        calculated = f"; {without}" if exact else ""
        lines.append(f"They were judged from {runs} of {count(asked, 'experiment')} on {places}{calculated}.")
        lines += _registered(suite)[:-1]
    if missing := sum(int((results.runs["status"] == "missing").sum()) for results in suite.members):
        lines.append(f"{count(missing, 'planned run')} {_are(missing)} not stored.")
    return lines


def underpowered(suite: SuiteResults) -> str:
    """Return the banner of a report that rests on less than was designed; empty if there is nothing to say."""
    known = dict(suite.designed) or {one.experiment.name: len(set(one.runs["seed"])) for one in suite.members}
    present = {
        one.experiment.name: int(one.runs["seed"][one.runs["status"] != "missing"].nunique()) for one in suite.members
    }
    fewer = any(seeds < known.get(name, 0) for name, seeds in present.items())
    present = {name: seeds for name, seeds in present.items() if seeds}
    if not (suite.quick or fewer or len(present) < len(known)):
        return ""
    fewest, most = (end(present.values(), default=0) for end in (min, max))
    seeds = count(fewest, "seed") if fewest == most else f"{fewest} to {most} seeds"
    return (
        f"Underpowered: {len(present)} of {count(len(known), 'experiment')}, {seeds} instead of up to "
        f"{max(known.values(), default=0)}. With so few runs many claims stay inconclusive; this is "
        "no evidence for or against them."
    )


def _registered(suite: SuiteResults) -> list[str]:
    """Say when the claims were written down, and whether before their own runs; the last sentence is their hash."""
    claims = [claim for results in suite.members for claim in registered(results)]
    registers = [suite.register, *(results.experiment.register for results in suite.members)]
    return summary_of(claims, registers, suite.claimed or suite.claims)[0]


def _are(many: int) -> str:
    return "is" if many == 1 else "are"


def _section(suite: SuiteResults, entry: Entry, figure: Rendered | None) -> dict[str, Any]:
    """Return what is said of an entry; an exact check has no runs, design or arms."""
    claim, judged, part, results = entry.claim, entry.judged, entry.decisive, entry.results
    experiment = results.experiment if results else Document()
    section: dict[str, Any] = {
        "entry": entry,
        "figure": figure,
        "effect": NONE if claim else "exact",
        "meaning": entry.said or entry.problem,
        "claimed": "",
        "n": NONE,
        "asked": "",
        "design": experiment.design or experiment.question,
        "experiment": experiment.name,
        "parts": None,
        "details": None,
        "settings": None,
        "others": [],
        "change": change_text(entry),
        "counts": _counts_text(entry),
        "remark": suite.suite.remarks.get(entry.id, "") if entry.id else "",
        "definition": metric_definition(claim.metric) if claim else "",
        "registration": registration(entry.registered) if entry.registered else "",
    }
    if claim and results:
        section["asked"] = asked_text(claim, claim.environments or results.environments)
        section["settings"], section["others"] = _settings(claim, results)
    if claim and judged and part:
        section |= {"effect": effect_text(claim, part.effect), "meaning": effect_meaning(claim, part)}
        section |= {"claimed": claimed_text(claim), "n": runs_text(judged.parts)}
        section |= {"parts": _parts(claim, judged.parts), "details": _details(judged.parts)}
        section["folded"] = len(judged.parts) > _OPEN_PARTS
    return section


def _parts(claim: Claim, parts: Sequence[Part]) -> pd.DataFrame:
    """Return the numbers of every part."""
    records = []
    for part in parts:
        effect, _, interval = effect_text(claim, part.effect).partition(" [")
        p = p_value(part.p_against if part.verdict == "refuted" else part.p)
        record = {"effect": effect, "interval": f"[{interval}" if interval else NONE, "p": p, "n": runs_text([part])}
        place = "mean of all" if part.environment == ALL else part.environment
        records.append(vars(part) | record | {"other": part.other or NONE, "environment": place})
    compared = [Column("other", "Against")] if any(part.other for part in parts) else []
    columns = [Column("arm", "Arm"), *compared, Column("environment", "Environment"), Column("effect", "Effect")]
    columns += [Column("interval", "Interval"), Column("p", "p"), Column("n", "n"), Column("verdict", "Verdict")]
    return shown(records, columns)


def _details(parts: Sequence[Part]) -> pd.DataFrame:
    """Return what an expert asks for besides."""
    columns = [
        Column("part", "Part", lambda part: f"{pair_name(part)}, {part.environment}"),
        Column("p", "p (H0: claim false)", lambda part: p_value(part.p)),
        Column("p_against", "p (H0: claim true)", lambda part: p_value(part.p_against)),
        Column("size", "Effect size", lambda part: f"{part.size_name}: {text(part.size)}" if part.size else NONE),
        Column("detectable", "Smallest effect detectable with 80 % power", lambda part: number(part.detectable)),
        Column("needed", "Seeds needed", needed_text),
        Column("interval", "Interval", lambda part: f"{100 * part.effect.level:.4g} %, {part.effect.method}"),
    ]
    return shown(parts, columns)


def _settings(claim: Claim, results: JudgedResults) -> tuple[pd.DataFrame | None, list[str]]:
    """Return the settings in which the arms differ, one column per arm, and lines with the others."""
    arms = [results.arm_entries[name] for name in claim.arms if name in results.arm_entries]
    if not any(arm.settings or arm.fields for arm in arms):
        return None, []
    fields: list[dict[str, Any]] = [{"algorithm": arm.algorithm, **arm.settings, **arm.fields} for arm in arms]
    values = {
        name: [_value(arm[name]) if name in arm else NONE for arm in fields]
        for name in dict.fromkeys(name for arm in fields for name in arm)
    }
    alike = {name: f"{name} {texts[0]}" for name, texts in values.items() if len(set(texts)) == 1}
    given = {"algorithm", *(name for arm in arms for name in arm.settings)}
    groups = {
        "Set alike in all arms": [said for name, said in alike.items() if name in given],
        "Left at their defaults": [said for name, said in alike.items() if name not in given],
    }
    lines = [f"{what}: {', '.join(settings)}." for what, settings in groups.items() if settings]
    labels = short_labels([arm.label for arm in arms])[1]
    rows = [[name, *texts] for name, texts in values.items() if name not in alike]
    return (pd.DataFrame(rows, columns=["Setting", *labels]) if rows else None), lines


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _counts_text(entry: Entry) -> str:
    """Count the runs of a claim's arms: planned, finished, failed, diverged, missing, and those that entered."""
    if entry.claim is None or entry.results is None:
        return ""
    status = claim_runs(entry.claim, entry.results)["status"].value_counts()
    counts = [f"{status[name]} {name}" for name in ("finished", "diverged", "failed", "missing") if status.get(name)]
    line = f"{status.sum()} runs planned: {', '.join(counts)}."
    if entry.judged is not None and entry.judged.left_out:
        line += f" {entry.judged.left_out} did not enter the verdict."
    return line


def change_text(entry: Entry) -> list[str]:
    """Say, from the numbers, what would change the verdict."""
    judged, part = entry.judged, entry.decisive
    if judged is None or part is None:
        return []
    say = {"supported": _supported, "refuted": _refuted, "inconclusive": _inconclusive, "undecidable": _undecidable}
    lines = (_identical if part.effect.method == IDENTICAL else say[judged.verdict])(judged, part)
    if (other := judged.with_failures) is not None:
        instead = ", too" if other == judged.verdict else " instead"
        lines.append(f"If runs that failed or diverged count with the worst possible score, it is {other}{instead}.")
    return lines


def _supported(verdict: Verdict, part: Part) -> list[str]:
    claim, support = verdict.claim, regions(verdict.claim)[0]
    lead = "" if len(verdict.parts) == 1 else f"All {len(verdict.parts)} parts support it; the weakest is "
    return [
        f"{lead}{part_name(part)}: its interval {effect_text(claim, part.effect)} stays "
        f"{_distance(claim, clearance(part.effect, support))} clear of the limit (claimed: {claimed_text(claim)}). The "
        "verdict would be inconclusive if the interval reached the limit."
    ]


def _refuted(verdict: Verdict, part: Part) -> list[str]:
    claim, refute = verdict.claim, regions(verdict.claim)[1]
    against = sum(one.verdict == "refuted" for one in verdict.parts)
    lines, lead = [], ""
    if len(verdict.parts) > 1:
        others = {one.verdict for one in verdict.parts} - {"refuted"}
        rest = next((one for one in ("inconclusive", "undecidable") if one in others), "supported")
        alone = f"; without {'it' if against == 1 else 'them'} the claim would be {rest}" if others else ""
        verb = "refutes" if against == 1 else "refute"
        lines.append(f"{against} of {len(verdict.parts)} parts {verb} it{alone}.")
        lead = "The clearest of them is " if against > 1 else "The decisive part is "
    beyond = _distance(claim, clearance(part.effect, refute))
    lines.append(
        f"{lead}{part_name(part)}: the interval {effect_text(claim, part.effect)} lies {beyond} beyond the "
        f"point from which the claim cannot be true (claimed: {claimed_text(claim)})."
    )
    return lines


def _inconclusive(verdict: Verdict, part: Part) -> list[str]:
    claim, parts, lines = verdict.claim, len(verdict.parts), []
    if parts > 1:
        undecided = sum(one.verdict == "inconclusive" for one in verdict.parts)
        lines.append(f"{parts - undecided} of {parts} parts support it, {undecided} {_are(undecided)} inconclusive.")
    if not isfinite(part.effect.low):
        return [*lines, part.note or f"{part_name(part)}: there are too few runs for an interval."]
    reach = clearance(part.effect, regions(claim)[0])
    where = f"{part_name(part)}: the interval {effect_text(claim, part.effect)}"
    if reach > 0:
        lines.append(f"{where} would support it, but the corrected p of {number(part.p)} does not.")
    else:
        lines.append(f"{where} reaches {_distance(claim, -reach)} beyond the limit (claimed: {claimed_text(claim)}).")
    if part.note:
        lines.append(part.note)
    elif isfinite(verdict.needed):
        needed = f"about {verdict.needed:,.0f} seeds per arm and environment would decide it"
        lines.append(f"If the effects and spreads are as estimated, {needed}.")
    else:
        lines.append("The estimated effect lies so close to the limit that no reasonable number of seeds would decide.")
    return lines


def _identical(verdict: Verdict, part: Part) -> list[str]:
    return [
        f"{part_name(part)}: every seed gave exactly the same result with both, so the difference is 0 (claimed: "
        f"{claimed_text(verdict.claim)}). Only settings in which the arms do something different would change that."
    ]


def _undecidable(verdict: Verdict, part: Part) -> list[str]:
    return [part.note, "More seeds of the same arms would not change that, unless a rare one has a value."]


def _distance(claim: Claim, value: float) -> str:
    return number(value) if claim.event is None else f"{number(100 * value)} percentage points"
