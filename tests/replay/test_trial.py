"""The made-up samples on which surrogates are recorded: as in training, with what is rare there among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlbench.fields import fields_of
from rlbench.improve.replay import Trial, draw_column, draw_samples

NAMES = {"log_prob", "entropy", "kl", "value", "old_log_prob", "old_value", "target", "advantage"}


@pytest.mark.parametrize("weighted", [False, True])
def test_ties_zeros_and_a_nan_are_among_the_samples(weighted: bool) -> None:
    samples = draw_samples(np.random.default_rng(0), 3, 200, weighted=weighted)
    assert samples.keys() == NAMES | ({"weight"} if weighted else set())
    assert {(one.shape, one.dtype) for one in samples.values()} == {((3, 200), np.dtype(np.float32))}
    ratio_is_one = samples["log_prob"] == samples["old_log_prob"]
    assert ratio_is_one[:, 0].all()
    assert not ratio_is_one[:, 1:].any()
    moved = samples["value"] != samples["old_value"]
    assert not moved[:, 1].any()
    assert moved[:, [0, *range(2, 200)]].all()
    assert (samples["advantage"] == 0).nonzero()[1].tolist() == [2, 2, 2]
    assert np.argwhere(np.isnan(samples["log_prob"])).tolist() == [[2, 3]]
    assert all(np.isfinite(values).all() for name, values in samples.items() if name != "log_prob")


def test_samples_are_of_the_size_that_they_have_in_training() -> None:
    samples = draw_samples(np.random.default_rng(1), 4, 5000, weighted=True)
    samples["log_prob"][-1, 3] = samples["log_prob"][0, 3]
    absolute = np.sqrt(2 / np.pi)  # the mean of |x| of a standard normal
    for name, mean in (("log_prob", -absolute), ("entropy", absolute), ("kl", 0.1 * absolute), ("value", 0)):
        assert samples[name].mean() == pytest.approx(mean, abs=0.03 * max(abs(mean), 1)), name
    assert (samples["log_prob"] <= 0).all()
    assert (samples["entropy"] >= 0).all()
    assert (samples["kl"] >= 0).all()
    for name, before, spread in (
        ("old_log_prob", "log_prob", 0.3),
        ("old_value", "value", 0.5),
        ("target", "value", 1),
    ):
        assert (samples[name] - samples[before]).std() == pytest.approx(spread, rel=0.05), name
    assert set(np.unique(samples["weight"])) == {0, 1}
    assert samples["weight"].mean() == pytest.approx(0.8, abs=0.02)


def test_a_single_sample_is_like_any_other() -> None:
    samples = draw_samples(np.random.default_rng(0), 2, 3, weighted=False)
    assert all((values != 0).all() and np.isfinite(values).all() for values in samples.values())
    assert (samples["old_log_prob"] != samples["log_prob"]).all()


def test_hyper_parameters_are_drawn_near_their_defaults_and_never_zero() -> None:
    rng = np.random.default_rng(0)
    for default, middle in ((2.0, 2.0), (0.0, 0.1)):
        drawn = draw_column(rng, default, 1000)
        assert drawn.shape == (1000, 1)
        assert drawn.min() == pytest.approx(0.8 * middle, rel=0.01)
        assert drawn.max() == pytest.approx(1.2 * middle, rel=0.01)


def test_what_is_recorded_is_what_autograd_gives(plugin: Callable[[Any], Any]) -> None:
    kind = plugin(lambda self, x: x.ratio * x.advantage)
    static = {name: field.default for name, field in fields_of(kind).items() if not field.is_hyper}
    trial = Trial(kind, static, 8, weighted=False, replicas=2)
    assert trial.replay.grads == ("log_prob",)
    ratio = np.exp(trial.inputs["log_prob"] - trial.inputs["old_log_prob"])
    np.testing.assert_allclose(trial.expected[0], ratio * trial.inputs["advantage"], rtol=1e-5)
    np.testing.assert_allclose(trial.expected[1], ratio * trial.inputs["advantage"] * trial.upstream, rtol=1e-5)
    assert trial.agrees(trial.replay)
    trial.expected[1][0, 0] += 1
    assert not trial.agrees(trial.replay)
