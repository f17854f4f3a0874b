"""Curves at common points: worked by hand, and as properties of any grids."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbench.analysis.scores.external import common_points, mean_from, read_at

STEPS = st.lists(st.integers(0, 60), min_size=1, max_size=30, unique=True).map(
    lambda steps: np.array(sorted(steps), float)
)


@pytest.mark.parametrize(
    ("curves", "points"),
    [
        (([0, 1, 2, 3], [0, 1, 2, 3]), [0, 1, 2, 3]),
        (([0, 1, 2, 3, 4], [0, 2, 4]), [0, 2, 4]),
        (([0, 1, 2, 3, 4, 9], [0, 2, 4]), [0, 2, 4]),
        (([1, 2, 3, 4], [0, 2, 4]), [1, 2, 4]),
        (([0, 1, 2, 10], [0, 5, 10]), [0, 10]),  # inside the first one's gap nothing is read
        (([0, 2, 4, 6], [1, 3, 5, 7]), [1, 3, 5, 6]),
        (([0, 1], [1, 2]), [1]),
        (([0, 1], [2, 3]), []),
        (([5], [5]), [5]),
    ],
)
def test_common_points_by_hand(curves, points):
    assert common_points([np.array(one, float) for one in curves]).tolist() == points


@given(st.lists(STEPS, min_size=1, max_size=5))
def test_between_common_points_every_curve_has_one_and_none_has_a_wider_gap(curves):
    points = common_points(curves)
    first, last = max(one[0] for one in curves), min(one[-1] for one in curves)
    if first > last:
        assert points.size == 0
        return
    assert (points[0], points[-1]) == (first, last)
    assert (np.diff(points) > 0).all()
    for low, high in pairwise(points[:-1]):
        for steps in curves:
            assert ((steps > low) & (steps <= high)).any()
            if high not in steps:
                assert steps[steps > high][0] - steps[steps < high][-1] <= high - low
    for factor in (1e-6, 1e-4 / 3):
        np.testing.assert_allclose(common_points([one * factor for one in curves]), points * factor)


@given(st.lists(STEPS.filter(lambda steps: steps.size > 1), min_size=1, max_size=5))
def test_straight_lines_are_read_exactly(curves):
    points = common_points(curves)
    if points.size > 1:
        for steps in curves:
            values = read_at(points, steps, 3 * steps + 1)
            np.testing.assert_allclose(mean_from(points[0], points, values), 1.5 * (points[0] + points[-1]) + 1)


def test_a_mean_by_hand():
    steps, values = np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 2.0])
    assert mean_from(0.0, steps, values) == pytest.approx(5 / 3)
    assert mean_from(0.5, steps, values) == pytest.approx((0.75 + 4) / 2.5)
    assert np.isnan(mean_from(3.0, steps, values))
    assert np.isnan(read_at(np.array([-1.0, 4.0]), steps, values)).all()
    assert np.isnan(read_at(np.array([1.0]), np.empty(0), np.empty(0))).all()


@pytest.mark.parametrize("factor", [1e-6, 0.1, 1e-4 / 3, 1 / 7, 1e6 / 3])
def test_gaps_of_one_width_are_so_in_any_unit(factor):
    curves = [np.arange(200) * 5.0, np.arange(200) * 5.0 + 2.5]
    np.testing.assert_allclose(common_points([one * factor for one in curves]), common_points(curves) * factor)
