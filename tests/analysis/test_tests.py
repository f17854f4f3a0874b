"""Permutation tests and Holm's correction: against scipy, by hand, and their level."""

import numpy as np
import pytest
from scipy import stats

from rlbench.analysis.stats.sweeps import contrast_test
from rlbench.analysis.stats.tests import holm, smallest_p
from tests.statistics.two_arms import permutation_test


def absolute_t(a, b, axis):
    return np.abs(stats.ttest_ind(a, b, axis=axis, equal_var=False).statistic)


@pytest.mark.parametrize(("n", "m", "seed"), [(5, 5, 1), (6, 4, 2), (3, 7, 3)])
def test_the_exact_test_is_scipys(n, m, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(1, 1, n), rng.normal(0, 2, m)
    theirs = stats.permutation_test((x, y), absolute_t, alternative="greater", vectorized=True, n_resamples=np.inf)
    assert permutation_test(x, y) == pytest.approx(theirs.pvalue)


def test_many_runs_are_sampled_close_to_the_truth_and_by_seed():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.8, 1, 12), rng.normal(0, 1, 12)
    p = permutation_test(x, y, seed=1)
    assert p == permutation_test(x[::-1], np.roll(y, 3), seed=1)
    assert len({permutation_test(x, y, seed=seed) for seed in range(6)}) > 1
    assert p == pytest.approx(stats.ttest_ind(x, y).pvalue, rel=0.25)
    assert permutation_test(x + 100, y) == 1 / 10_000  # the observed split counts as one of the random ones


def test_separated_samples_reach_the_smallest_p_and_no_less():
    for n, m in ((3, 3), (4, 4), (3, 5), (5, 5)):
        x, y = np.arange(n) + 100.0, np.arange(m) * 1.0
        assert permutation_test(x, y) == pytest.approx(smallest_p([(n, m)])) or n != m
        assert permutation_test(x, y) >= smallest_p([(n, m)]) * (1 - 1e-12)
    found = [smallest_p([(n, n)]) for n in (3, 4, 1, 10)]
    assert found == pytest.approx([0.1, 2 / 70, 1.0, 1e-4])


def test_environments_are_strata():
    x, y = np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.1, 0.2])
    # All of 20 x 20 splits within the environments; both separated: only the observed and its mirror are as extreme.
    assert permutation_test([x, x + 100], [y, y + 100]) == pytest.approx(2 / 400)
    assert smallest_p([(3, 3), (3, 3)]) == pytest.approx(2 / 400)
    # The level of the environments does not enter: mixing them would drown the difference.
    assert permutation_test([x, x + 1e6], [y, y + 1e6]) == pytest.approx(2 / 400)


def test_equal_runs():
    assert permutation_test([500.0] * 10, [500.0] * 10) == 1.0
    assert permutation_test([0.1] * 3, [0.3] * 3) == pytest.approx(0.1)
    assert permutation_test([500.0] * 3, [500.0, 500.0, 499.0]) == 1.0


def test_without_runs_on_a_side_there_is_no_p_value():
    assert np.isnan(permutation_test([], [1.0]))
    assert np.isnan(smallest_p([(0, 1)]))


def test_the_level_is_held_where_nothing_differs():
    samples, rejected = 600, 0
    for sample in range(samples):
        rng = np.random.default_rng([3, sample])
        x, y = rng.lognormal(size=(2, 2, 5))
        rejected += permutation_test(list(x), list(y), seed=sample, repetitions=199) <= 0.05
    assert abs(rejected / samples - 0.05) < 3 * np.sqrt(0.05 * 0.95 / samples)


def test_holm_by_hand_and_against_its_definition():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([0.02]).tolist() == [0.02]
    assert holm([]).tolist() == []
    adjusted = holm([0.02, np.nan, 0.03])
    assert np.isnan(adjusted[1])
    assert adjusted[[0, 2]].tolist() == pytest.approx([0.04, 0.04])


@pytest.mark.parametrize("factor", [1.0, 1e-9, 1e9 / 3])
@pytest.mark.parametrize("offset", [0.0, 1e6, -1e6])
def test_ties_are_ties_in_any_unit_and_far_from_zero(factor, offset):
    x, y = np.array([0.1, 0.2, 0.3, 0.6, 0.7]), np.array([0.2, 0.3, 0.4, 0.4, 0.5])
    expected = permutation_test(np.round(10 * x), np.round(10 * y))  # of whole numbers, all of it is exact
    assert permutation_test(factor * (x + offset), factor * (y + offset)) == expected
    table = np.array([[0.1, 0.3, 0.2], [0.2, 0.3, 0.5], [0.7, 0.6, 0.8], [0.4, 0.5, 0.4]])
    assert contrast_test(factor * (table + offset)) == contrast_test(np.round(10 * table))
