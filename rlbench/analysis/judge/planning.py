"""From a pilot to a number of seeds: what the runs at hand can find, and how many would find what is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rlbench.analysis.judge.compare import ALPHA, Comparison
from rlbench.analysis.judge.estimands import Values
from rlbench.analysis.scores.scores import ALL
from rlbench.analysis.stats.power import POWER, Seeds, detectable_effect, seeds_needed
from rlbench.errors import RlbenchError

if TYPE_CHECKING:
    from rlbench.analysis.judge.verdicts import JudgedResults


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
    alpha = ALPHA / len(comparisons)
    return [_wanted(results, comparison, effect, metric, alpha, power) for comparison in comparisons]


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


def _wanted(results: JudgedResults, pair: Comparison, effect: float, metric: str, alpha: float, power: float) -> Wanted:
    values = Values(results, metric, [pair.arm, pair.baseline], pair.environments)
    if not values.known(pair.environments):
        raise RlbenchError(
            f"No reference returns are known for {pair.environment}, so its scores are not normalised; plan with the "
            "metric auc, in units of the return."
        )
    difference = values.difference(pair.arm, pair.baseline, pair.environments)
    spread, (n, m) = difference.spread(), difference.per_task
    return Wanted(
        pair.arm,
        pair.baseline,
        pair.environment,
        n,
        m,
        float(np.sqrt(np.mean(np.square([*spread.arm, *spread.baseline])))),
        detectable_effect(spread, n, m, alpha=alpha, power=power),
        seeds_needed(spread, effect, alpha=alpha, power=power, least=difference.least(ALPHA)),
    )
