"""The autograd engine follows the compiled one: the same noise, the same permutations, the same numbers to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlbench.records import RunRecord

NAMES = ["actor-critic", "ppo-clip", "ppo-penalty", "ppo-adaptive", "reinforce", "trpo", "random"]
IDENTIFIERS = [
    "CartPole-v1",
    "Pendulum-v1",
    "rlbench-train/MultiDiscrete-v0",
    "rlbench-train/MultiBinary-v0",
    "rlbench-train/DiscreteObservation-v0",
]
SETTINGS: dict[str, dict[str, Any]] = {
    "normalised": {"normalize_observation": True, "normalize_reward": True},
    "target_kl": {"target_kl": 0.002, "lr": 3e-3, "epochs": 8},
    "value clip and entropy": {"value_clip": 0.2, "entropy_coef": 0.01, "normalize_advantage": "none"},
    "shared relu": {"shared_trunk": True, "activation": "relu", "orthogonal_init": False},
    "squashed": {"squash": True, "entropy_coef": 0.01, "initial_log_std": -0.5},
    "one batch": {"minibatches": 1, "normalize_advantage": "batch"},
}


def agree(ours: list[RunRecord], theirs: list[RunRecord], updates: int, rtol: float = 1e-4) -> None:
    """Assert that the first `updates` rows of both engines' tables agree, and the episodes until then."""
    for one, other in zip(ours, theirs, strict=True):
        assert (one.status, one.steps, one.gradient_steps, one.samples) == (
            other.status,
            other.steps,
            other.gradient_steps,
            other.samples,
        )
        assert list(one.updates) == list(other.updates)
        for name, values in other.updates.items():
            got, expected = one.updates[name][:updates], values[:updates]
            # What is nearly zero is a difference of larger numbers, whose rounding shows in it.
            np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-5, err_msg=name)
        until = [table["step"] <= other.updates["step"][updates - 1] for table in (one.episodes, other.episodes)]
        for name in other.episodes:
            got, expected = one.episodes[name][until[0]], other.episodes[name][until[1]]
            np.testing.assert_allclose(got, expected, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("identifier", IDENTIFIERS)
@pytest.mark.parametrize("name", NAMES)
def test_every_algorithm_on_every_kind_of_action(
    name: str, identifier: str, make: Any, train_on: Any, train_tensor: Any
) -> None:
    pack = [make(name, lr=lr) for lr in (1e-3, 3e-4)]
    agree(train_tensor(pack, identifier, 2, [3, 4]), train_on(pack, identifier, 2, [3, 4]), 1)


@pytest.mark.parametrize("identifier", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_every_switch(settings: dict[str, Any], identifier: str, make: Any, train_on: Any, train_tensor: Any) -> None:
    pack = [make(**settings)] * 2
    agree(train_tensor(pack, identifier, 2, [3, 4]), train_on(pack, identifier, 2, [3, 4]), 1)


def test_several_updates_stay_close(make: Any, train_on: Any, train_tensor: Any) -> None:
    pack = [make("ppo-clip", normalize_reward=True)] * 2
    agree(train_tensor(pack, "Pendulum-v1", 5, [3, 4]), train_on(pack, "Pendulum-v1", 5, [3, 4]), 5, rtol=1e-2)


@pytest.mark.parametrize("identifier", [pytest.param("CartPole-v1", marks=pytest.mark.slow), "Pendulum-v1"])
@pytest.mark.parametrize("name", NAMES)
def test_alone_and_in_a_pack_of_5(name: str, identifier: str, make: Any, train_tensor: Any, same_runs: Any) -> None:
    algorithm = make(name, normalize_observation=True, normalize_reward=True)
    (alone,) = train_tensor([algorithm], identifier, 3, [3], max_episode_steps=30)
    packed = train_tensor([algorithm] * 5, identifier, 3, [7, 3, 5, 8, 9], max_episode_steps=30)
    same_runs(alone, packed[1])
    assert not np.array_equal(packed[0].episodes["return"], alone.episodes["return"])


@pytest.mark.parametrize("how", ["raises", "observation", "inf"])
def test_what_breaks_is_one_replicas_own_matter(
    how: str, make: Any, train_on: Any, train_tensor: Any, same_runs: Any
) -> None:
    options = {"broken_seed": 4, "at": 70, "how": how}
    pack = [make(num_envs=1)] * 3
    ours, theirs = (
        train(pack, "rlbench-train/Fragile-v0", 3, [3, 4, 5], **options) for train in (train_tensor, train_on)
    )
    assert [one.status for one in ours] == ["finished", "failed", "finished"]
    assert [(one.status, one.reason, one.steps) for one in ours] == [
        (one.status, one.reason, one.steps) for one in theirs
    ]
    (alone,) = train_tensor([make(num_envs=1)], "rlbench-train/Fragile-v0", 3, [3], **options)
    same_runs(alone, ours[0])


@pytest.mark.parametrize("identifier", ["CartPole-v1", "Pendulum-v1"])
def test_a_replica_that_diverges_is_recorded_as_such(
    identifier: str, make: Any, train_on: Any, train_tensor: Any
) -> None:
    pack = [make(), make(lr=1e30, max_grad_norm=float("inf"))]
    ours, theirs = (train(pack, identifier, 3, [3, 4]) for train in (train_tensor, train_on))
    assert [one.status for one in ours] == ["finished", "diverged"]
    assert ours[1].reason == theirs[1].reason
    assert ours[1].steps == theirs[1].steps
