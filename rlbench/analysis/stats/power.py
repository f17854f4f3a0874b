"""How much a number of runs can show, and how many runs a wanted effect needs.

Power is that of Welch's t test, which the studentised permutation test shares for samples that are not tiny; the
least number of runs with which a permutation test can decide at all is counted exactly. Effects are in the units of
the scores. Spreads are the standard deviations between training runs of one arm.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isnan, nan, sqrt

import numpy as np
from scipy import special

from rlbench.analysis.stats.estimates import Scores, as_tasks, check_same_tasks
from rlbench.analysis.stats.tests import PERMUTATIONS, smallest_p
from rlbench.errors import RlbenchError

POWER = 0.8
MOST = 100_000  # runs per arm beyond which nobody goes
PILOT_LEVEL = 0.8  # of the range for what a pilot says; wide enough as it is


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the runs in each task: of the arm, and of its baseline where there is one.

    `degrees_of_freedom` are those of the estimate, for how well they are known; 0: given, not estimated.
    """

    arm: tuple[float, ...]
    baseline: tuple[float, ...] = ()
    degrees_of_freedom: float = 0.0

    @classmethod
    def of(cls, scores: Scores, baseline: Scores | None = None) -> Spread:
        """Return the spread of scores as in `estimates`; NaN where a task has fewer than two runs."""
        x = as_tasks(scores, allow_empty=True)
        y = [] if baseline is None else as_tasks(baseline, allow_empty=True)
        if baseline is not None:
            check_same_tasks(x, y)
        sizes = [task.size for task in (*x, *y)]
        arm, other = (
            tuple(float(np.sort(task).std(ddof=1)) if task.size > 1 else nan for task in side) for side in (x, y)
        )
        variances = np.array([value**2 for value in (*arm, *other)])
        df = np.array([max(size - 1, 1) for size in sizes])
        total = float((variances**2 / df).sum())
        return cls(arm, other, float(variances.sum() ** 2 / total) if total > 0 else float(df.sum()))

    def scaled(self, factor: float) -> Spread:
        """Return the spread with every variance multiplied by `factor`."""
        arm, baseline = (tuple(sqrt(factor) * one for one in side) for side in (self.arm, self.baseline))
        return Spread(arm, baseline, self.degrees_of_freedom)


@dataclass(frozen=True)
class Seeds:
    """Runs per arm and environment that an effect needs, and the range that the pilot leaves open.

    `n`, `low` and `high` are infinite where `MOST` would not do, NaN where the spread is unknown.
    """

    n: float
    low: float
    high: float


def detectable_effect(
    spread: Spread, n: int, m: int | None = None, *, alpha: float = 0.05, power: float = POWER
) -> float:
    """Return the smallest difference that `n` runs per task against `m` (default: `n`) find with probability `power`.

    The noncentral t distribution of Welch's t (degrees of freedom by Welch and Satterthwaite), two-sided at `alpha`.
    For a spread without baseline a mean against a fixed number. NaN with fewer than two runs or an unknown spread.
    """
    error, df = _welch(spread, n, n if m is None else m)
    critical = special.stdtrit(df, 1 - alpha / 2)
    return error * float(special.nctdtrinc(df, 1 - power, critical)) if error > 0 else error


def seeds_needed(
    spread: Spread, effect: float, *, alpha: float = 0.05, power: float = POWER, least: int | None = None
) -> Seeds:
    """Return how many runs per arm and environment find a difference of `effect` with probability `power`.

    At least `least`, by default what an unpaired permutation test needs (`fewest_runs`). The range holds what the
    chi-square interval of the variances (level `PILOT_LEVEL`) leaves open: a pilot of five runs knows its own spread
    badly.
    """
    least = fewest_runs(alpha, tasks=len(spread.arm)) if least is None else least
    ends = [1.0, 1.0]
    if spread.degrees_of_freedom > 0:
        tails = ((1 - PILOT_LEVEL) / 2, (1 + PILOT_LEVEL) / 2)  # upper ones
        ends = [spread.degrees_of_freedom / float(special.chdtri(spread.degrees_of_freedom, tail)) for tail in tails]
    n, low, high = (_search(spread.scaled(factor), abs(effect), alpha, power, least) for factor in (1.0, *ends))
    return Seeds(n, low, high)


def fewest_runs(alpha: float = 0.05, *, tasks: int = 1, paired: bool = False) -> int:
    """Return the least equal number of runs per arm with which a two-sided permutation test can reach `alpha`.

    Raises:
        RlbenchError: `alpha` is smaller than any p that so many random permutations can give.
    """
    if alpha < 1 / (PERMUTATIONS + 1):
        raise RlbenchError(
            f"With {PERMUTATIONS} permutations no p can be below {1 / (PERMUTATIONS + 1)}, as {alpha:g} is."
        )
    n = 1
    while smallest_p([(n, n)] * tasks, paired=paired) > alpha:
        n += 1
    return n


def refusal(n: int, m: int, alpha: float, *, tasks: int = 1, paired: bool = False) -> str:
    """Return why `n` runs against `m` cannot decide at `alpha`, with the number that can; empty if they can.

    Of unequal numbers the smaller one is counted, which errs on the side of refusing.
    """
    fewest, least = min(n, m), fewest_runs(alpha, tasks=tasks, paired=paired)
    if fewest >= least:
        return ""
    needed = f"at least {least} runs per arm are needed."
    if not fewest:
        where = "" if tasks == 1 else f" on at least one of {tasks} environments"
        return f"An arm has no run to compare{where}, so nothing can be decided; {needed}"
    kind, floor = "paired " if paired else "", smallest_p([(fewest, fewest)] * tasks, paired=paired)
    where = "" if tasks == 1 else f" on each of {tasks} environments"
    return (
        f"A {kind}permutation test of {n} against {m} runs{where} cannot give a p below {floor:.2g}, so nothing can be "
        f"decided at the {alpha:.2g} level; {needed}"
    )


def _search(spread: Spread, effect: float, alpha: float, power: float, least: int) -> float:
    """Return the smallest n of at least `least` with a detectable effect of at most `effect`."""

    def enough(n: int) -> bool:
        error, df = _welch(spread, n, n)
        if error == 0 or effect == 0:
            return effect > 0
        # t, with a mean of effect / error, passes the critical value on that side.
        return 1 - float(special.nctdtr(df, effect / error, special.stdtrit(df, 1 - alpha / 2))) >= power

    if isnan(effect) or isnan(_welch(spread, 2, 2)[0]):
        return nan
    low = high = max(least, 2)
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST:
            return inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(low if enough(low) else high)


def _welch(spread: Spread, n: int, m: int) -> tuple[float, float]:
    """Return the standard error of the difference and its degrees of freedom; NaN where they are unknown."""
    sizes = np.array([n] * len(spread.arm) + [m] * len(spread.baseline))
    variances = np.array([value**2 for value in (*spread.arm, *spread.baseline)])
    if sizes.min() < 2 or np.isnan(variances).any():
        return nan, nan
    parts = variances / sizes / len(spread.arm) ** 2
    total = float(parts.sum())
    return sqrt(total), total**2 / float((parts**2 / (sizes - 1)).sum()) if total > 0 else nan
