"""From a claim to the questions it asks: which runs of which arms and environments enter, and which are left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from rlbench.analysis.compare import ALL
from rlbench.analysis.identity import identical
from rlbench.analysis.measures import COMPARE, measure
from rlbench.analysis.permutation import Hypothesis
from rlbench.analysis.questions import Change, Difference, Question, Share
from rlbench.analysis.statistics import Array
from rlbench.claims import BOUNDED, Claim
from rlbench.errors import RlbenchError, nearest

if TYPE_CHECKING:
    from rlbench.analysis.results import Results


class Asked(NamedTuple):
    """The questions of a claim in families that are corrected each for itself, and what became of its runs.

    `empty` says, by environment and arm, why no number of runs gives a value there.
    """

    families: list[list[Question]]
    planned: int
    left_out: int
    empty: dict[tuple[str, str], str]


def ask(claim: Claim, results: Results) -> Asked:
    """Return the questions of a claim.

    Runs that did not finish, or recorded no such metric, are left out and counted; for a share they count against the
    claim. Pairs and trends take the seeds that are complete in all arms of the claim.

    Raises:
        RlbenchError: the results lack an arm, an environment, the metric, or every run of an arm lacks a value.
    """
    environments = _known(claim, "environment", claim.environments or results.environments, results.environments)
    _known(claim, "arm", claim.arms, results.arms)
    table = measure(results, claim.metric)
    table = table[table["arm"].isin(claim.arms) & table["environment"].isin(environments)]
    usable = table["used"].astype(bool) & np.isfinite(table["value"])
    for arm in claim.arms:
        own = table["arm"] == arm
        if table["used"][own].any() and not usable[own].any():
            raise RlbenchError(f"{claim.where}: no run of {arm} recorded a value of {claim.metric!r}.")
    empty = _empty(claim, table, usable)
    places: list[tuple[str, tuple[str, ...]]] = [(name, (name,)) for name in environments]
    if claim.over == "mean" and len(environments) > 1:
        places = [(ALL, environments)]
    if claim.direction in BOUNDED:
        questions = [_bounded(claim, results, table, usable, arm, *place) for arm in claim.arms for place in places]
        return Asked([questions], len(table), int((~usable).sum()), empty)
    traced = table.assign(used=usable, trace=results.scores["cell"].reindex(table.index).map(results.traces))
    values = _Values(traced, claim)
    if claim.direction in ("increasing", "decreasing"):
        families: list[list[Question]] = [[_change(claim, values, *place) for place in places]]
    elif claim.direction in ("peak", "dip"):
        ends = (claim.arms[0], claim.arms[-1])
        families = [[_difference(claim, values, str(claim.best), end, *place) for place in places] for end in ends]
    else:
        pairs = [(claim.arms[0], other) for other in claim.arms[1:]]
        families = [[_difference(claim, values, *pair, *place) for pair in pairs for place in places]]
    return Asked(families, len(table), len(table) - values.entered, empty)


def sequential_data(
    results: Results, stages: Sequence[Sequence[int]], metric: str
) -> tuple[list[dict[tuple[str, str], Array]], list[Hypothesis]]:
    """Return the scores that each stage of seeds added, and what is tested: every arm against the baseline.

    Over all environments, normalised, where all have references and there are several; else on each environment.

    Raises:
        RlbenchError: the experiment names no baseline.
    """
    if results.baseline is None:
        raise RlbenchError("The experiment names no baseline, so there is nothing to decide.")
    used = results.scores[results.scores["used"].astype(bool)]
    normalised = f"{metric}_normalised"
    together = len(results.environments) > 1 and bool(used[normalised].notna().all())
    places = [tuple(results.environments)] if together else [(name,) for name in results.environments]
    others = [arm for arm in results.arms if arm != results.baseline]
    data: list[dict[tuple[str, str], Array]] = []
    for seeds in stages:
        fresh = used[used["seed"].isin(list(seeds))]
        values = fresh.groupby(["environment", "arm"])[normalised if together else metric]
        found = {key: np.sort(column.to_numpy(np.float64)) for key, column in values}
        data.append(
            {(name, arm): found.get((name, arm), np.empty(0)) for name in results.environments for arm in results.arms}
        )
    return data, [Hypothesis(arm, results.baseline, place) for arm in others for place in places]


class _Values:
    """The values of the used runs, by environment and arm; in the order of seeds where those must be complete."""

    def __init__(self, table: pd.DataFrame, claim: Claim) -> None:
        self._arms = list(claim.arms)
        self._table = table
        self.by_seed = _by_seed(claim)
        wide = table[table["used"]].pivot(index=["environment", "seed"], columns="arm", values="value").sort_index()
        self._wide = wide.reindex(columns=self._arms)
        if self.by_seed:
            self._wide = self._wide.dropna()
        self.entered = int(self._wide.notna().to_numpy().sum())

    def table(self, environment: str) -> Array:
        """Return `[seeds, arms]`, in the order of the claim's arms."""
        here = self._wide.index.get_level_values("environment") == environment
        return self._wide[here].to_numpy(np.float64)

    def runs(self, environment: str, arm: str) -> Array:
        """Return `[runs]`: in the order of seeds where pairs matter, else sorted."""
        column = self.table(environment)[:, self._arms.index(arm)]
        known = column[np.isfinite(column)]
        return known if self.by_seed else np.sort(known)

    def identical(self, environments: Sequence[str], *arms: str) -> bool:
        """Return whether the runs of the arms are the same on all of these environments."""
        here = (self._table[self._table["environment"] == name] for name in environments)
        return all(identical(runs, arms) for runs in here)


def _by_seed(claim: Claim) -> bool:
    """Return whether only seeds that are complete in all arms enter."""
    return claim.paired or claim.direction in ("increasing", "decreasing")


def _empty(claim: Claim, table: pd.DataFrame, usable: pd.Series) -> dict[tuple[str, str], str]:
    """Say, by environment and arm, where runs finished and none of them has a value, or no seed in all arms."""
    said: dict[tuple[str, str], str] = {}
    table = table.assign(used=table["used"].astype(bool), usable=usable)
    for name, here in table.groupby("environment", sort=False):
        environment = str(name)
        if _by_seed(claim) and here["used"].all() and not here.groupby("seed")["usable"].all().any():
            why = f"no seed has a value of {claim.metric} in all of {', '.join(claim.arms)} on {environment}"
            said |= {(environment, arm): why for arm in claim.arms}
        for arm in claim.arms:
            own = here[here["arm"] == arm]
            if own["used"].any() and not own["usable"].any():
                finished = f"{own['used'].sum()} finished runs of {arm} on {environment}"
                why = f"none of the {finished} has a value of {claim.metric}"
                said |= {(environment, one): why for one in (claim.arms if _by_seed(claim) else [arm])}
    return said


def _difference(
    claim: Claim, values: _Values, arm: str, other: str, environment: str, environments: tuple[str, ...]
) -> Question:
    x, y = (tuple(values.runs(name, side) for name in environments) for side in (arm, other))
    same = values.identical(environments, arm, other)
    return Difference(arm, other, environment, environments, x, y, paired=claim.paired, identical=same)


def _change(claim: Claim, values: _Values, environment: str, environments: tuple[str, ...]) -> Question:
    tables = tuple(values.table(name) for name in environments)
    same = values.identical(environments, *claim.arms)
    return Change(claim.arms[0], claim.arms[-1], environment, environments, tables, identical=same)


def _bounded(
    claim: Claim,
    results: Results,
    table: pd.DataFrame,
    usable: pd.Series,
    arm: str,
    environment: str,
    environments: tuple[str, ...],
) -> Question:
    """Return the question of one mean or share."""
    own = (table["arm"] == arm) & table["environment"].isin(environments)
    if claim.condition is None:
        x = tuple(
            np.sort(table["value"][own & usable & (table["environment"] == name)].to_numpy(np.float64))
            for name in environments
        )
        return Difference(arm, "", environment, environments, x, tuple(map(np.zeros_like, x)), True, True)
    compare, number = claim.condition
    happened = COMPARE[compare](table["value"], number) & usable
    # A run that failed or diverged tells against the claim, whichever way it points.
    against = own & ~usable & (results.scores["status"].reindex(table.index) != "missing")
    hits = int((own & happened).sum()) + (int(against.sum()) if claim.direction == "below" else 0)
    return Share(arm, "", environment, environments, hits, int((own & usable).sum() + against.sum()))


def _known(claim: Claim, what: str, names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise RlbenchError(f"{claim.where}: there is no {what} {name!r} here.{nearest(name, list(known))}")
    return tuple(names)
