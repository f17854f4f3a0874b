"""What a claim asks for, of trends, shares and differences: against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rlbench.analysis.judge.estimands import Change, Difference, Share, one_sided
from rlbench.analysis.stats.sweeps import contrast_test
from rlbench.analysis.stats.tests import holm

# Every seed rises from the first arm to the last, but its lowest score is the one in the middle.
DIPPED = np.array([[0.2 + 0.01 * seed, 0.0, 10.0 + seed] for seed in range(6)])


def trend(table: np.ndarray) -> Change:
    return Change("a", "c", ("E",), False, (table,))


def test_a_trend_must_be_one_of_sizes_and_of_ranks() -> None:
    sizes = contrast_test(DIPPED, alternative="greater", seed=3)
    ranks = stats.page_trend_test(DIPPED, method="exact").pvalue
    assert sizes < 0.01 < 0.05 < ranks
    assert one_sided([trend(DIPPED)], 0.0, True, 3) == pytest.approx([2 * ranks])
    assert one_sided([trend(-DIPPED)], 0.0, False, 3) == pytest.approx([2 * ranks])
    # Where ranks say more than sizes, sizes decide: six seeds that rise, one of them by far the most.
    steep = np.array([[0.0, 1.0, 2.0 + 100 * (seed == 0)] for seed in range(6)])
    assert stats.page_trend_test(steep, method="exact").pvalue < contrast_test(steep, alternative="greater", seed=3)
    expected = 2 * contrast_test(steep, alternative="greater", seed=3)
    assert one_sided([trend(steep)], 0.0, True, 3) == pytest.approx([expected])


def test_ranks_say_nothing_about_a_rise_by_more_than_a_margin() -> None:
    moved = DIPPED - np.array([0.0, 0.5, 1.0])
    assert one_sided([trend(DIPPED)], 1.0, True, 3) == 2 * contrast_test(moved, alternative="greater", seed=3) < 0.05


def share(hits: int, runs: int) -> Share:
    return Share("a", "", ("E",), False, hits, runs)


def test_shares_are_tested_exactly_and_adjusted_for_being_several() -> None:
    asked = [share(9, 10), share(7, 10), share(0, 0)]
    above = [stats.binomtest(hits, 10, 0.4, alternative="greater").pvalue for hits in (9, 7)]
    assert one_sided(asked, 0.4, True, 0) == pytest.approx([*(2 * holm(above)), np.nan], nan_ok=True)
    below = [stats.binomtest(hits, 10, 0.4, alternative="less").pvalue for hits in (9, 7)]
    assert one_sided(asked[:2], 0.4, False, 0).tolist() == np.minimum(2 * holm(below), 1).tolist() == [1, 1]
    # A margin may lead out of what a share can be: more than -0.2 is certain with a hit, more than 1.2 impossible.
    one = asked[:1]
    assert one_sided(one, -0.2, True, 0).tolist() == one_sided(one, 1.2, False, 0).tolist() == [0]
    assert one_sided(one, 1.2, True, 0).tolist() == one_sided(one, -0.2, False, 0).tolist() == [1]


def test_a_share_knows_its_runs_its_interval_and_its_spread() -> None:
    one = share(9, 10)
    ends = stats.binomtest(9, 10).proportion_ci(0.9, "exact")
    estimate = one.interval(0.9, 0)
    assert [estimate.point, estimate.low, estimate.high, estimate.n] == pytest.approx([0.9, ends.low, ends.high, 10])
    assert (one.counts, one.per_task, one.refusal(0.05), one.least(0.05)) == ((10, 0), (10, 0), "", 1)
    # One hit and one miss are added: 10 of 12.
    assert one.spread().arm == pytest.approx((np.sqrt(10 / 12 * 2 / 12),))
    assert (one.spread().baseline, one.spread().degrees_of_freedom, share(1, 1).spread().degrees_of_freedom) == (
        (),
        9,
        1,
    )
    nobody = share(0, 0).interval(0.9, 0)
    assert (nobody.n, nobody.method, np.isnan(nobody.point)) == (0, "no run", True)


def test_a_trend_knows_its_seeds_its_interval_and_its_spread() -> None:
    other = DIPPED[:4, ::-1] * 2
    both = Change("a", "c", ("E", "F"), False, (DIPPED, other))
    changes, falls = DIPPED[:, 2] - DIPPED[:, 0], other[:, 2] - other[:, 0]
    assert both.interval(0.95, 0).point == pytest.approx((changes.mean() + falls.mean()) / 2)
    assert both.spread().arm == pytest.approx((changes.std(ddof=1), falls.std(ddof=1)))
    assert (both.counts, both.per_task) == ((10, 0), (5, 0))
    assert both.size(0.95, 0)[0] == "rank correlation"
    # Of six orders per seed, one in two directions: 2 / 6^n is at most 0.05 for three seeds, 2 / 36^n for two.
    assert [trend(DIPPED).least(alpha) for alpha in (0.05, 2 / 6**3, 0.009, 2 / 6**4)] == [3, 3, 4, 4]
    assert both.least(0.05) == both.least(2 / 36**2) == 2
    assert trend(DIPPED[:3]).refusal(0.05) == both.refusal(0.05) == ""
    assert trend(DIPPED[:2]).refusal(0.05).startswith("2 complete seeds of 3 arms cannot decide a trend at the 0.05")
    assert trend(DIPPED[:2]).refusal(0.05).endswith("at least 3 are needed.")
    single = trend(DIPPED[:1])
    assert (single.size(0.95, 0), np.isnan(one_sided([single], 0.0, True, 0)).all()) == (
        ("rank correlation", None),
        True,
    )
    two = trend(DIPPED[:2])
    assert np.isfinite(one_sided([two], 0.0, True, 0)).all()
    assert two.size(0.95, 0)[1] is not None


def test_a_difference_counts_runs_and_the_fewest_of_an_environment() -> None:
    x, y = (np.array([1.0, 2.0, 4.0]), np.array([1.0, 5.0])), (np.array([0.0, 1.0]), np.array([2.0, 2.0, 9.0, 9.5]))
    apart = Difference("a", "b", ("E", "F"), False, x, y)
    assert (apart.counts, apart.per_task) == ((5, 6), (2, 2))
    assert apart.interval(0.9, 0).point == pytest.approx((7 / 3 + 3 - 0.5 - 5.625) / 2)
    assert apart.size(0.9, 0)[0] == "P(run of a above run of b)"
    assert apart.spread().baseline == pytest.approx((np.std(y[0], ddof=1), np.std(y[1], ddof=1)))
    pairs = Difference("a", "b", ("E",), False, (x[0],), (np.array([0.0, 1.0, 5.0]),), paired=True)
    assert pairs.interval(0.9, 0).low == pytest.approx(stats.ttest_1samp([1, 1, -1], 0).confidence_interval(0.9).low)
    assert (pairs.spread().arm, pairs.spread().baseline) == (pytest.approx((np.sqrt(4 / 3),)), ())
    assert (pairs.least(0.05), Difference("a", "b", ("E",), False, x[:1], y[:1]).least(0.05)) == (6, 4)
    single = Difference("a", "a, bound", ("E",), False, (x[0],), (np.zeros(3),), paired=True, single=True)
    assert (single.counts, single.size(0.9, 0), single.interval(0.9, 0).point) == (
        (3, 0),
        ("", None),
        pytest.approx(7 / 3),
    )


def test_differences_are_moved_by_the_threshold_and_permuted() -> None:
    x, y = np.array([1.0, 2.0, 4.0, 5.0]), np.array([0.0, 0.5, 0.7, 0.9])
    apart = Difference("a", "b", ("E",), False, (x,), (y,))
    # Every run of a above every one of b: of 70 splits only the observed. Beyond 4.0 lower on average, not by much.
    assert one_sided([apart], 0.0, True, 0) == pytest.approx([2 / 70])
    assert one_sided([apart], 0.0, False, 0).tolist() == [1]
    assert one_sided([apart], 6.0, False, 0) == pytest.approx([2 / 70])
    # Of one mean the signs are permuted: all four positive, of 16.
    single = Difference("a", "a, bound", ("E",), False, (x,), (np.zeros(4),), paired=True, single=True)
    assert one_sided([single], 0.0, True, 0) == one_sided([single], 9.0, False, 0) == pytest.approx([2 / 16])
