"""When every claim was written down, how many of its own runs were stored by then, and whether it changed since.

Read from the registers that `rlbench.store.folders` writes. A claim is followed through the entries of a register
by what is judged of it (`rlbench.claims.digest`); what has the same number, or else the same statement, and is judged
otherwise is an earlier form of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlbench.claims import Claim, digest

if TYPE_CHECKING:
    from rlbench.analysis.judge.judged import JudgedResults


Register = Sequence[Mapping[str, Any]]
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

    def document(self) -> dict[str, Any]:
        """Return it as JSON; empty if it was never written down as it stands."""
        told = {key: value for key, value in vars(self).items() if key != "claim"}
        return told if self.time else {}


def registered(results: JudgedResults) -> list[Registered]:
    """Return what the register of an experiment says of each of its claims, in their order."""
    register: Register = results.experiment.register
    forms = [[digest([one]) for one in entry["claims"]] for entry in register]
    return [_registered(claim, results, register, forms) for claim in results.claims]


def registration(claim: Registered) -> str:
    """Say of one claim when it was written down."""
    if not claim.time:
        before = f": first written down at {_at(claim.first)}, it was changed afterwards" if claim.first else ""
        return f"Not written down before the runs{before}."
    when = f"{_at(claim.time)}, {_counted(claim)}"
    if claim.changed:
        return f"First written down at {_at(claim.first)}; as it stands, since {when}."
    return f"Written down at {when}; not changed since."


def of_experiment(results: JudgedResults) -> tuple[list[str], bool]:
    """Return the `summary` of the claims of one experiment."""
    return summary(registered(results), [results.experiment.register], results.claims)


def summary(
    found: Sequence[Registered], registers: Iterable[Register], made: Iterable[Claim | Mapping[str, Any]]
) -> tuple[list[str], bool]:
    """Say when claims were written down, naming those of which it was not before their own runs, and whether all were.

    The last sentence is their hash. A claim of the `registers` that is in no form in `made`, all claims of today, was
    withdrawn and is named.
    """
    dropped = _withdrawn(registers, [one.document() if isinstance(one, Claim) else one for one in made])
    written = [one for one in found if one.time]
    said = []
    if written:
        late = [f"{_name(one)} ({_counted(one)})" for one in written if not one.early]
        but = f", except {_listed(late)}" if late else ""
        before = f", {'each ' if len(written) > 1 else ''}before any of its own runs was stored{but}"
        if len(late) == len(written):
            before = f", not before its own runs: {_listed(late)}"
        changed = [f"{_name(one)} (first at {_at(one.first)})" for one in written if one.changed]
        since = f"Changed since it was first written down: {_listed(changed)}" if changed else "None was changed since"
        said += [f"{_times(written)}{before}.", f"{since}."]
    if absent := [_name(one) for one in found if not one.time]:
        which = _listed(absent) if written else "any claim" if len(found) > 1 else "the claim"
        said.append(f"Not written down before the runs: {which}.")
    if dropped:
        said.append(f"Written down once and not claimed any more: {_listed([f'“{one}”' for one in dropped])}.")
    said.append(f"SHA-256 of all claims together: {digest(one.claim for one in found)}.")
    return said, all(one.early for one in found) and not dropped


def _withdrawn(registers: Iterable[Register], now: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the statements of claims in registers that are in no form among the claims of now."""
    before = [claim for register in registers for entry in register for claim in entry["claims"]]
    return list(dict.fromkeys(str(one["statement"]) for one in before if not any(_same(one, other) for other in now)))


def _registered(claim: Claim, results: JudgedResults, register: Register, forms: Sequence[Sequence[str]]) -> Registered:
    """Return what a register says of a claim; `forms` holds the digests of the claims of each entry."""
    document, sha, standing = claim.document(), digest([claim]), len(forms)
    while standing and sha in forms[standing - 1]:
        standing -= 1
    known = [entry for entry in register if any(_same(one, document) for one in entry["claims"])]
    first = str(known[0]["time"]) if known else ""
    if standing == len(forms):
        return Registered(claim, first=first, changed=bool(known))
    entry, place = register[standing], forms[standing].index(sha)
    changed = known[0] is not entry
    runs = results.runs
    environments = claim.environments or results.environments
    own = int(runs["cell"][runs["arm"].isin(claim.arms) & runs["environment"].isin(environments)].nunique())
    if "each" in entry:
        counts = entry["each"][place]
        return Registered(claim, str(entry["time"]), first, changed, int(counts["stored"]), int(counts["planned"]))
    stored, others = int(entry["stored"]), int(entry["planned"]) - own
    most, least = min(stored, own), max(stored - max(others, 0), 0)
    return Registered(claim, str(entry["time"]), first, changed, most, own, exact=most == least)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two documents are forms of one claim."""
    return bool(one.get("id") and one["id"] == other.get("id")) or one["statement"] == other["statement"]


def _times(written: Sequence[Registered]) -> str:
    """Say how many claims were written down when."""
    counts = Counter(_at(one.time) for one in sorted(written, key=lambda one: one.time))
    times, claims = list(counts), f"{len(written)} claim{'s were' if len(written) > 1 else ' was'} written down"
    if len(times) > _MOST_TIMES:
        return f"{claims} between {times[0]} and {times[-1]}"
    first, *later = counts.items()
    verb = "claims were" if first[1] > 1 else "claim was"
    return _listed([f"{first[1]} {verb} written down at {first[0]}", *(f"{many} at {time}" for time, many in later)])


def _counted(claim: Registered) -> str:
    """Say how many of a claim's runs were stored when it was written down."""
    if claim.stored == 0:
        return f"before any of its {claim.planned} runs was stored"
    most = "" if claim.exact else "up to "
    return f"when {most}{claim.stored} of its {claim.planned} runs were stored"


def _name(claim: Registered) -> str:
    return claim.claim.id or f"“{claim.claim.statement}”"


def _at(time: str) -> str:
    return time.replace("T", " ").replace("+00:00", " UTC")


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
