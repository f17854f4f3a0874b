"""Whether the algorithms learn what they should on real tasks; the long runs are `make test-all`'s."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlbench import Environment, registry
from rlbench.algorithm import configure
from rlbench.training.trainer import train

CLEANRL: dict[str, Any] = {
    "num_envs": 4,
    "horizon": 128,
    "minibatches": 4,
    "epochs": 4,
    "lr": 2.5e-4,
    "entropy_coef": 0.01,
    "value_clip": 0.2,
}


def last_returns(name: str, environment: str, steps: int, seeds: int, **settings: Any) -> np.ndarray:
    """Return the mean training return of the last 100 episodes of each seed."""
    algorithm = configure(registry.load(name), settings, "test")
    records = train([algorithm] * seeds, Environment(environment), steps, range(seeds))
    assert {record.status for record in records} == {"finished"}
    return np.array([record.episodes["return"][-100:].mean() for record in records])


def test_ppo_clip_makes_progress_on_cartpole_in_40_000_steps() -> None:
    # A random policy gets 22; twelve seeds got 293 to 319.
    assert last_returns("ppo-clip", "CartPole-v1", 40_000, 2).mean() > 250


@pytest.mark.slow
def test_ppo_clip_with_cleanrls_settings_solves_cartpole() -> None:
    returns = last_returns("ppo-clip", "CartPole-v1", 500_000, 10, **CLEANRL)
    assert returns.mean() >= 470
    assert returns.min() >= 400


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo-clip", "ppo-penalty", "ppo-adaptive", "trpo"])
def test_the_defaults_solve_cartpole_in_100_000_steps(name: str) -> None:
    assert last_returns(name, "CartPole-v1", 100_000, 10).mean() >= 430


@pytest.mark.slow
def test_reinforce_with_a_baseline_solves_cartpole_in_200_000_steps() -> None:
    assert last_returns("reinforce", "CartPole-v1", 200_000, 10, baseline="value").mean() >= 400


@pytest.mark.slow
def test_ppo_clip_solves_acrobot() -> None:
    assert last_returns("ppo-clip", "Acrobot-v1", 500_000, 10).mean() >= -100


@pytest.mark.slow
def test_ppo_clip_swings_the_pendulum_up() -> None:
    assert last_returns("ppo-clip", "Pendulum-v1", 300_000, 10, gamma=0.9, lr=1e-3).mean() >= -250
