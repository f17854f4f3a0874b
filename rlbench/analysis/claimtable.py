"""Claims in a report: the table of verdicts, and a sentence per claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rlbench.analysis.digits import NONE, form_of, text
from rlbench.analysis.identity import IDENTICAL
from rlbench.analysis.intervals import Estimate
from rlbench.analysis.tables import Table
from rlbench.analysis.verdicts import Part, Verdict, clearance, regions
from rlbench.claims import Claim

if TYPE_CHECKING:
    from rlbench.analysis.results import Results


def claims_table(results: Results) -> Table:
    """One row per part of every claim, with its numbers."""
    data, shown = [], []
    for verdict in results.verdicts:
        for part in verdict.parts:
            data.append(part_row(verdict, part))
            shown.append(
                {
                    "Claim": verdict.claim.statement,
                    "Part": part_name(part),
                    "Metric": verdict.claim.metric,
                    "Runs": str(part.n_arm) if not part.n_other else f"{part.n_arm} vs {part.n_other}",
                    "Effect": brief(part.effect),
                    "Claimed": limits(verdict.claim),
                    "p corrected": "0.0001 or less" if part.p <= 1e-4 else number(part.p),
                    "Verdict": part.verdict,
                    "Runs needed": needed_text(part),
                }
            )
    return Table(
        "claims",
        "Claims, part by part",
        pd.DataFrame(data),
        pd.DataFrame(shown),
        "Effect: the difference of means, change, mean or share that the claim is about, with its interval at the "
        "claim's level, adjusted for its number of parts. p: of the claim being false there. Runs needed: per arm and "
        "environment, to decide with probability 0.8 if the effect and the spread are what was estimated; in brackets "
        "what the uncertainty of the spread leaves open.",
    )


def claim_sentence(verdict: Verdict) -> str:
    """Say what the runs say of a claim, by the part on which it hangs."""
    claim, hinge = verdict.claim, decisive(verdict)
    said = [f"“{claim.statement}” is {verdict.verdict}."]
    many = f" (the {'weakest' if verdict.verdict == 'supported' else 'decisive'} of {len(verdict.parts)} parts)"
    if np.isfinite(hinge.effect.point):
        p = hinge.p_against if verdict.verdict == "refuted" else hinge.p
        where = part_name(hinge) + (many if len(verdict.parts) > 1 else "")
        sure = "p ≤ 0.0001" if p <= 1e-4 else f"p = {number(p)}"
        sure = "every seed gave exactly the same with both" if hinge.effect.method == IDENTICAL else sure
        said.append(f"{where}: {claim.metric} {brief(hinge.effect)}, claimed {limits(claim)}; {sure}.")
    if hinge.size is not None and np.isfinite(hinge.size.point):
        said.append(f"{hinge.size_name}: {brief(hinge.size)}.")
    if hinge.note and verdict.verdict in ("inconclusive", "undecidable"):
        said.append(hinge.note)
    elif verdict.verdict == "inconclusive" and np.isfinite(verdict.needed):
        said.append(f"About {verdict.needed:.0f} runs per arm and environment would have been needed.")
    elif verdict.verdict == "inconclusive":
        said.append("No reasonable number of runs would decide it if the effect is what was estimated.")
    if verdict.left_out:
        said.append(f"Left out: {verdict.left_out} of {verdict.planned} planned runs.")
    if verdict.with_failures is not None:
        instead = (
            verdict.with_failures if verdict.with_failures == verdict.verdict else f"{verdict.with_failures} instead"
        )
        said.append(f"If those that failed or diverged count as the worst score, it is {instead}.")
    return " ".join(said)


def limits(claim: Claim) -> str:
    """Return what the claim says of its effect, as `> 0.05`."""
    d, bound = claim.smallest_effect, claim.bound or 0.0
    if claim.direction == "within":
        return f"{number(bound - d)} to {number(bound + d)}"
    if claim.direction in ("equivalent", "different"):
        return f"{'within' if claim.direction == 'equivalent' else 'beyond'} ±{number(d)}"
    below = claim.direction in ("less", "decreasing", "dip", "below", "not-greater")
    beyond = claim.direction not in ("not-less", "not-greater")
    return f"{'<' if below else '>'} {number(bound + (-d if below == beyond else d))}"


def brief(estimate: Estimate) -> str:
    """Return an estimate with three significant digits, or as many as show its interval; a dash where there is none."""
    if not np.isfinite(estimate.point):
        return NONE
    if not np.isfinite(estimate.low):
        return number(estimate.point)
    low, high = number(estimate.low), number(estimate.high)
    if low == high and estimate.low < estimate.high:
        return text(estimate, form_of([estimate], 0))
    return f"{number(estimate.point)} [{low}, {high}]"


def part_row(verdict: Verdict, part: Part) -> dict[str, Any]:
    """Return a row with full numbers."""
    claim, size, needed = verdict.claim, part.size, part.needed
    return {
        "claim": claim.statement,
        "verdict": verdict.verdict,
        "verdict_with_failures": verdict.with_failures or verdict.verdict,
        "direction": claim.direction,
        "metric": claim.metric,
        "smallest_effect": claim.smallest_effect,
        "bound": claim.bound,
        "arm": part.arm,
        "other": part.other,
        "environment": part.environment,
        "n_arm": part.n_arm,
        "n_other": part.n_other,
        "effect": part.effect.point,
        "effect_low": part.effect.low,
        "effect_high": part.effect.high,
        "level": part.effect.level,
        "method": part.effect.method,
        "p": part.p,
        "p_against": part.p_against,
        "size_name": part.size_name,
        "size": size.point if size else np.nan,
        "size_low": size.low if size else np.nan,
        "size_high": size.high if size else np.nan,
        "detectable": part.detectable,
        "needed": needed.n if needed else np.nan,
        "needed_low": needed.low if needed else np.nan,
        "needed_high": needed.high if needed else np.nan,
        "part_verdict": part.verdict,
        "note": part.note,
    }


def decisive(verdict: Verdict) -> Part:
    """Return the part that refutes most surely, or the least sure one; of equal p, by how far from the limit it is."""
    support, refute = regions(verdict.claim)
    if verdict.verdict == "refuted":
        refuting = (part for part in verdict.parts if part.verdict == "refuted")
        return min(refuting, key=lambda part: (_sure(part.p_against), -_sureness(part, refute)))
    open_parts: Sequence[Part] = [part for part in verdict.parts if part.verdict == verdict.verdict]
    return max(open_parts, key=lambda part: (bool(part.note), _sure(part.p), -_sureness(part, support)))


def _sure(p: float) -> float:
    """Return a p-value, 0 where none was needed."""
    return 0.0 if np.isnan(p) else p


def _sureness(part: Part, places: Sequence[tuple[float, float]]) -> float:
    """Return how far inside its interval lies, in widths of the interval."""
    width = part.effect.high - part.effect.low
    return clearance(part.effect, places) / width if width > 0 else np.inf


def part_name(part: Part) -> str:
    """Return which arm, against which other one, on which environment."""
    against = f" against {part.other}" if part.other else ""
    return f"{part.arm}{against} on {part.environment}"


def needed_text(part: Part) -> str:
    """Return the number of runs that would decide a part, with its range."""
    if part.needed is None or np.isnan(part.needed.n):
        return NONE
    n, low, high = (
        f"{one:.0f}" if np.isfinite(one) else "∞" for one in (part.needed.n, part.needed.low, part.needed.high)
    )
    return f"{n} ({low} to {high})"


def number(value: float) -> str:
    """Return three significant digits, thousands with commas and without an exponent."""
    if not np.isfinite(value):
        return NONE
    short = f"{value:.3g}"
    return (f"{float(short):,.0f}" if 999 < abs(float(short)) < 1e9 else short).replace("-", "−")
