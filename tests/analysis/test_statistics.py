"""Statistics against numbers worked by hand and against scipy."""

import numpy as np
import pytest
from scipy import stats

from rlbench.analysis.stats import estimates as st
from rlbench.errors import RlbenchError

TEN = np.array([3.0, -1.0, 7.0, 0.5, 2.0, 9.0, 4.0, 4.0, -6.0, 1.0])


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_mean_counts_every_task_the_same_whatever_its_number_of_runs():
    assert st.mean([1.0, 2.0, 6.0]) == 3.0
    assert st.mean([[1.0, 2.0, 6.0], [10.0]]) == 6.5  # (3 + 10) / 2, not 19 / 4


def test_median_pools_the_runs():
    assert st.median([[1.0, 2.0, 6.0], [10.0]]) == 4.0


@pytest.mark.parametrize("n", range(1, 30))
def test_iqm_is_the_trimmed_mean_of_the_pooled_scores(n, rng):
    x, y = rng.normal(size=n), rng.lognormal(size=7)
    assert st.iqm(x) == pytest.approx(stats.trim_mean(x, 0.25), rel=1e-12)
    assert st.iqm([x, y]) == pytest.approx(stats.trim_mean(np.concatenate([x, y]), 0.25), rel=1e-12)


def test_iqm_by_hand():
    assert st.iqm([1.0, 2.0, 3.0]) == 2.0  # three runs: nothing is trimmed
    assert st.iqm([0.0, 2.0, 4.0, 100.0]) == 3.0
    assert st.iqm(TEN) == pytest.approx((0.5 + 1 + 2 + 3 + 4 + 4) / 6)  # two cut off at each end


def test_probability_of_improvement_by_hand():
    # pairs: 2 beats 1, ties 2, loses to 3; 4 beats all: (1 + 0.5 + 0 + 3) / 6
    assert st.probability_of_improvement([2.0, 4.0], [1.0, 2.0, 3.0]) == pytest.approx(4.5 / 6)
    assert st.probability_of_improvement([5.0] * 10, [5.0] * 10) == 0.5
    assert st.probability_of_improvement([[2.0], [0.0]], [[1.0], [1.0]]) == 0.5


def test_probability_of_improvement_is_mann_whitney(rng):
    x, y = rng.integers(0, 6, 9).astype(float), rng.integers(1, 7, 14).astype(float)
    u = stats.mannwhitneyu(x, y, method="asymptotic").statistic
    assert st.probability_of_improvement(x, y) == pytest.approx(u / (9 * 14), rel=1e-12)
    total = st.probability_of_improvement(x, y) + st.probability_of_improvement(y, x)
    assert total == pytest.approx(1.0)


def test_performance_profile_is_strict_and_averages_over_tasks():
    assert st.performance_profile([0.0, 1.0, 2.0], [-1.0, 0.0, 1.5, 2.0]) == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert st.performance_profile([[0.0, 1.0], [1.0]], [0.5]) == pytest.approx([0.75])


@pytest.mark.parametrize("name", ["mean", "median", "iqm"])
def test_leading_axes_are_repetitions(name, rng):
    statistic = getattr(st, name)
    x, y = rng.normal(size=(4, 10)), rng.normal(size=(4, 3))
    for scores in ([x, y], [x]):
        each = np.array([statistic([task[row] for task in scores]) for row in range(4)])
        assert statistic(scores) == pytest.approx(each, rel=1e-12)
        assert statistic(scores).shape == (4,)


def test_leading_axes_of_the_statistics_of_two_arguments(rng):
    x, y, tau = rng.normal(size=(4, 10)), rng.normal(size=(4, 3)), [-1.0, 0.0, 1.0]
    each = np.array([st.probability_of_improvement(x[row], y[row]) for row in range(4)])
    assert st.probability_of_improvement(x, y) == pytest.approx(each)
    profiles = np.array([st.performance_profile(x[row], tau) for row in range(4)])
    assert st.performance_profile(x, tau) == pytest.approx(profiles)


def test_an_array_is_one_task_and_a_list_of_arrays_is_several():
    assert len(st.as_tasks(np.zeros((2, 5)))) == 1
    assert len(st.as_tasks([np.zeros(5), np.zeros(3)])) == 2
    assert len(st.as_tasks([1.0, 2.0])) == 1


@pytest.mark.parametrize("bad", [[1.0, np.nan], [np.inf], [[1.0], [np.nan, 2.0]]])
def test_nan_is_refused_and_never_spreads(bad):
    with pytest.raises(RlbenchError, match="NaN or infinity"):
        st.mean(bad)


@pytest.mark.parametrize("bad", [[], [[1.0], []], np.empty((3, 0))])
def test_a_task_without_runs_is_refused(bad):
    with pytest.raises(RlbenchError, match="at least one run"):
        st.iqm(bad)


def test_both_arms_need_the_same_tasks():
    with pytest.raises(RlbenchError, match="same environments, but have 2 and 1"):
        st.probability_of_improvement([[1.0], [2.0]], [[1.0]])
