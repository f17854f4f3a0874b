"""What is published of the tests: no more false positives than promised, no less power than Welch and Holm.

That the published numbers are still true is measured by `test_calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from tests.statistics.calibration import FALSE_POSITIVES, Row, row
from tests.statistics.publish import read

ALARM = 1e-4  # probability that one case is found wrong although it is not
LEVELS = ("two_arms", "families", "ordered_arms", "group_sequential", "verdicts_at_the_limit")


def within_the_level(rows: Sequence[Row]) -> None:
    """Fail if a row, or all rows of one test together, reject more often than promised, beyond chance."""
    promised = [one for one in rows if one.kind == FALSE_POSITIVES and np.isfinite(one.nominal)]
    assert promised
    together: dict[str, list[float]] = {}
    for one in promised:
        hits = round(one.rate * one.simulations)
        chance = stats.binomtest(hits, one.simulations, one.nominal, alternative="greater").pvalue
        assert chance > ALARM / len(promised), one
        sums = together.setdefault(one.what, [0.0, 0.0])
        sums[0] += hits - one.nominal * one.simulations
        # Rows of one test share their random numbers, so that they may all be off at once: their spreads add.
        sums[1] += np.sqrt(one.nominal * (1 - one.nominal) * one.simulations)
    for what, (excess, spread) in together.items():
        assert excess < stats.norm.isf(ALARM) * spread, (what, excess, spread)


@pytest.mark.parametrize("name", LEVELS)
def test_no_more_false_positives_than_promised(name: str) -> None:
    within_the_level(read()[name])


def test_every_test_is_measured_for_all_scores_and_numbers_of_runs() -> None:
    for name in LEVELS:
        rows = [one for one in read()[name] if np.isfinite(one.nominal)]
        assert {one.data for one in rows} == {"normal", "lognormal", "bimodal", "saturated", "tied"}
        assert {one.n for one in rows} >= {5, 10, 20}


def test_the_check_can_fail() -> None:
    fine = [row(FALSE_POSITIVES, "test", "normal", n, 3, 60, 0.05) for n in (3, 5, 10, 20)]
    within_the_level(fine)
    with pytest.raises(AssertionError):
        within_the_level([*fine[1:], row(FALSE_POSITIVES, "test", "normal", 3, 20, 60, 0.05)])
    with pytest.raises(AssertionError):
        within_the_level([row(FALSE_POSITIVES, "test", "normal", n, 14, 60, 0.05) for n in (3, 5, 10, 20)])


def test_power_is_that_of_welch_and_holm_on_normal_scores() -> None:
    rows = {(one.what, one.n): one for one in read()["power_on_normal_scores"]}
    for ours, theirs in (
        ("permutation test", "Welch's t"),
        ("step-down, one of 3 comparisons", "Welch and Holm, one of 3"),
    ):
        for n in (5, 10, 20):
            one, other = rows[ours, n], rows[theirs, n]
            assert other.rate > 0.5
            # In the same samples, of which the two judge few differently: this is several standard errors.
            assert one.rate > other.rate - 0.03, (one, other)
