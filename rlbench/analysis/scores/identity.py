"""Runs of two arms that are the same runs: what distinguishes the arms never took effect.

Runs of one seed start alike, so that they stay the same to the bit until a change takes effect. Then no statistics are
needed: the difference is exactly 0. That two arms have the same scores does not show it, since both may have reached a
ceiling, or never a goal; so whole runs are compared (`traces`), and only where no two seeds gave the same are they told
apart at all. Of runs of which no more than a score is known, the scores of `FEWEST` seeds at least have to agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from rlbench.analysis.stats.estimates import Estimate
from rlbench.store import Tables

FEWEST = 3
IDENTICAL = "identical runs: exactly 0"
_SEEN = ("step", "return", "length")  # of an episode
_DONE = ("step", "kl", "entropy")  # of an update: what it did to the policy, whatever the algorithm calls its numbers


def traces(tables: Tables) -> pd.Series:
    """Return a text per cell that two runs share if their episodes and their updates of the policy are the same.

    Cells of which no more than one row is known have none.
    """
    rows = []
    for table, columns in ((tables.episodes, _SEEN), (tables.updates, _DONE)):
        known = [name for name in columns if name in table]
        if len(known) > 1:
            kept = table.dropna(subset=known[1:], how="all")
            hashes = pd.util.hash_pandas_object(kept[known].astype(np.float64), index=False)
            rows.append(pd.DataFrame({"cell": kept["cell"].to_numpy(), "hash": hashes.to_numpy()}))
    if not rows:
        return pd.Series(dtype=object)
    grouped = pd.concat(rows).groupby("cell")["hash"]
    # Sums that wrap, so that the order of the rows does not matter.
    return grouped.sum()[grouped.size() > 1].astype(str)


def identical(runs: pd.DataFrame, arms: Sequence[str]) -> bool:
    """Return whether the used runs of arms on one environment are the same, seed by seed, and those of a seed its own.

    `runs` holds arm, seed, used, value (of the metric) and trace (NaN where there is none).
    """
    groups = [runs[(runs["arm"] == arm) & runs["used"].astype(bool)].sort_values("seed") for arm in arms]
    first = groups[0]
    traced = all(group["trace"].notna().all() for group in groups)
    if len(first) < (2 if traced else FEWEST) or first["trace" if traced else "value"].duplicated().any():
        return False
    columns = ["seed", "value", *(["trace"] if traced else [])]
    return all(
        len(other) == len(first) and all((other[name].to_numpy() == first[name].to_numpy()).all() for name in columns)
        for other in groups[1:]
    )


def exactly(estimate: Estimate) -> Estimate:
    """Return the estimate of a difference of identical runs: exactly 0, and no interval is needed."""
    return replace(estimate, point=0.0, low=0.0, high=0.0, method=IDENTICAL)
