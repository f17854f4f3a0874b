"""One number per training run from any recorded column: returns, cost, or the mechanism of the updates.

A metric is a column of the scores or runs (`auc`, `final_normalised`, `seconds`), or `COLUMN:REDUCTION` of a column
of the updates or episodes, over all rows of the run unless said otherwise:

    mean, std, min, max    of the column; std with n - 1
    final                  mean over the last tenth of the budget, where nothing was recorded there the last row
    last                   the last row
    q0.9                   a quantile, linearly interpolated
    share>0.2              the share of rows beyond a number; also <, >=, <=

Rows without a value (NaN, as the clip fraction of an algorithm that does not clip) are left out.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rlbench.analysis.scores.scores import WINDOW
from rlbench.errors import RlbenchError, nearest

if TYPE_CHECKING:
    from rlbench.analysis.scores.results import Results


COMPARE: dict[str, Callable[..., pd.Series]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_SHARE = re.compile(r"share([<>]=?)(.+)")
_NOT_METRICS = (
    "cell",
    "arm",
    "algorithm",
    "environment",
    "seed",
    "status",
    "used",
    "reason",
    "detail",
    "attempts",
    "commit",
    "fingerprint",
)


def measure(results: Results, metric: str) -> pd.DataFrame:
    """Return one row per planned run, in the order of the scores: arm, environment, seed, used and value.

    `used` as in the scores; value is NaN where the run recorded none.

    Raises:
        RlbenchError: there is no such column, or it holds no numbers.
    """
    name, _, reduction = metric.partition(":")
    keys = ["arm", "environment", "seed"]
    table = results.scores[["cell", *keys, "used"]].copy()
    if metric in results.scores:  # an archive has metrics that were reduced before
        table["value"] = _column(results, metric)
    elif reduction:
        table["value"] = table["cell"].map(_reduced(results, name, reduction)).astype(np.float64)
    else:
        table["value"] = _column(results, name)
    return table.drop(columns="cell")


def _column(results: Results, name: str) -> pd.Series:
    """Return a column of the scores, or of the runs in their order."""
    scores = results.scores
    if name not in scores:
        keys = ["arm", "environment", "seed"]
        known = [one for one in [*scores, *results.runs] if one not in _NOT_METRICS]
        if name not in results.runs or name in _NOT_METRICS:
            hint = nearest(name, known)
            if name in results.updates or name in results.episodes:
                hint = f" It is recorded many times in a run: say which number is meant, as in {name}:mean."
            raise RlbenchError(f"There is no metric {name!r} with one number per run.{hint}")
        scores = scores[keys].merge(results.runs[[*keys, name]], on=keys, how="left", validate="one_to_one")
    values = scores[name].to_numpy()
    if name in _NOT_METRICS or not (np.issubdtype(values.dtype, np.number) or values.dtype == bool):
        raise RlbenchError(f"The column {name!r} holds no numbers and cannot be a metric.")
    return pd.Series(values.astype(np.float64), index=results.scores.index)


def _reduced(results: Results, name: str, reduction: str) -> pd.Series:
    """Return the number of each cell, indexed by cell."""
    for table in (results.updates, results.episodes):
        if name in table and name != "cell":
            rows = table[["cell", "step", name]].dropna(subset=[name]) if name != "step" else table[["cell", "step"]]
            break
    else:
        known = sorted({*results.updates, *results.episodes} - {"cell"})
        raise RlbenchError(f"No column {name!r} is recorded over training.{nearest(name, known)}")
    # Ordered by what is in the rows, so that their order in the table does not show in the last bits.
    rows = rows.sort_values(["cell", "step", name] if name != "step" else ["cell", "step"], kind="stable")
    values = rows[name].astype(np.float64).groupby(rows["cell"])
    if match := _SHARE.fullmatch(reduction):
        return COMPARE[match[1]](rows[name], float(match[2])).groupby(rows["cell"]).mean()
    if reduction.startswith("q"):
        return values.quantile(float(reduction[1:]))
    if reduction == "final":
        return _final(results, rows, name)
    found: pd.Series = getattr(values, reduction)()
    return found


def _final(results: Results, rows: pd.DataFrame, name: str) -> pd.Series:
    budget = rows["cell"].map(results.runs.drop_duplicates("cell").set_index("cell")["steps"])
    last = rows["step"] == rows.groupby("cell")["step"].transform("max")
    late = (rows["step"] > (1 - WINDOW) * budget) | last
    found: pd.Series = rows.loc[late, name].astype(np.float64).groupby(rows.loc[late, "cell"]).mean()
    return found
