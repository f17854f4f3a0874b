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

import numpy as np
from scipy import stats

from rlbench.analysis import intervals, power
from rlbench.analysis.families import Alternative, family, holm
from rlbench.analysis.intervals import Estimate
from rlbench.analysis.permutation import Data, Hypothesis
from rlbench.analysis.power import Spread
from rlbench.analysis.statistics import Array
from rlbench.analysis.trends import contrast_test, linear_changes, page_test, rank_correlation


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
            return Estimate(np.nan, np.nan, np.nan, level, 0, intervals.NO_RUN)
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
