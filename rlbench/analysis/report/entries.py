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
        runs = pd.concat([results.runs for results in self.members], ignore_index=True)
        return runs[runs["status"] != "missing"].drop_duplicates("cell", ignore_index=True)

    @property
    def title(self) -> str:
        """The title of the report."""
        return self.suite.title or self.name

    @property
    def claims(self) -> list[Claim]:
        """Every claim of every experiment."""
        return [claim for results in self.members for claim in results.claims]


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
    verdict: Outcome = "inconclusive"
    judged: Verdict | None = None
    results: JudgedResults | None = None
    claim: Claim | None = None
    said: str = ""
    problem: str = ""
    registered: Registered | None = None

    @property
    def decisive(self) -> Part | None:
        """The part on which the verdict rests."""
        return decisive(self.judged) if self.judged else None


def entries_of(suite: SuiteResults, progress: Progress = silent) -> list[Entry]:
    """Judge every claim, compute every exact check, and return them in the order of their ids: 9, 10, 22a, 22b."""
    asked: list[tuple[Claim | Exact, Registered | None, JudgedResults | None]]
    asked = [(check, None, None) for check in suite.suite.checks]
    asked += [(written.claim, written, results) for results in suite.members for written in registered(results)]
    asked.sort(key=lambda item: natural(item[0].id))
    taken: set[str] = set()
    entries = []
    for done, (what, written, results) in enumerate(asked):
        name = file_name(f"claim-{what.id or 'unnumbered'}", taken)
        entry = Entry(what.id, what.statement, what.source, what.known, name, results=results, registered=written)
        if isinstance(what, Exact):
            entries.append(_checked(what, entry))
        elif results is not None:
            entries.append(_judged(what, results, replace(entry, claim=what)))
        progress("claims judged", done + 1, len(asked))
    return entries


def natural(text: str) -> tuple[Any, ...]:
    """Return a key that sorts 9 before 10 and 22a before 22b; what has no id comes last."""
    parts = re.findall(r"\d+|[^\d\s]+", text)
    return (not parts, [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts])


def _checked(check: Exact, entry: Entry) -> Entry:
    try:
        holds, said = check.check()
    except Exception as problem:  # the check is somebody's code: the other claims must not suffer from it
        return replace(entry, problem=f"It could not be computed: {_one_line(problem)}.")
    return replace(entry, verdict="supported" if holds else "refuted", said=said)


def _judged(claim: Claim, results: JudgedResults, entry: Entry) -> Entry:
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


def _one_line(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())}".rstrip(".: ")


class Demonstrated(NamedTuple):
    """An erratum, what it does (empty: nothing to measure), and whether showing it failed."""

    erratum: Erratum
    does: str
    broken: bool = False


def demonstrated(errata: Sequence[Erratum], progress: Progress = silent) -> list[Demonstrated]:
    """Demonstrate every erratum, in the order of their numbers."""
    shown = []
    for done, erratum in enumerate(sorted(errata, key=lambda erratum: natural(erratum.number))):
        try:
            shown.append(Demonstrated(erratum, erratum.demonstrate() if erratum.demonstrate else ""))
        except Exception as problem:  # one that cannot be shown must not hide the others
            shown.append(Demonstrated(erratum, f"This could not be shown: {_one_line(problem)}.", broken=True))
        progress("errors shown", done + 1, len(errata))
    return shown
