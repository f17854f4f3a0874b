"""A suite in a few sentences: what came out, what a reader must be warned of, and how it was judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rlbench.analysis.claimtable import registration
from rlbench.analysis.results import Results
from rlbench.analysis.suite.entries import Entry, SuiteResults
from rlbench.claims import digest

VERDICTS = ("supported", "refuted", "inconclusive")


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
    said = [f"Of {some(len(entries), 'claim')}, {listed}{counts['inconclusive']} inconclusive."]
    runs, environments = len(suite.runs), suite.runs["environment"].nunique()
    asked = sum(bool(one.claims) for one in suite.members)
    if asked:
        said.append(
            f"They were judged by a rule that was fixed before the runs, from {some(runs, 'run')} of "
            f"{some(asked, 'experiment')} on {some(environments, 'environment')}"
            + (f"; {exact} of them {_are(exact)} a matter of calculation and needed no run." if exact else ".")
        )
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
    """Say when the claims were made, with their hash, and whether that was before the first run."""
    if not suite.claims:
        return []
    found = [(one, *registration(one.experiment)) for one in suite.members if one.claims]
    before = [one for one, _, early in found if early]
    # An experiment that joins a suite later makes the suite's claims late, and nobody's own.
    if suite.register and len(before) < len(found):
        claims = suite.claimed or [claim.document() for claim in suite.claims]
        return [registration({"claims": claims, "register": suite.register})[0]]
    said = [
        f"The claims of {len(before)} of {some(len(found), 'experiment')} were registered before its own first run and "
        f"have not been changed since. SHA-256 of all claims together: {digest(suite.claims)}."
    ]
    return [*said, *(f"{_name(one)}: {text}" for one, text, early in found if not early)]


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
            "parts are, and refuted if one of them is.",
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
        ("When the claims were made", " ".join(registered(suite)) or "The suite makes no claims about runs."),
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


def _name(results: Results) -> str:
    return str(results.experiment.get("name"))


def _seeds(results: Results) -> int:
    """Return how many seeds took place."""
    return int(results.runs["seed"][results.runs["status"] != "missing"].nunique())
