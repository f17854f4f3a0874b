"""Trend tests: against scipy, by full enumeration, and in odd data."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from rlbench.analysis.stats.sweeps import _student, contrast_test, linear_changes, page_test, rank_correlation
from rlbench.errors import RlbenchError


def table(slope, seeds=6, arms=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, (seeds, 1)) + slope * np.arange(arms) + rng.normal(size=(seeds, arms))


def test_page_is_scipys_and_has_two_directions():
    values = table(1.5)
    assert page_test(values) == stats.page_trend_test(values, method="exact").pvalue
    assert page_test(values, increasing=False) == stats.page_trend_test(values[:, ::-1], method="exact").pvalue
    assert page_test(values) < 0.05 < page_test(values, increasing=False)


def test_page_by_full_enumeration():
    values = table(0.5, seeds=4)
    ranks = stats.rankdata(values, axis=1)
    seen = (ranks @ np.arange(1, 4)).sum()
    ways = [np.array(way) @ np.arange(1, 4) for way in permutations(range(1, 4))]
    drawn = [sum(chosen) for chosen in product(ways, repeat=4)]
    assert page_test(values) == pytest.approx(np.mean(np.array(drawn) >= seen))


def test_rank_correlation_is_spearmans_and_page_a_function_of_it():
    values = table(0.5, seeds=7, arms=5)
    each = [stats.spearmanr(np.arange(5), row).statistic for row in values]
    found = rank_correlation(values)
    assert found.point == pytest.approx(np.mean(each))
    assert found.low < found.point < found.high
    page = stats.page_trend_test(values).statistic
    assert page == pytest.approx(7 * 5 * 6 * ((5 - 1) * found.point + 3 * 6) / 12)
    assert rank_correlation(np.ones((4, 3))).point == 0.0


def test_linear_changes_are_the_rise_of_a_fitted_line():
    values = table(2.0, arms=4)
    slopes = [np.polyfit(np.arange(4), row, 1)[0] for row in values]
    assert linear_changes(values) == pytest.approx(3 * np.array(slopes))


def test_the_contrast_by_full_enumeration():
    values = table(0.6, seeds=4)

    def t(rows):
        changes = linear_changes(rows)
        return changes.mean() / (changes.std(ddof=1) / 2)

    drawn = np.array(
        [
            t(np.stack([row[list(way)] for row, way in zip(values, ways, strict=True)]))
            for ways in product(permutations(range(3)), repeat=4)
        ]
    )
    seen = t(values)
    assert contrast_test(values, alternative="greater") == pytest.approx(np.mean(drawn >= seen - 1e-9))
    assert contrast_test(values, alternative="less") == pytest.approx(np.mean(drawn <= seen + 1e-9))
    assert contrast_test(values) == pytest.approx(np.mean(np.abs(drawn) >= abs(seen) - 1e-9))


def test_many_seeds_are_sampled_by_seed_and_whatever_their_order():
    values = table(0.3, seeds=12, arms=4)
    assert contrast_test(values, seed=1) == contrast_test(values, seed=1)
    assert contrast_test(values, seed=1) != contrast_test(values, seed=2)
    assert contrast_test(values + 100 * np.arange(4)) == pytest.approx(1e-4)


def test_equal_scores_show_no_trend():
    assert contrast_test(np.full((5, 3), 500.0)) == 1.0
    assert page_test(np.full((5, 3), 500.0)) > 0.4


def test_a_change_that_is_rounding_is_none():
    third = 0.1 + 0.2  # not 0.3
    assert _student(np.array([[0.0, third, -0.3]])).tolist() == [0]
    assert _student(np.array([[1.0, 2.0, 3.0]])) == pytest.approx(2 * np.sqrt(3))
    assert _student(np.array([[third, 0.3, 0.3], [-0.3, -third, -0.3], [0, 0, 0]])).tolist() == [np.inf, -np.inf, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: page_test(np.ones((1, 3))), "at least two seeds and three ordered arms"),
        (lambda: contrast_test(np.ones((4, 2))), r"not an array of shape \(4, 2\)"),
        (lambda: page_test([[1, np.nan, 2], [1, 2, 3]]), "NaN"),
    ],
)
def test_what_is_no_trend_is_refused(call, message):
    with pytest.raises(RlbenchError, match=message):
        call()
