"""The permutation test of two arms: a family of one hypothesis."""

from __future__ import annotations

from typing import Any

from rlbench.analysis.stats.estimates import Scores, as_tasks
from rlbench.analysis.stats.tests import Hypothesis, step_down


def permutation_test(scores: Scores, baseline: Scores, **options: Any) -> float:
    """Return the p-value of scores as in `statistics`, one array `[runs]` or one for each environment."""
    sides = {arm: as_tasks(side, allow_empty=True) for arm, side in (("arm", scores), ("baseline", baseline))}
    data = {(f"{place}", arm): runs for arm, tasks in sides.items() for place, runs in enumerate(tasks)}
    hypothesis = Hypothesis("arm", "baseline", tuple(f"{place}" for place in range(len(sides["arm"]))))
    return float(step_down(data, [hypothesis], **options).p[0])
