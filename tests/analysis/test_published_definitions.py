"""The statistics agree with the definitions of Agarwal et al. (2021), written out here run by run and pair by pair."""

import math

import numpy as np
import pytest

from rlbench.analysis.stats import estimates as st

RUNS, TASKS = 10, 3


@pytest.fixture(params=["normal", "tied", "saturated"])
def scores(request):
    """Scores of two algorithms, `[runs, tasks]`, as that paper lays them out."""
    rng = np.random.default_rng(8)
    x, y = rng.normal(0.6, 0.4, (RUNS, TASKS)), rng.normal(0.4, 0.5, (RUNS - 2, TASKS))
    if request.param == "tied":
        x, y = np.round(3 * x) / 3, np.round(3 * y) / 3
    return (np.minimum(x, 0.8), np.minimum(y, 0.8)) if request.param == "saturated" else (x, y)


def tasks_of(scores):
    return [scores[:, task] for task in range(scores.shape[1])]


def close(value):
    return pytest.approx(value, rel=1e-12, abs=1e-14)


def test_aggregates(scores):
    for own in scores:
        ordered = sorted(own.ravel().tolist())
        cut = math.floor(0.25 * len(ordered))
        middle = ordered[cut : len(ordered) - cut]
        assert st.iqm(tasks_of(own)) == close(math.fsum(middle) / len(middle))
        assert st.mean(tasks_of(own)) == close(math.fsum(ordered) / len(ordered))
        half = len(ordered) // 2
        assert st.median(tasks_of(own)) == close((ordered[half - 1] + ordered[half]) / 2)


def test_probability_of_improvement(scores):
    x, y = scores
    chances = []
    for task in range(TASKS):
        wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in x[:, task] for b in y[:, task])
        chances.append(wins / (len(x) * len(y)))
    assert st.probability_of_improvement(tasks_of(x), tasks_of(y)) == close(math.fsum(chances) / TASKS)


def test_performance_profile(scores):
    for own in scores:
        thresholds = sorted({-0.5, 0.0, 0.3, 0.8, 1.0, *own[:2, 0].tolist()})
        expected = [sum(float(score > tau) for score in own.ravel()) / own.size for tau in thresholds]
        assert st.performance_profile(tasks_of(own), thresholds) == close(expected)


def test_sample_efficiency_is_the_iqm_at_each_checkpoint():
    from rlbench.analysis.stats.intervals import iqm_band

    rng = np.random.default_rng(2)
    curves = rng.normal(size=(RUNS, TASKS, 5)).cumsum(-1)
    band = iqm_band([curves[:, task] for task in range(TASKS)], repetitions=100)
    for point in range(5):
        ordered = sorted(curves[:, :, point].ravel().tolist())
        middle = ordered[7:23]  # of 30 scores, floor(7.5) at each end are cut off
        assert band.point[point] == close(math.fsum(middle) / len(middle))


def test_the_stratified_bootstrap_resamples_runs_inside_each_task():
    """As published, but for the random numbers: the standard error of the IQM agrees with runs drawn one by one."""
    from rlbench.analysis.stats import intervals

    rng = np.random.default_rng(3)
    tasks = [rng.normal(task, 1 + task, RUNS) for task in range(TASKS)]
    ours = intervals.iqm_values([np.sort(task) for task in tasks], intervals.counts((RUNS,) * TASKS, 0, 20_000))
    theirs = []
    for _ in range(4_000):
        drawn = sorted(float(task[rng.integers(RUNS)]) for task in tasks for _ in range(RUNS))
        theirs.append(math.fsum(drawn[7:23]) / 16)
    assert ours.mean() == pytest.approx(np.mean(theirs), abs=4 * np.std(theirs) / np.sqrt(4_000))
    assert ours.std() == pytest.approx(np.std(theirs), rel=0.05)
