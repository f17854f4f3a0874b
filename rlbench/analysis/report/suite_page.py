"""The report of a suite: one self-contained page, and everything on it as files.

    OUT/report.html                   opens offline, everything inside: what came out, and a section for every claim
    OUT/verdicts.json, verdicts.csv   every verdict with its numbers
    OUT/specification.json            what was asked; its SHA-256 is on the page
    OUT/manifest.json                 what made the runs
    OUT/figures/, OUT/tables/         as in the report of an experiment
    OUT/runs/                         the runs themselves (`archive`)

The same runs and the same code give the same bytes: nothing here reads a clock.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from rlbench.analysis.format import NONE, count, csv_text, listed, p_value, text
from rlbench.analysis.judge.verdicts import JudgedResults, Part, Verdict
from rlbench.analysis.report.archive import write_archive
from rlbench.analysis.report.claims import (
    asked_text,
    change_text,
    claim_row,
    claimed_text,
    distance,
    effect_meaning,
    effect_text,
    needed_text,
    pair_name,
    part_row,
    parts_of_mean,
    quoted,
    runs_text,
    short_labels,
)
from rlbench.analysis.report.entries import (
    Again,
    Demonstrated,
    Entry,
    Progress,
    SuiteResults,
    demonstrated,
    entries_of,
    natural,
)
from rlbench.analysis.report.figures import Picture, claim_pictures, curves_of_runs, render
from rlbench.analysis.report.sentences import fewest_used
from rlbench.analysis.report.table import PAGE, Column, Table, fresh_folder, page, shown, tabulate, write_tables
from rlbench.analysis.scores.metrics import metric_definition, metric_name
from rlbench.analysis.scores.results import ArmEntry, Document
from rlbench.analysis.scores.scores import ALL
from rlbench.analysis.stats.estimates import nominal
from rlbench.claims import Claim
from rlbench.errors import RlbenchError, explained
from rlbench.files import write

SYMBOLS = {"supported": "✓", "refuted": "✗", "inconclusive": "?", "undecidable": "–"}
MANIFEST = "manifest.json"
_OPEN_PARTS = 12  # up to so many parts are on the page without a click


class SuiteReport(NamedTuple):
    """Where the page is, every verdict, and what could not be computed or shown, one sentence each."""

    page: Path
    entries: list[Entry]
    problems: list[str]


def write_suite_report(
    suite: SuiteResults, out_dir: str | Path, progress: Progress = lambda *_: None, kinds: Collection[str] = ()
) -> SuiteReport:
    """Write the report of a suite under `out_dir`; figures, tables and runs of an earlier one are replaced.

    `kinds` are those of files of figures, "pdf" and "png", beside SVG. Raises:
        RlbenchError: no run of any experiment is stored, or `out_dir` cannot be written.
    """
    if suite.members and suite.runs.empty:
        raise RlbenchError(f"No run of the suite {suite.name!r} is stored; `rlbench run` comes first.")
    entries = entries_of(suite, progress)
    errata = demonstrated(suite.suite.errata, progress)
    out = Path(out_dir)
    with explained(f"Cannot write the report to {out}"):
        drawn = render(claim_pictures(entries), fresh_folder(out, "figures"), kinds, progress)
        pictures = {picture.name: picture for picture in drawn}
        tables = [claims_table(entries, suite.again), parts_table(entries)]
        write_tables([table for table in tables if len(table.data)], fresh_folder(out, "tables"))
        document, sha = specification(suite)
        files: dict[str, str | bytes] = {
            "verdicts.json": _json(verdicts_document(suite, entries)),
            "verdicts.csv": csv_text(tables[0].data),
            "specification.json": _json(document),
            PAGE: suite_page(suite, entries, errata, pictures, sha, kinds),
        }
        if suite.archived is None:
            files[MANIFEST] = _json(manifest(suite, errata))
        else:  # what was published says more of the runs than can be read back
            published = suite.archived
            for file in [published / MANIFEST, *published.glob("runs/*.parquet"), published / "runs/README.md"]:
                files[str(file.relative_to(published))] = file.read_bytes()
        for name, data in files.items():
            write(out / name, data, inside=out)
        if suite.archived is None and suite.members:
            write_archive(suite, fresh_folder(out, "runs"))
    return SuiteReport(out / PAGE, entries, problems(entries, errata))


def problems(entries: Sequence[Entry], errata: Sequence[Demonstrated]) -> list[str]:
    """Return what could not be computed although everything for it was there."""
    lines = [f"Claim {entry.id or repr(entry.statement)}: {entry.problem}" for entry in entries if entry.broken]
    return [*lines, *(f"Error {shown.erratum.number}: {shown.does}" for shown in errata if shown.broken)]


# The files


def _entry_row(entry: Entry) -> dict[str, Any]:
    row = {key: getattr(entry, key) for key in ("id", "statement", "source", "verdict")}
    row["experiment"] = entry.results.experiment.name if entry.results else ""
    return row | {"kind": "claim" if entry.claim else "exact"}


def _effect(entry: Entry) -> dict[str, str]:
    """Return the effect of an entry's decisive part, what it is of, what was claimed, and of how many runs."""
    claim, judged, part = entry.claim, entry.judged, entry.decisive
    if claim and judged and part:
        texts = {"effect": effect_text(claim, part.effect), "meaning": effect_meaning(claim, part)}
        return texts | {"claimed": claimed_text(claim), "n": runs_text(judged.parts)}
    return {"effect": NONE if claim else "exact", "meaning": entry.said or entry.problem, "claimed": "", "n": NONE}


def claims_table(entries: Sequence[Entry], again: Again) -> Table:
    """Return the table of all claims; in the CSV file with full numbers, of a claim those of its decisive part."""
    rows, records = [], []
    for entry in entries:
        judged, effect = entry.judged, _effect(entry)
        row = _entry_row(entry) | {"parts": len(judged.parts) if judged else 0}
        row |= {heading: claims.get(entry.id, {}).get("verdict") for heading, claims in again.items()}
        if judged and entry.decisive:
            row |= claim_row(judged) | part_row(entry.decisive)
            del row["claim"]
        rows.append(row | {"said": entry.said or entry.problem})
        records.append(row | effect | {"id": entry.id or None, "claimed": effect["claimed"] or None})
    headers = {"id": "Claim", "statement": "Statement", "source": "Source", "verdict": "Verdict"}
    headers |= {heading: f"{heading[:1].upper()}{heading[1:]}" for heading in again}
    headers |= {"effect": "Effect", "claimed": "Claimed", "meaning": "Of what", "n": "n"}
    note = (
        "Effect: of the decisive part, with its interval, adjusted for the parts of the claim. n: "
        "runs per arm and environment."
    )
    return tabulate("claims", "All claims", records, _columns(headers), note, pd.DataFrame(rows))


def _columns(headers: Mapping[str, str]) -> list[Column]:
    return [Column(key, header) for key, header in headers.items()]


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
    columns = _columns(headers | {"effect": "Effect", "verdict": "Verdict"})
    data = pd.DataFrame([{"id": entry.id} | claim_row(judged) | part_row(part) for entry, judged, part in parts])
    return tabulate("claims-part-by-part", "All claims, part by part", records, columns, data=data)


def verdicts_document(suite: SuiteResults, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return all verdicts with all their parts as JSON."""
    claims = []
    for entry in entries:
        document = _entry_row(entry) | {"said": entry.said or entry.problem}
        if entry.claim:
            document |= entry.claim.document() | document
        document["parts"] = [part_row(part) for part in entry.judged.parts] if entry.judged else []
        if entry.judged:
            document["with_failures"] = entry.judged.with_failures or entry.verdict
        if entry.registered:
            document["registered"] = entry.registered.document()
        claims.append(document)
    return _plain({"suite": suite.name, "quick": suite.quick, "claims": claims})


def specification(suite: SuiteResults) -> tuple[dict[str, Any], str]:
    """Return what the suite asks, as JSON, and the SHA-256 of its canonical form."""
    checks = [
        {key: getattr(check, key) for key in ("id", "statement", "source", "known")} for check in suite.suite.checks
    ]
    document = {"suite": suite.name} | {key: getattr(suite.suite, key) for key in ("title", "introduction")}
    document |= {"checks": checks, "experiments": [results.experiment.json for results in suite.members]}
    plain = _plain(document)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return plain, hashlib.sha256(text.encode()).hexdigest()


def manifest(suite: SuiteResults, errata: Sequence[Demonstrated]) -> dict[str, Any]:
    """Return what made the runs: versions, commits, machines, outcomes and the time they took."""
    runs = suite.runs

    def tally(values: Iterable[Any]) -> dict[str, int]:
        return dict(sorted(Counter(str(value) for value in values if value not in (None, "")).items()))

    versions = [(record.get("versions") or {}).items() for record in suite.provenance]
    machines = [(record.get("machine") or {}).values() for record in suite.provenance]
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
        "errata_shown": sum(not shown.broken for shown in errata),
        "errata": len(errata),
    }


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document as JSON reads it, with null where a number is not finite, which JSON has no word for."""
    numbers = json.dumps(document, default=lambda value: value.item())  # those of numpy
    plain: dict[str, Any] = json.loads(numbers, parse_constant=lambda _: None)
    return plain


# The page


def suite_page(
    suite: SuiteResults,
    entries: Sequence[Entry],
    errata: Sequence[Demonstrated],
    drawn: Mapping[str, Picture],
    sha: str,
    kinds: Collection[str] = (),
) -> str:
    """Return the page as HTML.

    `drawn` are the figures by the names of the entries, which are also there as files of these `kinds`; `sha` is of the
    specification.
    """
    home = [entry for number in suite.suite.take_home for entry in entries if entry.id == number]
    return page(
        "suite.html.j2",
        suite=suite,
        home=[(entry, _effect(entry)) for entry in home],
        curves=_curves(home[0]) if home else {},
        first=next((drawn[entry.name] for entry in home if entry.name in drawn), None),
        map={
            part: [entries[place] for place in places]
            for part, places in by_part([entry.source for entry in entries]).items()
        },
        summary=[*summary(suite, entries), *compared_again(entries, suite.again)],
        again=suite.again,
        banner=underpowered(suite),
        counts=_counts(entries),
        symbols=SYMBOLS,
        sections=[_section(suite, entry, drawn.get(entry.name)) for entry in entries],
        errata=errata,
        levels=listed([f"{100 * level:g} %" for level in sorted({claim.level for claim in suite.claims}) or [0.95]]),
        nominal=nominal(fewest_used(suite.members)),
        registered=" ".join(suite.registration),
        sha=sha,
        kinds=["svg", *kinds],
    )


def _curves(entry: Entry) -> dict[str, Any]:
    """Return the curves of all runs behind a claim, with few points; the page has many claims to show."""
    return curves_of_runs(entry.results, entry.claim.arms, 6_000) if entry.results and entry.claim else {}


def by_part(sources: Sequence[str]) -> dict[str, list[int]]:
    """Return the places of claims by the part of the text that makes them, the beginning of their source, in its order.

    The part of the first claim comes first, such as an introduction, and what has no number last.
    """
    parts: dict[str, list[int]] = {}
    for place, source in enumerate(sources):
        numbered = re.match(r"[^;,(]*?\d+", source)
        name = numbered[0] if numbered else re.split("[;,(]", source)[0].strip()
        parts.setdefault(name[:1].upper() + name[1:] or "Elsewhere", []).append(place)
    order = {name: (place > 0, not re.search(r"\d", name), natural(name)) for place, name in enumerate(parts)}
    return {name: parts[name] for name in sorted(parts, key=order.__getitem__)}


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
        lines += suite.registration[:-1]
    if missing := sum(int((results.runs["status"] == "missing").sum()) for results in suite.members):
        lines.append(f"{count(missing, 'planned run')} {_are(missing)} not stored.")
    return lines


def compared_again(entries: Sequence[Entry], again: Again) -> list[str]:
    """Return a sentence on each suite that tries the same claims: where its verdicts differ."""
    lines, verdicts = [], {entry.id: entry.verdict for entry in entries if entry.id}
    for heading, claims in again.items():
        both = [number for number in verdicts if number in claims]
        other = [
            f"{number} ({verdicts[number]}, {heading} {claims[number]['verdict']})"
            for number in both
            if claims[number]["verdict"] != verdicts[number]
        ]
        came = f"{len(other)} came out otherwise: {listed(other)}" if other else "all came out alike"
        tried = "has a counterpart" if len(both) == 1 else "have counterparts"
        lines.append(f"{count(len(both), 'claim')} {tried} {heading}, whose words are with them; {came}.")
    return lines


def underpowered(suite: SuiteResults) -> str:
    """Return the banner of a report that rests on less than was designed; empty if there is nothing to say."""
    known = dict(suite.designed) or {member.experiment.name: len(set(member.runs["seed"])) for member in suite.members}
    seeds_of = {
        member.experiment.name: member.runs["seed"][member.runs["status"] != "missing"] for member in suite.members
    }
    present = {name: int(seeds.nunique()) for name, seeds in seeds_of.items()}
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


def _are(many: int) -> str:
    return "is" if many == 1 else "are"


def _section(suite: SuiteResults, entry: Entry, figure: Picture | None) -> dict[str, Any]:
    """Return what is said of an entry; an exact check has no runs, design or arms."""
    claim, judged, results = entry.claim, entry.judged, entry.results
    experiment = results.experiment if results else Document()
    others: list[str] = []
    asked, settings, compared = "", None, ""
    if claim and results:
        compared = _compared(claim, results)
        asked = asked_text(claim, claim.environments or results.environments)
        settings, others = _settings(claim, results)
    return {
        "entry": entry,
        "figure": figure,
        **_effect(entry),
        "asked": asked,
        "compared": compared,
        "design": experiment.design or experiment.question,
        "experiment": experiment.name,
        "parts": _parts(judged) if judged else None,
        "folded": judged and len(judged.parts) > _OPEN_PARTS,
        "details": _details(judged) if judged else None,
        "settings": settings,
        "others": others,
        "change": change_text(entry.judged) if entry.judged and entry.decisive else [],
        "spread": parts_of_mean(results, judged, entry.decisive) if results and judged and entry.decisive else "",
        "counts": _counts_text(entry),
        "remark": suite.suite.remarks.get(entry.id, "") if entry.id else "",
        "definition": metric_definition(claim.metric) if claim else "",
    }


_FEW_ARMS = 4  # that can be described in a sentence


def _parts(judged: Verdict) -> pd.DataFrame:
    records = []
    for part in judged.parts:
        effect, _, interval = effect_text(judged.claim, part.effect).partition(" [")
        p = p_value(part.p_against if part.verdict == "refuted" else part.p)
        record = {"effect": effect, "interval": f"[{interval}" if interval else NONE, "p": p, "n": runs_text([part])}
        place = "mean of all" if part.environment == ALL else part.environment
        records.append(vars(part) | record | {"other": part.other or NONE, "environment": place})
    headers = {"arm": "Arm"} | ({"other": "Against"} if any(part.other for part in judged.parts) else {})
    headers |= {"environment": "Environment", "effect": "Effect", "interval": "Interval", "p": "p", "n": "n"}
    return shown(records, _columns(headers | {"verdict": "Verdict"}))


def _details(judged: Verdict) -> pd.DataFrame:
    def detectable(part: Part) -> str:
        return distance(judged.claim, part.detectable) if isfinite(part.detectable) else NONE

    columns = [
        Column("part", "Part", lambda part: f"{pair_name(part)}, {part.environment}"),
        Column("p", "p (H0: claim false)", lambda part: p_value(part.p)),
        Column("p_against", "p (H0: claim true)", lambda part: p_value(part.p_against)),
        Column("size", "Effect size", lambda part: f"{part.size_name}: {text(part.size)}" if part.size else NONE),
        Column("detectable", "Smallest effect detectable with 80 % power", detectable),
        Column("needed", "Seeds needed", needed_text),
        Column("interval", "Interval", lambda part: f"{100 * part.effect.level:.4g} %, {part.effect.method}"),
    ]
    return shown(judged.parts, columns)


def _known_arms(claim: Claim, results: JudgedResults) -> list[ArmEntry]:
    """Return the arms of a claim, or none where of none the settings are known."""
    arms = [results.arm_entries[name] for name in claim.arms if name in results.arm_entries]
    return arms if any(arm.settings or arm.fields for arm in arms) else []


def _written(arm: ArmEntry) -> dict[str, str]:
    """Return all that is known of an arm's settings, as it is written."""
    known = {**arm.settings, **arm.fields}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in known.items()}


def _settings(claim: Claim, results: JudgedResults) -> tuple[pd.DataFrame | None, list[str]]:
    """Return the settings in which the arms differ, one column per arm, and lines with the others."""
    arms = _known_arms(claim, results)
    if not arms:
        return None, []
    written = [{"algorithm": arm.algorithm, **_written(arm)} for arm in arms]
    values = {
        name: [arm.get(name, NONE) for arm in written] for name in dict.fromkeys(key for arm in written for key in arm)
    }
    alike = {name: f"{name} {texts[0]}" for name, texts in values.items() if len(set(texts)) == 1}
    given = {"algorithm", *(name for arm in arms for name in arm.settings)}
    groups = {
        "Set alike in all arms": [setting for name, setting in alike.items() if name in given],
        "Left at their defaults": [setting for name, setting in alike.items() if name not in given],
    }
    lines = [f"{what}: {', '.join(settings)}." for what, settings in groups.items() if settings]
    labels = short_labels([arm.label for arm in arms])[1]
    rows = [[name, *texts] for name, texts in values.items() if name not in alike]
    return (pd.DataFrame(rows, columns=["Setting", *labels]) if rows else None), lines


def _compared(claim: Claim, results: JudgedResults) -> str:
    """Say what each of a few arms is: its algorithm, what was set and differs, and what no other arm has."""
    arms = _known_arms(claim, results)
    if not 1 < len(arms) <= _FEW_ARMS:
        return ""
    fields = [_written(arm) for arm in arms]
    given = {name for arm in arms for name in arm.settings}
    alike = {name for name, value in fields[0].items() if all(known.get(name) == value for known in fields)}
    algorithms = {arm.algorithm for arm in arms}

    def settings(known: Mapping[str, str], names: Container[str], label: str = "") -> str:
        said = [f"{name} {text}" for name, text in known.items() if name in names and f"{name}={text}" not in label]
        return f" with {listed(said)}" if said else ""

    shared, described = settings(fields[0], given & alike), []
    if len(algorithms) == 1:
        described.append(f"{'Both' if len(arms) == 2 else 'All'} are {arms[0].algorithm}{shared}")
    for arm, known in zip(arms, fields, strict=True):
        others = {name for other in fields if other is not known for name in other}
        # Of what no other arm has, kinds; numbers that nobody set are details of the algorithm.
        own = {name for name in known if name not in others and isinstance(arm.fields.get(name), str)}
        differing = settings(known, (given | own) - alike, arm.label)
        if len(algorithms) > 1:
            what = "" if arm.label == arm.algorithm else f" is {arm.algorithm}"
            described.append(f"{quoted(arm.label)}{what}{differing}")
        elif differing:
            described.append(f"{quoted(arm.label)}{differing}")
    if len(algorithms) > 1 and shared:
        described.append(f"{'both' if len(arms) == 2 else 'all'}{shared}")
    return f"Compared: {'; '.join(described)}." if len(algorithms) > 1 else f"{'; '.join(described)}."


def _counts_text(entry: Entry) -> str:
    if entry.runs is None:
        return ""
    status = entry.runs["status"].value_counts()
    counts = [f"{status[name]} {name}" for name in ("finished", "diverged", "failed", "missing") if status.get(name)]
    line = f"{status.sum()} runs planned: {', '.join(counts)}."
    if entry.judged is not None and entry.judged.left_out:
        line += f" {entry.judged.left_out} did not enter the verdict."
    return line
