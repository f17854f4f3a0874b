"""Does one arm beat another, by how much, and how sure: pairwise comparisons, their verdicts and sentences.

The verdict rule. An arm is "better" than its baseline if the permutation test's p-value, adjusted by the step-down
of the largest |t| for all comparisons made in the same call (`families`), is below 0.05 and the 95 % interval of the
difference of means lies above 0; "worse" if p is below 0.05 and the interval lies below 0; "undecided" in every other
case. Undecided is not equal; "identical" are arms whose runs are the same seed by seed (`identity`).

Comparisons are per environment, in units of the episode return, and with several environments also over all
of them, where scores are normalised by fixed references (`references`) and each environment counts the same;
that row is left out if an environment has no reference. Only `used` runs enter (`scores`); the others are
counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from rlbench.analysis.scores.identity import exactly, identical
from rlbench.analysis.scores.references import Reference, possible_range
from rlbench.analysis.scores.scores import ALL, METRICS
from rlbench.analysis.stats import families, intervals
from rlbench.analysis.stats.estimates import Estimate
from rlbench.analysis.stats.families import family
from rlbench.analysis.stats.permutation import Data, Hypothesis
from rlbench.analysis.stats.power import Spread, detectable_effect, fewest_runs
from rlbench.analysis.stats.statistics import Array
from rlbench.errors import RlbenchError, nearest

ALPHA = 0.05
Verdict = Literal["better", "worse", "undecided", "identical"]


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
    verdict: Verdict


@dataclass(frozen=True)
class _Question:
    """One comparison to be made, and the scores for it: per environment `[runs]`."""

    arm: str
    baseline: str
    environment: str
    environments: tuple[str, ...]
    x: list[Array]
    y: list[Array]
    planned_arm: int
    planned_baseline: int
    identical: bool


def compare(
    scores: pd.DataFrame,
    arm: str,
    baseline: str,
    metric: str = "auc",
    seed: int = 0,
    references: Mapping[str, Reference] | None = None,
    traces: pd.Series | None = None,
) -> list[Comparison]:
    """Compare one arm with another on each environment and over all of them: `compare_all` of one pair."""
    pairs = [(arm, baseline)]
    return compare_all(scores, pairs=pairs, metric=metric, seed=seed, references=references, traces=traces)


def compare_all(
    scores: pd.DataFrame,
    baseline: str | None = None,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    metric: str = "auc",
    seed: int = 0,
    references: Mapping[str, Reference] | None = None,
    traces: pd.Series | None = None,
) -> list[Comparison]:
    """Compare every other arm with `baseline`, or each pair (arm, baseline) of `pairs`.

    `scores` is the table of `scores.scores`; its row order does not matter. All comparisons returned by one
    call are one family for the correction. Per pair the environments in alphabetical order, then `ALL`.
    `references` say which scores are possible, which no interval leaves, and `traces` which runs are the same
    (`identity.traces`); without them the scores themselves do.

    Raises:
        RlbenchError: an unknown arm or metric, an arm compared with itself, or neither baseline nor pairs
        given.
    """
    if metric not in METRICS or metric not in scores:
        known = [name for name in METRICS if name in scores]
        raise RlbenchError(f"There is no score {metric!r}.{nearest(metric, known)}")
    pairs = _pairs(scores, baseline, pairs)
    traced = scores.assign(trace=np.nan if traces is None else scores["cell"].map(traces))
    questions = [question for arm, other in pairs for question in _questions(traced, arm, other, metric)]
    hypotheses = [Hypothesis(one.arm, one.baseline, one.environments) for one in questions]
    tested = family(_data(scores, hypotheses, metric), hypotheses, seed=seed)
    comparisons = int(np.isfinite(tested.p).sum())  # NaN where an arm has no run
    return [
        _answer(question, metric, seed, float(p), float(corrected), comparisons, references)
        for question, p, corrected in zip(questions, tested.p, tested.adjusted, strict=True)
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


def _pairs(
    scores: pd.DataFrame, baseline: str | None, pairs: Sequence[tuple[str, str]] | None
) -> list[tuple[str, str]]:
    """Return the pairs to compare, checked."""
    arms = sorted(scores["arm"].unique())
    if pairs is None:
        if baseline is None:
            raise RlbenchError("A comparison needs a baseline arm, or the pairs of arms to compare.")
        pairs = [(arm, baseline) for arm in arms if arm != baseline]
    for name in [*(arm for pair in pairs for arm in pair), *([baseline] if baseline is not None else [])]:
        if name not in arms:
            raise RlbenchError(f"There is no arm {name!r} in these results.{nearest(name, arms)}")
    for arm, other in pairs:
        if arm == other:
            raise RlbenchError(f"The arm {arm!r} cannot be compared with itself.")
    return list(pairs)


def _questions(scores: pd.DataFrame, arm: str, baseline: str, metric: str) -> list[_Question]:
    """Return the questions of one pair: each environment planned for both arms, then all together."""
    planned = scores[scores["arm"].isin([arm, baseline])]
    shared = planned.groupby("environment")["arm"].nunique()
    labels = tuple(sorted(shared.index[shared == 2]))

    def ask(name: str, environments: tuple[str, ...], column: str) -> _Question:
        sides = []
        for side in (arm, baseline):
            rows = planned[(planned["arm"] == side) & planned["environment"].isin(environments)]
            used = rows[rows["used"].astype(bool)]
            values = [used.loc[used["environment"] == label, column].to_numpy(float) for label in environments]
            sides.append((values, len(rows)))
        (x, planned_arm), (y, planned_baseline) = sides
        same = all(
            identical(planned[planned["environment"] == label].assign(value=planned[column]), (arm, baseline))
            for label in environments
        )
        return _Question(arm, baseline, name, environments, x, y, planned_arm, planned_baseline, same)

    questions = [ask(label, (label,), metric) for label in labels]
    if len(labels) > 1:
        used = planned[planned["used"].astype(bool) & planned["environment"].isin(labels)]
        if used[f"{metric}_normalised"].notna().all():
            questions.append(ask(ALL, labels, f"{metric}_normalised"))
    return questions


def _data(scores: pd.DataFrame, hypotheses: Sequence[Hypothesis], metric: str) -> Data:
    """Return the used scores of all hypotheses, so that they can be permuted together.

    Normalised where an environment has a reference, as comparisons over all need it; t does not depend on the scale.
    """
    used = scores[scores["used"].astype(bool)]
    data: dict[tuple[str, str], Array] = {}
    for environment in sorted({name for one in hypotheses for name in one.environments}):
        here = used[used["environment"] == environment]
        known = here[f"{metric}_normalised"].notna().all()
        column = f"{metric}_normalised" if known else metric
        for arm in {arm for one in hypotheses for arm in (one.arm, one.baseline)}:
            data[environment, arm] = np.sort(here.loc[here["arm"] == arm, column].to_numpy(np.float64))
    return data


def _answer(
    question: _Question,
    metric: str,
    seed: int,
    p: float,
    adjusted: float,
    comparisons: int,
    references: Mapping[str, Reference] | None,
) -> Comparison:
    x, y = question.x, question.y
    smallest = [min(task.size for task in side) for side in (x, y)]
    possible = possible_range(question.environments, references, normalised=question.environment == ALL)
    difference = intervals.difference_interval(x, y, seed=seed, possible=possible)
    verdict: Verdict = "undecided"
    if question.identical:
        difference, verdict = exactly(difference), "identical"
    elif adjusted < ALPHA and difference.low > 0:
        verdict = "better"
    elif adjusted < ALPHA and difference.high < 0:
        verdict = "worse"
    return Comparison(
        arm=question.arm,
        baseline=question.baseline,
        environment=question.environment,
        environments=question.environments,
        metric=metric,
        normalised=question.environment == ALL,
        planned_arm=question.planned_arm,
        planned_baseline=question.planned_baseline,
        n_arm=sum(task.size for task in x),
        n_baseline=sum(task.size for task in y),
        mean_arm=intervals.mean_interval(x, seed=seed, possible=possible),
        mean_baseline=intervals.mean_interval(y, seed=seed, possible=possible),
        difference=difference,
        improvement=intervals.improvement_interval(x, y),
        p_value=p,
        p_adjusted=adjusted,
        smallest_p=families.smallest_p(x, y),
        fewest=fewest_runs(ALPHA, tasks=len(x)),
        detectable=detectable_effect(Spread.of(x, y), *smallest, alpha=ALPHA / max(comparisons, 1)),
        comparisons=comparisons,
        verdict=verdict,
    )


# Reports of runs that were made in stages: how often was looked, and which verdicts that leaves.
#
# Runs that stopped when they decided something look more decided than they are: an interval or p-value computed as if
# their number had been fixed is too good. So only the group-sequential test's own decisions count as verdicts.
#
# The record (`sequential` in an experiment's document, `rlbench.api`) holds `looks` (numbers of seeds planned),
# `looked`, `earlier` (other designs that were looked at before), `metric`, and `decisions`: arm, baseline,
# environments, outcome, look, n_arm, n_baseline.


def decided(comparisons: Sequence[Comparison], record: Mapping[str, Any] | None) -> list[Comparison]:
    """Return comparisons with the verdicts of the looks, where runs were made in stages; all others are undecided.

    Identical runs are no matter of chance, and remain so.
    """
    if not record:
        return list(comparisons)
    outcomes = {
        (one["arm"], one["baseline"], frozenset(one["environments"]), record["metric"]): one["outcome"]
        for one in record["decisions"]
    }
    return [
        one
        if one.verdict == "identical"
        else replace(
            one, verdict=outcomes.get((one.arm, one.baseline, frozenset(one.environments), one.metric), "undecided")
        )
        for one in comparisons
    ]


def looks_of(record: Mapping[str, Any] | None) -> list[str]:
    """Return what a reader must know of runs that were made in stages, one sentence each; nothing otherwise."""
    if not record:
        return []
    looks, looked = record["looks"], record["looked"]
    often = f"{looked} time{'s' if looked != 1 else ''} of at most {len(looks)}"
    said = [
        f"Seeds were added in stages until the comparisons were decided: the runs were looked at {often} "
        f"(planned after {', '.join(map(str, looks))} seeds); none was trained twice. Verdicts "
        "are those of a group-sequential permutation test, which holds 5 % for any false decision over all looks and "
        f"comparisons; what it did not test has none. {_outcomes(record['decisions'])} All intervals and p-values, and "
        "the verdicts on claims, are computed as if the number of runs had been fixed: they are too sure."
    ]
    if record.get("earlier"):
        said.append(
            f"The same experiment was looked at before in {record['earlier']} other "
            f"design{'s' if record['earlier'] > 1 else ''} of the looks, so its error rate is no longer held."
        )
    return said


def _outcomes(decisions: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for one in decisions:
        where = f" on {one['environments'][0]}" if len(one["environments"]) == 1 else " over all environments"
        end = f"at look {one['look']}" if one["look"] else "to the end"
        parts.append(f"{one['arm']} against {one['baseline']}{where}: {one['outcome']} {end}")
    return f"{'; '.join(parts)}." if parts else ""
