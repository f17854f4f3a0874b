"""Kaplan-Meier curves and restricted means, against scipy and by hand."""

import numpy as np
import pytest
from scipy import stats

from rlbench.analysis.stats import intervals, survival
from rlbench.analysis.stats.estimates import wilson
from rlbench.errors import RlbenchError


def censored(n=30, seed=0):
    rng = np.random.default_rng(seed)
    time, limit = rng.integers(1, 12, n).astype(float), rng.integers(1, 15, n).astype(float)
    return np.minimum(time, limit), time <= limit


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_is_scipys(seed):
    time, reached = censored(seed=seed)
    found = stats.ecdf(stats.CensoredData(uncensored=time[reached], right=time[~reached])).sf
    at = np.arange(0, 14.0)
    assert survival.survival_band(time, reached, at).point == pytest.approx(found.evaluate(at), rel=1e-12)


def test_the_curve_by_hand():
    # 2 and 4 got there, 3 was censored, 5 never did: S falls to 3/4, then to 3/4 * 1/2
    time, reached = [2.0, 3.0, 4.0, 5.0], [True, False, True, False]
    assert survival.survival_band(time, reached, [1.0, 2.0, 3.9, 4.0, 9.0]).point == pytest.approx(
        [1, 0.75, 0.75, 0.375, 0.375]
    )
    assert survival.restricted_mean(time, reached, 5.0) == pytest.approx(2 + 0.75 * 2 + 0.375)
    assert survival.restricted_mean(time, reached, 3.5) == pytest.approx(2 + 0.75 * 1.5)  # what comes later is no area
    assert survival.median_time(time, reached) == 4.0
    assert survival.median_time([5.0, 5.0, 1.0], [False, False, True]) == np.inf


def test_without_early_censoring_the_curve_is_a_proportion():
    time = np.array([1.0, 2.0, 2.0, 6.0, 9.0, 10.0, 10.0])
    reached = np.array([True] * 5 + [False] * 2)
    band = survival.survival_band(time, reached, [0.5, 2.0, 9.0])
    assert band.point == pytest.approx([1, 4 / 7, 2 / 7])
    for point, low, high in zip(band.point, band.low, band.high, strict=True):
        assert (low, high) == pytest.approx(wilson(point, 7, 0.95))


def test_greenwood_and_rothman_where_runs_were_censored():
    time, reached = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([True, False, True, True, False])
    band = survival.survival_band(time, reached, [3.5])
    share = 4 / 5 * 2 / 3
    variance = share**2 * (1 / (5 * 4) + 1 / (3 * 2))
    assert band.point[0] == pytest.approx(share)
    assert (band.low[0], band.high[0]) == pytest.approx(wilson(share, share * (1 - share) / variance, 0.95))


def test_the_restricted_mean_is_the_mean_of_the_cut_times():
    time, reached = np.array([3.0, 7.0, 10.0, 10.0]), np.array([True, True, False, False])
    assert survival.restricted_mean(time, reached, 10.0) == 7.5
    assert survival.pseudo_times(time, reached, 8.0).tolist() == [3.0, 7.0, 8.0, 8.0]
    one = survival.restricted_mean_interval(time, reached, 10.0)
    two = intervals.mean_interval(time, possible=(0.0, 10.0))
    assert (one.point, one.low, one.high, one.method) == (two.point, two.low, two.high, two.method)
    assert one.high == 10.0  # no run takes longer than its budget


def test_pseudo_times_by_hand():
    # Areas without one run each, for instance without the first: S is 1 up to 4, then 1/2.
    time, reached = [2.0, 3.0, 4.0, 5.0], [True, False, True, False]
    whole = 2 + 0.75 * 2 + 0.375
    without = [4 + 0.5, 2 + 2 / 3 * 2 + 1 / 3, 2 + 2 / 3 * 3, 2 + 2 / 3 * 2]
    expected = [4 * whole - 3 * one for one in without]
    assert survival.pseudo_times(time, reached, 5.0) == pytest.approx(expected)


def test_what_cannot_be_said():
    with pytest.raises(RlbenchError, match="watched for 9 steps"):
        survival.restricted_mean([1.0, 5.0], [True, False], 9.0)
    assert survival.restricted_mean([1.0, 5.0], [True, True], 9.0) == 3.0
    with pytest.raises(RlbenchError, match="not at NaN"):
        survival.survival_band([1.0, np.nan], [True, False], 1.0)
    with pytest.raises(RlbenchError, match="one entry per run"):
        survival.survival_band([1.0, 2.0], [True], 1.0)
    assert np.isnan(survival.survival_band([], [], [1.0]).point).all()
    assert np.isnan(survival.restricted_mean([], [], 1.0))
    assert survival.survival_band([2.0], [True], [1.0, 3.0]).method == "one run: no interval"
