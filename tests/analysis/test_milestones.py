"""Steps to a threshold and collapses, read off curves."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rlbench.analysis.scores import metrics as ms
from rlbench.analysis.scores.scores import Reference
from rlbench.errors import RlbenchError

REFERENCES = {"E": Reference(10.0, 110.0)}


def table(runs):
    """Curves of runs given as {seed: (status, normalised values)} of one arm on E, ten steps apart."""
    frames = []
    for seed, (status, values) in runs.items():
        values = np.asarray(values, float)
        frames.append(
            pd.DataFrame(
                {
                    "arm": "a",
                    "environment": "E",
                    "seed": seed,
                    "step": 10.0 * np.arange(1, len(values) + 1),
                    "return": 10.0 + 100.0 * values,
                    "observed": np.isfinite(values),
                    "status": status,
                    "used": status == "finished",
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def test_steps_to_a_threshold_are_the_first_and_the_rest_is_censored():
    curves = table(
        {
            0: ("finished", [0.1, 0.5, 0.2, 0.9]),
            1: ("finished", [0.1, 0.2, 0.3, 0.4]),
            2: ("diverged", [0.1, 0.4, np.nan, np.nan]),
            3: ("diverged", [0.6, 0.7, np.nan, np.nan]),
        }
    )
    found = ms.steps_to_threshold(curves.sample(frac=1, random_state=0), 0.5, REFERENCES)
    assert found["steps"].tolist() == [20, 40, 40, 10]
    assert found["reached"].tolist() == [True, False, False, True]


def test_what_was_carried_back_from_the_first_episode_is_not_reached_yet():
    curves = table({0: ("finished", [0.8, 0.8, 0.8])})
    curves["observed"] = [False, True, True]
    assert ms.steps_to_threshold(curves, 0.5, REFERENCES)["steps"].tolist() == [20]


def test_what_few_early_episodes_gave_must_last_until_the_window_is_full():
    values = np.full(40, 0.2)
    values[[1, 2, 20]] = 0.9  # the window, a tenth, is full at the fourth point
    assert ms.steps_to_threshold(table({0: ("finished", values)}), 0.5, REFERENCES)["steps"].tolist() == [210]
    values[3] = 0.9
    assert ms.steps_to_threshold(table({0: ("finished", values)}), 0.5, REFERENCES)["steps"].tolist() == [20]
    assert not ms.collapses(table({0: ("finished", np.where(np.arange(40) < 3, 0.9, 0.2))}), REFERENCES)["collapsed"][0]
    assert ms.collapses(table({0: ("finished", np.where(np.arange(40) < 4, 0.9, 0.2))}), REFERENCES)["collapsed"][0]


def test_an_environment_without_reference_has_no_rows():
    curves = table({0: ("finished", [0.8, 0.8])})
    assert ms.steps_to_threshold(curves, 0.5, {}).empty
    assert ms.collapses(curves, {}).empty


@pytest.mark.parametrize(
    ("values", "collapses"),
    [
        ([0.2, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.49], True),  # a tenth of the training
        ([0.2, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.51], False),  # less than half lost
        ([0.2, 0.1, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], False),  # nothing to lose yet
        ([0.3, 0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], True),  # and recovered
    ],
)
def test_a_collapse_is_lasting_deep_and_from_a_height(values, collapses):
    assert ms.collapsed(values) == collapses
    assert ms.collapsed([values, values]).tolist() == [collapses] * 2
    longer = np.repeat(values, 2)
    longer[-1] = 1.0  # half of a tenth
    if collapses and values[0] == 0.2:
        assert not ms.collapsed(longer)


def test_runs_that_stopped_count_as_collapsed():
    curves = table({0: ("failed", [0.1, np.nan]), 1: ("finished", [0.1, 0.2]), 2: ("diverged", [0.9, np.nan])})
    assert ms.collapses(curves, REFERENCES)["collapsed"].tolist() == [True, False, True]
    with pytest.raises(RlbenchError, match="one with NaN"):
        ms.collapsed([0.5, np.nan])


def test_the_probability_of_a_collapse_and_its_comparison():
    estimate = ms.collapse_estimate(2, 10)
    expected = stats.binomtest(2, 10).proportion_ci(0.95, method="wilson")
    assert (estimate.point, estimate.low, estimate.high) == pytest.approx((0.2, expected.low, expected.high))
    assert ms.collapse_estimate(0, 0).method == "no run"
    first, second = pd.Series([True] * 7 + [False]), pd.Series([False] * 8)
    assert ms.collapse_test(first, second) == pytest.approx(stats.boschloo_exact([[7, 0], [1, 8]]).pvalue)
    assert ms.collapse_test(second, second) == 1.0
    assert np.isnan(ms.collapse_test(second, second.iloc[:0]))
