"""Families of permutation tests: against full enumeration by hand, pairing, strata, and what cannot be tested."""

from __future__ import annotations

from itertools import combinations, permutations, product

import numpy as np
import pytest
from scipy import stats

from rlbench.analysis.stats.tests import (
    Block,
    Hypothesis,
    _Permutations,
    blocks,
    degrees_of_freedom,
    normal_scale,
    share_as_extreme,
    signed,
    smallest_p,
    step_down,
)
from rlbench.errors import RlbenchError
from tests.statistics.two_arms import permutation_test

E = ("E",)


def welch(x, y):
    return abs(stats.ttest_ind(x, y, equal_var=False).statistic)


def splits_of_three(values):
    """Yield every way to deal nine runs to three arms of three."""
    for first in combinations(range(9), 3):
        left = [index for index in range(9) if index not in first]
        for second in combinations(left, 3):
            third = [index for index in left if index not in second]
            yield values[list(first)], values[list(second)], values[third]


def three_arms(seed=4):
    rng = np.random.default_rng(seed)
    return {("E", arm): rng.normal(shift, 1, 3) for arm, shift in (("a", 0.0), ("b", 1.0), ("c", 3.0))}


def test_the_step_down_by_full_enumeration():
    data = three_arms()
    a, b, c = (data["E", arm] for arm in "abc")
    found = step_down(data, [Hypothesis("b", "a", E), Hypothesis("c", "a", E)])
    seen = welch(b, a), welch(c, a)
    assert seen[1] > seen[0]
    drawn = [(welch(y, x), welch(z, x)) for x, y, z in splits_of_three(np.concatenate([a, b, c]))]
    together = np.mean([max(pair) >= seen[1] * (1 - 1e-9) for pair in drawn])
    # c is out, so the second step permutes b with a only.
    pooled = np.concatenate([a, b])
    alone = [welch(pooled[list(s)], np.delete(pooled, list(s))) for s in combinations(range(6), 3)]
    second = np.mean(np.array(alone) >= seen[0] * (1 - 1e-9))
    raw = [permutation_test(b, a), permutation_test(c, a)]
    assert raw[0] == pytest.approx(second)
    assert len(drawn) == 1680
    first = max(together, raw[1])
    assert found.p.tolist() == pytest.approx(raw)
    assert found.adjusted.tolist() == pytest.approx([max(together, second), first])


def test_the_observed_split_is_one_of_all_and_one_more_than_the_random_ones():
    drawn = np.array([1.0, 2.0, 3.0, 0.0])
    assert share_as_extreme(2.0, drawn, exact=True) == 2 / 4
    assert share_as_extreme(2.0, drawn, exact=False) == 3 / 5
    assert share_as_extreme(4.0, drawn, exact=False) == 1 / 5
    assert share_as_extreme(np.inf, np.array([np.inf, 1.0]), exact=True) == 1 / 2


def test_degrees_of_freedom_are_pooled_over_environments():
    sizes = {"a": 5, "b": 3, "c": 1, "d": 1}
    data = {(name, arm): np.zeros(size) for name in ("E", "F") for arm, size in sizes.items()}
    both, single = Hypothesis("a", "b", ("E", "F")), Hypothesis("c", "d", E)
    assert degrees_of_freedom(data, both, False) == 2 * (5 + 3 - 2)
    assert degrees_of_freedom(data, Hypothesis("a", "a", ("E", "F")), True) == 2 * (5 - 1)
    assert degrees_of_freedom(data, single, False) == degrees_of_freedom(data, single, True) == 1  # of 0 there is no t


def test_pairs_are_permuted_within_their_seed_by_full_enumeration():
    rng = np.random.default_rng(2)
    level = rng.normal(0, 10, 4)
    data = {("E", arm): level + rng.normal(shift, 1, 4) for arm, shift in (("a", 0.0), ("b", 1.5), ("c", 0.3))}
    found = step_down(data, [Hypothesis("b", "a", E), Hypothesis("c", "a", E)], paired=True)
    table = np.stack([data["E", arm] for arm in "abc"], axis=1)

    def t(rows, arm):
        moved = rows[:, arm] - rows[:, 0]
        return abs(moved.mean()) / (moved.std(ddof=1) / 2)

    seen = [t(table, arm) for arm in (1, 2)]
    drawn = [
        [t(np.stack([row[list(way)] for row, way in zip(table, ways, strict=True)]), arm) for arm in (1, 2)]
        for ways in product(permutations(range(3)), repeat=4)
    ]
    order = np.argsort(seen)[::-1]
    signs = {}
    for arm in (1, 2):
        moved = table[:, arm] - table[:, 0]
        flipped = np.array(list(product([1, -1], repeat=4))) * moved
        sizes = np.abs(flipped.mean(1)) / (flipped.std(1, ddof=1) / 2)
        signs[arm] = np.mean(sizes >= seen[arm - 1] * (1 - 1e-9))
    assert found.p.tolist() == pytest.approx([signs[1], signs[2]])
    top = np.mean(np.max(drawn, axis=1) >= seen[order[0]] * (1 - 1e-9))
    assert found.adjusted[order[0]] == pytest.approx(max(top, found.p[order[0]]))
    assert found.adjusted[order[1]] == pytest.approx(max(top, *found.p))


def test_pairing_pays_where_seeds_share_much():
    rng = np.random.default_rng(0)
    level = rng.normal(0, 10, 8)
    x, y = level + rng.normal(1.5, 0.5, 8), level + rng.normal(0, 0.5, 8)
    assert permutation_test(x, y, paired=True) == pytest.approx(2 / 2**8)
    assert permutation_test(x, y) > 0.5
    assert [smallest_p([(n, n)], paired=True) for n in (8, 5)] == [2 / 2**8, 0.0625]


def test_arms_that_no_hypothesis_connects_are_not_mixed():
    two = [Hypothesis("b", "a", ("E", "F")), Hypothesis("d", "c", E), Hypothesis("c", "b", ("F",))]
    assert blocks(two) == [Block("E", ("a", "b")), Block("E", ("c", "d")), Block("F", ("a", "b", "c"))]
    rng = np.random.default_rng(1)
    data = {("E", arm): rng.normal(size=5) for arm in "ab"} | {("E", arm): 1e6 * rng.normal(size=5) for arm in "cd"}
    both = step_down(data, [Hypothesis("b", "a", E), Hypothesis("d", "c", E)])
    alone = [permutation_test(data["E", x], data["E", y]) for x, y in ("ba", "dc")]
    assert both.p.tolist() == pytest.approx(alone)


def test_the_order_of_runs_arms_and_hypotheses_does_not_matter():
    rng = np.random.default_rng(3)
    data = {(name, arm): rng.normal(size=9) for name in ("E", "F") for arm in "abcd"}
    asked = [Hypothesis(arm, "a", names) for arm in "bcd" for names in (E, ("F",), ("E", "F"))]
    mixed = {key: rng.permutation(values) for key, values in reversed(data.items())}
    one, other = step_down(data, asked, seed=5), step_down(mixed, asked[::-1], seed=5)
    assert one.p.tobytes() == other.p[::-1].tobytes()
    assert one.adjusted.tobytes() == other.adjusted[::-1].tobytes()
    assert (one.adjusted >= one.p).all()
    assert one.adjusted.tobytes() != step_down(data, asked, seed=6).adjusted.tobytes()


def test_a_family_of_one_is_the_test_alone_and_sides_are_sides():
    rng = np.random.default_rng(3)
    x, y = rng.normal(1, 1, 6), rng.normal(0, 1, 5)
    data, asked = {("E", "x"): x, ("E", "y"): y}, [Hypothesis("x", "y", E)]
    assert step_down(data, asked).adjusted.tolist() == [permutation_test(x, y)]
    more, less = (step_down(data, asked, alternative=side).p[0] for side in ("greater", "less"))
    assert more < 0.5 < less
    assert more + less == pytest.approx(1 + 1 / 462)  # the observed split counts on both sides
    assert permutation_test(x + 3, y + 3, alternative="greater") == pytest.approx(more)


def test_statistics_of_different_freedom_come_on_one_scale():
    t = np.array([[2.0, 2.0], [3.0, 3.0]])
    df = np.array([3.0, 30.0])
    uneven = normal_scale(t, df)
    assert uneven == pytest.approx(stats.norm.isf(stats.t.sf(t, df)), rel=0.02)
    assert normal_scale(-t, df).tolist() == (-uneven).tolist()
    assert normal_scale(np.array([0.0, np.inf, -np.inf]), 5.0).tolist() == [0.0, np.inf, -np.inf]
    assert signed(np.array([2.0, -3.0]), "two-sided").tolist() == [2.0, 3.0]
    assert signed(np.array([2.0, -3.0]), "less").tolist() == [-2.0, 3.0]
    # A comparison over both environments has more degrees of freedom, and is not held to the bar of one.
    rng = np.random.default_rng(6)
    data = {(name, arm): rng.normal(shift, 1, 5) for name in ("E", "F") for arm, shift in (("a", 0.0), ("b", 2.0))}
    both = step_down(data, [Hypothesis("b", "a", names) for names in (E, ("F",), ("E", "F"))])
    assert both.adjusted[2] < min(both.adjusted[:2])


def test_what_is_drawn_once_is_what_would_be_drawn_again():
    rng = np.random.default_rng(5)
    data = {(name, arm): rng.normal(ord(arm) / 2, 1, 9) for name in ("E", "F") for arm in "abcd"}
    asked = [Hypothesis(arm, "a", names) for arm in "bcd" for names in (E, ("F",), ("E", "F"))]
    kept = _Permutations(data, asked, False, "two-sided", 0, 99)
    for left in (asked, asked[1:], asked[4:], asked[2:5], asked[:3]):
        anew = _Permutations(data, asked, False, "two-sided", 0, 99)
        assert kept.permuted(left)[0].tobytes() == anew.permuted(left)[0].tobytes()


def test_an_arm_without_runs_is_not_tested_and_does_not_count():
    rng = np.random.default_rng(0)
    data = {("E", "a"): rng.normal(size=5), ("E", "b"): rng.normal(1, 1, 5), ("E", "c"): np.empty(0)}
    found = step_down(data, [Hypothesis("b", "a", E), Hypothesis("c", "a", E)])
    assert np.isnan([found.p[1], found.adjusted[1]]).all()
    assert found.adjusted[0] == found.p[0]


def test_what_cannot_be_tested_is_refused():
    data = {("E", "a"): np.array([1.0, np.nan]), ("E", "b"): np.array([1.0, 2.0])}
    with pytest.raises(RlbenchError, match="NaN"):
        step_down(data, [Hypothesis("a", "b", E)])
    uneven = {("E", "a"): np.arange(3.0), ("E", "b"): np.arange(4.0)}
    with pytest.raises(RlbenchError, match="same seeds in every arm, but on E they have: a 3, b 4"):
        step_down(uneven, [Hypothesis("a", "b", E)], paired=True)
