"""When every claim was written down, how many of its own runs were stored by then, and whether it changed since.

Read from the registers that `rlbench.store.folders` writes. A claim is followed through the entries of a register
by what is judged of it (`rlbench.claims.digest`); what has the same number, or else the same statement, and is judged
otherwise is an earlier form of it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from rlbench.analysis.format import listed, time
from rlbench.analysis.judge.verdicts import JudgedResults, Outcome, Part, Verdict
from rlbench.analysis.report.claims import decisive
from rlbench.claims import Claim, digest
from rlbench.errors import RlbenchError
from rlbench.files import file_name
from rlbench.suite import Erratum, Exact, Suite

Register = Sequence[Mapping[str, Any]]
T = TypeVar("T")
_MOST_TIMES = 3  # that a summary lists one by one


@dataclass(frozen=True)
class Registered:
    """What the register of its experiment says of a claim.

    `time` (UTC) is when it was written down as it stands, empty if it never was, and `first` when it was in whatever
    form; `changed` if the two are different entries. `stored` of its `planned` runs were stored at `time`; where the
    register counted only all runs of the experiment, `stored` is the most that this leaves open, and `exact` says
    whether it is the number.
    """

    claim: Claim
    time: str = ""
    first: str = ""
    changed: bool = False
    stored: int = 0
    planned: int = 0
    exact: bool = True

    @property
    def early(self) -> bool:
        """Whether it was written down as it stands before any of its runs was stored."""
        return bool(self.time) and self.stored == 0

    @property
    def name(self) -> str:
        """Its number, or its statement."""
        return self.claim.id or f"“{self.claim.statement}”"

    @property
    def counted(self) -> str:
        """How many of its runs were stored when it was written down, in words."""
        if self.stored == 0:
            return f"before any of its {self.planned} runs was stored"
        return f"when {'' if self.exact else 'up to '}{self.stored} of its {self.planned} runs were stored"

    def document(self) -> dict[str, Any]:
        """Return it as JSON; empty if it was never written down as it stands."""
        return {key: value for key, value in vars(self).items() if key != "claim"} if self.time else {}


def registered(results: JudgedResults) -> list[Registered]:
    """Return what the register of an experiment says of each of its claims, in their order."""
    register: Register = results.experiment.register
    forms = [[digest([claim]) for claim in entry["claims"]] for entry in register]
    return [_registered(claim, results, register, forms) for claim in results.claims]


def registration(claim: Registered) -> str:
    """Say of one claim when it was written down."""
    if not claim.time:
        before = f": first written down at {time(claim.first)}, it was changed afterwards" if claim.first else ""
        return f"Not written down before the runs{before}."
    when = f"{time(claim.time)}, {claim.counted}"
    if claim.changed:
        return f"First written down at {time(claim.first)}; as it stands, since {when}."
    return f"Written down at {when}; not changed since."


def of_experiment(results: JudgedResults) -> tuple[list[str], bool]:
    """Return the `summary_of` the claims of one experiment."""
    return summary_of(registered(results), [results.experiment.register], results.claims)


def summary_of(
    claims: Sequence[Registered], registers: Iterable[Register], made: Iterable[Claim | Mapping[str, Any]]
) -> tuple[list[str], bool]:
    """Say when claims were written down, naming those of which it was not before their own runs, and whether all were.

    The last sentence is their hash. A claim of the `registers` that is in no form in `made`, all claims of today, was
    withdrawn and is named.
    """
    today = [claim.document() if isinstance(claim, Claim) else claim for claim in made]
    before = [claim for register in registers for entry in register for claim in entry["claims"]]
    withdrawn = [str(claim["statement"]) for claim in before if not any(_same(claim, other) for other in today)]
    written = [claim for claim in claims if claim.time]
    lines = []
    if written:
        late = [f"{claim.name} ({claim.counted})" for claim in written if not claim.early]
        but = f", except {listed(late)}" if late else ""
        early = f", {'each ' if len(written) > 1 else ''}before any of its own runs was stored{but}"
        if len(late) == len(written):
            early = f", not before its own runs: {listed(late)}"
        changed = [f"{claim.name} (first at {time(claim.first)})" for claim in written if claim.changed]
        since = f"Changed since it was first written down: {listed(changed)}" if changed else "None was changed since"
        lines += [f"{_times(written)}{early}.", f"{since}."]
    if absent := [claim.name for claim in claims if not claim.time]:
        which = listed(absent) if written else "any claim" if len(claims) > 1 else "the claim"
        lines.append(f"Not written down before the runs: {which}.")
    if withdrawn:
        statements = [f"“{statement}”" for statement in dict.fromkeys(withdrawn)]
        lines.append(f"Written down once and not claimed any more: {listed(statements)}.")
    lines.append(f"SHA-256 of all claims together: {digest(claim.claim for claim in claims)}.")
    return lines, all(claim.early for claim in claims) and not withdrawn


def _registered(claim: Claim, results: JudgedResults, register: Register, forms: Sequence[Sequence[str]]) -> Registered:
    # `forms` holds the digests of the claims of each entry. The claim stands as it is since the first of the last
    # entries that all have it.
    document, sha, standing = claim.document(), digest([claim]), len(forms)
    while standing and sha in forms[standing - 1]:
        standing -= 1
    known = [entry for entry in register if any(_same(other, document) for other in entry["claims"])]
    first = str(known[0]["time"]) if known else ""
    if standing == len(forms):
        return Registered(claim, first=first, changed=bool(known))
    entry = register[standing]
    written = Registered(claim, str(entry["time"]), first, changed=known[0] is not entry)
    if "each" in entry:
        counts = entry["each"][forms[standing].index(sha)]
        return replace(written, stored=int(counts["stored"]), planned=int(counts["planned"]))
    planned = int(claim_runs(claim, results.runs, results)["cell"].nunique())
    stored, others = int(entry["stored"]), int(entry["planned"]) - planned
    most, least = min(stored, planned), max(stored - max(others, 0), 0)
    return replace(written, stored=most, planned=planned, exact=most == least)


def _same(claim: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    # Whether two documents are forms of one claim.
    return bool(claim.get("id") and claim["id"] == other.get("id")) or claim["statement"] == other["statement"]


def _times(written: Sequence[Registered]) -> str:
    counts = Counter(time(claim.time) for claim in sorted(written, key=lambda claim: claim.time))
    times = list(counts)
    if len(times) > _MOST_TIMES:
        claims = f"{len(written)} claim{'s were' if len(written) > 1 else ' was'} written down"
        return f"{claims} between {times[0]} and {times[-1]}"
    (first, many), *later = counts.items()
    verb = "claims were" if many > 1 else "claim was"
    return listed([f"{many} {verb} written down at {first}", *(f"{number} at {when}" for when, number in later)])


# The claims of a suite

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many of these are done, and how many there are."""


Again = Mapping[str, Mapping[str, Mapping[str, Any]]]


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
    again       by the headings of other suites that try the same claims, those of their reports, by id
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
    again: Again = field(default_factory=dict)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run that took place, whatever became of it; a run that experiments share counts once."""
        if not self.members:
            return pd.DataFrame(columns=["cell", "environment", "seed", "status"])
        runs = pd.concat([results.runs for results in self.members], ignore_index=True)
        return runs[runs["status"] != "missing"].drop_duplicates("cell", ignore_index=True)

    @cached_property
    def registration(self) -> list[str]:
        """When the claims were written down, and whether before their own runs; the last sentence is their hash."""
        claims = [claim for results in self.members for claim in registered(results)]
        registers = [self.register, *(results.experiment.register for results in self.members)]
        return summary_of(claims, registers, self.claimed or self.claims)[0]

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

    @property
    def registration(self) -> str:
        """When a claim was written down, in words."""
        return registration(self.registered) if self.registered else ""

    @property
    def runs(self) -> pd.DataFrame | None:
        """The scores of the planned runs that a claim is about."""
        return claim_runs(self.claim, self.results.scores, self.results) if self.claim and self.results else None

    @property
    def broken(self) -> bool:
        """Whether it could not be computed although everything for it was there."""
        return bool(self.problem) and (self.runs is None or bool((self.runs["status"] != "missing").any()))


def entries_of(suite: SuiteResults, progress: Progress = lambda *_: None) -> list[Entry]:
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
        try:
            if isinstance(what, Exact):
                holds, sentence = _attempted(what.check, "It could not be computed")
                entry = replace(entry, verdict="supported" if holds else "refuted", said=sentence)
            elif results is not None:
                entry = replace(entry, claim=what)
                if (claim_runs(what, results.scores, results)["status"] == "missing").all():
                    raise RlbenchError("No run of its arms is stored yet.")
                verdict = results.judge(what)
                entry = replace(entry, verdict=verdict.verdict, judged=verdict)
        except RlbenchError as problem:
            entry = replace(entry, problem=str(problem))
        entries.append(entry)
        progress("claims judged", done + 1, len(asked))
    return entries


def _attempted(function: Callable[[], T], what: str) -> T:
    """Call somebody's code: the other claims and errata must not suffer from it."""
    try:
        return function()
    except Exception as problem:
        what_happened = f"{type(problem).__name__}: {' '.join(str(problem).split())}".rstrip(".: ")
        raise RlbenchError(f"{what}: {what_happened}.") from problem


def natural(text: str) -> tuple[Any, ...]:
    """Return a key that sorts 9 before 10 and 22a before 22b; what has no id comes last."""
    parts = re.findall(r"\d+|[^\d\s]+", text)
    return (not parts, [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts])


def claim_runs(claim: Claim, table: pd.DataFrame, results: JudgedResults) -> pd.DataFrame:
    """Return the rows, of a table with one per planned run, that a claim is about."""
    places = list(claim.environments or results.environments)
    return table[table["arm"].isin(claim.arms) & table["environment"].isin(places)]


class Demonstrated(NamedTuple):
    """An erratum, what it does (empty: nothing to measure), and whether showing it failed."""

    erratum: Erratum
    does: str
    broken: bool = False


def demonstrated(errata: Sequence[Erratum], progress: Progress = lambda *_: None) -> list[Demonstrated]:
    """Demonstrate every erratum, in the order of their numbers."""
    shown = []
    for done, erratum in enumerate(sorted(errata, key=lambda erratum: natural(erratum.number))):
        try:
            does = _attempted(erratum.demonstrate, "This could not be shown") if erratum.demonstrate else ""
            shown.append(Demonstrated(erratum, does))
        except RlbenchError as problem:
            shown.append(Demonstrated(erratum, str(problem), broken=True))
        progress("errors shown", done + 1, len(errata))
    return shown
