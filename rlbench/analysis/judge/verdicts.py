"""From a claim and runs to a verdict: supported, refuted, inconclusive or undecidable.

The rule. Each part of a claim (a pair of arms on an environment) is supported if the interval of its effect lies
wholly where the claim says, beyond the smallest effect, and the adjusted p-value says so, too; it is refuted if the
interval lies wholly where the claim cannot be true (for a claim of a difference that includes "within the smallest
effect of 0"); everything else is inconclusive, and then the runs are counted that would probably decide it. A part is
undecidable if there is nothing to compare although the runs were made: no run of an arm has a value of the metric
there, as where no setting meets the premise of the claim. A claim is supported if all its parts are, refuted if one of
them is, and undecidable if one of them is and no more runs can decide the others, either.

Where the runs of the arms are identical (`identity`), the difference is exactly 0 and no test is needed: the part is
supported if 0 is where the claim says, as for "equivalent", and refuted if it is not, as for "greater" or "different".

Both ends count: level 95 % means at most 2.5 % for support of what is false and 2.5 % for refuting what is true.
Intervals are adjusted for the number of parts (Bonferroni's level), p-values by step-down. The two comparisons
of "the inner setting beats both ends" are not corrected for being two: both must hold (intersection-union).

Where runs of a claim's arms failed or diverged and the claim is about returns, it is judged a second time with these
runs as the worst possible score (`rlbench.analysis.judge.sensitivity`); a share of runs counts them against the claim
anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf, isnan, nan
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from rlbench.analysis.judge.estimands import Question, ask, one_sided
from rlbench.analysis.judge.sensitivity import STOPPED, failures_as_worst
from rlbench.analysis.scores.identity import exactly
from rlbench.analysis.stats.estimates import Estimate
from rlbench.analysis.stats.power import Seeds, detectable_effect, seeds_needed
from rlbench.analysis.stats.statistics import Array
from rlbench.claims import RETURNS, Claim

if TYPE_CHECKING:
    from rlbench.analysis.scores.results import Results


Outcome = Literal["supported", "refuted", "inconclusive", "undecidable"]


class _Side(NamedTuple):
    """Theta lies above (or below) the bound plus so many smallest effects."""

    above: bool
    margins: int


class _Rule(NamedTuple):
    """What supports and what refutes a direction: all, or any, of these sides."""

    support: tuple[_Side, ...]
    all_support: bool
    refute: tuple[_Side, ...]
    all_refute: bool


_MORE = _Rule((_Side(True, 1),), True, (_Side(False, 1),), True)
_LESS = _Rule((_Side(False, -1),), True, (_Side(True, -1),), True)
_INSIDE, _OUTSIDE = (_Side(True, -1), _Side(False, 1)), (_Side(True, 1), _Side(False, -1))
_SAME = _Rule(_INSIDE, True, _OUTSIDE, False)
_RULES = {
    **dict.fromkeys(("greater", "increasing", "peak", "above"), _MORE),
    **dict.fromkeys(("less", "decreasing", "dip", "below"), _LESS),
    **dict.fromkeys(("equivalent", "within"), _SAME),
    "different": _Rule(_OUTSIDE, False, (_Side(False, 1), _Side(True, -1)), True),
    "not-less": _Rule((_Side(True, -1),), True, (_Side(False, -1),), True),
    "not-greater": _Rule((_Side(False, 1),), True, (_Side(True, 1),), True),
}


def regions(claim: Claim) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return where an interval must lie to support the claim, and where to refute it: in one of these open ranges."""
    rule, origin = _RULES[claim.direction], claim.bound or 0.0

    def ranges(sides: tuple[_Side, ...], every: bool) -> list[tuple[float, float]]:
        places = [(origin + side.margins * claim.smallest_effect, side.above) for side in sides]
        rays = [(at, inf) if above else (-inf, at) for at, above in places]
        return [(max(low for low, _ in rays), min(high for _, high in rays))] if every else rays

    return ranges(rule.support, rule.all_support), ranges(rule.refute, rule.all_refute)


def clearance(effect: Estimate, places: Sequence[tuple[float, float]]) -> float:
    """Return how far inside one of the ranges an interval lies; negative: how far it reaches out of the nearest."""
    return max(min(effect.low - low, high - effect.high) for low, high in places)


@dataclass(frozen=True)
class Part:
    """The verdict on one arm, or pair of arms, on one environment.

    `other` is empty where the arm is held against a number, and `environment` is `compare.ALL` for the mean over
    `environments`. `n_arm` and `n_other` count runs (of a trend: complete seeds). `effect` is theta with its interval
    at the adjusted level: a difference of means, a mean, a share or a linear change, in units of the metric. `p` is
    the adjusted p-value against the claim being false here, `p_against` against its being true. `size` is an effect
    size without unit, described by `size_name`. `detectable` is the distance from the nearest limit of the claim that
    so many runs find with probability 0.8, and `needed`, of an inconclusive part, the runs per arm and environment
    that would find the estimated one. `note` says what stands in the way.
    """

    arm: str
    other: str
    environment: str
    environments: tuple[str, ...]
    n_arm: int
    n_other: int
    effect: Estimate
    p: float
    p_against: float
    size_name: str
    size: Estimate | None
    detectable: float
    needed: Seeds | None
    verdict: Outcome
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the runs say of a claim; `left_out` counts the planned runs that did not enter.

    `with_failures` is the verdict if failed and diverged runs count as the worst score; None if that changes no number.
    """

    claim: Claim
    verdict: Outcome
    parts: tuple[Part, ...]
    planned: int
    left_out: int
    with_failures: Outcome | None = None

    @property
    def p(self) -> float:
        """The adjusted p-value of the verdict: of the part that is least sure, or of the one that refutes."""
        if self.verdict == "refuted":
            return min(part.p_against for part in self.parts if part.verdict == "refuted")
        return float(np.max([part.p for part in self.parts]))

    @property
    def needed(self) -> float:
        """Runs per arm and environment that would probably decide an inconclusive claim; NaN if unknown."""
        counts = [part.needed.n for part in self.parts if part.needed]
        return max(counts, default=float("nan"))


def judge(claim: Claim, results: Results, seed: int = 0) -> Verdict:
    """Return the verdict of the runs on a claim.

    Raises:
        RlbenchError: the claim names an arm, environment or metric that the results do not have.
    """
    worst = _failures_as_worst(claim, results)
    verdict = _judge(claim, results, seed)
    return verdict if worst is None else replace(verdict, with_failures=_judge(claim, worst, seed).verdict)


def _failures_as_worst(claim: Claim, results: Results) -> Results | None:
    """Return the results with failed and diverged runs as the worst score; None if the claim has none of a return."""
    metric, scores = claim.metric.removesuffix("_normalised"), results.scores
    stopped = scores["status"].isin(STOPPED) & scores["arm"].isin(claim.arms)
    if claim.environments:
        stopped &= scores["environment"].isin(claim.environments)
    if not stopped.any() or metric not in RETURNS or claim.event is not None:
        return None
    return results.with_scores(failures_as_worst(scores, [metric], results.references))


def _judge(claim: Claim, results: Results, seed: int) -> Verdict:
    asked = ask(claim, results)
    parts: list[Part] = []
    # Both ends of an interior optimum must be beaten: each end is a family of its own.
    for group in asked.families:
        level = 1 - (1 - claim.level) / max(len(group), 1)
        origin = claim.bound or 0.0
        tests = _tests(claim, group, origin, seed)
        parts += [
            _possible(_part(claim, one, level, origin, tests, index, seed), asked.empty)
            for index, one in enumerate(group)
        ]
    verdicts = {part.verdict for part in parts}
    order: tuple[Outcome, ...] = ("refuted", "inconclusive", "undecidable", "supported")
    outcome: Outcome = next((one for one in order if one in verdicts), "inconclusive")
    return Verdict(claim, outcome, tuple(parts), asked.planned, asked.left_out)


def _possible(part: Part, empty: Mapping[tuple[str, str], str]) -> Part:
    """Return a part, as undecidable where it has no effect and `empty` says that more runs would give none."""
    why = [empty[key] for key in product(part.environments, (part.arm, part.other)) if key in empty]
    if not why or not isnan(part.effect.point):
        return part
    return replace(part, verdict="undecidable", note=f"It cannot be decided: {why[0]}.")


def _tests(claim: Claim, group: Sequence[Question], origin: float, seed: int) -> dict[_Side, Array]:
    """Return the adjusted p-values of every side that the claim's rule asks for, `[questions]` each."""
    rule = _RULES[claim.direction]
    return {
        side: one_sided(group, origin + side.margins * claim.smallest_effect, side.above, seed)
        for side in {*rule.support, *rule.refute}
    }


def _part(
    claim: Claim, question: Question, level: float, origin: float, tests: dict[_Side, Array], index: int, seed: int
) -> Part:
    """Return the verdict on one question."""
    rule, alpha, effect = _RULES[claim.direction], 1 - claim.level, question.interval(level, seed)
    margin = claim.smallest_effect

    def holds(sides: tuple[_Side, ...], every: bool) -> tuple[bool, float]:
        """Return whether the interval lies there, and the p-value for it."""
        places = [origin + side.margins * margin for side in sides]
        inside = [effect.low > at if side.above else effect.high < at for side, at in zip(sides, places, strict=True)]
        p = [float(tests[side][index]) for side in sides]
        return (all(inside), max(p)) if every else (any(inside), min(p))

    support, p = holds(rule.support, rule.all_support)
    refute, p_against = holds(rule.refute, rule.all_refute)
    verdict: Outcome = "inconclusive"
    if support and p <= alpha:
        verdict = "supported"
    elif refute and p_against <= alpha:
        verdict = "refuted"
    if question.identical:
        effect = exactly(effect)
        support, _ = holds(rule.support, rule.all_support)
        verdict, p, p_against = "supported" if support else "refuted", nan, nan
    (n, m), spread = question.counts, question.spread()
    limits = [origin + side.margins * margin for side in {*rule.support, *rule.refute}]
    distance = min(abs(effect.point - at) for at in limits)
    least, other = question.per_task
    note = question.refusal(alpha) if n else f"No run of {question.arm} on {question.environment} can be used."
    size_name, size = ("", None) if question.identical else question.size(claim.level, seed)
    return Part(
        arm=question.arm,
        other=question.other,
        environment=question.environment,
        environments=question.environments,
        n_arm=n,
        n_other=m,
        effect=effect,
        p=p,
        p_against=p_against,
        size_name=size_name,
        size=size,
        detectable=detectable_effect(spread, least, other or least, alpha=1 - level),
        needed=None
        if isnan(distance) or verdict != "inconclusive"
        else seeds_needed(spread, distance, alpha=1 - level, least=question.least(alpha)),
        verdict=verdict,
        note=note,
    )
