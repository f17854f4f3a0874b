"""A replica's results do not depend on its pack, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlbench import Environment
from rlbench.records import Progress
from rlbench.training import trainer
from rlbench.training.trainer import blocks
from tests.training.small import OWN, make


@pytest.mark.parametrize("name", OWN)
def test_alone_in_a_pack_of_3_and_of_20(name: str, train_on: Any, same_runs: Any) -> None:
    algorithm = make(name)
    (alone,) = train_on([algorithm], "CartPole-v1", 6, [3])
    three = train_on([algorithm] * 3, "CartPole-v1", 6, [7, 3, 5])
    twenty = train_on([algorithm] * 20, "CartPole-v1", 6, range(20))
    same_runs(alone, three[1])
    same_runs(alone, twenty[3])
    same_runs(three[0], twenty[7])
    assert not np.array_equal(three[0].updates["mean_return"], alone.updates["mean_return"])


def test_a_large_pack_trains_in_blocks_and_tells_how_far_all_of_them_are(
    train_on: Any, same_runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm, told = make("ppo-clip"), list[Progress]()
    together = train_on([algorithm] * 7, "CartPole-v1", 6, range(7))
    monkeypatch.setattr(trainer, "BLOCK", 3)
    in_blocks = trainer.train([algorithm] * 7, Environment("CartPole-v1"), 600, range(7), on_progress=told.append)
    for one, other in zip(in_blocks, together, strict=True):
        same_runs(one, other)
    assert all(progress.replicas == 7 and progress.total == 600 for progress in told)
    steps = [progress.step for progress in told]
    assert steps == sorted(steps)
    assert steps[-1] == 600
    assert len(steps) == 3 * 6


def test_blocks_are_of_nearly_equal_length() -> None:
    assert [(one.start, one.stop) for one in blocks(7, 3)] == [(0, 2), (2, 4), (4, 7)]
    assert [(one.start, one.stop) for one in blocks(3, 3)] == [(0, 3)]


SETTINGS: dict[str, dict[str, Any]] = {
    "normalised": {"normalize_observation": True, "normalize_reward": True},
    "target_kl": {"target_kl": 0.002, "lr": 3e-3, "epochs": 8},
    "value clip and entropy": {"value_clip": 0.2, "entropy_coef": 0.01, "normalize_advantage": "none"},
    "shared relu": {"shared_trunk": True, "activation": "relu", "orthogonal_init": False},
    "odd batch": {"horizon": 49, "num_envs": 1, "minibatches": 7, "normalize_advantage": "batch"},
    "one copy": {"num_envs": 1, "hidden": (5,)},
}
IDENTIFIERS = [
    "Pendulum-v1",
    "Acrobot-v1",
    "rlbench-train/MultiDiscrete-v0",
    "rlbench-train/MultiBinary-v0",
    "rlbench-train/Box-v0",
    "rlbench-train/DiscreteObservation-v0",
]


@pytest.mark.parametrize("identifier", IDENTIFIERS)
@pytest.mark.parametrize("name", ["ppo-clip", "trpo", "ppo-penalty"])
def test_every_kind_of_space(identifier: str, name: str, train_on: Any, same_runs: Any) -> None:
    algorithm = make(name, **SETTINGS["normalised"])
    (alone,) = train_on([algorithm], identifier, 4, [3])
    packed = train_on([algorithm] * 4, identifier, 4, [7, 3, 5, 8])
    same_runs(alone, packed[1])
    assert alone.status == "finished"
    assert len(alone.episodes["return"]) > 0 or identifier == "Acrobot-v1"


@pytest.mark.parametrize("identifier", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_every_switch(settings: dict[str, Any], identifier: str, train_on: Any, same_runs: Any) -> None:
    algorithm = make("ppo-clip", **settings)
    (alone,) = train_on([algorithm], identifier, 6, [3])
    packed = train_on([algorithm] * 3, identifier, 6, [7, 3, 5])
    same_runs(alone, packed[1])


def test_the_target_stops_replicas_at_different_steps(train_on: Any) -> None:
    algorithm = make("ppo-clip", **SETTINGS["target_kl"])
    records = train_on([algorithm] * 3, "CartPole-v1", 6, [7, 3, 5])
    assert len({record.gradient_steps for record in records}) > 1
    assert all(record.gradient_steps < 6 * 8 * 5 for record in records)


VARIANTS: list[dict[str, Any]] = [
    {"lr": 1e-3, "clip": 0.1},
    {"lr": 1e-2, "clip": 0.3, "entropy_coef": 0.05, "gamma": 0.9},
    {"lr": 0.0, "value_clip": 0.1, "max_grad_norm": float("inf")},
    {"target_kl": 0.001, "adam_eps": 1e-8, "gae_lambda": 0.5},
    {},
]


@pytest.mark.parametrize("identifier", ["CartPole-v1", "Pendulum-v1"])
def test_hyper_parameters_may_differ_within_a_pack(identifier: str, train_on: Any, same_runs: Any) -> None:
    pack = [make("ppo-clip", normalize_reward=True, **variant) for variant in VARIANTS]
    together = train_on(pack, identifier, 5, [3] * len(pack))
    for algorithm, record in zip(pack, together, strict=True):
        (alone,) = train_on([algorithm], identifier, 5, [3])
        same_runs(alone, record)
    entropies = [record.updates["entropy"][-1] for record in together]
    assert len(set(entropies)) == len(pack)


def test_one_seed_twice_in_a_pack_is_one_run_twice(train_on: Any, same_runs: Any) -> None:
    first, second, other = train_on([make("ppo-clip")] * 3, "CartPole-v1", 4, [3, 3, 4])
    same_runs(first, second)
    assert not np.array_equal(first.episodes["return"], other.episodes["return"])


def test_runs_do_not_touch_the_global_generators(train_on: Any, same_runs: Any) -> None:
    import random

    import torch

    states: list[Callable[[], Any]] = [random.getstate, lambda: torch.get_rng_state().tolist()]
    before = [state() for state in states]
    threads = torch.get_num_threads()
    train_on([make("ppo-clip")], "rlbench-train/MultiDiscrete-v0", 2, [3])
    assert [state() for state in states] == before
    assert torch.get_num_threads() == threads
