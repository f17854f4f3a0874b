"""Closed-form intervals of probabilities, against scipy and by hand."""

import numpy as np
import pytest
from scipy import stats

from rlbench.analysis.stats.estimates import PRIOR, mean_of_intervals, placement_interval, wilson


def test_wilson_agrees_with_scipy():
    for k in range(11):
        low, high = wilson(k / 10, 10, 0.95)
        expected = stats.binomtest(k, 10).proportion_ci(0.95, method="wilson")
        assert [low, high] == pytest.approx([expected.low, expected.high])


def test_placements_by_hand():
    x, y = np.array([1.0, 3.0, 5.0]), np.array([2.0, 3.0])
    # pairs: 1 loses to both, 3 beats one and ties one, 5 beats both
    point, low, high = placement_interval(x, y, 0.95)
    assert point == pytest.approx(3.5 / 6)
    variances, means = [], []
    for placements in (np.array([0.0, 0.75, 1.0]), np.array([2.0, 1.5]) / 3):
        n = len(placements) + PRIOR
        mean = (placements.sum() + PRIOR / 2) / n
        square = ((placements - mean) ** 2).sum() + PRIOR / 2 * (mean**2 + (1 - mean) ** 2)
        variances.append(square / (n - 1) / n)
        means.append(mean)
    runs = max(np.mean(means) * (1 - np.mean(means)) / sum(variances), 2)
    assert (low, high) == pytest.approx(wilson(point, runs, 0.95))


def test_placements_without_spread_are_worth_the_smaller_arm():
    assert placement_interval(np.full(5, 1.0), np.zeros(20), 0.95)[1:] == pytest.approx(wilson(1.0, 5, 0.95))


def test_swapping_the_arms_mirrors_the_interval():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=7), rng.integers(-1, 2, 12).astype(float)
    point, low, high = placement_interval(x, y, 0.9)
    assert placement_interval(y, x, 0.9) == pytest.approx((1 - point, 1 - high, 1 - low))


def test_intervals_combine_by_squares():
    point, low, high = mean_of_intervals([0.6, 0.8], [0.3, 0.4], [0.9, 0.9])
    assert [point, low, high] == pytest.approx([0.7, 0.7 - 0.25, 0.7 + np.hypot(0.3, 0.1) / 2])
