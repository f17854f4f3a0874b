"""CVaR and tolerance intervals, by hand, by scipy, and by their definitions."""

import numpy as np
import pytest
from scipy import integrate, stats

from rlbench.analysis.stats import intervals, survival
from rlbench.errors import RlbenchError


def test_cvar_by_hand():
    assert survival.cvar([4.0, 1.0, 3.0, 2.0], 0.5) == 1.5
    assert survival.cvar([4.0, 1.0, 3.0, 2.0, 9.0], 0.5) == pytest.approx((1 + 2 + 0.5 * 3) / 2.5)
    assert survival.cvar([4.0, 1.0, 3.0], 0.25) == 1.0  # less than one run: the worst
    assert survival.cvar([[4.0, 2.0], [10.0, 0.0]], 0.5) == 1.0  # mean over tasks


@pytest.mark.parametrize("share", [0.1, 0.25, 0.37, 0.5, 0.9])
def test_cvar_is_the_integral_of_the_quantile_function(share):
    scores = np.random.default_rng(0).normal(size=23)
    ordered = np.sort(scores)

    def quantile(u):
        return ordered[min(int(u * 23), 22)]

    edges = [k / 23 for k in range(1, 23) if k / 23 < share]
    area, _ = integrate.quad(quantile, 0, share, points=edges, limit=100)
    assert survival.cvar(scores, share) == pytest.approx(area / share, rel=1e-9)


def test_cvar_keeps_leading_axes():
    scores = np.random.default_rng(1).normal(size=(4, 10))
    each = [float(survival.cvar(one, 0.3)) for one in scores]
    assert survival.cvar(scores, 0.3) == pytest.approx(each)


def test_the_interval_of_cvar_needs_bad_runs():
    scores = np.random.default_rng(2).normal(size=10)
    given = survival.cvar_interval(scores)
    assert given.low < given.point < given.high
    assert given.point == survival.cvar(scores)
    assert (given.quantity, given.method) == ("CVaR, worst 0.25", "bootstrap-t, percentile bootstrap")
    few = survival.cvar_interval(scores[:9])
    assert np.isnan([few.low, few.high]).all()
    assert few.method == "no interval: the worst 0.25 of 9 runs is too few, it takes 10 runs"
    assert survival.cvar_interval(np.full(10, 500.0)).method == "no spread: zero width"
    assert survival.cvar_interval([3.0]).method == "one run: no interval"
    assert survival.cvar_interval(scores, possible=(float(given.point) - 0.1, 9.0)).low == pytest.approx(
        given.point - 0.1
    )


def test_the_interval_of_cvar_ends_where_the_wider_of_two_does():
    wider = set()
    for sample in range(6):
        scores = np.sort(np.random.default_rng(sample).exponential(size=12)) * (1.0 if sample % 2 else -1.0)
        border = np.sort(scores)[2]  # a quarter of twelve runs are three
        parts = border - np.maximum(border - scores, 0) / 0.25
        both = intervals.mean_interval(parts, seed=1), intervals.bootstrap([scores], survival.cvar, seed=1)
        found = survival.cvar_interval(scores, seed=1)
        assert (found.low, found.high) == (min(one.low for one in both), max(one.high for one in both))
        wider |= {("low", both[0].low < both[1].low), ("high", both[0].high > both[1].high)}
    assert wider >= {("low", True), ("high", True), ("high", False)}


@pytest.mark.parametrize(("content", "both", "one"), [(0.9, 46, 29), (0.8, 22, 14), (0.7, 14, 9)])
def test_tolerance_intervals_need_as_many_runs_as_tabulated(content, both, one):
    assert survival.tolerance_runs(content, 0.95, "both") == both
    assert survival.tolerance_runs(content, 0.95, "low") == one
    assert both == min(n for n in range(2, 99) if 1 - content**n - n * content ** (n - 1) * (1 - content) >= 0.95)


def test_a_tolerance_interval_is_between_runs():
    scores = np.random.default_rng(3).permutation(100).astype(float)
    few = survival.tolerance_interval(scores[:45])
    assert np.isnan([few.low, few.high]).all()
    assert few.needed == 46
    assert few.reached == pytest.approx(1 - 0.9**45 - 45 * 0.9**44 * 0.1)
    enough = survival.tolerance_interval(scores[:46])
    assert (enough.low, enough.high) == (scores[:46].min(), scores[:46].max())
    more = survival.tolerance_interval(scores)
    assert (more.low, more.high) == (1.0, 98.0)  # one run left out on each side
    assert more.reached == pytest.approx(stats.beta.sf(0.9, 97, 4))
    low = survival.tolerance_interval(scores, side="low")
    assert low.high == np.inf
    assert low.low == 4.0
    assert stats.beta.sf(0.9, 96, 5) >= 0.95 > stats.beta.sf(0.9, 95, 6)


def test_bad_shares_and_several_tasks_are_refused():
    with pytest.raises(RlbenchError, match="between 0 and 1"):
        survival.cvar([1.0], 0.0)
    with pytest.raises(RlbenchError, match="between 0 and 1"):
        survival.tolerance_runs(1.0)
    with pytest.raises(RlbenchError, match="on one environment"):
        survival.tolerance_interval([[1.0], [2.0]])
