"""The published calibration is true: a part of it is measured again here, all of it with `-m calibration`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from scipy import stats

from rlbench.analysis.stats import estimates
from rlbench.analysis.stats.estimates import Estimate
from tests.statistics.calibration import BIAS, COVERAGE, Case, Row, all_cases
from tests.statistics.distributions import ALL, SMOOTH
from tests.statistics.publish import PAGE, page, read

PUBLISHED = read()
CASES = list(all_cases().values())
ROWS = [one for rows in PUBLISHED.values() for one in rows]
ALARM = 1e-4  # probability that one case is found wrong although it is not


def agree(measured: Iterable[Row], published: Iterable[Row]) -> None:
    """Fail if a frequency, or all of one quantity together, differs from the published one by more than chance."""
    known = {(one.kind, one.what, one.data, one.n): one for one in published}
    rows = [one for one in measured if one.kind != BIAS]
    assert rows
    together: dict[tuple[str, str], list[float]] = {}
    for one in rows:
        other = known[one.kind, one.what, one.data, one.n]
        hits, hits_before = round(one.rate * one.simulations), round(other.rate * other.simulations)
        table = [[hits, one.simulations - hits], [hits_before, other.simulations - hits_before]]
        assert stats.fisher_exact(table).pvalue > ALARM / len(rows), (one, other)
        variance = max(other.rate * (1 - other.rate), 0.5 / other.simulations) * one.simulations
        sums = together.setdefault((one.kind, one.what), [0.0, 0.0])
        sums[0] += hits - other.rate * one.simulations
        sums[1] += np.sqrt(variance)
    # Rows of the same quantity share their random numbers, so that they may all be off at once: their spreads add.
    for key, (excess, spread) in together.items():
        assert abs(excess) < stats.norm.isf(ALARM) * spread, (key, excess, spread)


@pytest.mark.parametrize("part", [4, pytest.param(1, marks=pytest.mark.slow)], ids=["quarter", "whole"])
@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_a_sample_agrees_with_what_is_published(one: Case, part: int) -> None:
    agree(one.measure(one.fast // part), PUBLISHED[one.name])


@pytest.mark.calibration
@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_everything_agrees_with_what_is_published(one: Case) -> None:
    agree(one.measure(one.full), PUBLISHED[one.name])


def test_the_check_can_fail() -> None:
    published = [Row(COVERAGE, "mean", "normal", n, 4000, 0.95, 0.94, 0.96, 0.95) for n in (5, 10, 20)]
    for rate, simulations in ((0.8, 100), (0.92, 1000)):
        with pytest.raises(AssertionError):
            agree([one._replace(rate=rate, simulations=simulations) for one in published], published)
    agree([one._replace(rate=0.94, simulations=100) for one in published], published)


def test_the_page_shows_the_file() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(ROWS)
    assert list(PUBLISHED) == [one.name for one in CASES]


# The mean of ten runs from a distribution with so long a tail is the one that does not hold, and is called nominal.
@pytest.mark.parametrize("n", [10, 20])
@pytest.mark.parametrize("what", ["mean", "difference of means", "IQM", "median"])
def test_from_ten_runs_on_smooth_scores_are_covered(what: str, n: int) -> None:
    rows = [one for one in ROWS if (one.what, one.n) == (what, n) and one.data in SMOOTH]
    assert {one.data for one in rows} == set(SMOOTH)
    for one in rows:
        if (what, n, one.data) != ("mean", 10, "lognormal"):
            assert 0.93 <= one.rate <= 0.976, one


def test_no_interval_is_called_better_than_it_is() -> None:
    for one in (one for one in ROWS if one.kind == COVERAGE and one.rate < estimates.LEAST):
        if "pointwise" not in one.what and "looks" not in one.what:
            name = estimates.interval_name([Estimate(0.0, -1.0, 1.0, 0.95, one.n, "method", one.n, one.what)])
            assert name.startswith("nominal"), one


def test_the_distributions_are_what_they_say() -> None:
    draws = {one.name: one.draw(np.random.default_rng(0), (400_000,)) for one in ALL}
    for one in ALL:
        own = draws[one.name]
        error = own.std() / np.sqrt(own.size)
        assert abs(own.mean() - one.between(0, 1)) < 4 * error
        assert one.between(0.25, 0.75) == pytest.approx(stats.trim_mean(own, 0.25), abs=8 * error)
        assert one.mean_of(np.abs) == pytest.approx(np.abs(own).mean(), abs=4 * error)
    assert (draws["bimodal"] < 2.5).mean() == pytest.approx(0.2, abs=0.003)
    assert (draws["saturated"] == draws["saturated"].max()).mean() == pytest.approx(stats.norm.sf(1 / 3), abs=0.004)
    assert sorted(set(draws["tied"])) == [0, 1, 2, 3, 4]
