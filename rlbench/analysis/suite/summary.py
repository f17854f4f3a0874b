"""A suite in a few sentences: what came out, what a reader must be warned of, and how it was judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rlbench.analysis import registration
from rlbench.analysis.results import Results
from rlbench.analysis.suite.entries import Entry, SuiteResults

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
    found = [one for results in suite.members for one in registration.registered(results)]
    registers = [suite.register, *(one.experiment.get("register") or [] for one in suite.members)]
    return registration.summary(found, registers, suite.claimed or suite.claims)[0]


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


def _name(results: Results) -> str:
    return str(results.experiment.get("name"))


def _seeds(results: Results) -> int:
    """Return how many seeds took place."""
    return int(results.runs["seed"][results.runs["status"] != "missing"].nunique())
