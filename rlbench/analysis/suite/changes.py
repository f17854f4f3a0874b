"""What would change a verdict, said from its numbers; and what became of the runs behind it."""

from __future__ import annotations

import numpy as np

from rlbench.analysis.claimtable import number, part_name
from rlbench.analysis.identity import IDENTICAL
from rlbench.analysis.suite.entries import Entry, claim_runs
from rlbench.analysis.suite.words import claimed_text, effect_text
from rlbench.analysis.verdicts import Part, Verdict, clearance, regions
from rlbench.claims import Claim


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
