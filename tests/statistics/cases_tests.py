"""False positives and power of the tests of two arms, of families and of trends.

`n` are runs per arm and environment. With 199 permutations a p of 0.05 is reached by exactly 5 % of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from rlbench.analysis.stats.sweeps import contrast_test, page_test
from rlbench.analysis.stats.tests import Hypothesis, holm, step_down
from tests.statistics.calibration import FALSE_POSITIVES, POWER, Row, case, row
from tests.statistics.distributions import ALL, SIZES, Array, Distribution
from tests.statistics.two_arms import permutation_test

ALPHA = 0.05
ROWS = 199
Test = Callable[[Distribution, np.random.Generator, int, int], float]


def rejected(name: str, distribution: Distribution, n: int, simulations: int, test: Test) -> Row:
    """Count how often a test (distribution, generator, n, seed) -> p is at most 5 %."""
    hits = sum(
        test(distribution, np.random.default_rng([n, simulation]), n, simulation) <= ALPHA
        for simulation in range(simulations)
    )
    return row(FALSE_POSITIVES, name, distribution.name, n, hits, simulations, ALPHA)


def _pair(distribution: Distribution, rng: np.random.Generator, n: int, seed: int) -> float:
    x, y = distribution.draw(rng, (2, n))
    return permutation_test(x, y, seed=seed, repetitions=ROWS)


def _two_environments(distribution: Distribution, rng: np.random.Generator, n: int, seed: int) -> float:
    x, y = distribution.draw(rng, (2, 2, n))
    return permutation_test(list(x), list(y + 0), seed=seed, repetitions=ROWS)


def _paired(distribution: Distribution, rng: np.random.Generator, n: int, seed: int) -> float:
    x, y = distribution.draw(rng, (2, n)) + rng.normal(0, 2, n)
    return permutation_test(x, y, paired=True, seed=seed, repetitions=ROWS)


@case(full=2_000, fast=60)
def two_arms(simulations: int) -> Iterator[Row]:
    """The permutation test of two arms that have the same distribution: unpaired, stratified, paired."""
    tests: dict[str, Test] = {
        "permutation test": _pair,
        "permutation test, 2 environments": _two_environments,
        "permutation test, paired by seed": _paired,
    }
    for name, test in tests.items():
        for distribution in ALL:
            for n in SIZES:
                yield rejected(name, distribution, n, simulations, test)


def _family(far: float, distribution: Distribution, rng: np.random.Generator, n: int, seed: int) -> float:
    """Return the smallest adjusted p of the true hypotheses among three arms against a baseline; one is `far` away."""
    places = ("E", "F")
    data = {(name, arm): distribution.draw(rng, (n,)) for name in places for arm in "abcd"}
    if far:
        data |= {(name, "d"): data[name, "d"] + far for name in places}
    asked = [Hypothesis(arm, "a", names) for arm in "bcd" for names in (("E",), ("F",), places)]
    adjusted = step_down(data, asked, seed=seed, repetitions=ROWS).adjusted
    return float(adjusted[:6].min() if far else adjusted.min())


@case(full=400, fast=8)
def families(simulations: int) -> Iterator[Row]:
    """Any false positive among three arms against a baseline, on two environments and over both."""
    for name, far in (("step-down of 9 comparisons", 0.0), ("step-down of 9, of which 3 are true", 3.0)):
        for distribution in ALL:
            for n in SIZES:
                yield rejected(name, distribution, n, simulations, lambda *a, far=far: _family(far, *a))


def _page(distribution: Distribution, rng: np.random.Generator, n: int, seed: int) -> float:
    return page_test(distribution.draw(rng, (n, 4)))


def _contrast(distribution: Distribution, rng: np.random.Generator, n: int, seed: int) -> float:
    return contrast_test(distribution.draw(rng, (n, 4)), seed=seed, repetitions=ROWS)


@case(full=1_000, fast=60)
def ordered_arms(simulations: int) -> Iterator[Row]:
    """Trends over four equal settings."""
    tests: dict[str, Test] = {
        "Page's trend test, 4 settings": _page,
        "permuted linear contrast, 4 settings": _contrast,
    }
    for name, test in tests.items():
        for distribution in ALL:
            for n in SIZES:
                yield rejected(name, distribution, n, simulations, test)


def _welch(x: Array, y: Array) -> float:
    return float(stats.ttest_ind(x, y, equal_var=False).pvalue)


@case(full=2_000, fast=100)
def power_on_normal_scores(simulations: int) -> Iterator[Row]:
    """How often true differences are found, in the same samples as Welch's t test with Holm's correction does."""
    for n, effect in ((5, 2.2), (10, 1.4), (20, 0.95)):
        hits = np.zeros(4, int)
        for simulation in range(simulations):
            rng = np.random.default_rng([n, simulation])
            arms = dict(zip("abcd", rng.normal(size=(4, n)) + effect * np.array([[0], [1], [1], [1]]), strict=True))
            data = {("E", arm): values for arm, values in arms.items()}
            ours = step_down(data, [Hypothesis(arm, "a", ("E",)) for arm in "bcd"], seed=simulation, repetitions=ROWS)
            theirs = np.array([_welch(arms[arm], arms["a"]) for arm in "bcd"])
            hits += [
                int(ours.p[0] <= ALPHA),
                int(theirs[0] <= ALPHA),
                int(ours.adjusted[0] <= ALPHA),
                int(holm(theirs)[0] <= ALPHA),
            ]
        names = ("permutation test", "Welch's t", "step-down, one of 3 comparisons", "Welch and Holm, one of 3")
        for name, count in zip(names, hits, strict=True):
            yield row(POWER, name, f"normal, d = {effect}", n, int(count), simulations)
