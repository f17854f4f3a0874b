"""The loop: budgets, progress, annealing, what is recorded and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from rlbench import Environment, registry
from rlbench.algorithm import Algorithm, configure
from rlbench.data import Stats
from rlbench.errors import RlbenchError
from rlbench.records import Progress
from rlbench.training import loop
from rlbench.training.trainer import train

CARTPOLE = Environment("CartPole-v1")


def make(name: str = "ppo-clip", **settings: Any) -> Algorithm:
    small = {"horizon": 64, "num_envs": 2, "minibatches": 4, "epochs": 2, "hidden": (16,)}
    return configure(registry.load(name), {**small, **settings}, "test")


def test_the_budget_is_spent_exactly_and_a_cut_rollout_is_not_learnt_from() -> None:
    (record,) = train([make()], CARTPOLE, 3 * 128 + 50, [0])
    assert (record.status, record.reason, record.steps) == ("finished", "", 434)
    assert record.updates["step"].tolist() == [128, 256, 384]
    assert record.samples == 384 * 2  # two epochs
    assert record.gradient_steps == 3 * 8 == record.updates["gradient_steps"][-1]
    assert record.updates["gradient_steps"].tolist() == [8, 16, 24]
    # The last 50 steps are played: CartPole's first policies last some 20 steps each.
    assert 384 < record.episodes["step"].max() <= 434
    assert record.episodes["length"].sum() <= 434
    np.testing.assert_array_equal(record.episodes["return"], record.episodes["length"])
    assert (np.diff(record.episodes["step"]) >= 0).all()


def test_a_longer_budget_begins_like_a_shorter_one_without_annealing() -> None:
    algorithm = make(anneal_lr=False)
    (short,), (long,) = (train([algorithm], CARTPOLE, steps, [0]) for steps in (256, 640))
    for name in ("kl", "entropy", "grad_norm", "lr"):
        np.testing.assert_array_equal(short.updates[name], long.updates[name][:2])
    np.testing.assert_array_equal(short.episodes["return"], long.episodes["return"][long.episodes["step"] <= 256])


def test_columns_of_the_tables_have_the_documented_types() -> None:
    (record,) = train([make("ppo-adaptive")], CARTPOLE, 256, [0])
    assert [column.dtype for column in record.episodes.values()] == [np.int64, np.float64, np.int64]
    documented = "step progress mean_return kl kl_max entropy outside_band ratio_max surrogate explained_variance "
    documented += "clip_fraction clip_killed value_loss grad_norm lr gradient_steps field.clip"
    assert sorted(record.updates) == sorted(documented.split())
    assert {len(column) for column in record.updates.values()} == {2}
    assert all(np.isfinite(record.updates[name]).all() for name in record.updates)


def test_progress_is_reported_once_per_rollout() -> None:
    seen: list[Progress] = []
    train([make()] * 3, CARTPOLE, 300, [0, 1, 2], on_progress=seen.append)
    assert [(one.step, one.total, one.replicas) for one in seen] == [(128, 300, 3), (256, 300, 3), (300, 300, 3)]
    assert all(5 < one.mean_return < 200 for one in seen)


@pytest.mark.parametrize("anneal", [True, False])
def test_the_step_size_falls_linearly_from_its_full_value(anneal: bool) -> None:
    pack = [make(lr=lr, anneal_lr=anneal) for lr in (1e-3, 1e-2)]
    for record, lr in zip(train(pack, CARTPOLE, 4 * 128, [0, 0]), (1e-3, 1e-2), strict=True):
        factors = [1, 0.75, 0.5, 0.25] if anneal else [1] * 4
        np.testing.assert_allclose(record.updates["lr"], lr * np.array(factors), rtol=1e-6)
        assert record.updates["progress"].tolist() == [0.25, 0.5, 0.75, 1.0]


def test_an_adapted_field_is_recorded_as_it_was_used() -> None:
    algorithm = make("ppo-adaptive", clip=0.2, kl_target=10.0, max_clip=0.7)
    (record,) = train([algorithm], CARTPOLE, 4 * 128, [0])
    np.testing.assert_allclose(record.updates["field.clip"], [0.2, 0.4, 0.7, 0.7], rtol=1e-6)
    assert [name for name in record.updates if name.startswith("field.")] == ["field.clip"]


def test_a_field_that_is_adapted_now_and_then_has_a_whole_column(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(self: Any, stats: Any) -> Any:
        return self.replace(clip=self.clip / 2) if bool((stats.progress == 0.5).all()) else self

    monkeypatch.setattr(registry.load("ppo-clip"), "adapt", late)
    (record,) = train([make()], CARTPOLE, 4 * 128, [0])
    np.testing.assert_allclose(record.updates["field.clip"], [0.2, 0.2, 0.1, 0.1], rtol=1e-6)


def test_beta_is_adapted_once_per_update_by_the_divergence_of_the_whole_update() -> None:
    algorithm = make("ppo-penalty", adaptive=True, epochs=4, lr=3e-3)
    (record,) = train([algorithm], CARTPOLE, 10 * 128, [0])
    beta = 1.0
    for kl, used in zip(record.updates["kl"], record.updates["field.beta"], strict=True):
        assert used == pytest.approx(beta)
        beta *= 2.0 if kl > 0.015 else 0.5 if kl < 0.01 / 1.5 else 1.0
    assert len(set(record.updates["field.beta"])) > 2


def test_adapt_sees_the_update_as_it_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = registry.load("ppo-clip")
    seen = []
    monkeypatch.setattr(cls, "adapt", lambda self, stats: seen.append(stats) or self)
    (record,) = train([make()], CARTPOLE, 3 * 128, [0])
    for name in [field.name for field in dataclasses.fields(Stats)]:
        given = [getattr(stats, name).item() for stats in seen]
        np.testing.assert_allclose(given, record.updates[name], rtol=1e-6)


def test_mean_return_is_of_the_episodes_that_ended_in_the_rollout() -> None:
    (record,) = train([make()], CARTPOLE, 4 * 128, [0])
    for step, mean in zip(record.updates["step"], record.updates["mean_return"], strict=True):
        inside = (record.episodes["step"] > step - 128) & (record.episodes["step"] <= step)
        assert mean == pytest.approx(record.episodes["return"][inside].mean())


def test_returns_are_the_environments_own_when_rewards_are_normalised() -> None:
    (record,) = train([make(normalize_reward=True)], CARTPOLE, 256, [0])
    np.testing.assert_array_equal(record.episodes["return"], record.episodes["length"])


@pytest.mark.parametrize("steps", [127, 64, 0, 129])
def test_an_impossible_budget_is_refused(steps: int) -> None:
    with pytest.raises(RlbenchError, match=f"ppo-clip on CartPole-v1: steps={steps} must be a multiple of num_envs=2"):
        train([make()], CARTPOLE, steps, [0])


def test_an_unknown_environment_is_refused() -> None:
    with pytest.raises(RlbenchError, match="Did you mean 'CartPole-v1'"):
        train([make()], Environment("CartPol-v1"), 128, [0])


def test_static_fields_must_agree_within_a_pack() -> None:
    with pytest.raises(ValueError, match="share the class and every static field"):
        train([make(), make(epochs=3)], CARTPOLE, 128, [0, 1])


def test_environments_are_closed_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    real = loop.environments.make

    def watched(*args: Any, **options: Any) -> Any:
        batch = real(*args, **options)
        monkeypatch.setattr(batch, "close", lambda: closed.append(True))
        return batch

    def broken(self: Any, stats: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(loop.environments, "make", watched)
    monkeypatch.setattr(registry.load("ppo-clip"), "adapt", broken)
    with pytest.raises(ZeroDivisionError):
        train([make()], CARTPOLE, 128, [0])
    assert closed == [True]


@pytest.mark.parametrize("environment", ["CartPole-v1", "Pendulum-v1"])
def test_a_gaussian_policy_starts_at_its_initial_deviation(environment: str) -> None:
    algorithm = make(initial_log_std=-1.0, lr=0.0)
    (record,) = train([algorithm], Environment(environment), 128, [0])
    expected = -1.0 + 0.5 * np.log(2 * np.pi * np.e) if environment == "Pendulum-v1" else np.log(2)
    assert record.updates["entropy"][0] == pytest.approx(expected, abs=1e-3)
