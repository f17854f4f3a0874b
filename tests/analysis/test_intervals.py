"""Intervals: against closed forms and scipy, in degenerate samples, and how often they cover."""

import numpy as np
import pytest
from scipy import stats

from rlbench.analysis import intervals as iv
from rlbench.analysis import statistics as st
from rlbench.analysis.proportions import mean_of_intervals, newcombe, wilson
from rlbench.errors import RlbenchError

SCORES = [
    lambda x, y, **more: iv.bootstrap([x, y], **more),
    lambda x, y, **more: iv.bootstrap_difference(x, y, **more),
    lambda x, y, **more: iv.mean_interval([x, y], **more),
    lambda x, y, **more: iv.difference_interval(x, y, **more),
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
    theirs = stats.bootstrap((x,), np.mean, method="percentile", n_resamples=20_000, rng=3).confidence_interval
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.05)
    assert ours.method == "percentile bootstrap"


def test_the_pieces_of_the_resampling_do_not_show(monkeypatch):
    x, y = data()
    whole = iv.bootstrap([x, y]), iv.difference_interval(x, y)
    monkeypatch.setattr("rlbench.analysis.resampling._CELLS", 1000)
    assert (iv.bootstrap([x, y]), iv.difference_interval(x, y)) == whole


def test_bootstrap_is_stratified():
    # One constant task and one that varies: resampling across tasks would mix the two levels.
    estimate = iv.bootstrap([np.full(10, 100.0), np.arange(10.0)], st.mean)
    assert 50 <= estimate.low < estimate.high <= 54.5


def test_few_runs_give_student_and_welch():
    x, y = np.array([1.0, 2.0, 4.0]), np.array([0.0, 5.0, 5.5, 9.0])
    one, two = iv.mean_interval(x), iv.difference_interval(x, y)
    student = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    welch = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert [one.point, one.low, one.high] == pytest.approx([7 / 3, *student])
    assert [two.point, two.low, two.high] == pytest.approx([7 / 3 - 4.875, *welch])
    assert (one.method, one.n, two.method, two.n) == ("Student t", 3, "Welch t", 7)


def test_several_tasks_average_their_differences():
    x, y = np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 3.0])
    estimate = iv.difference_interval([x, x + 1], [y, y])
    assert estimate.point == pytest.approx((1 + 2) / 2)
    error = np.sqrt(2 * (1 / 3 + 3 / 3)) / 2
    freedom = (2 * (1 / 3 + 1)) ** 2 / (2 * (1 / 9 + 1) / 2)
    half = stats.t.ppf(0.975, freedom) * error
    assert [estimate.low, estimate.high] == pytest.approx([1.5 - half, 1.5 + half])


def test_bootstrap_t_leans_where_the_long_tail_is():
    estimate = iv.mean_interval(np.random.default_rng(2).lognormal(size=10))
    assert estimate.method == "bootstrap-t"
    assert estimate.high - estimate.point > 1.3 * (estimate.point - estimate.low)


def test_an_outlier_among_equal_runs_gives_a_bounded_interval():
    scores = np.array([500.0] * 9 + [400.0])
    estimate = iv.mean_interval(scores)
    twice = 2 * stats.t.ppf(0.975, 9) * 10  # 10 is the standard error
    assert estimate.low == pytest.approx(490 - twice)
    assert 490 < estimate.high < 490 + twice


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


def test_wilson_agrees_with_scipy():
    for k in range(11):
        low, high = wilson(k / 10, 10, 0.95)
        expected = stats.binomtest(k, 10).proportion_ci(0.95, method="wilson")
        assert [low, high] == pytest.approx([expected.low, expected.high])


def test_newcombe_solves_its_equation_and_mirrors():
    for theta, n, m in ((0.5, 10, 10), (0.83, 7, 12), (1.0, 10, 10)):
        low, high = newcombe(theta, n, m, 0.95)
        assert 0 <= low < theta <= high <= 1
        for t in {low, high} - {0.0, 1.0}:
            half = (n + m) / 2 - 1
            variance = t * (1 - t) * (1 + half * (1 - t) / (2 - t) + half * t / (1 + t)) / (n * m)
            assert (theta - t) ** 2 == pytest.approx(stats.norm.ppf(0.975) ** 2 * variance)
        assert newcombe(1 - theta, n, m, 0.95) == pytest.approx((1 - high, 1 - low))


def test_winning_every_pair_is_not_certainty():
    estimate = iv.improvement_interval(np.arange(10.0) + 100, np.arange(10.0))
    assert (estimate.point, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(0.80, abs=0.005)


def test_intervals_combine_by_squares():
    point, low, high = mean_of_intervals([0.6, 0.8], [0.3, 0.4], [0.9, 0.9])
    assert [point, low, high] == pytest.approx([0.7, 0.7 - 0.25, 0.7 + np.hypot(0.3, 0.1) / 2])


def test_a_curve_band_is_the_mean_interval_at_each_point():
    curves = np.random.default_rng(0).normal(size=(8, 5)) + np.arange(5)
    band = iv.curve_band(curves, repetitions=20_000)
    for column in range(5):
        single = iv.mean_interval(curves[:, column], repetitions=20_000)
        assert band.point[column] == pytest.approx(single.point)
        assert [band.low[column], band.high[column]] == pytest.approx([single.low, single.high], abs=0.04)
    assert (band.n, band.method) == (8, "bootstrap-t")


def test_a_curve_band_ignores_the_order_of_the_runs_and_honours_the_seed():
    curves = np.random.default_rng(0).normal(size=(8, 5))
    first = iv.curve_band(curves, seed=2)
    assert first.low.tobytes() == iv.curve_band(curves[::-1], seed=2).low.tobytes()
    assert first.low.tobytes() != iv.curve_band(curves, seed=3).low.tobytes()


def test_a_curve_band_with_saturated_points_one_run_no_run_and_several_tasks():
    curves = np.random.default_rng(0).normal(size=(6, 4))
    curves[:, 3] = 500.0
    band = iv.curve_band(curves)
    assert band.low[3] == band.high[3] == 500.0
    assert (band.low[:3] < band.high[:3]).all()
    one = iv.curve_band(curves[:1])
    assert np.isnan(one.low).all()
    assert one.point.tolist() == curves[0].tolist()
    assert iv.curve_band(curves[:0]).method == "no run"
    both = iv.curve_band([curves, curves[:5] + 10])
    assert both.point == pytest.approx((curves.mean(0) + curves[:5].mean(0) + 10) / 2)


def test_a_curve_with_nan_or_of_another_shape_is_refused():
    with pytest.raises(RlbenchError, match="NaN"):
        iv.curve_band(np.array([[1.0, np.nan], [1.0, 2.0]]))
    with pytest.raises(RlbenchError, match=r"\[runs, points\]"):
        iv.curve_band(np.zeros(5))


def test_a_profile_band_is_open_where_all_or_none_pass():
    scores = np.arange(10.0)
    band = iv.profile_band(scores, [-1.0, 4.5, 9.0])
    assert band.point.tolist() == [1.0, 0.5, 0.0]
    assert band.low[0] < band.high[0] == 1.0
    assert band.low[2] == 0.0 < band.high[2]
    two = iv.profile_band([scores, scores], [4.5])
    assert two.high[0] - two.low[0] == pytest.approx((band.high[1] - band.low[1]) / np.sqrt(2))
    assert iv.profile_band([1.0], [0.0]).method == "one run: no interval"


def covered(interval, truth, draw, samples):
    hits = 0
    for sample in range(samples):
        estimate = interval(*draw(np.random.default_rng([17, sample])), sample)
        hits += estimate.low <= truth <= estimate.high
    return hits / samples


@pytest.mark.parametrize(
    ("name", "expected", "interval"),
    [
        ("mean", 0.95, lambda x, y, s: iv.mean_interval(x, seed=s, repetitions=1000)),
        ("difference", 0.95, lambda x, y, s: iv.difference_interval(x, y, seed=s, repetitions=1000)),
        ("iqm", 0.93, lambda x, y, s: iv.bootstrap(x, seed=s, repetitions=1000)),
        ("percentile mean", 0.90, lambda x, y, s: iv.bootstrap(x, st.mean, seed=s, repetitions=1000)),
        ("improvement", 0.95, lambda x, y, s: iv.improvement_interval(x, y)),
    ],
)
def test_coverage_with_ten_normal_runs_is_as_documented(name, expected, interval):
    samples = 500
    found = covered(
        interval,
        0.5 if name == "improvement" else 0.0,
        lambda rng: (rng.normal(size=10), rng.normal(size=10)),
        samples,
    )
    assert abs(found - expected) < 0.005 + 2.6 * np.sqrt(expected * (1 - expected) / samples), found


def test_coverage_of_a_probability_near_one_where_the_bootstrap_fails():
    shift = np.sqrt(2) * stats.norm.ppf(0.95)

    def draw(rng):
        return rng.normal(shift, 1.0, 10), rng.normal(size=10)

    def percentile(x, y, seed):
        return iv.bootstrap([x, y], lambda t: st.probability_of_improvement(t[:1], t[1:]), seed=seed, repetitions=500)

    assert covered(lambda x, y, s: iv.improvement_interval(x, y), 0.95, draw, 400) > 0.93
    assert covered(percentile, 0.95, draw, 200) < 0.88
