"""Does one arm beat another, by how much, and how sure: pairwise comparisons and their sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from rlbench.analysis.intervals import Estimate
from rlbench.errors import RlbenchError

ALL = "all environments"
ALPHA = 0.05
Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class Comparison:
    """One arm against its baseline on one environment, or on all of them with normalised scores (`ALL`).

    `mean_arm`, `mean_baseline` and `difference` are in units of the metric (`normalised` says which);
    `improvement` is the probability that a run of the arm scores higher than one of the baseline.
    `p_adjusted` is corrected by Holm's method for all comparisons made in one call, and `smallest_p` is the
    smallest adjusted p that so few runs could give at all.
    """

    arm: str
    baseline: str
    environment: str
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
    comparisons: int
    verdict: Verdict


def compare(
    scores: pd.DataFrame, arm: str, baseline: str, metric: str = "auc", seed: int = 0
) -> list[Comparison]:
    """Compare one arm with one other, per environment and overall; see `compare_all`."""
    return compare_all(scores, pairs=[(arm, baseline)], metric=metric, seed=seed)


def compare_all(
    scores: pd.DataFrame,
    baseline: str | None = None,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    metric: str = "auc",
    seed: int = 0,
) -> list[Comparison]:
    """Compare every arm with `baseline` (or the `pairs` (arm, baseline)), as one family of comparisons."""
    raise RlbenchError("Comparisons are not computed yet.")


def to_frame(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return the comparisons as a table, one row each, for CSV and display."""
    raise RlbenchError("Comparisons are not computed yet.")


def sentence(comparison: Comparison) -> str:
    """Say one comparison in plain English: verdict, size, interval, p-value and runs."""
    raise RlbenchError("Comparisons are not computed yet.")
