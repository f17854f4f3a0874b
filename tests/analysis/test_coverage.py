"""What an interval may be called."""

import numpy as np

from rlbench.analysis.stats import estimates, intervals
from rlbench.analysis.stats.estimates import Band, Estimate


def estimate(quantity: str, runs: int, level: float = 0.95) -> Estimate:
    ends = (-1.0, 1.0) if runs > 1 else (np.nan, np.nan)
    return Estimate(0.0, *ends, level, 2 * runs, "method", runs, quantity)


def test_intervals_that_hold_have_a_plain_name():
    assert estimates.interval_name([estimate("difference of means", 10)]) == "95 % interval"
    assert estimates.interval_name([estimate("IQM", 5)]) == "95 % interval"
    assert estimates.interval_name([]) == "95 % interval"
    assert estimates.interval_name([estimate("IQM", 1)]) == "95 % interval"  # there is none


def test_intervals_that_do_not_hold_say_what_they_held():
    found = estimates.measured("mean", 10)
    assert (found.fewest, found.most) == (10, 10)
    assert found.low < estimates.LEAST
    assert estimates.interval_name([estimate("mean", 10)]) == "nominal 95 % interval"
    said = estimates.nominal([10])
    assert said.startswith("with 10 runs: ")
    assert f"mean {found.low * 100:.0f} to {found.high * 100:.0f} %" in said
    assert "IQM" not in said
    assert estimates.nominal([20, 10]) == f"{said}; {estimates.nominal([20])}"
    assert estimates.nominal([1]) == "with 1 run: nothing was simulated, so all of them"
    assert estimates.nominal([]) == ""
    assert estimates.measured("mean", 99)[2:] == (20, 20)


def test_four_runs_were_simulated_by_themselves():
    for what in ("mean", "difference of means", "IQM", "median", "IQM, 3 tasks"):
        assert estimates.measured(what, 4)[2:] == (4, 4)
    few = estimates.measured("IQM", 4)
    assert few.low < estimates.measured("IQM", 5).low
    assert few.low < estimates.LEAST
    said = estimates.interval_name([intervals.bootstrap(np.array([1.0, 2.0, 4.0, 9.0]))])
    assert said == "nominal 95 % interval"


def test_between_simulated_numbers_of_runs_the_worse_counts():
    few, many, between = (estimates.measured("share of runs (Wilson)", n) for n in (5, 10, 9))
    assert few.low > estimates.LEAST > many.low
    assert between == (many.low, max(few.high, many.high), 5, 10)
    assert estimates.interval_name([estimate("collapse probability", 9)]) == "nominal 95 % interval"
    assert estimates.nominal([9]).startswith("with 9 runs: ")


def test_the_fewest_runs_of_a_figure_count():
    both = [estimate("IQM", 20), estimate("IQM", 3), estimate("IQM", 1)]
    assert estimates.interval_name(both[:1]) == "95 % interval"
    assert estimates.interval_name(both) == "nominal 95 % interval"


def test_what_was_not_measured_is_nominal():
    for one in (estimate("something", 20), estimate("IQM", 20, level=0.9), estimate("IQM", 2)):
        assert estimates.interval_name([one]).startswith(f"nominal {one.level * 100:g} % interval")
    assert estimates.measured("something", 20) is None


def test_a_simultaneous_band_has_its_own_coverage():
    line = np.zeros(3)
    band = Band(line, line, line, 0.95, 20, "method", 20, "mean", simultaneous=True)
    low, high = estimates.measured("whole curve, simultaneous band", 20)[:2]
    assert estimates.interval_name([band]) == "nominal 95 % interval"
    assert f"whole curve, simultaneous band {low * 100:.0f} to {high * 100:.0f} %" in estimates.nominal([20])
