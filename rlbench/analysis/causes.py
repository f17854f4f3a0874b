"""The table of a report that says why runs failed or diverged, one row per cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from rlbench.analysis.method import ranges
from rlbench.analysis.tables import Table
from rlbench.records import cause

if TYPE_CHECKING:
    from rlbench.analysis.results import Results

_KEYS = ["status", "cause", "arm", "environment"]
_LINES = 12  # of a traceback's end


def causes_table(results: Results) -> Table:
    """The runs that failed or diverged by cause, arm and environment, with the end of the first one's traceback.

    `attempts` is how often the runs were started, as `1` or `2 to 4`.
    """
    stopped = results.runs[results.runs["status"].isin(["failed", "diverged"])]
    for name, unknown in (("attempts", 1), ("detail", "")):  # in tables that were made elsewhere
        if name not in stopped:
            stopped = stopped.assign(**{name: unknown})
    stopped = stopped.assign(cause=stopped["reason"].map(cause))
    rows: list[dict[str, str]] = [
        {
            **dict(zip(_KEYS, map(str, key), strict=True)),
            "seeds": ranges(sorted(group["seed"])),
            "attempts": _span(group["attempts"].astype(int)),
            "traceback": _end(group.sort_values("seed")["detail"].iloc[0]),
        }
        for key, group in stopped.groupby(_KEYS)
    ]
    rows.sort(key=lambda row: (results.environments.index(row["environment"]), results.arms.index(row["arm"])))
    data = pd.DataFrame(rows, columns=[*_KEYS, "seeds", "attempts", "traceback"])
    shown = data[["cause", "status", "environment", "arm", "seeds", "attempts"]].rename(columns=str.capitalize)
    return Table(
        "causes",
        "Why runs did not finish",
        data,
        shown.astype(str),
        "Attempts is how often a run was started. Runs train together; when something ended all of them, parts were "
        "tried again until what was wrong was alone, and what was alone once more where that could help.",
    )


def _span(attempts: pd.Series[int]) -> str:
    low, high = attempts.min(), attempts.max()
    return str(low) if low == high else f"{low} to {high}"


def _end(traceback: str) -> str:
    return "\n".join(traceback.rstrip().splitlines()[-_LINES:])
