"""Picking the best of a sweep."""

import numpy as np
import pytest

from rlbench.analysis.stats import intervals
from rlbench.analysis.stats.sweeps import pick_best
from rlbench.errors import RlbenchError


def sweep(seed=0, settings=6, n=8):
    rng = np.random.default_rng(seed)
    return {f"lr={k}": rng.normal(size=n) for k in range(settings)}


def test_the_best_is_picked_and_looks_too_good():
    runs = sweep()
    found = pick_best(runs)
    best = max(runs, key=lambda name: runs[name].mean())
    assert (found.picked, found.settings) == (best, 6)
    assert found.naive == intervals.mean_interval(runs[best])
    assert found.optimism > 0.1
    assert found.corrected.point == pytest.approx(found.naive.point - found.optimism)
    assert found.corrected.low <= found.naive.low
    assert found.corrected.high >= found.naive.high
    assert found.corrected.n == 48


def test_optimism_is_the_mean_gain_over_resampled_sweeps():
    runs = sweep(settings=3, n=5)
    rng = np.random.default_rng(1)
    names, means = list(runs), {name: own.mean() for name, own in runs.items()}
    gains = []
    for _ in range(20_000):
        drawn = {
            name: means[name] + np.sqrt(5 / 4) * (rng.choice(own, 5).mean() - means[name]) for name, own in runs.items()
        }
        best = max(names, key=drawn.get)
        gains.append(drawn[best] - means[best])
    assert pick_best(runs, repetitions=20_000).optimism == pytest.approx(np.mean(gains), abs=0.015)


def test_a_setting_that_stands_out_is_hardly_too_good():
    runs = sweep()
    runs["lr=3"] = runs["lr=3"] + 10
    assert abs(pick_best(runs).optimism) < 0.02


def test_the_order_of_settings_and_runs_does_not_matter():
    runs = sweep()
    other = {name: runs[name][::-1] for name in reversed(runs)}
    assert pick_best(other, seed=2) == pick_best(runs, seed=2)
    assert pick_best(runs, seed=3) != pick_best(runs, seed=2)


@pytest.mark.parametrize("runs", [{"a": [1.0, 2.0]}, {"a": [1.0, 2.0], "b": [1.0]}])
def test_too_little_is_refused(runs):
    with pytest.raises(RlbenchError, match="at least two settings, of at least two runs"):
        pick_best(runs)


def test_nan_is_refused():
    with pytest.raises(RlbenchError, match="NaN"):
        pick_best({"a": [1.0, np.nan], "b": [1.0, 2.0]})
