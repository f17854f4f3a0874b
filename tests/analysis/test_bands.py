"""Bands along a line: learning curves and performance profiles."""

import numpy as np
import pytest

from rlbench.analysis.stats import estimates as st
from rlbench.analysis.stats import intervals
from rlbench.analysis.stats import intervals as iv
from rlbench.errors import RlbenchError


def test_a_curve_band_is_the_mean_interval_at_each_point():
    curves = np.random.default_rng(0).normal(size=(8, 5)) + np.arange(5)
    band = intervals.curve_band(curves, repetitions=20_000)
    for column in range(5):
        single = iv.mean_interval(curves[:, column], repetitions=20_000)
        assert band.point[column] == pytest.approx(single.point)
        assert [band.low[column], band.high[column]] == pytest.approx([single.low, single.high], abs=0.04)
    assert (band.n, band.method) == (8, "bootstrap-t")


def test_a_curve_band_ignores_the_order_of_the_runs_and_honours_the_seed():
    curves = np.random.default_rng(0).normal(size=(8, 5))
    first = intervals.curve_band(curves, seed=2)
    assert first.low.tobytes() == intervals.curve_band(curves[::-1], seed=2).low.tobytes()
    assert first.low.tobytes() != intervals.curve_band(curves, seed=3).low.tobytes()


def test_a_curve_band_with_saturated_points_one_run_no_run_and_several_tasks():
    curves = np.random.default_rng(0).normal(size=(6, 4))
    curves[:, 3] = 500.0
    band = intervals.curve_band(curves)
    assert band.low[3] == band.high[3] == 500.0
    assert (band.low[:3] < band.high[:3]).all()
    one = intervals.curve_band(curves[:1])
    assert np.isnan(one.low).all()
    assert one.point.tolist() == curves[0].tolist()
    assert intervals.curve_band(curves[:0]).method == "no run"
    both = intervals.curve_band([curves, curves[:5] + 10])
    assert both.point == pytest.approx((curves.mean(0) + curves[:5].mean(0) + 10) / 2)


def test_a_curve_with_nan_or_of_another_shape_is_refused():
    with pytest.raises(RlbenchError, match="NaN"):
        intervals.curve_band(np.array([[1.0, np.nan], [1.0, 2.0]]))
    with pytest.raises(RlbenchError, match=r"\[runs, points\]"):
        intervals.curve_band(np.zeros(5))


def test_a_profile_band_is_open_where_all_or_none_pass():
    scores = np.arange(10.0)
    band = intervals.profile_band(scores, [-1.0, 4.5, 9.0])
    assert band.point.tolist() == [1.0, 0.5, 0.0]
    assert band.low[0] < band.high[0] == 1.0
    assert band.low[2] == 0.0 < band.high[2]
    two = intervals.profile_band([scores, scores], [4.5])
    assert two.high[0] - two.low[0] == pytest.approx((band.high[1] - band.low[1]) / np.sqrt(2))
    assert intervals.profile_band([1.0], [0.0]).method == "one run: no interval"


def test_a_simultaneous_band_holds_the_pointwise_one():
    curves = np.cumsum(np.random.default_rng(0).normal(size=(8, 30)), axis=1)
    curves[:, 0] = 1.0
    pointwise, whole = intervals.curve_band(curves), intervals.curve_band(curves, simultaneous=True)
    assert (whole.low[1:] < pointwise.low[1:]).all()
    assert (whole.high[1:] > pointwise.high[1:]).all()
    assert whole.low[0] == whole.high[0] == 1.0
    assert whole.simultaneous
    assert not pointwise.simultaneous
    stretch = (whole.high - whole.point)[1:] / (pointwise.high - pointwise.point)[1:]
    assert stretch == pytest.approx(stretch[0])


def test_the_simultaneous_band_of_equal_points_is_the_pointwise_one():
    column = np.random.default_rng(1).normal(size=(10, 1))
    curves = np.repeat(column, 20, axis=1)  # one number, twenty times: max |t| is |t|
    pointwise = intervals.curve_band(curves, repetitions=50_000)
    whole = intervals.curve_band(curves, repetitions=50_000, simultaneous=True)
    assert whole.high - whole.low == pytest.approx(pointwise.high - pointwise.low, rel=0.03)


def test_an_iqm_band_is_the_iqm_interval_at_each_point():
    rng = np.random.default_rng(2)
    tasks = [rng.normal(size=(7, 3)), rng.normal(size=(5, 3)) + 1]
    band = intervals.iqm_band(tasks, seed=4)
    for point in range(3):
        column = [task[:, point] for task in tasks]
        one = iv.bootstrap(column, seed=4, repetitions=2_000)
        assert band.point[point] == st.iqm(column)
        assert [band.low[point], band.high[point]] == [one.low, one.high]
    assert (band.n, band.method, band.quantity) == (12, "percentile bootstrap", "IQM")
    assert (
        intervals.iqm_band(tasks[0][::-1], seed=4).low.tobytes() == intervals.iqm_band(tasks[0], seed=4).low.tobytes()
    )


def test_a_band_stays_in_the_possible_range():
    curves = np.array([[9.0, 400.0], [30.0, 500.0], [10.0, 500.0], [9.0, 500.0], [9.0, 500.0]])
    band = intervals.curve_band(curves, possible=(8.0, 500.0))
    assert band.low.min() >= 8.0
    assert band.high.max() == 500.0


def test_tasks_with_other_numbers_of_points_are_refused():
    with pytest.raises(RlbenchError, match="same number of points"):
        intervals.curve_band([np.zeros((3, 4)), np.zeros((3, 5))])
