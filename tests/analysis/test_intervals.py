"""Intervals: against closed forms and scipy, and in degenerate samples; `tests/statistics` counts what they cover."""

import numpy as np
import pytest
from scipy import stats

from rlbench.analysis.stats import estimates as st
from rlbench.analysis.stats import intervals
from rlbench.analysis.stats import intervals as iv
from rlbench.errors import RlbenchError

SCORES = [
    lambda x, y, **more: iv.bootstrap([x, y], **more),
    lambda x, y, **more: iv.mean_interval([x, y], **more),
    lambda x, y, **more: iv.mean_interval(x, y, **more),
]


def data(n=10, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(1.0, 2.0, n), rng.lognormal(size=n + 3)


@pytest.mark.parametrize("interval", SCORES)
def test_the_seed_is_honoured(interval):
    x, y = data()
    assert interval(x, y, seed=4) == interval(x, y, seed=4)
    assert interval(x, y, seed=4).low != interval(x, y, seed=5).low
    assert interval(x, y, seed=4).point == interval(x, y, seed=5).point


@pytest.mark.parametrize("interval", [*SCORES, lambda x, y: iv.improvement_interval(x, y)])
def test_the_order_of_the_runs_does_not_matter(interval):
    x, y = data()
    assert interval(x, y) == interval(x[::-1], np.roll(y, 4))


@pytest.mark.parametrize("interval", SCORES)
def test_a_higher_level_is_wider_and_holds_the_point(interval):
    x, y = data()
    narrow, wide = interval(x, y, level=0.8), interval(x, y, level=0.99)
    assert wide.low < narrow.low < narrow.point < narrow.high < wide.high
    assert (narrow.level, narrow.n) == (0.8, 23)


def test_percentile_bootstrap_agrees_with_scipy():
    x, _ = data(12)
    ours = iv.bootstrap(x, st.mean, repetitions=20_000)
    level = 1 - 2 * iv.tail_share(0.95, [12])
    theirs = stats.bootstrap(
        (np.sort(x),), np.mean, method="percentile", confidence_level=level, n_resamples=20_000, rng=3
    ).confidence_interval
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.05)
    assert ours.method == "percentile bootstrap"


def test_the_pieces_of_the_resampling_do_not_show(monkeypatch):
    x, y = data()
    whole = iv.bootstrap([x, y]), iv.mean_interval(x, y)
    monkeypatch.setattr("rlbench.analysis.stats.intervals._CELLS", 1000)
    iv._mean.cache_clear()
    intervals.counts.cache_clear()
    assert (iv.bootstrap([x, y]), iv.mean_interval(x, y)) == whole


def test_bootstrap_is_stratified():
    # One constant task and one that varies: resampling across tasks would mix the two levels.
    estimate = iv.bootstrap([np.full(10, 100.0), np.arange(10.0)], st.mean)
    assert 50 <= estimate.low < estimate.high <= 54.5


def test_few_runs_give_student_and_welch():
    x, y = np.array([1.0, 2.0, 4.0]), np.array([0.0, 5.0, 5.5, 9.0])
    one, two = iv.mean_interval(x), iv.mean_interval(x, y)
    student = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    welch = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert [one.point, one.low, one.high] == pytest.approx([7 / 3, *student])
    assert [two.point, two.low, two.high] == pytest.approx([7 / 3 - 4.875, *welch])
    assert (one.method, one.n, two.method, two.n) == ("Student t", 3, "Welch t", 7)


def test_several_tasks_average_their_differences():
    x, y = np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 3.0])
    estimate = iv.mean_interval([x, x + 1], [y, y])
    assert estimate.point == pytest.approx((1 + 2) / 2)
    error = np.sqrt(2 * (1 / 3 + 3 / 3)) / 2
    freedom = (2 * (1 / 3 + 1)) ** 2 / (2 * (1 / 9 + 1) / 2)
    half = stats.t.ppf(0.975, freedom) * error
    assert [estimate.low, estimate.high] == pytest.approx([1.5 - half, 1.5 + half])


def test_resampled_t_is_students_of_each_sample():
    x, y = np.array([1.0, 2.0, 4.0, 8.0, 9.0]), np.array([0.0, 3.0, 3.5, 7.0])
    drawn = np.array([[2, 0, 1, 1, 1], [0, 3, 0, 0, 2]]), np.array([[1, 1, 1, 1], [0, 2, 0, 2]])
    (first, second), groups = zip(*drawn, strict=True), [x[:, None], y[:, None]]
    one = intervals._resampled_t(groups[:1], [1.0], drawn[:1], np.ones(1))
    two = intervals._resampled_t(groups, [1.0, -1.0], drawn, np.ones(1))
    for found, other, (a, b) in zip(one, two, (first, second), strict=True):
        sample, base = np.repeat(x, a) - x.mean(), np.repeat(y, b) - y.mean()
        assert found == pytest.approx(stats.ttest_1samp(sample, 0).statistic)
        assert other == pytest.approx(stats.ttest_ind(sample, base, equal_var=False).statistic)


def test_bootstrap_t_leans_where_the_long_tail_is():
    estimate = iv.mean_interval(np.random.default_rng(2).lognormal(size=10))
    assert estimate.method == "bootstrap-t"
    assert estimate.high - estimate.point > 1.3 * (estimate.point - estimate.low)


def test_an_outlier_among_equal_runs_gives_a_bounded_interval():
    scores = np.array([500.0] * 9 + [400.0])
    estimate = iv.mean_interval(scores)
    most = 3 * stats.t.ppf(0.975, 9) * 10  # 10 is the standard error
    assert estimate.low == pytest.approx(490 - most)
    assert 490 < estimate.high < 490 + most
    assert iv.mean_interval(scores, possible=(0, 500)).high == 500


@pytest.mark.parametrize("interval", SCORES)
def test_equal_runs_have_zero_width_and_say_so(interval):
    for value in (500.0, 0.1, -1 / 3):
        estimate = interval(np.full(10, value), np.full(10, value))
        assert estimate.low == estimate.point == estimate.high
        assert estimate.method == "no spread: zero width"


@pytest.mark.parametrize("interval", [*SCORES, lambda x, y: iv.improvement_interval(x, y)])
def test_one_run_and_no_run_have_no_interval(interval):
    one = interval(np.array([3.0]), np.array([1.0, 2.0]))
    assert np.isfinite(one.point)
    assert np.isnan([one.low, one.high]).all()
    assert one.method == "one run: no interval"
    none = interval(np.array([]), np.array([1.0, 2.0]))
    assert np.isnan([none.point, none.low, none.high]).all()
    assert (none.method, none.n) == ("no run", 2)


@pytest.mark.parametrize("interval", [*SCORES, lambda x, y: iv.improvement_interval(x, y)])
def test_nan_is_refused(interval):
    with pytest.raises(RlbenchError, match="NaN"):
        interval(np.array([1.0, np.nan, 2.0]), np.arange(3.0))


def test_winning_every_pair_is_not_certainty():
    estimate = iv.improvement_interval(np.arange(10.0) + 100, np.arange(10.0))
    assert (estimate.point, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(0.722, abs=0.001)  # Wilson's of ten wins in ten


def test_tails_move_out_as_hesterberg_says():
    one = iv.tail_share(0.95, [10])
    assert one == pytest.approx(stats.norm.cdf(-stats.t.ppf(0.975, 9)))
    many = iv.tail_share(0.95, [10, 10, 8])
    assert many == pytest.approx(stats.norm.cdf(-stats.t.ppf(0.975, 25) * np.sqrt(8 / 7)))


def test_three_runs_have_the_t_of_their_mean():
    three = np.array([1.0, 2.0, 9.0])
    one = iv.bootstrap(three)
    assert [one.low, one.high] == pytest.approx(stats.ttest_1samp(three, 0).confidence_interval(0.95))
    assert one.method == "trimmed t"


@pytest.mark.parametrize("n", [3, 4])
def test_few_runs_have_yuens_interval(n):
    rng = np.random.default_rng(n)
    x = rng.lognormal(size=n)
    estimate = iv.bootstrap(x)
    yuen = stats.ttest_ind(x, 1e-9 * rng.normal(size=n), equal_var=False, trim=0.25)  # of one arm: the limit
    half = stats.t.ppf(0.975, yuen.df) * estimate.point / yuen.statistic
    assert [estimate.low, estimate.high] == pytest.approx([estimate.point - half, estimate.point + half], rel=1e-6)
    assert estimate.method == "trimmed t"


def test_a_middle_without_spread_says_so():
    estimate = iv.bootstrap(np.array([500.0] * 30 + [400.0]))
    assert (estimate.low, estimate.high, estimate.method) == (500, 500, "no spread: zero width")


def test_the_iqm_of_resampled_runs_needs_no_sorting():
    x, y = data()
    fast = iv.bootstrap([x, y], seed=3)
    slow = iv.bootstrap([x, y], lambda tasks: st.iqm(tasks), seed=3)
    assert fast.point == slow.point
    assert [fast.low, fast.high] == pytest.approx([slow.low, slow.high], abs=0.08)  # other samples, same distribution
    assert fast.quantity == "IQM"


def test_intervals_stay_in_the_possible_range():
    full, low = np.array([500.0] * 9 + [400.0]), np.array([9.0, 9.5, 10.0, 30.0, 9.1])
    for estimate in (iv.mean_interval(full, possible=(0, 500)), iv.mean_interval(low, possible=(9, 500))):
        assert 9 <= estimate.low <= estimate.point <= estimate.high <= 500
    difference = iv.mean_interval(full, full - 400, possible=(0, 500))
    assert -500 <= difference.low < difference.high <= 500
    assert iv.mean_interval(full, low, possible=(0, 500)).high <= 500
    assert iv.bootstrap(low, st.median, possible=(9.2, 500)).low == 9.2


@pytest.mark.parametrize("factor", [1e-9, 3.7e-5, 0.1, 1e9])
def test_the_unit_of_whole_numbers_does_not_show(factor):
    x, y = (
        np.array([1.0, 2, 3, 3, 3]),
        np.array([-2.0, 1, 1, 1, 1]),
    )  # many resamples have no spread, at the mean or not
    whole, other = (iv.mean_interval(by * x, by * y) for by in (1.0, factor))
    np.testing.assert_allclose([other.low, other.high], factor * np.array([whole.low, whole.high]), rtol=1e-9)
