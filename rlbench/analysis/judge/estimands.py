"""What is estimated of arms, its interval and its p-values: of the comparisons of a report and of what a claim says.

An estimand is a quantity theta of an arm, or of an arm and its baseline, on an environment or over several together.
`Values` reads a metric of the runs, and everything that is judged is made of it: the comparisons (`compare`), the parts
of a claim (`estimands_of`), and the stages of an experiment whose seeds are added until it is decided (`staged_data`).

P-values are adjusted within a family. Differences, which permute the same runs, are adjusted by the step-down of the
largest |t| (`tests`), all others by Holm's method. A claim asks for p-values of "theta is not above x" and "not
below x" for any x. These one-sided p-values are doubled, so that each of a claim's two ends has half of the level, as
in a two-sided interval.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import factorial

import numpy as np
import pandas as pd

from rlbench.analysis.scores.metrics import COMPARE, measure, metric_name
from rlbench.analysis.scores.results import Results
from rlbench.analysis.scores.scores import ALL, identical
from rlbench.analysis.stats import intervals, power
from rlbench.analysis.stats.estimates import ANYTHING, NO_RUN, Array, Estimate, Range
from rlbench.analysis.stats.power import Spread
from rlbench.analysis.stats.sweeps import contrast_test, linear_changes, page_test, rank_correlation
from rlbench.analysis.stats.tests import Alternative, Hypothesis, holm, step_down
from rlbench.claims import Claim
from rlbench.errors import RlbenchError, nearest

Empty = dict[tuple[str, str], str]
"""Why no number of runs gives a value, by environment and arm."""


@dataclass(frozen=True, eq=False)
class Estimand(Hypothesis, ABC):
    """A quantity theta of an arm, and of a baseline if it has one, on all of `environments` together.

    `identical` says that the runs of the arms are the same, seed by seed. `counts` are the runs of the arm and of its
    baseline in all environments together (of a trend complete seeds), `per_task` the smallest numbers in one. `least`
    is the fewest runs per arm and environment with which the test can reach the level, and `refusal` says why fewer
    cannot decide. `size` is an effect size without unit, with its name.
    """

    identical: bool

    @property
    def environment(self) -> str:
        """The label of the environment, or `ALL`."""
        return self.environments[0] if len(self.environments) == 1 else ALL

    @property
    def other(self) -> str:
        """The baseline, empty where the arm is held against a number."""
        return self.baseline

    @property
    @abstractmethod
    def counts(self) -> tuple[int, int]: ...

    @property
    def per_task(self) -> tuple[int, int]:
        n, m = self.counts
        return n // len(self.environments), m // len(self.environments)

    @abstractmethod
    def interval(self, level: float, seed: int) -> Estimate: ...

    @abstractmethod
    def spread(self) -> Spread: ...

    @abstractmethod
    def least(self, alpha: float) -> int: ...

    def refusal(self, alpha: float) -> str:
        return ""

    def size(self, level: float, seed: int) -> tuple[str, Estimate | None]:
        return "", None

    def p_value(self, threshold: float, above: bool, seed: int) -> float:
        """Return the one-sided p-value, not adjusted and not doubled; differences have one as a family only."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Difference(Estimand):
    """Mean of the arm minus mean of its baseline; `x` and `y` hold `[runs]` per environment.

    Where `paired`, runs of one seed stand at the same place. A `single` mean is a paired difference from runs of a
    baseline "ARM, bound" that are all 0. No interval leaves what follows from the `possible` scores.
    """

    x: tuple[Array, ...]
    y: tuple[Array, ...]
    paired: bool = False
    single: bool = False
    possible: Range = ANYTHING

    @property
    def other(self) -> str:
        return "" if self.single else self.baseline

    @property
    def counts(self) -> tuple[int, int]:
        return sum(map(len, self.x)), 0 if self.single else sum(map(len, self.y))

    @property
    def per_task(self) -> tuple[int, int]:
        return min(map(len, self.x)), min(map(len, self.y))

    def interval(self, level: float, seed: int) -> Estimate:
        if self.paired:
            return intervals.mean_interval(self._within_seeds(), seed=seed, level=level)
        return intervals.mean_interval(self.x, self.y, seed=seed, level=level, possible=self.possible)

    def spread(self) -> Spread:
        return Spread.of(self._within_seeds()) if self.paired else Spread.of(self.x, self.y)

    def least(self, alpha: float) -> int:
        return power.fewest_runs(alpha, tasks=len(self.x), paired=self.paired)

    def refusal(self, alpha: float) -> str:
        return power.refusal(*self.per_task, alpha, tasks=len(self.x), paired=self.paired)

    def size(self, level: float, seed: int) -> tuple[str, Estimate | None]:
        if self.single:
            return "", None
        name = f"P(run of {self.arm} above run of {self.baseline})"
        return name, intervals.improvement_interval(self.x, self.y, level=level)

    def _within_seeds(self) -> list[Array]:
        return [x - y for x, y in zip(self.x, self.y, strict=True)]


@dataclass(frozen=True, eq=False)
class Share(Estimand):
    """Share of the runs with an event: `hits` of `runs`; over environments with other shares it errs on the safe side.

    Interval of C. J. Clopper and E. S. Pearson (Biometrika 26, 1934), which is never too narrow.
    """

    hits: int
    runs: int

    @property
    def counts(self) -> tuple[int, int]:
        return self.runs, 0

    def interval(self, level: float, seed: int) -> Estimate:
        from scipy import stats  # 0.6 s, which only claims of shares and of trends need

        if self.runs == 0:
            return Estimate(np.nan, np.nan, np.nan, level, 0, NO_RUN)
        ends = stats.binomtest(self.hits, self.runs).proportion_ci(level, method="exact")
        return Estimate(self.hits / self.runs, ends.low, ends.high, level, self.runs, "Clopper-Pearson")

    def spread(self) -> Spread:
        share = (self.hits + 1) / (self.runs + 2)  # one hit and one miss are added: no share is certain
        deviation = float(np.sqrt(share * (1 - share)))
        return Spread((deviation,) * len(self.environments), (), float(max(self.runs - 1, 1)))

    def least(self, alpha: float) -> int:
        return 1

    def p_value(self, threshold: float, above: bool, seed: int) -> float:
        from scipy import stats  # 0.6 s, which only claims of shares and of trends need

        if self.runs == 0:
            return float("nan")
        bound, side = min(max(threshold, 0.0), 1.0), "greater" if above else "less"
        return float(stats.binomtest(self.hits, self.runs, bound, alternative=side).pvalue)


@dataclass(frozen=True, eq=False)
class Change(Estimand):
    """Change from the first of ordered arms to the last, by a straight line through each seed.

    `tables` hold `[seeds, arms]` per environment.
    """

    tables: tuple[Array, ...]

    @property
    def counts(self) -> tuple[int, int]:
        return sum(map(len, self.tables)), 0

    def interval(self, level: float, seed: int) -> Estimate:
        return intervals.mean_interval(self._changes(), seed=seed, level=level)

    def spread(self) -> Spread:
        return Spread.of(self._changes())

    def least(self, alpha: float) -> int:
        ways, tasks = factorial(self.tables[0].shape[1]), len(self.tables)
        return next(n for n in range(2, 50) if 2 / ways ** (n * tasks) <= alpha)

    def refusal(self, alpha: float) -> str:
        seeds, arms, least = min(map(len, self.tables)), self.tables[0].shape[1], self.least(alpha)
        if seeds >= least:
            return ""
        return (
            f"{seeds} complete seed{'s' if seeds != 1 else ''} of {arms} arms cannot decide a trend at the {alpha:.2g} "
            f"level; at least {least} are needed."
        )

    def size(self, level: float, seed: int) -> tuple[str, Estimate | None]:
        stacked = np.concatenate(self.tables)
        return "rank correlation", rank_correlation(stacked, seed=seed, level=level) if len(stacked) > 1 else None

    def p_value(self, threshold: float, above: bool, seed: int) -> float:
        stacked = np.concatenate(self.tables)
        if len(stacked) < 2:
            return float("nan")
        moved = stacked - threshold * np.linspace(0, 1, stacked.shape[1])
        p = contrast_test(moved, alternative="greater" if above else "less", seed=seed)
        # A trend is a matter of order, too, and only where no margin is asked for do ranks say something about it.
        return max(p, page_test(stacked, increasing=above)) if threshold == 0 else p

    def _changes(self) -> list[Array]:
        return [linear_changes(table) if len(table) > 1 else np.empty(0) for table in self.tables]


def one_sided(estimands: Sequence[Estimand], threshold: float, above: bool, seed: int) -> Array:
    """Return the adjusted, doubled p-values of "theta is not above (below) the threshold", `[estimands]`.

    All estimands are of one kind. Of a difference the arm's runs are moved by the threshold and then permuted: exact
    where the distributions differ by a shift alone. NaN where an arm has no run.
    """
    differences = [estimand for estimand in estimands if isinstance(estimand, Difference)]
    if not differences:
        return np.minimum(2 * holm([estimand.p_value(threshold, above, seed) for estimand in estimands]), 1.0)
    data: dict[tuple[str, str], Array] = {}
    for estimand in differences:
        for name, x, y in zip(estimand.environments, estimand.x, estimand.y, strict=True):
            data |= {(name, estimand.arm): x - threshold, (name, estimand.baseline): y}
    side: Alternative = "greater" if above else "less"
    tested = step_down(data, differences, paired=differences[0].paired, alternative=side, seed=seed)
    return np.minimum(2 * tested.adjusted, 1.0)


class Values:
    """The values of a metric, by environment and arm, of the runs that are used and have one.

    `table` has a row per planned run: arm, environment, seed, value, `finished` (the run may be used) and `used` (it
    has a value, too). Where `complete`, only seeds enter that have a value in all arms, and runs stand in their order.
    """

    def __init__(
        self, results: Results, metric: str, arms: Sequence[str], environments: Sequence[str], *, complete: bool = False
    ) -> None:
        table = measure(results, metric)
        table = table[table["arm"].isin(arms) & table["environment"].isin(environments)]
        finished = table["used"].astype(bool)
        self.table = table.assign(finished=finished, used=finished & np.isfinite(table["value"]))
        self._results, self._metric, self._arms, self._complete = results, metric, list(arms), complete
        wide = self.table[self.table["used"]].pivot(index=["environment", "seed"], columns="arm", values="value")
        wide = wide.sort_index().reindex(columns=self._arms)
        self._wide = wide.dropna() if complete else wide
        self.entered = int(self._wide.notna().to_numpy().sum())

    def known(self, environments: Sequence[str], arms: Sequence[str] = ()) -> bool:
        """Return whether every run that may be used has a value there, of some arms or of all."""
        here = self.table["finished"] & self.table["environment"].isin(environments)
        return bool(self.table["used"][here & self.table["arm"].isin(arms or self._arms)].all())

    def runs(self, environment: str, arm: str, seeds: Sequence[int] | None = None) -> Array:
        """Return `[runs]`, in the order of seeds where those must be complete, else sorted."""
        column = self._wide.loc[self._wide.index.get_level_values("environment") == environment, arm]
        if seeds is not None:
            column = column[column.index.get_level_values("seed").isin(seeds)]
        known = column.dropna().to_numpy(np.float64)
        return known if self._complete else np.sort(known)

    def difference(
        self,
        arm: str,
        baseline: str,
        environments: tuple[str, ...],
        *,
        paired: bool = False,
        possible: Range = ANYTHING,
    ) -> Difference:
        """Return the difference of two arms."""
        x, y = (tuple(self.runs(name, side) for name in environments) for side in (arm, baseline))
        same = self._identical(environments, (arm, baseline))
        return Difference(arm, baseline, environments, same, x, y, paired, possible=possible)

    def mean(self, arm: str, environments: tuple[str, ...]) -> Difference:
        """Return the mean of one arm."""
        x = tuple(self.runs(name, arm) for name in environments)
        return Difference(arm, f"{arm}, bound", environments, False, x, tuple(map(np.zeros_like, x)), True, True)

    def change(self, environments: tuple[str, ...]) -> Change:
        """Return the change over all arms."""
        places = self._wide.index.get_level_values("environment")
        tables = tuple(self._wide[places == name].to_numpy(np.float64) for name in environments)
        same = self._identical(environments, self._arms)
        return Change(self._arms[0], self._arms[-1], environments, same, tables)

    def share(self, arm: str, environments: tuple[str, ...], claim: Claim) -> Share:
        """Return the share of an arm's runs with the claim's event; those that stopped tell against the claim."""
        compare, number = claim.condition or ("", 0.0)
        table = self.table[(self.table["arm"] == arm) & self.table["environment"].isin(environments)]
        stopped = int((~table["used"] & (self._results.scores["status"].reindex(table.index) != "missing")).sum())
        hits = int((COMPARE[compare](table["value"], number) & table["used"]).sum())
        hits += stopped if claim.direction == "below" else 0
        return Share(arm, "", environments, False, hits, int(table["used"].sum()) + stopped)

    def empty(self) -> Empty:
        """Say, by environment and arm, where runs finished and none of them has a value, or no seed in all arms."""
        reasons: Empty = {}
        for name, here in self.table.groupby("environment", sort=False):
            place = str(name)
            if self._complete and here["finished"].all() and not here.groupby("seed")["used"].all().any():
                why = f"no seed has a value of {metric_name(self._metric)} in all of {', '.join(self._arms)} on {place}"
                reasons |= {(place, arm): why for arm in self._arms}
            for arm in self._arms:
                rows = here[here["arm"] == arm]
                if rows["finished"].any() and not rows["used"].any():
                    finished = f"{rows['finished'].sum()} finished runs of {arm} on {place}"
                    why = f"none of the {finished} has a value of {metric_name(self._metric)}"
                    reasons |= {(place, other): why for other in (self._arms if self._complete else [arm])}
        return reasons

    @cached_property
    def _traced(self) -> pd.DataFrame:
        cells = self._results.scores["cell"].reindex(self.table.index)
        return self.table.assign(trace=cells.map(self._results.traces))

    def _identical(self, environments: Sequence[str], arms: Sequence[str]) -> bool:
        return all(identical(self._traced[self._traced["environment"] == name], arms) for name in environments)


def estimands_of(claim: Claim, results: Results) -> tuple[list[list[Estimand]], Values]:
    """Return what a claim is about: one estimand per pair of arms (or arm) and environment, or over all environments.

    In families, which are corrected each for itself; and the values that they are made of. Runs that did not finish, or
    recorded no such metric, are left out and counted; for a share they count against the
    claim. Pairs and trends take the seeds that are complete in all arms of the claim.

    Raises:
        RlbenchError: the results lack an arm, an environment, the metric, or every run of an arm lacks a value.
    """
    names = _known(claim, "environment", claim.environments or results.environments, results.environments)
    arms = _known(claim, "arm", claim.arms, results.arms)
    complete = claim.kind != "bound" and (claim.paired or claim.kind == "trend")
    values = Values(results, claim.metric, arms, names, complete=complete)
    for arm in arms:
        runs = values.table[values.table["arm"] == arm]
        if runs["finished"].any() and not runs["used"].any():
            raise RlbenchError(f"{claim.where}: no run of {arm} recorded a value of {claim.metric!r}.")
    places = [names] if claim.over == "mean" else [(name,) for name in names]
    families: list[list[Estimand]]
    if claim.kind == "bound":
        event = claim.condition is not None
        families = [
            [values.share(arm, place, claim) if event else values.mean(arm, place) for arm in arms for place in places]
        ]
    elif claim.kind == "trend":
        families = [[values.change(place) for place in places]]
    else:
        pairs = [list(product(arms[:1], arms[1:]))]
        if claim.kind == "inner":  # both ends must be beaten: each end is a family of its own
            pairs = [[(str(claim.best), end)] for end in (arms[0], arms[-1])]
        families = [
            [values.difference(*pair, place, paired=claim.paired) for pair in group for place in places]
            for group in pairs
        ]
    return families, values


def staged_data(
    results: Results, stages: Sequence[Sequence[int]], metric: str
) -> tuple[list[dict[tuple[str, str], Array]], list[Hypothesis]]:
    """Return the scores that each stage of seeds added, and what is tested: every arm against the baseline.

    Over all environments, normalised, where all have references and there are several; else on each environment.

    Raises:
        RlbenchError: the experiment names no baseline.
    """
    if results.baseline is None:
        raise RlbenchError("The experiment names no baseline, so there is nothing to decide.")
    arms, names = results.arms, tuple(results.environments)
    values = Values(results, f"{metric}_normalised", arms, names)
    places = [names]
    if len(names) == 1 or not values.known(names):
        values, places = Values(results, metric, arms, names), [(name,) for name in names]
    data = [{(name, arm): values.runs(name, arm, seeds) for name in names for arm in arms} for seeds in stages]
    others = [arm for arm in arms if arm != results.baseline]
    return data, [Hypothesis(arm, results.baseline, place) for arm in others for place in places]


def _known(claim: Claim, what: str, names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise RlbenchError(f"{claim.where}: there is no {what} {name!r} here.{nearest(name, list(known))}")
    return tuple(names)
