"""The group-sequential test over all of its looks: any false decision, and power beside one look at the end.

`n` are the runs per arm of one stage; there are four stages.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rlbench.analysis.stats.sequential import Decision, decide
from rlbench.analysis.stats.tests import Hypothesis
from tests.statistics.calibration import FALSE_POSITIVES, POWER, Row, case, row
from tests.statistics.distributions import ALL, NORMAL, SIZES, Array, Distribution
from tests.statistics.two_arms import permutation_test

STAGES = 4
ROWS = 199
ALPHA = 0.05
E = ("E",)


def _decided(distribution: Distribution, n: int, simulation: int, shifts: dict[str, float]) -> list[Decision]:
    """Simulate an experiment of arms moved by `shifts` against the first of them."""
    rng = np.random.default_rng([n, simulation])
    draws = {arm: distribution.draw(rng, (STAGES, n)) + shift for arm, shift in shifts.items()}
    stages: list[dict[tuple[str, str], Array]] = [
        {("E", arm): values[stage] for arm, values in draws.items()} for stage in range(STAGES)
    ]
    first, *others = shifts
    looks = [n * (stage + 1) for stage in range(STAGES)]
    asked = [Hypothesis(arm, first, E) for arm in others]
    return decide(stages, asked, looks, seed=simulation, repetitions=ROWS)


@case(full=500, fast=12)
def group_sequential(simulations: int) -> Iterator[Row]:
    """Any false decision at any of four looks, of two arms against a baseline, and of one beside a better one."""
    for distribution in ALL:
        far = 3 * float(np.std(distribution.quantile((np.arange(1000) + 0.5) / 1000)))
        for name, shifts in (
            ("group-sequential, 4 looks, 2 comparisons", {"a": 0.0, "b": 0.0, "c": 0.0}),
            ("group-sequential, one of two differs", {"a": 0.0, "b": 0.0, "c": far}),
        ):
            for n in SIZES:
                hits = 0
                for simulation in range(simulations):
                    decisions = _decided(distribution, n, simulation, shifts)
                    hits += any(one.look for one in decisions if shifts[one.arm] == 0)
                yield row(FALSE_POSITIVES, name, distribution.name, n, hits, simulations, ALPHA)


@case(full=1_000, fast=40)
def group_sequential_power(simulations: int) -> Iterator[Row]:
    """How often a difference is found in at most four stages, beside one test of all their runs; and how early."""
    for n, effect in ((3, 1.2), (5, 0.9), (10, 0.65)):
        found, early, fixed = 0, 0, 0
        for simulation in range(simulations):
            (one,) = _decided(NORMAL, n, simulation, {"a": 0.0, "b": effect})
            found += bool(one.look)
            early += bool(one.look) and one.look < STAGES
            rng = np.random.default_rng([n, simulation])
            x, y = NORMAL.draw(rng, (STAGES, n)).ravel(), NORMAL.draw(rng, (STAGES, n)).ravel() + effect
            fixed += permutation_test(x, y, seed=simulation, repetitions=ROWS) <= ALPHA
        for name, hits in (
            ("group-sequential, at the latest at look 4", found),
            ("group-sequential, before look 4", early),
            ("one test of all runs", fixed),
        ):
            yield row(POWER, name, f"normal, d = {effect}", n, hits, simulations)
