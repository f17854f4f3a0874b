"""Power: known tables, simulated rejections, and what the fewest runs can do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rlbench.analysis.stats.power import Spread, detectable_effect, fewest_runs, refusal, seeds_needed
from rlbench.analysis.stats.tests import smallest_p
from rlbench.errors import RlbenchError

UNIT = Spread((1.0,), (1.0,))


@pytest.mark.parametrize(
    ("alpha", "expected"), [(0.05, (64, 26, 17, 9, 6)), (0.01, (96, 39, 26, 13, 8)), (0.0025, (122, 49, 33, 16, 10))]
)
def test_runs_for_a_standardised_difference(alpha, expected):
    assert [seeds_needed(UNIT, d, alpha=alpha).n for d in (0.5, 0.8, 1.0, 1.5, 2.0)] == list(expected)


def test_the_detectable_effect_is_found_as_often_as_promised():
    effect, samples = detectable_effect(Spread((1.0,), (3.0,)), 8, 15), 4000
    rng = np.random.default_rng(0)
    x, y = rng.normal(effect, 1, (samples, 8)), rng.normal(0, 3, (samples, 15))
    found = np.mean(stats.ttest_ind(x, y, axis=1, equal_var=False).pvalue < 0.05)
    assert abs(found - 0.8) < 0.01 + 2.6 * np.sqrt(0.16 / samples)


def test_several_environments_and_one_mean():
    two = Spread((1.0, 1.0), (1.0, 1.0))
    assert detectable_effect(two, 10) == pytest.approx(detectable_effect(UNIT, 10) / np.sqrt(2), rel=0.05)
    assert detectable_effect(Spread((1.0,)), 10) == pytest.approx(0.996, abs=1e-3)
    assert detectable_effect(UNIT, 10, alpha=0.01) > detectable_effect(UNIT, 10)


def test_a_small_pilot_leaves_much_open():
    few, many = (seeds_needed(Spread((1.0,), (1.0,), df), 1.0) for df in (4.0, 100.0))
    assert few.n == many.n == 17
    assert few.low < many.low < 17 < many.high < few.high
    # The chi-square interval of a variance by four degrees of freedom holds it with probability 0.8.
    factors = 4 / stats.chi2.ppf([0.9, 0.1], 4)
    ends = [seeds_needed(Spread((np.sqrt(one),), (np.sqrt(one),)), 1.0).n for one in factors]
    assert [few.low, few.high] == ends
    known = seeds_needed(UNIT, 1.0)
    assert (known.low, known.high) == (17, 17)


def test_the_spread_of_runs():
    x, y = np.array([1.0, 2.0, 4.0]), np.array([0.0, 5.0, 5.5, 9.0])
    spread = Spread.of([x, x], [y, y])
    assert spread.arm == pytest.approx((x.std(ddof=1),) * 2)
    assert spread.baseline == pytest.approx((y.std(ddof=1),) * 2)
    assert 3 < spread.degrees_of_freedom < 10
    assert np.isnan(Spread.of([1.0], [1.0, 2.0]).arm[0])


def test_unknown_and_no_spread_and_effects_out_of_reach():
    assert np.isnan(detectable_effect(Spread.of([1.0], [1.0, 2.0]), 10))
    assert np.isnan(seeds_needed(Spread.of([1.0], [1.0, 2.0]), 1.0).n)
    assert np.isnan(detectable_effect(UNIT, 1))
    assert detectable_effect(Spread((0.0,), (0.0,)), 5) == 0.0
    assert seeds_needed(Spread((0.0,), (0.0,)), 1.0).n == 4
    assert seeds_needed(UNIT, 0.0).n == np.inf


def test_the_fewest_runs_of_a_permutation_test():
    assert [fewest_runs(0.05), fewest_runs(0.05, paired=True), fewest_runs(0.05, tasks=2)] == [4, 6, 3]
    assert [smallest_p([(n, n)]) for n in (3, 4, 5)] == [0.1, 2 / 70, 2 / 252]
    with pytest.raises(RlbenchError, match=r"no p can be below 0\.0001"):
        fewest_runs(1e-5)
    assert refusal(4, 4, 0.05) == ""
    assert refusal(3, 9, 0.05) == (
        "A permutation test of 3 against 9 runs cannot give a p below 0.1, so nothing can be decided at the 0.05 "
        "level; at least 4 runs per arm are needed."
    )
    assert refusal(0, 5, 0.05, tasks=3, paired=True) == (
        "An arm has no run to compare on at least one of 3 environments, so nothing can be decided; at least 2 runs "
        "per arm are needed."
    )
