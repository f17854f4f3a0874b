"""What an interval may be called."""

import numpy as np

from rlbench.analysis import coverage
from rlbench.analysis.estimates import Band, Estimate


def estimate(quantity: str, runs: int, level: float = 0.95) -> Estimate:
    return Estimate(0.0, -1.0, 1.0, level, 2 * runs, "method", runs, quantity)


def test_intervals_that_hold_have_a_plain_name():
    assert coverage.interval_name([estimate("difference of means", 10)]) == "95 % interval"
    assert coverage.interval_name([estimate("IQM", 5)]) == "95 % interval"
    assert coverage.interval_name([]) == "95 % interval"
    assert coverage.interval_name([estimate("IQM", 1)]) == "95 % interval"  # there is none


def test_intervals_that_do_not_hold_say_what_they_held():
    low, high = coverage.measured("mean", 10)[1:]
    name = f"nominal 95 % interval, which held the truth in {low * 100:.0f} to {high * 100:.0f} % of simulated "
    assert coverage.interval_name([estimate("mean", 12)]) == f"{name}experiments with 10 runs"
    assert low < coverage.LEAST
    assert coverage.measured("mean", 99)[0] == 20


def test_the_fewest_runs_of_a_figure_count():
    both = [estimate("mean", 20), estimate("mean", 5), estimate("mean", 1)]
    assert coverage.interval_name(both).endswith("with 5 runs")


def test_what_was_not_measured_is_nominal():
    for one in (estimate("something", 20), estimate("IQM", 20, level=0.9), estimate("IQM", 2)):
        assert coverage.interval_name([one]).startswith(f"nominal {one.level * 100:g} % interval")
    assert coverage.measured("something", 20) is None


def test_a_simultaneous_band_has_its_own_coverage():
    line = np.zeros(3)
    band = Band(line, line, line, 0.95, 20, "method", 20, "mean", simultaneous=True)
    low, high = coverage.measured("whole curve, simultaneous band", 20)[1:]
    assert f"{low * 100:.0f} to {high * 100:.0f} %" in coverage.interval_name([band])
