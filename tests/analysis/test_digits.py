"""Numbers are shown with as many digits as show what they differ by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbench.analysis.format import form_of, number, steps, text, visible
from rlbench.analysis.stats.estimates import Estimate


def estimate(point, low=np.nan, high=np.nan):
    return Estimate(point, low, high, 0.95, 10, "x")


def test_estimates_as_text():
    assert text(estimate(-12.345, -20.0, -5.0), ".1f") == "−12.3 [−20.0, −5.0]"
    assert text(estimate(0.5), ".2f", sign="+") == "+0.50"
    assert text(estimate(np.nan), ".2f") == "–"
    assert number(float("nan"), ".1f") == "–"
    assert number(-1.25, ".1f") == "−1.2"
    assert number(-0.04, ".1f") == "0.0"
    assert text(estimate(12345.6, 10000.0, 20000.0), ",.0f") == "12,346 [10,000, 20,000]"


@pytest.mark.parametrize(
    ("shown", "differences", "form"),
    [
        ([estimate(312.4, 280.1, 344.5), estimate(499.98, 499.95, 500.0)], [estimate(-187, -220, -155)], ".1f"),
        ([estimate(0.913, 0.91, 0.916)], [estimate(-0.037, -0.042, -0.032)], ".3f"),
        ([estimate(1e6 + 0.913), estimate(1e6 + 0.95)], [estimate(-0.037, -0.042, -0.032)], ".3f"),
        ([estimate(0.3), estimate(0.30001)], [estimate(-0.00001)], ".6f"),
        ([0.913, 0.916, 0.9156], [], ".4f"),
        ([-200.0, -200.0], [], ".1f"),
        ([0.000123, 0.000123], [], ".6f"),
        ([0.3, 0.1 + 0.2], [], ".3f"),
        ([9.1e-10, 9.5e-10], [], ".2e"),
        ([3e12, 4e12], [], ".1e"),
        ([0.0, np.nan], [], ".1f"),
        ([], [], ".1f"),
    ],
)
def test_the_format_follows_the_numbers(shown, differences, form):
    assert form_of(shown, 1, differences) == form


@given(
    st.floats(-1e12, 1e12),
    st.floats(1e-12, 1e12),
    st.sampled_from([".1f", ".3f"]),
)
def test_an_interval_with_a_width_is_shown_with_one(low, width, form):
    one = estimate(low + width / 2, low, low + width)
    if width > 1e-9 * abs(low):
        for shown in (text(one, form), text(one)):
            ends = shown.split("[")[1].rstrip("]").split(", ")
            assert ends[0] != ends[-1]
    assert visible(estimate(1.0, 0.5, 0.5), form) == form


def test_a_short_estimate_has_three_digits_or_as_many_as_it_takes():
    assert text(estimate(0.1234, 0.1001, 0.2)) == "0.123 [0.1, 0.2]"
    assert text(estimate(1e6 + 1, 1e6, 1e6 + 3)) == "1000001.0 [1000000.0, 1000003.0]"


def test_steps_are_counted_in_anything():
    assert [steps(one) for one in (1e6, 0.1, 0.1 + 0.2, 123456.789)] == ["1,000,000", "0.1", "0.3", "123,456.789"]
