"""The questions that a claim asks: p-values of trends, shares and differences, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rlbench.analysis.questions import Change, one_sided
from rlbench.analysis.trends import contrast_test

# Every seed rises from the first arm to the last, but its lowest score is the one in the middle.
DIPPED = np.array([[0.2 + 0.01 * seed, 0.0, 10.0 + seed] for seed in range(6)])


def trend(table: np.ndarray) -> Change:
    return Change("a, b, c", "", "E", ("E",), (table,))


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
