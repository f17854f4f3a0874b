"""Probe environments with known answers: what the critic must learn, and what the policy must do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlbench import Environment, registry
from rlbench.algorithm import configure
from rlbench.training import engines, trainer
from rlbench.training.envs.probes import register_probes

# One gradient step per rollout asks for a longer one.
ONE_STEP = {"epochs": 1, "minibatches": 1, "value_minibatches": 8, "lr": 0.05, "anneal_lr": False}
QUICK = {"horizon": 64, "num_envs": 8, "minibatches": 8, "epochs": 4, "hidden": (16,), "lr": 1e-2}
ValueOf = Callable[[float], float]


@pytest.fixture
def learn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, ValueOf]]:
    """Return a function that trains on a probe and returns the record and the critic, a function of observations."""
    register_probes()
    trainings: list[Any] = []

    class Watched(engines.Training):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            trainings.append(self)

    monkeypatch.setattr(engines, "Training", Watched)

    def run(name: str, probe: str, updates: int, **settings: Any) -> tuple[Any, ValueOf]:
        algorithm = configure(registry.load(name), QUICK | settings, "test")
        steps = updates * algorithm.samples_per_update
        (record,) = trainer.train([algorithm], Environment(f"rlbench/Probe{probe}-v0"), steps, [0])
        training = trainings[-1]

        def value(observation: float) -> float:
            x = np.full((1, 1, 1), observation, np.float32)
            return float(training.network.forward(training.params, x).value[0, 0])

        return record, value

    return run


def test_the_value_of_a_constant_reward_is_one(learn: Any) -> None:
    _, value = learn("ppo-clip", "ConstantReward", 15)
    assert value(0) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("gamma", [0.9, 0.5])
def test_the_value_a_step_earlier_is_discounted(learn: Any, gamma: float) -> None:
    _, value = learn("ppo-clip", "Discount", 25, gamma=gamma)
    assert value(0) == pytest.approx(gamma, abs=0.03)
    assert value(1) == pytest.approx(1, abs=0.03)


def test_a_time_limit_is_bootstrapped_through(learn: Any) -> None:
    # Episodes of five steps: without the bootstrap the value stays below 5, with it it is 1 / (1 - gamma) = 10.
    _, value = learn("ppo-clip", "Truncation", 60, gamma=0.9, anneal_lr=False, max_grad_norm=10.0)
    assert value(0) == pytest.approx(10, abs=0.5)


def test_reinforce_does_not_bootstrap_through_a_time_limit(learn: Any) -> None:
    settings = ONE_STEP | {"lr": 0.01, "max_grad_norm": 10.0}
    _, value = learn("reinforce", "Truncation", 30, gamma=0.9, **settings)
    mean = np.mean([(1 - 0.9**k) / 0.1 for k in range(1, 6)])  # over the five steps, which look the same
    assert value(0) == pytest.approx(mean, abs=0.2)


@pytest.mark.parametrize("name", ["ppo-clip", "ppo-penalty", "ppo-adaptive", "actor-critic", "trpo", "reinforce"])
def test_the_better_action_is_found(learn: Any, name: str) -> None:
    settings = ONE_STEP if name == "reinforce" else {}
    record, _ = learn(name, "Action", 25, **settings)
    assert record.episodes["return"][-200:].mean() > 0.9


@pytest.mark.parametrize("name", ["ppo-clip", "trpo", "reinforce"])
def test_a_gaussian_policy_finds_its_mean(learn: Any, name: str) -> None:
    settings = ONE_STEP if name == "reinforce" else {}
    record, _ = learn(name, "Continuous", 60, **settings)
    # The reward is minus the squared distance to 0.5: a deviation of 1 around 0 costs about 0.8.
    assert record.episodes["return"][:512].mean() < -0.5
    assert record.episodes["return"][-500:].mean() > -0.1
