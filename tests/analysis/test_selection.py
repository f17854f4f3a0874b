"""Picking the best of a sweep, and how good the best of so many settings is."""

from itertools import combinations

import numpy as np
import pytest

from rlbench.analysis.stats import intervals
from rlbench.analysis.stats.sweeps import best_of, pick_best
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


def test_the_best_of_k_settings_is_the_mean_over_all_choices_of_k():
    runs = np.random.default_rng(0).normal(size=(6, 3)).round(1)
    runs[4] = runs[2]  # a tie, of which either may be picked
    expected = []
    for k in range(1, 7):
        scores = []
        for left_out in range(3):
            picked = np.delete(runs, left_out, axis=1).mean(axis=1)
            for chosen in map(list, combinations(range(6), k)):
                best = [one for one in chosen if picked[one] == picked[chosen].max()]
                scores.append(runs[best, left_out].mean())
        expected.append(np.mean(scores))
    found = best_of(runs)
    assert found.point == pytest.approx(expected)
    assert (found.low <= found.point).all()
    assert (found.point <= found.high).all()


def test_the_best_of_settings_that_are_all_alike_is_no_better_than_any():
    lines = [best_of(np.random.default_rng(seed).normal(size=(16, 2)), repetitions=1).point for seed in range(400)]
    errors = np.std(lines, axis=0) / np.sqrt(400)
    assert (np.abs(np.mean(lines, axis=0)) < 4 * errors).all()


def test_the_band_of_the_best_holds_what_other_settings_would_give():
    """Half of all settings are bad ones: of two that are tried, both are so in a quarter of the cases."""

    def tried(rng, settings=24):
        return np.repeat(rng.integers(0, 2, (settings, 1)), 2, axis=1) + 0.01 * rng.normal(size=(settings, 2))

    truth = np.array([0.5, 0.75, 0.875])
    held = [
        (band.low[:3] <= truth) & (truth <= band.high[:3])
        for band in (best_of(tried(np.random.default_rng(seed)), repetitions=400) for seed in range(200))
    ]
    assert (np.mean(held, axis=0) > 0.88).all()


@pytest.mark.parametrize("runs", [[[1.0, 2.0]], [[1.0], [2.0]], [[1.0, np.nan], [2.0, 3.0]]])
def test_the_best_of_settings_needs_several_with_two_seeds_each(runs):
    with pytest.raises(RlbenchError, match="needs two settings and two seeds of each"):
        best_of(runs)
