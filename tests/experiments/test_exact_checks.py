"""The lecture's exact claims: how each comes out, and that it would come out otherwise if things were otherwise."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from rlbench import Exact
from rlbench.userfiles import import_file

FOLDER = Path(__file__).parents[2] / "experiments" / "lecture"
OUTCOMES = {"9a": True, "9b": False, "10": True, "11c": False, "12a": False, "22d": False, "23c": False}


def load(name: str) -> ModuleType:
    return import_file(FOLDER / f"{name}.py", "suite")


ratio, steps = load("exact_ratio"), load("exact_steps")
CHECKS: list[Exact] = load("suite").SUITE.checks


def outcome(number: str) -> tuple[bool, str]:
    return next(check for check in CHECKS if check.id == number).check()


@pytest.mark.parametrize("number", OUTCOMES)
def test_each_claim_comes_out_as_it_is_known_to(number: str) -> None:
    holds, sentence = outcome(number)
    assert holds == OUTCOMES[number]
    assert sentence.endswith(".")


def test_every_check_has_an_id_and_says_where_the_claim_is_made() -> None:
    assert [check.id for check in CHECKS] == list(OUTCOMES)
    assert all(check.statement.endswith(".") and check.source for check in CHECKS)


def replaced(surrogate: object) -> type:
    """Return a stand-in for PPO-Clip with another objective."""
    return type("StandIn", (), {"__init__": lambda self, clip: setattr(self, "clip", clip), "surrogate": surrogate})


def test_another_objective_fails_the_tables_and_the_pessimism(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratio, "PPOClip", replaced(lambda self, x: x.ratio * x.advantage))
    assert ratio.tables() == (False, "10 of 14 entries are right; the largest deviation is 2.0e-01.")
    monkeypatch.setattr(ratio, "PPOClip", replaced(lambda self, x: x.ratio * x.advantage + self.clip))
    assert not ratio.pessimistic()[0]


def test_an_objective_with_a_restoring_force_would_hold_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    pulling = replaced(lambda self, x: x.ratio * x.advantage - 50 * torch.relu(x.ratio - 1 - self.clip) ** 2)
    monkeypatch.setattr(ratio, "PPOClip", pulling)
    assert ratio.clipped_ratio_moves()[0]


def test_the_effective_ratio_and_its_slope_by_hand() -> None:
    assert ratio.used(1.5, 2.0) == pytest.approx((1.2, 0.0))
    assert ratio.used(0.7, 2.0) == pytest.approx((0.7, 1.0))
    assert ratio.used(1.5, -2.0) == pytest.approx((1.5, 1.0))
    assert ratio.used(0.7, -2.0) == pytest.approx((0.8, 0.0))


def test_a_clip_that_differs_from_none_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With several steps an update the two differ, and the check must see it."""
    both = [steps.trained(base, 1, **steps.WRONG) for base in (steps.CorruptedClip, steps.CorruptedActorCritic)]
    assert both[0][0].updates["kl"][0] < both[1][0].updates["kl"][0] / 10
    unlike = {steps.CorruptedClip: {}, steps.CorruptedActorCritic: {"lr": 1e-3}}
    trained = steps.trained
    monkeypatch.setattr(steps, "trained", lambda base, *args, **kwargs: trained(base, *args, **kwargs | unlike[base]))
    assert steps.first_step()[0]


def test_plain_gradient_ascent_would_not_be_free_of_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    def ascent(problem: object, value: bool) -> torch.Tensor:
        params = problem.params.clone()  # type: ignore[attr-defined]
        return params + 1e-3 * problem.gradient(params, problem.full())[1]  # type: ignore[attr-defined]

    monkeypatch.setattr(steps, "first_order", ascent)
    holds, sentence = steps.adam_is_scale_free()
    assert holds
    assert "1000" in sentence
