from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rlbench.records import Environment
from rlbench.training.envs import make
from rlbench.training.envs.probes import PROBES, register_probes


@pytest.fixture(autouse=True)
def _registered() -> None:
    register_probes()
    register_probes()  # a second call does nothing


def play(name: str, actions: list[Any], copies: int = 1) -> list[Any]:
    batch = make(Environment(f"rlbench/Probe{name}-v0"), 1, copies)
    steps: list[Any] = [batch.reset([0])]
    steps += [batch.step(np.full((1, copies), action)) for action in actions]
    assert batch.failures == {}
    return steps


@pytest.mark.parametrize("identifier", PROBES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # remarks on style, such as a Box that is not symmetric
def test_probes_keep_gymnasiums_contract(identifier: str) -> None:
    check_env(gymnasium.make(identifier).unwrapped, skip_render_check=True)


def test_constant_reward() -> None:
    _, step = play("ConstantReward", [0])
    assert (step.reward, step.terminated, step.truncated) == (1.0, True, False)


def test_discount_pays_in_the_second_step() -> None:
    _, first, second, third = play("Discount", [0, 1, 0])
    assert first.next_observation[0, 0, 0] == 1
    assert [bool(step.terminated[0, 0]) for step in (first, second, third)] == [False, True, False]
    assert [step.reward[0, 0] for step in (first, second, third)] == [0, 1, 0]
    assert second.observation[0, 0, 0] == 0


def test_action_decides_the_reward() -> None:
    _, good, bad = play("Action", [1, 0])
    assert (good.reward[0, 0], bad.reward[0, 0]) == (1, -1)


def test_context_asks_for_the_observations_action() -> None:
    first, *steps = play("Context", [1] * 20, copies=5)
    shown = np.array([first, *[step.observation for step in steps[:-1]]])[..., 0]
    rewards = np.array([step.reward for step in steps])
    np.testing.assert_array_equal(rewards, shown)
    assert 0.3 < (shown > 0).mean() < 0.7


def test_truncation_cuts_without_a_terminal_state() -> None:
    steps = play("Truncation", [0] * 10)[1:]
    assert [bool(step.truncated[0, 0]) for step in steps] == [False] * 4 + [True] + [False] * 4 + [True]
    assert not any(step.terminated.any() for step in steps)
    assert all(step.reward[0, 0] == 1 for step in steps)


def test_continuous_is_best_at_one_half() -> None:
    batch = make(Environment("rlbench/ProbeContinuous-v0"), 1, 3)
    batch.reset([0])
    step = batch.step(np.array([[[0.5], [0.0], [7.0]]], np.float32))
    np.testing.assert_allclose(step.reward, [[0.0, -0.25, -0.25]])  # 7 arrives as the bound 1
