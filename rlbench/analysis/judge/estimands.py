"""The questions that a claim asks of the runs: what is estimated, its interval, and its one-sided tests.

A claim asks one question per pair of arms (or arm) and environment, or over all environments together. Every
question has a quantity theta, an interval for it, and p-values of "theta is not above x" and "not below x" for any x;
`verdicts` makes the rest of these. P-values are adjusted within the claim: where the questions permute the same runs by
the step-down of the largest |t| (`families`), else by Holm's method. One-sided p-values are doubled, so that each of a
claim's two ends has half of the level, as in a two-sided interval.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import factorial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from rlbench.analysis.scores.identity import identical
from rlbench.analysis.scores.metrics import COMPARE, measure
from rlbench.analysis.scores.scores import ALL
from rlbench.analysis.stats import intervals, power
from rlbench.analysis.stats.estimates import NO_RUN, Estimate
from rlbench.analysis.stats.families import Alternative, family, holm
from rlbench.analysis.stats.permutation import Data, Hypothesis
from rlbench.analysis.stats.power import Spread
from rlbench.analysis.stats.statistics import Array
from rlbench.analysis.stats.trends import contrast_test, linear_changes, page_test, rank_correlation
from rlbench.claims import BOUNDED, Claim
from rlbench.errors import RlbenchError, nearest

if TYPE_CHECKING:
    from rlbench.analysis.scores.results import Results


@dataclass(frozen=True, eq=False)
class Question(ABC):
    """One quantity of one arm, or of an arm and another, in `environment`, made of `environments`.

    `identical` says that the runs of the arms are the same, seed by seed (`identity`).
    """

    arm: str
    other: str
    environment: str
    environments: tuple[str, ...]
    identical: bool = field(default=False, kw_only=True)

    @property
    @abstractmethod
    def counts(self) -> tuple[int, int]:
        """Runs of the arm and of the other one, in all environments together."""

    @abstractmethod
    def interval(self, level: float, seed: int) -> Estimate:
        """Return theta with its interval."""

    @abstractmethod
    def spread(self) -> Spread:
        """Return what power is computed from."""

    @abstractmethod
    def refusal(self, alpha: float) -> str:
        """Return why so few runs cannot decide, empty if they can."""

    @abstractmethod
    def least(self, alpha: float) -> int:
        """Return the fewest runs per arm and environment with which the test can reach the level."""

    def size(self, level: float, seed: int) -> tuple[str, Estimate | None]:
        """Return an effect size without unit, and what it is."""
        return "", None

    @property
    def per_task(self) -> tuple[int, int]:
        """The smallest number of runs in an environment, of the arm and of the other one."""
        n, m = self.counts
        return n // len(self.environments), m // len(self.environments)


@dataclass(frozen=True, eq=False)
class Difference(Question):
    """Mean of the arm minus mean of the other one; `x` and `y` hold `[runs]` per environment.

    Where `paired`, runs of one seed stand at the same place; `y` of a question about one mean is constant, and paired.
    """

    x: tuple[Array, ...]
    y: tuple[Array, ...]
    paired: bool = False
    single: bool = False

    @property
    def counts(self) -> tuple[int, int]:
        """Runs in all environments."""
        return sum(one.size for one in self.x), 0 if self.single else sum(one.size for one in self.y)

    @property
    def per_task(self) -> tuple[int, int]:
        """The smallest number of runs in an environment."""
        return min(one.size for one in self.x), min(one.size for one in self.y)

    def interval(self, level: float, seed: int) -> Estimate:
        """Return the difference of means; of one mean, the mean itself."""
        if self.single:
            return intervals.mean_interval(list(self.x), seed=seed, level=level)
        if self.paired:
            return intervals.mean_interval(self._moved(), seed=seed, level=level)
        return intervals.difference_interval(list(self.x), list(self.y), seed=seed, level=level)

    def spread(self) -> Spread:
        """Return the spread of the runs, or of the differences within a seed."""
        return Spread.of(self._moved()) if self.paired else Spread.of(list(self.x), list(self.y))

    def refusal(self, alpha: float) -> str:
        """Return why so few runs cannot decide."""
        n, m = self.per_task
        return power.refusal(n, m, alpha, tasks=len(self.x), paired=self.paired)

    def least(self, alpha: float) -> int:
        """Return the fewest runs."""
        return power.fewest_runs(alpha, tasks=len(self.x), paired=self.paired)

    def size(self, level: float, seed: int) -> tuple[str, Estimate | None]:
        """Return the probability of improvement."""
        if self.single:
            return "", None
        name = f"P(run of {self.arm} above run of {self.other})"
        return name, intervals.improvement_interval(list(self.x), list(self.y), level=level)

    def _moved(self) -> list[Array]:
        return [x - y for x, y in zip(self.x, self.y, strict=True)]


@dataclass(frozen=True, eq=False)
class Share(Question):
    """Share of the runs with an event: `hits` of `runs`."""

    hits: int
    runs: int

    @property
    def counts(self) -> tuple[int, int]:
        """Runs of the arm."""
        return self.runs, 0

    def interval(self, level: float, seed: int) -> Estimate:
        """Return the share with the interval of C. J. Clopper and E. S. Pearson (Biometrika 26, 1934).

        Never too narrow. Over environments with different probabilities it errs on the safe side.
        """
        if self.runs == 0:
            return Estimate(np.nan, np.nan, np.nan, level, 0, NO_RUN)
        ends = stats.binomtest(self.hits, self.runs).proportion_ci(level, method="exact")
        return Estimate(self.hits / self.runs, ends.low, ends.high, level, self.runs, "Clopper-Pearson")

    def spread(self) -> Spread:
        """Return the standard deviation of the event, with one hit and one miss added."""
        share = (self.hits + 1) / (self.runs + 2)
        deviation = float(np.sqrt(share * (1 - share)))
        return Spread((deviation,) * len(self.environments), (), float(max(self.runs - 1, 1)))

    def refusal(self, alpha: float) -> str:
        """Return nothing: the interval says what few runs can show."""
        return ""

    def least(self, alpha: float) -> int:
        """Return 1."""
        return 1


@dataclass(frozen=True, eq=False)
class Change(Question):
    """Linear change over ordered arms; `tables` hold `[seeds, arms]` per environment."""

    tables: tuple[Array, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """Complete seeds."""
        return sum(len(table) for table in self.tables), 0

    def interval(self, level: float, seed: int) -> Estimate:
        """Return the mean change from the first arm to the last, by a straight line through each seed."""
        return intervals.mean_interval([_changes(table) for table in self.tables], seed=seed, level=level)

    def spread(self) -> Spread:
        """Return the spread of the change between seeds."""
        return Spread.of([_changes(table) for table in self.tables])

    def refusal(self, alpha: float) -> str:
        """Return why so few seeds cannot decide."""
        seeds, arms = min(len(table) for table in self.tables), self.tables[0].shape[1]
        if seeds >= self.least(alpha):
            return ""
        return (
            f"{seeds} complete seed{'s' if seeds != 1 else ''} of {arms} arms cannot decide a trend at the {alpha:.2g} "
            f"level; at least {self.least(alpha)} are needed."
        )

    def least(self, alpha: float) -> int:
        """Return the fewest seeds."""
        ways, tasks = factorial(self.tables[0].shape[1]), len(self.tables)
        return next(n for n in range(2, 50) if 2 / ways ** (n * tasks) <= alpha)

    def size(self, level: float, seed: int) -> tuple[str, Estimate | None]:
        """Return the mean rank correlation of score and order."""
        stacked = np.concatenate(self.tables)
        return "rank correlation", rank_correlation(stacked, seed=seed, level=level) if len(stacked) > 1 else None


def one_sided(questions: Sequence[Question], threshold: float, above: bool, seed: int) -> Array:
    """Return the adjusted, doubled p-values of "theta is not above (below) the threshold", `[questions]`.

    All questions are of one kind. NaN where an arm has no run.
    """
    if all(isinstance(one, Difference) for one in questions):
        p = _differences([one for one in questions if isinstance(one, Difference)], threshold, above, seed)
    else:
        p = holm([_single(one, threshold, above, seed) for one in questions])
    return np.minimum(2 * p, 1.0)


def _differences(questions: Sequence[Difference], threshold: float, above: bool, seed: int) -> Array:
    """Return the p-values of differences: the arm's runs are moved by the threshold, then permuted."""
    data: dict[tuple[str, str], Array] = {}
    hypotheses = []
    for one in questions:
        other = f"{one.arm}, bound" if one.single else one.other
        hypotheses.append(Hypothesis(one.arm, other, one.environments))
        for name, x, y in zip(one.environments, one.x, one.y, strict=True):
            data |= {(name, one.arm): x - threshold, (name, other): 0 * y if one.single else y}
    side: Alternative = "greater" if above else "less"
    known: Data = data
    return family(known, hypotheses, paired=questions[0].paired, alternative=side, seed=seed).adjusted


def _single(question: Question, threshold: float, above: bool, seed: int) -> float:
    """Return the one-sided p-value of a share or a change, not adjusted."""
    if isinstance(question, Share):
        if question.runs == 0:
            return float("nan")
        bound = min(max(threshold, 0.0), 1.0)
        side = "greater" if above else "less"
        return float(stats.binomtest(question.hits, question.runs, bound, alternative=side).pvalue)
    assert isinstance(question, Change)
    stacked = np.concatenate(question.tables)
    if len(stacked) < 2:
        return float("nan")
    moved = stacked - threshold * np.linspace(0, 1, stacked.shape[1])
    p = contrast_test(moved, alternative="greater" if above else "less", seed=seed)
    # A trend is a matter of order, too, and only where no margin is asked for do ranks say something about it.
    return max(p, page_test(stacked, increasing=above)) if threshold == 0 else p


def _changes(table: Array) -> Array:
    return linear_changes(table) if len(table) > 1 else np.empty(0)


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
