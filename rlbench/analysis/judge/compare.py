"""Does one arm beat another, by how much, and how sure: comparisons with a baseline and their verdicts.

The verdict rule. An arm is "better" than its baseline if the permutation test's p-value, adjusted by the step-down
of the largest |t| for all comparisons made in the same call (`tests`), is below 0.05 and the 95 % interval of the
difference of means lies above 0; "worse" if p is below 0.05 and the interval lies below 0; "inconclusive" in every
other case. Inconclusive is not equal; "identical" are arms whose runs are the same seed by seed (`scores`).

Comparisons are per environment, in units of the episode return, and with several environments also over all
of them, where scores are normalised by fixed references (`scores`) and each environment counts the same;
that row is left out if an environment has no reference. Only `used` runs enter (`scores`); the others are
counted.

A run that failed or diverged has no score of its whole budget. Where runs fail because of the algorithm, leaving them
out flatters it. So every comparison is made a second time with these runs as the worst possible score
(`Sensitivity`). The truth lies between the two; where their verdicts differ, the data do not carry either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from rlbench.analysis.judge.estimands import Difference, Values
from rlbench.analysis.scores.results import Results
from rlbench.analysis.scores.scores import METRICS, STOPPED, exactly, possible_range
from rlbench.analysis.stats.estimates import LEVEL, Estimate
from rlbench.analysis.stats.intervals import improvement_interval, mean_interval
from rlbench.analysis.stats.power import detectable_effect
from rlbench.analysis.stats.tests import smallest_p, step_down
from rlbench.errors import RlbenchError, nearest

ALPHA = 0.05
ComparisonVerdict = Literal["better", "worse", "inconclusive", "identical"]


@dataclass(frozen=True)
class Comparison:
    """One arm against its baseline on one environment, or over several with normalised scores.

    `environment` is a label, or `ALL` for all of `environments` together (then `normalised`). `planned_*` and
    `n_*` count the planned and the used runs. `difference` is mean of the arm minus mean of the baseline, and
    `improvement` the probability that a run of the arm scores higher than one of the baseline. `p_adjusted`
    is corrected for the `comparisons` of the family; `smallest_p` is the smallest p-value that so few runs could give,
    whatever their scores, and `fewest` the equal number of runs per environment that could decide. `detectable` is the
    smallest difference that so many runs find with probability 0.8, if the arms are as spread as these are and each of
    the comparisons has its share of the level (`power`).
    """

    arm: str
    baseline: str
    environment: str
    environments: tuple[str, ...]
    metric: str
    normalised: bool
    planned_arm: int
    planned_baseline: int
    n_arm: int
    n_baseline: int
    mean_arm: Estimate
    mean_baseline: Estimate
    difference: Estimate
    improvement: Estimate
    p_value: float
    p_adjusted: float
    smallest_p: float
    fewest: int
    detectable: float
    comparisons: int
    verdict: ComparisonVerdict


class Sensitivity(NamedTuple):
    """One comparison of the runs that finished, and the same with failures as the worst score."""

    finished: Comparison
    with_failures: Comparison

    @property
    def changed(self) -> bool:
        """Whether the verdict depends on how failures count."""
        return self.finished.verdict != self.with_failures.verdict


def compare_all(results: Results, pairs: Sequence[tuple[str, str]], metric: str = "auc") -> list[Comparison]:
    """Compare each pair (arm, baseline). All comparisons returned by one call are one family for the correction.

    Per pair the environments that both arms were planned for, in alphabetical order, then `ALL`.

    Raises:
        RlbenchError: an unknown arm or metric, or an arm compared with itself.
    """
    if metric not in METRICS or metric not in results.scores:
        known = [name for name in METRICS if name in results.scores]
        raise RlbenchError(f"There is no score {metric!r}.{nearest(metric, known)}")
    arms = sorted({arm for pair in pairs for arm in pair})
    for arm in arms:
        if arm not in results.arms:
            raise RlbenchError(f"There is no arm {arm!r} in these results.{nearest(arm, sorted(results.arms))}")
    for arm, baseline in pairs:
        if arm == baseline:
            raise RlbenchError(f"The arm {arm!r} cannot be compared with itself.")
    plain, normalised = (Values(results, name, arms, results.environments) for name in (metric, f"{metric}_normalised"))
    estimands = [estimand for pair in pairs for estimand in _differences(results, plain, normalised, *pair)]
    # Tested together, scores are normalised where comparisons over all need it; t does not depend on the scale.
    data = {
        (name, arm): (normalised if normalised.known([name]) else plain).runs(name, arm)
        for name in results.environments
        for arm in arms
    }
    tested = step_down(data, estimands, seed=results.seed)
    comparisons = int(np.isfinite(tested.p).sum())  # NaN where an arm has no run
    return [
        _comparison(results, estimand, metric, float(p), float(adjusted), comparisons)
        for estimand, p, adjusted in zip(estimands, tested.p, tested.adjusted, strict=True)
    ]


def to_frame(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return the comparisons as a flat table, one row each; an estimate becomes four columns.

    For instance `difference`, `difference_low`, `difference_high` and `difference_method`.
    """
    rows = []
    for comparison in comparisons:
        row: dict[str, object] = {}
        for name, value in asdict(comparison).items():
            if isinstance(value, dict):
                row[name] = value["point"]
                row |= {f"{name}_{key}": value[key] for key in ("low", "high", "method")}
            else:
                row[name] = ", ".join(value) if isinstance(value, tuple) else value
        rows.append(row)
    return pd.DataFrame(rows)


def sensitivity(results: Results, comparisons: Sequence[Comparison]) -> list[Sensitivity]:
    """Return every comparison beside the same one with failures as the worst score; nothing if no run failed.

    `comparisons` are those of one call of `compare_all` of the same results, and remain one family.
    """
    if not comparisons or not results.scores["status"].isin(STOPPED).any():
        return []
    metric = comparisons[0].metric
    pairs = list(dict.fromkeys((each.arm, each.baseline) for each in comparisons))
    if results.experiment.sequential:
        # Both as if the number of runs had been fixed, also where it was not: they must differ in nothing else.
        comparisons = compare_all(results, pairs, metric)
    worst = compare_all(results.failures_as_worst(metric), pairs, metric)
    others = {(other.arm, other.baseline, other.environment): other for other in worst}
    again = [others.get((each.arm, each.baseline, each.environment)) for each in comparisons]
    return [Sensitivity(each, other) for each, other in zip(comparisons, again, strict=True) if other]


def warning(changed: Sensitivity) -> str:
    """Say that a verdict depends on how failures count."""
    before, after = changed.finished, changed.with_failures
    failed = (after.n_arm - before.n_arm) + (after.n_baseline - before.n_baseline)
    return (
        f"{before.arm} against {before.baseline} on {before.environment} is {before.verdict} for the runs that "
        f"finished, but {after.verdict} if the {failed} that failed or diverged count as the worst possible score."
    )


def _differences(results: Results, plain: Values, normalised: Values, arm: str, baseline: str) -> list[Difference]:
    """Return the estimands of a pair: each environment planned for both arms, then all together."""
    shared = plain.table[plain.table["arm"].isin([arm, baseline])].groupby("environment")["arm"].nunique()
    names = tuple(sorted(shared.index[shared == 2]))
    single = [
        plain.difference(arm, baseline, (name,), possible=possible_range([name], results.references)) for name in names
    ]
    if len(names) < 2 or not normalised.known(names, [arm, baseline]):
        return single
    possible = possible_range(names, results.references, normalised=True)
    return [*single, normalised.difference(arm, baseline, names, possible=possible)]


def _comparison(
    results: Results, estimand: Difference, metric: str, p: float, adjusted: float, comparisons: int
) -> Comparison:
    scores, seed = results.scores, results.seed
    here = scores["environment"].isin(estimand.environments)
    planned_arm, planned_baseline = (int((here & (scores["arm"] == arm)).sum()) for arm in estimand.arms)
    (n_arm, n_baseline), normalised = estimand.counts, len(estimand.environments) > 1
    difference = estimand.interval(LEVEL, seed)
    verdict: ComparisonVerdict = "inconclusive"
    if estimand.identical:
        difference, verdict = exactly(difference), "identical"
    elif adjusted < ALPHA and difference.low > 0:
        verdict = "better"
    elif adjusted < ALPHA and difference.high < 0:
        verdict = "worse"
    return Comparison(
        arm=estimand.arm,
        baseline=estimand.baseline,
        environment=estimand.environment,
        environments=estimand.environments,
        metric=metric,
        normalised=normalised,
        planned_arm=planned_arm,
        planned_baseline=planned_baseline,
        n_arm=n_arm,
        n_baseline=n_baseline,
        mean_arm=mean_interval(estimand.x, seed=seed, possible=estimand.possible),
        mean_baseline=mean_interval(estimand.y, seed=seed, possible=estimand.possible),
        difference=difference,
        improvement=improvement_interval(estimand.x, estimand.y),
        p_value=p,
        p_adjusted=adjusted,
        smallest_p=smallest_p([(len(x), len(y)) for x, y in zip(estimand.x, estimand.y, strict=True)]),
        fewest=estimand.least(ALPHA),
        detectable=detectable_effect(estimand.spread(), *estimand.per_task, alpha=ALPHA / max(comparisons, 1)),
        comparisons=comparisons,
        verdict=verdict,
    )


def interim_verdicts(comparisons: Sequence[Comparison], record: Mapping[str, Any] | None) -> list[Comparison]:
    """Return comparisons with the verdicts of the interim analyses, where seeds were added in stages.

    Runs that stopped when they decided something look more decided than they are: an interval or p-value computed as if
    their number had been fixed is too good. So only the decisions of the group-sequential test, which the `record`
    holds, count as verdicts; all others are inconclusive. Identical runs are no matter of chance, and remain so.
    """
    if not record:
        return list(comparisons)
    outcomes = {
        (row["arm"], row["baseline"], frozenset(row["environments"]), record["metric"]): row["outcome"]
        for row in record["decisions"]
    }

    def outcome(each: Comparison) -> ComparisonVerdict:
        key = (each.arm, each.baseline, frozenset(each.environments), each.metric)
        return each.verdict if each.verdict == "identical" else outcomes.get(key, "inconclusive")

    return [replace(each, verdict=outcome(each)) for each in comparisons]


def interim_warnings(record: Mapping[str, Any] | None) -> list[str]:
    """Return what a reader must know of runs that were made in stages, one sentence each; nothing otherwise."""
    if not record:
        return []
    planned, done, outcomes = record["looks"], record["looked"], []
    claims = "settled" in record
    for row in record["decisions"]:
        where = f" on {row['environments'][0]}" if len(row["environments"]) == 1 else " over all environments"
        end = f"at look {row['look']}" if row["look"] else "to the end"
        outcomes.append(f"{row['arm']} against {row['baseline']}{where}: {row['outcome']} {end}")
    sentences = [
        f"Seeds were added in stages until the {'claims' if claims else 'comparisons'} were decided: the runs were "
        f"looked at {done} time{'s' if done != 1 else ''} of at most {len(planned)} (planned after "
        f"{', '.join(map(str, planned))} seeds); none was trained twice. "
    ]
    if claims:
        sentences[0] += (
            "A verdict on a claim is that of the look that decided it, from the runs that were there. Its level is "
            "shared among the looks, in proportion to the runs that each adds, so that it holds over all of them. "
            "Comparisons with the baseline were not made in stages and have no verdict; their intervals and p-values "
            "are computed as if the number of runs had been fixed: they are too sure."
        )
    else:
        sentences[0] += (
            "Verdicts are those of a group-sequential permutation test, which holds 5 % for any false decision over "
            "all looks and comparisons; what it did not test has none. "
            f"{'; '.join(outcomes)}{'.' if outcomes else ''} All intervals and p-values are computed as if the number "
            "of runs had been fixed: they are too sure."
        )
    if record.get("earlier"):
        sentences.append(
            f"The same experiment was looked at before in {record['earlier']} other "
            f"design{'s' if record['earlier'] > 1 else ''} of the looks, so its error rate is no longer held."
        )
    return sentences
