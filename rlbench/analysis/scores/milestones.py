"""When a run gets as good as a threshold, and whether it loses what it had: facts about single runs, from curves.

Both are read off the learning curves of `scores.curves`, in normalised return (random policy 0, target 1; see
`references`), so they need an environment with a reference.

steps to a threshold
    The first grid point at which a run's curve is at the threshold or above. While the curve's window, the last tenth
    of the budget, is not yet full, its value rests on the few episodes that ended first, which are the best ones where
    every step costs: such a point counts only if the curve stays there until the window is full. A run that never gets
    there is censored at its budget; so is one that failed or diverged before, since more steps would not have helped
    it. See `survival`.
collapse
    For at least a tenth of the training, the curve is more than half below the highest that it had reached since its
    window was full, and that was at least a quarter of the way from the random policy to the target. A run that failed
    or diverged counts as collapsed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlbench.analysis.scores.scores import STOPPED, WINDOW, Reference, normalise, reference
from rlbench.analysis.stats.estimates import LEVEL, NO_RUN, Array, Estimate, wilson
from rlbench.errors import RlbenchError

DROP = 0.5  # share of the highest so far that must be lost
DURATION = 0.1  # share of the training for which it must be lost
HEIGHT = 0.25  # normalised return that must have been reached


class _Run(NamedTuple):
    """A run that took place: arm, environment and seed; steps, normalised values and whether known, `[points]`."""

    key: tuple[str, str, Hashable]
    step: Array
    value: Array
    known: npt.NDArray[np.bool_]
    status: str


def steps_to_threshold(
    curves: pd.DataFrame, threshold: float, references: Mapping[str, Reference] | None = None
) -> pd.DataFrame:
    """Return one row per run: arm, environment, seed, steps (to the threshold, or the budget) and reached.

    `curves` is the table of `scores.curves`, and `threshold` a normalised return. Runs that did not take place, or on
    environments without a reference, have no row.
    """
    rows = []
    for run in _runs(curves, references):
        above = run.known & (run.value >= threshold)
        full = _first_full(run.step)
        above[:full] = np.logical_and.accumulate(above[full::-1])[:0:-1]
        there = np.flatnonzero(above)
        steps = run.step[there[0] if there.size else -1]
        rows.append((*run.key, float(steps), there.size > 0))
    return pd.DataFrame(rows, columns=["arm", "environment", "seed", "steps", "reached"])


def collapses(curves: pd.DataFrame, references: Mapping[str, Reference] | None = None) -> pd.DataFrame:
    """Return one row per run: arm, environment, seed and collapsed; otherwise as `steps_to_threshold`."""
    rows = []
    for run in _runs(curves, references):
        full = _first_full(run.step)
        late = np.concatenate([np.full(full, -np.inf), run.value[full:]])
        lost = run.status in STOPPED or bool(collapsed(late))
        rows.append((*run.key, lost))
    return pd.DataFrame(rows, columns=["arm", "environment", "seed", "collapsed"])


def collapsed(curves: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return whether normalised curves `[..., points]` collapse, `[...]`, as the module defines it.

    Points that do not count yet are minus infinity.

    Raises:
        RlbenchError: a curve holds NaN, as those of runs that stopped early do.
    """
    value = np.asarray(curves, np.float64)
    if np.isnan(value).any():
        raise RlbenchError("Whether a curve collapses was asked of one with NaN; a run that stopped early did.")
    highest = np.maximum.accumulate(value, axis=-1)
    low = (value < (1 - DROP) * highest) & (highest >= HEIGHT)
    return np.asarray(low.mean(-1) >= DURATION)


def _first_full(step: Array) -> int:
    """Return the first grid point at which the window of a curve's value is full."""
    return int(np.searchsorted(step, WINDOW * step[-1] * (1 - 1e-9)))


def collapse_estimate(collapsed: int, runs: int, level: float = LEVEL) -> Estimate:
    """Return the share of `runs` that collapsed with Wilson's interval."""
    if not runs:
        return Estimate(np.nan, np.nan, np.nan, level, 0, NO_RUN, 0, "collapse probability")
    low, high = wilson(collapsed / runs, runs, level)
    return Estimate(collapsed / runs, float(low), float(high), level, runs, "Wilson", runs, "collapse probability")


def collapse_test(first: pd.Series[bool], second: pd.Series[bool]) -> float:
    """Return the two-sided p-value of equal probabilities of collapse, NaN without runs of both.

    R. D. Boschloo, Statistica Neerlandica 24, 1970: exact, and uniformly more powerful than Fisher's test.
    """
    if first.empty or second.empty:
        return float("nan")
    from scipy import stats

    table = [[int(first.sum()), int(second.sum())], [int((~first).sum()), int((~second).sum())]]
    if 0 in (sum(table[0]), sum(table[1])):
        return 1.0
    return float(stats.boschloo_exact(table).pvalue)


def _runs(curves: pd.DataFrame, references: Mapping[str, Reference] | None) -> Iterator[_Run]:
    """Yield the runs that have a curve, on environments that have a reference, in order."""
    keys = ["environment", "arm", "seed"]
    for environment, rows in curves.groupby("environment", sort=True):
        if reference(str(environment), references) is None:
            continue
        ordered = rows.sort_values([*keys, "step"])
        value = normalise(ordered["return"].to_numpy(np.float64), str(environment), references)
        step, known = ordered["step"].to_numpy(np.float64), ordered["observed"].to_numpy(bool)
        first = np.flatnonzero(~ordered.duplicated(keys).to_numpy())
        named = ordered.iloc[first][["arm", "seed", "status"]].itertuples(index=False)
        for start, end, (arm, seed, status) in zip(first, [*first[1:], len(ordered)], named, strict=True):
            part = slice(start, end)
            if status == "finished" and not np.isfinite(value[part]).all():
                continue  # no episode ended, so there is no curve
            yield _Run((str(arm), str(environment), seed), step[part], value[part], known[part], str(status))
