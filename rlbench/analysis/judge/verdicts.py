"""From a claim and runs to a verdict: supported, refuted, inconclusive or undecidable.

The rule. Each part of a claim (a pair of arms on an environment) is supported if the interval of its effect lies
wholly where the claim says, beyond the smallest effect, and the adjusted p-value says so, too; it is refuted if the
interval lies wholly where the claim cannot be true (for a claim of a difference that includes "within the smallest
effect of 0"); everything else is inconclusive, and then the runs are counted that would probably decide it. A part is
undecidable if there is nothing to compare although the runs were made: no run of an arm has a value of the metric
there, as where no setting meets the premise of the claim. A claim is supported if all its parts are, refuted if one of
them is, and undecidable if one of them is and no more runs can decide the others, either.

Where the runs of the arms are identical (`scores`), the difference is exactly 0 and no test is needed: the part is
supported if 0 is where the claim says, as for "equivalent", and refuted if it is not, as for "greater" or "different".

Both ends count: level 95 % means at most 2.5 % for support of what is false and 2.5 % for refuting what is true.
Intervals are adjusted for the number of parts (Bonferroni's level), p-values by step-down. The two comparisons
of "the inner setting beats both ends" are not corrected for being two: both must hold (intersection-union).

Where runs of a claim's arms failed or diverged and the claim is about returns, it is judged a second time with these
runs as the worst possible score, as comparisons are (`compare`); a share of runs counts them against the claim anyway.

From the runs of a pilot follows how many more would find what is wanted: `seeds_for`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import inf, isfinite, isnan, nan
from typing import Literal

import numpy as np

from rlbench.analysis.judge.compare import ALPHA, Comparison, Sensitivity, compare_all, interim_verdicts, sensitivity
from rlbench.analysis.judge.estimands import Empty, Estimand, Values, estimands_of, one_sided
from rlbench.analysis.scores.results import Results, View
from rlbench.analysis.scores.scores import ALL, STOPPED, exactly
from rlbench.analysis.stats.estimates import Array, Estimate
from rlbench.analysis.stats.power import POWER, Seeds, detectable_effect, seeds_needed
from rlbench.claims import DIRECTIONS, RETURNS, Claim, digest
from rlbench.errors import RlbenchError

Outcome = Literal["supported", "refuted", "inconclusive", "undecidable"]
Places = list[tuple[float, float]]


def regions(claim: Claim) -> tuple[Places, Places]:
    """Return where an interval must lie to support the claim, and where to refute it: in one of these open ranges."""
    low, high = claim.limits
    inside, outside = [(low, high)], [(start, end) for start, end in ((-inf, low), (high, inf)) if start < end]
    return (outside, inside) if DIRECTIONS[claim.direction].outside else (inside, outside)


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
    return replace(verdict, with_failures=_judge(claim, results.failures_as_worst(metric)).verdict)


def judge_at(claim: Claim, results: Results, looks: Sequence[int], look: int) -> Verdict:
    """Return the verdict at a look, from 1 on, of those that are planned after so many seeds (`looks`).

    It rests on the runs that were there at that look. Each look has its share of what the claim's level leaves to
    errors, in proportion to the runs that it adds: their sum bounds the chance of a false decision at any of them.
    """
    share = (looks[look - 1] - (looks[look - 2] if look > 1 else 0)) / looks[-1]
    seeds = results.experiment.json["seeds"][: looks[look - 1]]
    verdict = judge(replace(claim, level=1 - (1 - claim.level) * share), results.of_seeds(seeds))
    return replace(verdict, claim=claim)


def _judge(claim: Claim, results: Results) -> Verdict:
    (families, values), (low, high) = estimands_of(claim, results), claim.limits
    empty, planned = values.empty(), len(values.table)
    parts: list[Part] = []
    for group in families:
        level = 1 - (1 - claim.level) / max(len(group), 1)

        def p_values(above: bool, family: list[Estimand] = group) -> list[Array]:
            """Return those of theta above (below) the lower limit and below (above) the upper one."""
            sides = [(limit, side) for limit, side in ((low, above), (high, not above)) if isfinite(limit)]
            return [one_sided(family, limit, side, results.seed) for limit, side in sides]

        both = [np.max(p_values(True), axis=0), np.min(p_values(False), axis=0)]  # theta lies inside; outside
        p, p_against = reversed(both) if DIRECTIONS[claim.direction].outside else both
        parts += [
            _part(claim, estimand, level, float(p[index]), float(p_against[index]), empty, results.seed)
            for index, estimand in enumerate(group)
        ]
    verdicts = {part.verdict for part in parts}
    order: tuple[Outcome, ...] = ("refuted", "inconclusive", "undecidable", "supported")
    outcome: Outcome = next((verdict for verdict in order if verdict in verdicts), "inconclusive")
    return Verdict(claim, outcome, tuple(parts), planned, planned - values.entered)


def _part(claim: Claim, estimand: Estimand, level: float, p: float, p_against: float, empty: Empty, seed: int) -> Part:
    alpha, effect, (supports, refutes) = 1 - claim.level, estimand.interval(level, seed), regions(claim)
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
        distance = min(abs(effect.point - limit) for limit in claim.limits)
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
        if self.view is not None:
            return self._of_whole(self.view, arm, baseline, metric)
        baseline = baseline or self.baseline
        if arm is not None and baseline is None:
            raise RlbenchError("The experiment names no baseline: say with which arm to compare.")
        if baseline is None:
            return []
        pairs = [(other, baseline) for other in (self.arms if arm is None else [arm]) if other != baseline or arm]
        compared = compare_all(self, pairs, metric or self.metrics[0]) if pairs else []
        return interim_verdicts(compared, self.experiment.sequential)

    def _of_whole(self, view: View, arm: str | None, baseline: str | None, metric: str | None) -> list[Comparison]:
        """Return the comparisons of all arms, corrected together, that are shown here, under their labels here."""
        whole = view.whole if isinstance(view.whole, JudgedResults) else JudgedResults.of(view.whole)
        known = {label: name for name, label in view.labels.items()}
        if arm is baseline is metric is None:
            compared = whole.comparisons
        else:
            first, second = (known.get(one, one) if one else None for one in (arm, baseline))
            compared = whole.compare(first, second, metric)
        return [
            replace(one, arm=view.labels[one.arm], baseline=view.labels.get(one.baseline, one.baseline))
            for one in compared
            if one.arm in view.labels
        ]

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every arm against the baseline in the primary score."""
        return self.compare()

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """What the runs say of every claim: supported, refuted, inconclusive or undecidable.

        Where seeds were added until the claims were settled, what they said at the look that settled it, or the last.
        """
        record = self.experiment.sequential or {}
        if "settled" not in record:
            return [self.judge(claim) for claim in self.claims]
        settled = record["settled"]
        return [
            judge_at(claim, self, record["looks"], settled.get(digest([claim]), record["looked"]))
            for claim in self.claims
        ]

    def judge(self, claim: Claim) -> Verdict:
        """Return what the runs say of a claim, also of one that the experiment does not make."""
        return judge(claim, self)

    @cached_property
    def sensitivity(self) -> list[Sensitivity]:
        """The comparisons beside the same ones with failed runs as the worst score; empty if no run failed."""
        return sensitivity(self, self.comparisons)


@dataclass(frozen=True)
class Wanted:
    """How many runs per arm and environment one comparison needs.

    `n_arm` and `n_baseline` are the smallest numbers of used runs in an environment; `spread` is the standard
    deviation of a run, of both arms and all environments pooled; `detectable` the difference that the runs at hand
    find, `needed` the runs that find the wanted one. Differences and spread are in units of the metric.
    """

    arm: str
    baseline: str
    environment: str
    n_arm: int
    n_baseline: int
    spread: float
    detectable: float
    needed: Seeds


def seeds_for(
    results: JudgedResults, effect: float, metric: str = "auc_normalised", power: float = POWER
) -> list[Wanted]:
    """Return what every comparison with the baseline needs to find a true difference of `effect`.

    Each comparison has its share of the level, as if all were as hard to decide (Bonferroni).

    Raises:
        RlbenchError: no comparison is made, `effect` or `power` make no sense, or an environment has no reference
            for a normalised metric.
    """
    if not effect > 0:
        raise RlbenchError(f"The wanted effect must be above 0, not {effect}.")
    if not 0.5 <= power < 1:
        raise RlbenchError(f"The power must be at least 0.5 and below 1, not {power}.")
    if metric not in results.scores:
        raise RlbenchError(f"There is no score {metric!r}; known: auc, final, last100, and each with _normalised.")
    if not results.comparisons:
        raise RlbenchError("Nothing is compared here: seeds are planned for comparisons of arms with a baseline.")
    scaled = metric.endswith("_normalised")
    comparisons = [comparison for comparison in results.comparisons if scaled or comparison.environment != ALL]
    alpha, wanted = ALPHA / len(comparisons), []
    for pair in comparisons:
        values = Values(results, metric, [pair.arm, pair.baseline], pair.environments)
        if not values.known(pair.environments):
            raise RlbenchError(
                f"No reference returns are known for {pair.environment}, so its scores are not normalised; plan with "
                "the metric auc, in units of the return."
            )
        difference = values.difference(pair.arm, pair.baseline, pair.environments)
        spread, (n, m) = difference.spread(), difference.per_task
        pooled = float(np.sqrt(np.mean(np.square([*spread.arm, *spread.baseline]))))
        detectable = detectable_effect(spread, n, m, alpha=alpha, power=power)
        needed = seeds_needed(spread, effect, alpha=alpha, power=power, least=difference.least(ALPHA))
        wanted.append(Wanted(pair.arm, pair.baseline, pair.environment, n, m, pooled, detectable, needed))
    return wanted


def cost(results: JudgedResults, wanted: Sequence[Wanted]) -> tuple[float, float]:
    """Return how many runs the largest of the numbers of seeds adds to those that are used, and their seconds.

    Every arm runs in every environment; seconds are the pilot's mean per run. Infinite where no number will do.
    """
    known = [need.needed.n for need in wanted if np.isfinite(need.needed.n)]
    if len(known) < len(wanted):
        return float("inf"), float("inf")
    used = results.scores[results.scores["used"].astype(bool)].groupby(["arm", "environment"]).size()
    planned = results.scores.groupby(["arm", "environment"]).size()
    more = float(sum(max(max(known) - used.get(key, 0), 0) for key in planned.index))
    seconds = results.runs.loc[results.runs["status"] == "finished", "seconds"]
    return more, more * float(seconds.mean())
