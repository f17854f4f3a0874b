"""What a suite gave: every claim and every exact check of it as one entry with its verdict, in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from rlbench.analysis.judge.judged import JudgedResults
from rlbench.analysis.judge.verdicts import Outcome, Part, Verdict
from rlbench.analysis.report.claims import decisive
from rlbench.analysis.report.registration import Registered, registered
from rlbench.claims import Claim
from rlbench.errors import RlbenchError
from rlbench.files import file_name
from rlbench.suite import Erratum, Exact, Suite

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many of these are done, and how many there are."""


def silent(what: str, done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True, eq=False)
class SuiteResults:
    """The experiments of a suite with their runs.

    name        of the suite
    members     the results of its experiments, also of those of which only some runs, or none, are stored
    register    the entries of the suite's own register of claims, which tells what was claimed once
    claimed     the documents of all claims of the suite, in its order, also of experiments that are no members here
    quick       whether only the quick part was asked for
    designed    the number of seeds of every experiment of the suite, by name, as its file has it; also of experiments
                that are no members here
    provenance  what the manifests of the runs say of code, packages and machine
    archived    the folder of the report whose archive the members were read from, if they were (`archived`)
    """

    name: str
    suite: Suite
    members: Sequence[JudgedResults]
    register: Sequence[Mapping[str, Any]] = ()
    claimed: Sequence[Mapping[str, Any]] = ()
    quick: bool = False
    designed: Mapping[str, int] = field(default_factory=dict)
    provenance: Sequence[Mapping[str, Any]] = ()
    archived: Path | None = None

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run that took place, whatever became of it; a run that experiments share counts once."""
        if not self.members:
            return pd.DataFrame(columns=["cell", "environment", "seed", "status"])
        runs = pd.concat([one.runs for one in self.members], ignore_index=True)
        return runs[runs["status"] != "missing"].drop_duplicates("cell", ignore_index=True)

    @property
    def title(self) -> str:
        """The title of the report."""
        return self.suite.title or self.name

    @property
    def claims(self) -> list[Claim]:
        """Every claim of every experiment."""
        return [claim for one in self.members for claim in one.claims]


@dataclass(frozen=True, eq=False)
class Entry:
    """One claim or exact check with what became of it.

    `name` is a word for files and links, different for every entry. `judged` and `results` belong to a claim, `said`
    to an exact check: its sentence with numbers. `problem` says why there is no verdict, and then it is inconclusive.
    `registered` says when a claim was written down.
    """

    id: str
    statement: str
    source: str
    known: str
    name: str
    verdict: Outcome
    judged: Verdict | None = None
    results: JudgedResults | None = None
    claim: Claim | None = None
    said: str = ""
    problem: str = ""
    registered: Registered | None = None

    @property
    def hinge(self) -> Part | None:
        """The part on which the verdict hangs."""
        return decisive(self.judged) if self.judged else None


def entries_of(suite: SuiteResults, progress: Progress = silent) -> list[Entry]:
    """Judge every claim, compute every exact check, and return them in the order of their ids: 9, 10, 22a, 22b."""
    asked: list[tuple[JudgedResults, Registered] | Exact] = list(suite.suite.checks)
    asked += [(results, one) for results in suite.members for one in registered(results)]
    asked.sort(key=lambda one: natural(one.id if isinstance(one, Exact) else one[1].claim.id))
    taken: set[str] = set()
    entries = []
    for done, one in enumerate(asked):
        number = one.id if isinstance(one, Exact) else one[1].claim.id
        name = file_name(f"claim-{number or 'unnumbered'}", taken)
        entries.append(_checked(one, name) if isinstance(one, Exact) else _judged(*one, name))
        progress("claims judged", done + 1, len(asked))
    return entries


def natural(text: str) -> tuple[Any, ...]:
    """Return a key that sorts 9 before 10 and 22a before 22b; what has no id comes last."""
    parts = re.findall(r"\d+|[^\d\s]+", text)
    return (not parts, [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts])


def _checked(check: Exact, name: str) -> Entry:
    """Compute an exact check; what it raises is its problem."""
    described = (check.id, check.statement, check.source, check.known, name)
    try:
        holds, said = check.check()
    except Exception as problem:  # the check is somebody's code: the other claims must not suffer from it
        return Entry(*described, "inconclusive", problem=f"It could not be computed: {failure(problem)}.")
    return Entry(*described, "supported" if holds else "refuted", said=said)


def _judged(results: JudgedResults, written: Registered, name: str) -> Entry:
    claim = written.claim
    described = (claim.id, claim.statement, claim.source, claim.known, name)
    entry = Entry(*described, "inconclusive", results=results, claim=claim, registered=written)
    if not stored(claim, results):
        return replace(entry, problem="No run of its arms is stored yet.")
    try:
        verdict = results.judge(claim)
    except RlbenchError as problem:
        return replace(entry, problem=str(problem))
    return replace(entry, verdict=verdict.verdict, judged=verdict)


def stored(claim: Claim, results: JudgedResults) -> int:
    """Return how many runs of the claim's arms took place on its environments."""
    return int((claim_runs(claim, results)["status"] != "missing").sum())


def claim_runs(claim: Claim, results: JudgedResults) -> pd.DataFrame:
    """Return the scores of the planned runs that a claim is about."""
    scores = results.scores
    places = list(claim.environments or results.environments)
    return scores[scores["arm"].isin(claim.arms) & scores["environment"].isin(places)]


def failure(problem: Exception) -> str:
    """Return what an exception says, in one line."""
    said = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {said}".rstrip(".: ")


class Shown(NamedTuple):
    """An erratum, what it does (empty: nothing to measure), and whether showing it failed."""

    erratum: Erratum
    does: str
    broken: bool = False


def shown(errata: Sequence[Erratum], progress: Progress = silent) -> list[Shown]:
    """Demonstrate every erratum, in the order of their numbers."""
    made = []
    for done, one in enumerate(sorted(errata, key=lambda one: natural(one.number))):
        made.append(_shown(one))
        progress("errors shown", done + 1, len(errata))
    return made


def _shown(erratum: Erratum) -> Shown:
    if erratum.demonstrate is None:
        return Shown(erratum, "")
    try:
        return Shown(erratum, erratum.demonstrate())
    except Exception as problem:  # one that cannot be shown must not hide the others
        return Shown(erratum, f"This could not be shown: {failure(problem)}.", True)
