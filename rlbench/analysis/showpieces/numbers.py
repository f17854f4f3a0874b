"""What the figures draw, as tidy tables: one row per point, with its interval.

Columns: line (an arm, a variant or an environment), x, point, low, high; low and high are NaN where there is no
interval. Beside the table stand the estimates themselves, which the caption names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from rlbench.analysis.bands import curve_band
from rlbench.analysis.estimates import ANYTHING, Band, Estimate
from rlbench.analysis.figures.curves import curve_matrix
from rlbench.analysis.intervals import mean_interval
from rlbench.analysis.measures import measure
from rlbench.analysis.references import possible_range
from rlbench.analysis.showpieces.sweeps import Sweep
from rlbench.claims import RETURNS

if TYPE_CHECKING:
    from rlbench.analysis.results import Results

COLUMNS = ["line", "x", "point", "low", "high"]
ALL = "mean"
"""The line that is the mean of all environments."""


class Numbers(NamedTuple):
    """The table that is drawn, and the estimates in it."""

    table: pd.DataFrame
    estimates: list[Estimate | Band]


def gathered(parts: Sequence[Numbers]) -> Numbers:
    """Return several tables as one."""
    tables = [one.table for one in parts if len(one.table)]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
    return Numbers(table, [estimate for one in parts for estimate in one.estimates])


def curve_numbers(results: Results, environment: str, arms: Sequence[str]) -> Numbers:
    """Return the mean learning curve of the used runs of each arm, with its interval at each step by itself."""
    curves = results.curves
    possible = possible_range([environment], results.references)
    parts = []
    for arm in arms:
        own = curves[(curves["environment"] == environment) & (curves["arm"] == arm) & curves["used"].astype(bool)]
        step, runs = curve_matrix(own)
        if len(runs):
            band = curve_band([runs], seed=results.seed, possible=possible)
            ends = {"point": band.point, "low": band.low, "high": band.high}
            parts.append(Numbers(pd.DataFrame({"line": arm, "x": step, **ends}), [band]))
    return gathered(parts)


class Scored:
    """One metric of all runs of an experiment, asked for by arm."""

    def __init__(self, results: Results, metric: str) -> None:
        table = measure(results, metric)
        self.table = table[table["used"].astype(bool) & np.isfinite(table["value"])]
        self.results, self.metric = results, metric

    def mean(self, arm: str, environments: Sequence[str]) -> Estimate:
        """Return the mean over the used runs, and over environments if there are several, with its interval.

        NaN where no used run on one of the environments has the metric.
        """
        own = self.table[self.table["arm"] == arm]
        tasks = [own.loc[own["environment"] == name, "value"].to_numpy(np.float64) for name in environments]
        return mean_interval(tasks, seed=self.results.seed, possible=self._possible(environments))

    def _possible(self, environments: Sequence[str]) -> tuple[float, float]:
        """Return the range of the mean, which is known of returns only."""
        name, normalised, _ = self.metric.partition("_normalised")
        if name not in RETURNS:
            return ANYTHING
        return possible_range(environments, self.results.references, normalised=bool(normalised))


def sweep_numbers(
    scored: Scored, sweep: Sweep, environments: Sequence[str], line: str, relative_to: float = 1.0
) -> Numbers:
    """Return the metric of each arm of a sweep against the value of its field, divided by `relative_to`."""
    found = [
        (value / relative_to, scored.mean(arm, environments))
        for value, arm in zip(sweep.values, sweep.arms, strict=True)
    ]
    known = [(x, one) for x, one in found if np.isfinite(one.point)]
    rows = [(line, x, one.point, one.low, one.high) for x, one in known]
    return Numbers(pd.DataFrame(rows, columns=COLUMNS), [one for _, one in known])
