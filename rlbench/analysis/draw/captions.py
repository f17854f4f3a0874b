"""What a caption says of the numbers in a figure: intervals, runs, budget."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rlbench.analysis.draw.annotate import interval_note, run_counts
from rlbench.analysis.draw.diagnostics import QUANTITIES
from rlbench.analysis.draw.dots import METRIC_NAMES
from rlbench.analysis.stats.coverage import interval_name
from rlbench.analysis.stats.estimates import Band, Estimate
from rlbench.records import MEASURED

COLUMNS = {**QUANTITIES, "clip_fraction": "clip fraction"}
SPREAD = "a spread of the runs, no confidence interval"


def shown_runs(scores: pd.DataFrame, arms: Sequence[str], environments: Sequence[str]) -> pd.DataFrame:
    """Return the rows of the scores that a figure is about."""
    return scores[scores["arm"].isin(list(arms)) & scores["environment"].isin(list(environments))]


def runs_each(shown: pd.DataFrame) -> str:
    """Return how many runs a point rests on: `20 runs`, or `18 to 20 runs`."""
    used = shown.assign(used=shown["used"].astype(bool)).groupby(["environment", "arm"])["used"].sum()
    low, high = (int(used.min()), int(used.max())) if len(used) else (0, 0)
    return f"{low} run{'s' * (low != 1)}" if low == high else f"{low} to {high} runs"


def accounts(shown: pd.DataFrame, arms: Sequence[str], each: str = "arm and environment") -> str:
    """Return the sentences on the runs: how many a point rests on, their budget, and how many were planned."""
    steps = sorted(set(shown["steps"]))
    budget = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    present = [arm for arm in arms if arm in set(shown["arm"])]
    trained = "" if (shown["algorithm"] == MEASURED).all() else f", {budget} environment steps each"
    return f"n = {runs_each(shown)} per {each}{trained}. {run_counts(shown, present)}"


def intervals(what: str, estimates: Sequence[Estimate | Band]) -> str:
    """Return the sentence on the intervals."""
    return interval_note(estimates, what)


def short_interval(estimates: Sequence[Estimate | Band]) -> str:
    """Return what the intervals may be called, in a few words for a slide."""
    return interval_name(estimates).partition(",")[0]


def column_name(column: str) -> str:
    """Return what a column of the updates is called on an axis."""
    return COLUMNS.get(column, column.replace("_", " "))


def metric_name(metric: str) -> str:
    """Return what a metric is called on an axis."""
    brief = {
        "auc_normalised": "normalised AUC",
        "final_normalised": "normalised final return",
        "auc": "AUC, episode return",
        "final": "final return",
    }
    column, _, reduction = metric.partition(":")
    return brief.get(metric) or f"{reduction} {column_name(column)}".strip()


def metric_sentence(metric: str) -> str:
    """Return what a metric is, to begin a sentence of a caption."""
    return capital(METRIC_NAMES.get(metric, metric_name(metric)))


def capital(text: str) -> str:
    """Return a text with a capital first letter and the others as they are."""
    return text[:1].upper() + text[1:]
