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
runs as the worst possible score, as comparisons are (`compare`); a share of runs counts them against the claim anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import inf, isnan, nan
from typing import Literal, NamedTuple

import numpy as np

from rlbench.analysis.judge.compare import Comparison, Sensitivity, compare_all, interim_verdicts, sensitivity
from rlbench.analysis.judge.estimands import Estimand, estimands_of, one_sided
from rlbench.analysis.scores.results import Results
from rlbench.analysis.scores.scores import STOPPED, exactly, failures_as_worst
from rlbench.analysis.stats.estimates import Estimate
from rlbench.analysis.stats.power import Seeds, detectable_effect, seeds_needed
from rlbench.claims import RETURNS, Claim
from rlbench.errors import RlbenchError

Outcome = Literal["supported", "refuted", "inconclusive", "undecidable"]
Places = list[tuple[float, float]]


class _Side(NamedTuple):
    """Theta lies above (or below) the bound plus so many smallest effects."""

    above: bool
    margins: int

    def limit(self, claim: Claim) -> float:
        return (claim.bound or 0.0) + self.margins * claim.smallest_effect


class _Rule(NamedTuple):
    """What supports and what refutes a direction: all of the first sides and any of the second, or the other way."""

    support: tuple[_Side, ...]
    refute: tuple[_Side, ...]
    every: bool = True


_MORE = _Rule((_Side(True, 1),), (_Side(False, 1),))
_LESS = _Rule((_Side(False, -1),), (_Side(True, -1),))
_INSIDE, _OUTSIDE = (_Side(True, -1), _Side(False, 1)), (_Side(True, 1), _Side(False, -1))
_RULES = {
    **dict.fromkeys(("greater", "increasing", "peak", "above"), _MORE),
    **dict.fromkeys(("less", "decreasing", "dip", "below"), _LESS),
    **dict.fromkeys(("equivalent", "within"), _Rule(_INSIDE, _OUTSIDE)),
    "different": _Rule(_OUTSIDE, _INSIDE, every=False),
    "not-less": _Rule((_Side(True, -1),), (_Side(False, -1),)),
    "not-greater": _Rule((_Side(False, 1),), (_Side(True, 1),)),
}


def regions(claim: Claim) -> tuple[Places, Places]:
    """Return where an interval must lie to support the claim, and where to refute it: in one of these open ranges."""
    rule = _RULES[claim.direction]

    def ranges(sides: tuple[_Side, ...], every: bool) -> Places:
        rays = [(side.limit(claim), inf) if side.above else (-inf, side.limit(claim)) for side in sides]
        return [(max(low for low, _ in rays), min(high for _, high in rays))] if every else rays

    return ranges(rule.support, rule.every), ranges(rule.refute, not rule.every)


def clearance(effect: Estimate, places: Sequence[tuple[float, float]]) -> float:
    """Return how far inside one of the ranges an interval lies; negative: how far it reaches out of the nearest."""
    return max(min(effect.low - low, high - effect.high) for low, high in places)


@dataclass(frozen=True)
class Part:
    """The verdict on one arm, or pair of arms, on one environment.

    `other` is empty where the arm is held against a number, and `environment` is `ALL` for the mean over
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


def judge(claim: Claim, results: Results) -> Verdict:
    """Return the verdict of the runs on a claim.

    Raises:
        RlbenchError: the claim names an arm, environment or metric that the results do not have.
    """
    metric, scores = claim.metric.removesuffix("_normalised"), results.scores
    stopped = scores["status"].isin(STOPPED) & scores["arm"].isin(claim.arms)
    if claim.environments:
        stopped &= scores["environment"].isin(claim.environments)
    verdict = _judge(claim, results)
    if not stopped.any() or metric not in RETURNS or claim.event is not None:
        return verdict
    worst = results.with_scores(failures_as_worst(scores, [metric], results.references))
    return replace(verdict, with_failures=_judge(claim, worst).verdict)


def _judge(claim: Claim, results: Results) -> Verdict:
    rule, asked = _RULES[claim.direction], estimands_of(claim, results)
    parts: list[Part] = []
    for group in asked.families:
        level = 1 - (1 - claim.level) / max(len(group), 1)
        tests = {
            side: one_sided(group, side.limit(claim), side.above, results.seed)
            for side in {*rule.support, *rule.refute}
        }
        for index, estimand in enumerate(group):
            p_values = {side: float(p[index]) for side, p in tests.items()}
            parts.append(_part(claim, estimand, level, p_values, asked.empty, results.seed))
    verdicts = {part.verdict for part in parts}
    order: tuple[Outcome, ...] = ("refuted", "inconclusive", "undecidable", "supported")
    outcome: Outcome = next((verdict for verdict in order if verdict in verdicts), "inconclusive")
    return Verdict(claim, outcome, tuple(parts), asked.planned, asked.left_out)


def _part(
    claim: Claim,
    estimand: Estimand,
    level: float,
    p_values: Mapping[_Side, float],
    empty: Mapping[tuple[str, str], str],
    seed: int,
) -> Part:
    """Return the verdict on an estimand; `empty` says where more runs would give no value."""
    rule, alpha, effect = _RULES[claim.direction], 1 - claim.level, estimand.interval(level, seed)
    supports, refutes = regions(claim)
    first, second = (max, min) if rule.every else (min, max)
    p, p_against = first(p_values[side] for side in rule.support), second(p_values[side] for side in rule.refute)
    (n, m), (least, other) = estimand.counts, estimand.per_task
    note = estimand.refusal(alpha) if n else f"No run of {estimand.arm} on {estimand.environment} can be used."
    size_name, size = estimand.size(claim.level, seed)
    why = [empty[key] for key in product(estimand.environments, estimand.arms) if key in empty]
    verdict: Outcome = "inconclusive"
    if estimand.identical:
        effect, p, p_against, size_name, size = exactly(effect), nan, nan, "", None
        verdict = "supported" if clearance(effect, supports) > 0 else "refuted"
    elif clearance(effect, supports) > 0 and p <= alpha:
        verdict = "supported"
    elif clearance(effect, refutes) > 0 and p_against <= alpha:
        verdict = "refuted"
    elif isnan(effect.point) and why:
        verdict, note = "undecidable", f"It cannot be decided: {why[0]}."
    needed = None
    if verdict == "inconclusive" and not isnan(effect.point):
        distance = min(abs(effect.point - side.limit(claim)) for side in p_values)
        needed = seeds_needed(estimand.spread(), distance, alpha=1 - level, least=estimand.least(alpha))
    return Part(
        arm=estimand.arm,
        other=estimand.other,
        environment=estimand.environment,
        environments=estimand.environments,
        n_arm=n,
        n_other=m,
        effect=effect,
        p=p,
        p_against=p_against,
        size_name=size_name,
        size=size,
        detectable=detectable_effect(estimand.spread(), least, other or least, alpha=1 - level),
        needed=needed,
        verdict=verdict,
        note=note,
    )


class JudgedResults(Results):
    """Results that answer questions; everything is computed when it is first asked for, from their seed."""

    def compare(
        self, arm: str | None = None, baseline: str | None = None, metric: str | None = None
    ) -> list[Comparison]:
        """Compare one arm, or all of them, with `baseline`, by default the experiment's; no baseline: nothing.

        Per environment and over all of them; see `rlbench.analysis.judge.compare`. `metric` is the primary one if
        None. Where seeds were added in stages, only what the interim analyses decided has a verdict.
        """
        baseline = baseline or self.baseline
        if arm is not None and baseline is None:
            raise RlbenchError("The experiment names no baseline: say with which arm to compare.")
        if baseline is None:
            return []
        pairs = [(other, baseline) for other in (self.arms if arm is None else [arm]) if other != baseline or arm]
        compared = compare_all(self, pairs, metric or self.metrics[0]) if pairs else []
        return interim_verdicts(compared, self.experiment.sequential)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every arm against the baseline in the primary score."""
        return self.compare()

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """What the runs say of every claim: supported, refuted, inconclusive or undecidable."""
        return [self.judge(claim) for claim in self.claims]

    def judge(self, claim: Claim) -> Verdict:
        """Return what the runs say of a claim, also of one that the experiment does not make."""
        return judge(claim, self)

    @cached_property
    def sensitivity(self) -> list[Sensitivity]:
        """The comparisons beside the same ones with failed runs as the worst score; empty if no run failed."""
        return sensitivity(self, self.comparisons)
