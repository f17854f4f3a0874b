"""Would the conclusions be others if the runs that failed counted as failures?

The main analysis is of complete cases: a run that failed or diverged has no score of its whole budget, and is counted
but not averaged. Where runs fail because of the algorithm, that flatters it. Here every such run enters with the worst
possible score instead: the lowest return that the environment allows, or, where that is not known (`references`), the
lowest score of any run on it. The truth lies between the two analyses; where their verdicts differ, the data do not
carry either. Runs that did not take place are no failures and stay out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from rlbench.analysis.judge.compare import Comparison, compare_all
from rlbench.analysis.scores.references import Reference, normalise, reference

STOPPED = ("failed", "diverged")


class Sensitivity(NamedTuple):
    """One comparison of the runs that finished, and the same with failures as the worst score."""

    finished: Comparison
    with_failures: Comparison

    @property
    def changed(self) -> bool:
        """Whether the verdict depends on how failures count."""
        return self.finished.verdict != self.with_failures.verdict


def failures_as_worst(
    scores: pd.DataFrame, metrics: Sequence[str], references: Mapping[str, Reference] | None = None
) -> pd.DataFrame:
    """Return a table of scores in which failed and diverged runs are used, with the worst score.

    Where nothing is known of an environment, neither a lowest return nor any score, its failed runs stay unused.
    """
    table = scores.copy()
    stopped = table["status"].isin(STOPPED)
    for environment, rows in table[stopped].groupby("environment"):
        scale = reference(str(environment), references)
        for metric in metrics:
            seen = table.loc[table["environment"] == environment, metric].min()
            worst = scale.low if scale is not None and np.isfinite(scale.low) else seen
            table.loc[rows.index, metric] = worst
            table.loc[rows.index, f"{metric}_normalised"] = float(normalise(worst, str(environment), references))
        known = table.loc[rows.index, list(metrics)].notna().all(axis=1)
        table.loc[rows.index[known], "used"] = True
    return table


def sensitivity(
    scores: pd.DataFrame,
    comparisons: Sequence[Comparison],
    *,
    seed: int = 0,
    references: Mapping[str, Reference] | None = None,
    traces: pd.Series | None = None,
) -> list[Sensitivity]:
    """Return every comparison beside the same one with failures as the worst score; nothing if no run failed.

    `comparisons` are those of one call of `compare.compare_all` of the same `scores`, and remain one family.
    """
    if not comparisons or not scores["status"].isin(STOPPED).any():
        return []
    metric = comparisons[0].metric
    pairs = list(dict.fromkeys((one.arm, one.baseline) for one in comparisons))
    table = failures_as_worst(scores, [metric], references)
    others = compare_all(table, pairs=pairs, metric=metric, seed=seed, references=references, traces=traces)
    found = {(one.arm, one.baseline, one.environment): one for one in others}
    keys = ((one, (one.arm, one.baseline, one.environment)) for one in comparisons)
    return [Sensitivity(one, found[key]) for one, key in keys if key in found]


def warning(one: Sensitivity) -> str:
    """Say that a verdict depends on how failures count."""
    before, after = one.finished, one.with_failures
    failed = (after.n_arm - before.n_arm) + (after.n_baseline - before.n_baseline)
    return (
        f"{before.arm} against {before.baseline} on {before.environment} is {before.verdict} for the runs that "
        f"finished, but {after.verdict} if the {failed} that failed or diverged count as the worst possible score."
    )
