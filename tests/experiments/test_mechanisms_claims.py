"""The measurements of mechanisms: every arm and column that a claim asks for, the same numbers for one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlbench import Environment
from rlbench.records import RunRecord
from rlbench.study.suites import load_experiment
from rlbench.userfiles import import_file

FOLDER = Path(__file__).parents[2] / "experiments" / "lecture"
fractions = import_file(FOLDER / "mechanism_clip_fractions.py", "suite")
SMALLER: dict[str, dict[str, dict[str, Any]]] = {
    "claim_06_cost": {"mechanism_cost": {"UPDATES": 1, "WARM_UP": 0}},
    "claim_16_band": {"mechanism_clip_fractions": {"STEPS": 4096, "RATES": (1e-3,), "CLIPS": (0.05, 0.5)}},
    "claim_18_bias_and_variance": {
        "mechanism_gae": {"PAIRS": 4, "CONTINUATIONS": 4, "AHEAD": 64, "ROLLOUTS": 3, "HORIZON": 256}
    },
    "claim_20_gradient_variance": {"mechanism_gae": {"ROLLOUTS": 2, "HORIZON": 256}},
    "claim_25_overfitting": {"mechanism_overfitting": {"UPDATES": 1, "FRESH": 2}},
    "claim_26_gradient_noise": {"mechanism_batches": {"STREAMS": 2, "_EACH": 2}},
}


@pytest.mark.parametrize("name", SMALLER)
def test_a_measurement_has_what_its_claims_ask_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment: Any = load_experiment(FOLDER / f"{name}.py")
    for module, changes in SMALLER[name].items():
        for constant, value in changes.items():
            monkeypatch.setattr(import_file(FOLDER / f"{module}.py", "suite"), constant, value)
    policies = import_file(FOLDER / "mechanism_policies.py", "suite")
    monkeypatch.setattr(policies, "STEPS", dict.fromkeys(policies.STEPS, 2048))
    environment = experiment.environments[0]
    found = experiment.measure(environment, 100)
    assert tuple(found) == experiment.arms
    for claim in experiment.claims:
        column = claim.metric.removesuffix(":mean")
        for arm in claim.arms:
            assert column in found[arm]
            if name != "claim_16_band":  # where a group may be empty
                assert np.isfinite(found[arm][column])
    if name == "claim_18_bias_and_variance":
        np.testing.assert_equal(experiment.measure(environment, 100), found)
        assert experiment.measure(environment, 101) != found


def test_configurations_are_divided_by_their_clip_fraction() -> None:
    fraction = np.array([0.0, 0.1, 0.4, 0.5])
    area, rate = np.array([0.2, 0.6, 0.8, 0.4]), np.array([1e-4, 1e-4, 1e-3, 1e-3])
    found = fractions.compared(fraction, area, rate)
    assert found[fractions.IN]["area"] == pytest.approx(0.7)
    assert found[fractions.OUT]["area"] == pytest.approx(0.3)
    assert found[fractions.IN]["share"] == 0.5
    # Distances 0.1, 0, 0, 0.1; in each pair of one step size the nearer one has the larger area.
    assert found[fractions.ALL]["spearman_within_lr"] == pytest.approx(-1)
    assert -1 < found[fractions.ALL]["spearman"] < -0.8
    assert found[fractions.ALL]["area"] == pytest.approx(0.5)


def test_a_group_without_a_configuration_has_no_mean() -> None:
    found = fractions.compared(np.array([0.0, 0.01]), np.array([0.1, 0.9]), np.array([1e-3, 1e-3]))
    assert np.isnan(found[fractions.IN]["area"])
    assert found[fractions.OUT]["area"] == pytest.approx(0.5)
    inside = fractions.compared(np.array([0.2, 0.3]), np.array([0.1, 0.9]), np.array([1e-3, 1e-3]))
    assert np.isnan(inside[fractions.OUT]["area"])
    assert np.isnan(inside[fractions.ALL]["spearman"])


def test_areas_are_those_of_the_scores() -> None:
    def record(returns: float) -> RunRecord:
        steps = np.arange(500, fractions.STEPS + 1, 500)
        episodes = {"step": steps, "return": np.full(len(steps), returns), "length": np.full(len(steps), 500)}
        return RunRecord("finished", "", fractions.STEPS, episodes, {})

    found = fractions.areas([record(475.0), record(22.19)], Environment("CartPole-v1"))
    assert found.tolist() == pytest.approx([1, 0])
