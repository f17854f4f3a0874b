"""False verdicts: claims that are false by a hair and supported, or true by a hair and refuted.

The truth lies exactly at the limit of the claim, where errors are most frequent; each is promised to be at most 2.5 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd

from rlbench.analysis.judge.verdicts import judge
from rlbench.claims import Claim
from rlbench.results import Results
from rlbench.store import Tables
from tests.statistics.calibration import FALSE_POSITIVES, Row, case, row
from tests.statistics.distributions import ALL, BIMODAL, LOGNORMAL, NORMAL, SATURATED, Array, Distribution

NOMINAL = 0.025
MARGIN = 1.0


class Scores(Results):
    """Results that are given as scores, `[runs]` per arm."""

    def __init__(self, arms: dict[str, Array], seed: int) -> None:
        rows = [
            {"cell": f"{arm}{seed}", "arm": arm, "environment": "E", "seed": seed, "used": True, "status": "finished"}
            | {"auc": value}
            for arm, values in arms.items()
            for seed, value in enumerate(values)
        ]
        table = pd.DataFrame(rows)
        tables = Tables(table, pd.DataFrame(), pd.DataFrame())
        super().__init__({"arms": [], "environments": []}, tables, seed=seed, scores=table)


@cache
def _mean(distribution: Distribution) -> float:
    return distribution.between(0, 1)


def _verdicts(claim: Claim, x: Distribution, y: Distribution, shift: float, n: int, simulations: int) -> list[str]:
    means = _mean(x), _mean(y)
    said = []
    for simulation in range(simulations):
        rng = np.random.default_rng([n, simulation])
        arms = {"a": x.draw(rng, (n,)) - means[0] + shift, "b": y.draw(rng, (n,)) - means[1]}
        said.append(judge(claim, Scores(arms, simulation)).verdict)
    return said


@case(full=300, fast=4)
def verdicts_at_the_limit(simulations: int) -> Iterator[Row]:
    """A claim "a exceeds b by more than d" of arms that differ by exactly d, and "they are equivalent" of the same."""
    greater = Claim("a exceeds b", ["a", "b"], "greater", "auc", MARGIN)
    pairs = [(one, one, one.name) for one in ALL] + [
        (SATURATED, LOGNORMAL, "saturated against lognormal"),
        (BIMODAL, NORMAL, "bimodal against normal"),
    ]
    for x, y, name in pairs:
        for n in (5, 10, 20):
            said = _verdicts(greater, x, y, MARGIN, n, simulations)
            for outcome in ("supported", "refuted"):
                hits = sum(one == outcome for one in said)
                nominal = NOMINAL if x is y else float("nan")
                yield row(FALSE_POSITIVES, f"verdict at the limit: {outcome}", name, n, hits, simulations, nominal)
