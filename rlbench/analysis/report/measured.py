"""The report of a measurement: numbers that a function computed, without training, curves or scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rlbench.analysis.report.claims import brief, claims_table
from rlbench.analysis.report.files import Table
from rlbench.analysis.report.method import Method, claim_method, code, interval_of_a_mean, ranges
from rlbench.analysis.report.sentences import Answer
from rlbench.analysis.report.tables import accounts_table, causes_table, stopped_table
from rlbench.analysis.scores.metrics import measure
from rlbench.analysis.stats.coverage import interval_name
from rlbench.analysis.stats.estimates import LEVEL
from rlbench.analysis.stats.intervals import mean_interval
from rlbench.records import MEASURED

if TYPE_CHECKING:
    from rlbench.analysis.judge.judged import JudgedResults


def is_measured(results: JudgedResults) -> bool:
    """Return whether the results are those of a measurement."""
    return bool((results.runs["algorithm"] == MEASURED).all())


def measured_tables(results: JudgedResults) -> list[Table]:
    """Return every table of the report, the most important first."""
    runs = [accounts_table(results), causes_table(results), stopped_table(results)]
    tables = [numbers_table(results), claims_table(results), *runs]
    return [table for table in tables if len(table.data) or table.name == "summary"]


def numbers_table(results: JudgedResults) -> Table:
    """One row per environment, arm and column: the mean over seeds of its mean in each."""
    data, intervals = [], []
    names = [str(name) for name in results.updates if name not in ("cell", "step")]
    values = {name: measure(results, f"{name}:mean") for name in names}
    for environment in results.environments:
        for arm in results.arms:
            for name, table in values.items():
                own = table[(table["arm"] == arm) & (table["environment"] == environment) & table["used"].astype(bool)]
                numbers = own["value"].to_numpy(np.float64)
                numbers = numbers[np.isfinite(numbers)]
                mean = mean_interval([numbers], seed=results.seed)
                intervals.append(mean)
                row = {"environment": environment, "arm": arm, "column": name, "seeds": len(numbers)}
                data.append(row | {"mean": mean.point, "mean_low": mean.low, "mean_high": mean.high})
    kept = [(row, mean) for row, mean in zip(data, intervals, strict=True) if row["seeds"]]
    shown = [
        {
            "Environment": row["environment"],
            "Arm": row["arm"],
            "Column": row["column"],
            "Seeds": str(row["seeds"]),
            "Mean": brief(mean),
        }
        for row, mean in kept
    ]
    return Table(
        "summary",
        "What was measured",
        pd.DataFrame([row for row, _ in kept], columns=list(_COLUMNS)),
        pd.DataFrame(shown, columns=["Environment", "Arm", "Column", "Seeds", "Mean"]),
        "Mean over the seeds of each seed's mean; in brackets its "
        f"{interval_name([mean for _, mean in kept])}. Seeds without a finite number are left out.",
    )


_COLUMNS = ("environment", "arm", "column", "seeds", "mean", "mean_low", "mean_high")


def measured_answer(results: JudgedResults) -> Answer:
    """Return the opening of the report."""
    said = "Nothing was trained for this: the numbers are those that a function computes for an environment and a seed."
    return Answer(results.experiment.question, [said], [])


def measured_method(results: JudgedResults) -> Method:
    """Return the method section of the report."""
    seeds = sorted(set(results.runs["seed"]))
    what = [
        ("Arms", f"{', '.join(results.arms)}."),
        ("Environments", f"{', '.join(results.environments)}."),
        (
            "Seeds",
            f"{len(seeds)} per environment ({ranges(seeds)}). All arms are measured in one call for each seed, and "
            "seeds are what all statistics count, however many numbers a call returns.",
        ),
        *code(results),
    ]
    how = [
        (
            "Which seeds count",
            "Those whose call returned numbers for the arm. Calls that failed are counted under Runs.",
        ),
        interval_of_a_mean(f"{LEVEL:.0%}".replace("%", " %")),
        *claim_method(results),
        ("Random numbers", f"All resampling is drawn from seed {results.seed}; the same runs give the same report."),
    ]
    return Method(what, how)
