"""Runs that end early: each is recorded as what it is, and no other run notices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlbench import registry
from rlbench.algorithm import Algorithm, configure
from rlbench.records import RunRecord, idle_updates

FRAGILE = "rlbench-train/Fragile-v0"


def make(name: str = "ppo-clip", **settings: Any) -> Algorithm:
    small = {"horizon": 200, "minibatches": 5, "epochs": 2, "hidden": (16, 16)}
    return configure(registry.load(name), {**small, **settings}, "test")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raises", "the environment raised RuntimeError: the motor is on fire"),
        ("observation", "the environment returned NaN or infinity before step 800"),
        ("nan", "the environment returned NaN or infinity before step 800"),
        ("inf", "the environment returned NaN or infinity before step 800"),
    ],
)
def test_an_environment_that_breaks_in_step_700(how: str, reason: str, train_on: Any, same_runs: Any) -> None:
    algorithm, options = make(), {"broken_seed": 3, "at": 700, "how": how}
    records = train_on([algorithm] * 3, FRAGILE, 6, [7, 3, 5], **options)
    healthy = train_on([algorithm] * 2, FRAGILE, 6, [7, 5], **options)
    same_runs(records[0], healthy[0])
    same_runs(records[2], healthy[1])
    failed = records[1]
    assert (failed.status, failed.reason, failed.steps) == ("failed", reason, 800)
    assert ("the motor is on fire" in failed.detail) == (how == "raises")
    # Three updates happened before; the fourth rollout was not learnt from.
    assert failed.updates["step"].tolist() == [200, 400, 600]
    assert failed.samples == 600 * 2
    assert failed.gradient_steps == 3 * 2 * 5
    assert failed.episodes["step"].max() <= 800
    (alone,) = train_on([algorithm], FRAGILE, 6, [3], **options)
    same_runs(alone, failed)


def test_what_happened_before_the_failure_is_what_would_have_happened(train_on: Any) -> None:
    broken = {"broken_seed": 3, "at": 700, "how": "raises"}
    sound = {"broken_seed": 4, "at": 700, "how": "raises"}
    (failed,) = train_on([make()], FRAGILE, 6, [3], **broken)
    (finished,) = train_on([make()], FRAGILE, 6, [3], **sound)
    assert finished.status == "finished"
    for name in failed.updates:
        np.testing.assert_array_equal(failed.updates[name], finished.updates[name][:3])
    early = finished.episodes["step"] < 700
    np.testing.assert_array_equal(failed.episodes["return"], finished.episodes["return"][early])


@pytest.mark.parametrize("at", [11, 200])
def test_a_state_that_is_only_bootstrapped_from_is_looked_at_too(at: int, train_on: Any) -> None:
    # Every episode lasts eleven steps at most, so step 11 is (for this seed) a cut; step 200 is the rollout's last.
    (record,) = train_on([make()], FRAGILE, 3, [3], broken_seed=3, at=at, how="observation")
    assert (record.status, record.steps) == ("failed", 200)
    assert "returned NaN or infinity" in record.reason


def test_an_environment_that_breaks_before_the_first_update(train_on: Any) -> None:
    (record,) = train_on([make()], FRAGILE, 3, [3], broken_seed=3, at=5, how="raises")
    assert (record.status, record.steps, record.samples) == ("failed", 200, 0)
    assert record.updates["step"].tolist() == []


def test_an_environment_that_breaks_in_a_rollout_that_is_cut(train_on: Any) -> None:
    from rlbench import Environment
    from rlbench.training.trainer import train

    options = {"broken_seed": 3, "at": 250, "how": "raises"}
    broken, sound = train([make()] * 2, Environment(FRAGILE, options), 300, [3, 4])
    assert (broken.status, broken.steps) == ("failed", 300)
    assert (sound.status, sound.steps) == ("finished", 300)


@pytest.mark.parametrize("identifier", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("name", ["ppo-clip", "ppo-penalty", "ppo-adaptive", "actor-critic"])
def test_a_replica_that_diverges(name: str, identifier: str, train_on: Any, same_runs: Any) -> None:
    sane, wild = make(name), make(name, lr=1e30)
    records = train_on([sane, wild, sane], identifier, 4, [7, 3, 5])
    healthy = train_on([sane] * 2, identifier, 4, [7, 5])
    same_runs(records[0], healthy[0])
    same_runs(records[2], healthy[1])
    diverged = records[1]
    assert (diverged.status, diverged.steps) == ("diverged", 200)
    assert diverged.reason == "parameters became NaN or infinite in the update at step 200"
    assert diverged.updates["step"].tolist() == [200]
    (alone,) = train_on([wild], identifier, 4, [3])
    same_runs(alone, diverged)


def test_nan_actions_are_the_policys_fault_not_the_environments(train_on: Any) -> None:
    # One step of 1e30 leaves finite parameters whose actions are not.
    wild = make("actor-critic", lr=1e30, epochs=1, minibatches=1, activation="relu")
    wild_record, sane_record = train_on([wild, wild.replace(lr=1e-3)], "Pendulum-v1", 4, [3, 3])
    assert (wild_record.status, wild_record.steps) == ("diverged", 400)
    assert "actions became NaN" in wild_record.reason
    assert sane_record.status == "finished"


def test_when_all_have_ended_training_stops(train_on: Any) -> None:
    seen = []
    from rlbench import Environment
    from rlbench.training.trainer import train

    wild = make(lr=1e30)
    records = train([wild] * 2, Environment("CartPole-v1"), 2000, [0, 1], on_progress=seen.append)
    assert [record.status for record in records] == ["diverged"] * 2
    assert [progress.step for progress in seen] == [200]


@pytest.mark.parametrize("name", ["ppo-clip", "ppo-penalty", "trpo", "reinforce", "actor-critic"])
def test_gradients_that_overflow_are_no_finished_run(name: str, train_on: Any, same_runs: Any) -> None:
    """Rewards of 1e25 are finite, and so is every parameter: the squares of what is learnt from are not."""
    settings = {"value_minibatches": 5} if name == "reinforce" else {}
    sound, huge = train_on([make(name, **settings)] * 2, FRAGILE, 2, [3, 4], broken_seed=4, at=50, how="1e25")
    assert (huge.status, huge.steps) == ("diverged", 200)
    assert huge.reason.endswith("became NaN or infinite in the update at step 200")
    same_runs(sound, train_on([make(name, **settings)], FRAGILE, 2, [3], broken_seed=4, at=50, how="1e25")[0])


def test_updates_without_an_ended_episode_are_counted_where_the_policy_did_not_move(train_on: Any) -> None:
    # MountainCar's episodes last 200 steps here, so that every second rollout of 100 has none that ends.
    (idle,) = train_on([make("reinforce", horizon=100, value_minibatches=5)], "MountainCar-v0", 6, [0])
    assert idle_updates(idle.updates, idle.episodes) == 3
    for name in ("ppo-clip", "random"):
        (record,) = train_on([make(name, horizon=100)], "MountainCar-v0", 6, [0])
        assert idle_updates(record.updates, record.episodes) == 0


def test_an_exception_of_megabytes_is_cut() -> None:
    record = RunRecord("failed", f"begin {'x' * 5_000_000} end", 0, {}, {}, detail=f"begin {'y' * 5_000_000} end")
    assert (len(record.reason), len(record.detail)) == (1_000, 20_000)
    for text in (record.reason, record.detail):
        assert text.startswith("begin ")
        assert " ... " in text
        assert text.endswith(" end")
