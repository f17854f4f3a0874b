"""Classic control in torch: Gymnasium's start states to the bit, its episodes to rounding, its ends and limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.seeding import np_random

from rlbench.records import Environment
from rlbench.training.envs import make as make_batch
from rlbench.training.envs.classic import DYNAMICS
from rlbench.training.envs.classic.batch import Starts
from rlbench.training.envs.gymnasium import make_one
from rlbench.training.tensor.envs import HostBatch, ResidentBatch, TensorStarts, is_resident, make

CPU = torch.device("cpu")
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "CartPole-v1": ("CartPole-v1", {}),
    "CartPole-v1, costs": ("CartPole-v1", {"sutton_barto_reward": True}),
    "Acrobot-v1": ("Acrobot-v1", {"max_episode_steps": 60}),
    "MountainCar-v0": ("MountainCar-v0", {}),
    "MountainCar-v0, fast": ("MountainCar-v0", {"goal_velocity": 0.03}),
    "MountainCarContinuous-v0": ("MountainCarContinuous-v0", {}),
    "Pendulum-v1": ("Pendulum-v1", {}),
    "Pendulum-v1, light": ("Pendulum-v1", {"g": 2.5}),
}


def policy(identifier: str, observation: Any, rng: np.random.Generator) -> Any:
    """Actions [R, N] or [R, N, 1], random for every other copy, and good enough to reach ends for the rest."""
    shape = observation.shape[:-1]
    skilled, column = np.arange(shape[1]) % 2 == 1, np.moveaxis(observation, -1, 0)
    if identifier.startswith("CartPole"):
        return np.where(skilled, column[2] + column[3] > 0, rng.integers(2, size=shape)).astype(np.int64)
    if identifier == "Acrobot-v1":
        return np.where(skilled, 1 + np.sign(column[5]).astype(int), rng.integers(3, size=shape))
    if identifier == "MountainCar-v0":
        return np.where(skilled, np.where(column[1] < 0, 0, 2), rng.integers(3, size=shape))
    if identifier == "MountainCarContinuous-v0":
        push = np.where(column[1] < 0, -1.0, 1.0) + 0.3 * rng.normal(size=shape)
        return np.where(skilled, push, rng.normal(size=shape))[..., None].astype(np.float32)
    return 2 * rng.normal(size=(*shape, 1)).astype(np.float32)


@pytest.mark.parametrize("case", CASES)
def test_episodes_follow_gymnasium(case: str) -> None:
    identifier, options = CASES[case]
    environment, seeds = Environment(identifier, options), [3, 2**40]
    exact, ours = make_batch(environment, 2, 4), ResidentBatch(make_one(environment), 2, 4, CPU)
    assert (ours.observation_size, ours.action.kind) == (exact.observation_size, exact.action.kind)
    observation = exact.reset(seeds)
    np.testing.assert_allclose(ours.reset(seeds), observation, rtol=1e-6)
    rng, ends = np.random.default_rng(0), 0
    for _ in range(400):
        action = policy(identifier, observation, rng)
        theirs, step = exact.step(action), ours.step(torch.from_numpy(action))
        for name, got, expected in zip(step._fields, step, theirs, strict=True):
            assert got.numpy().dtype == expected.dtype, name
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5, err_msg=name)
        observation = theirs.observation
        ends += int((theirs.terminated | theirs.truncated).sum())
    assert ends >= 8


@pytest.mark.parametrize("identifier", sorted({case[0] for case in CASES.values()}))
def test_start_states_are_those_of_the_cpu_however_often_copies_end(identifier: str) -> None:
    environment = Environment(identifier, {"max_episode_steps": 1})
    exact, ours = make_batch(environment, 2, 3), ResidentBatch(make_one(environment), 2, 3, CPU)
    observation, rng = exact.reset([5, 6]), np.random.default_rng(0)
    ours.reset([5, 6])
    for _ in range(200):  # every step is an end, so that more than what was drawn ahead is used
        action = policy(identifier, observation, rng)
        observation = exact.step(action).observation
        ours.step(torch.from_numpy(action))
        np.testing.assert_array_equal(ours._state.T, exact._state)  # type: ignore[attr-defined]


def test_states_drawn_ahead_come_in_the_streams_order() -> None:
    cartpole: Any = make_one(Environment("CartPole-v1")).unwrapped
    dynamics, seeds = DYNAMICS[type(cartpole)](cartpole), [1, 2, 3]
    starts = TensorStarts(Starts(dynamics, seeds, 4, spare=4), CPU)
    expected = [np_random(seed)[0] for seed in seeds]
    rng = np.random.default_rng(0)
    for _ in range(50):
        who = rng.random(3) < (0.0, 0.5, 1.0)
        taken = starts.take(torch.from_numpy(who))
        for copy in np.flatnonzero(who):
            np.testing.assert_array_equal(taken[:, copy], dynamics.draw(expected[copy]))


def test_states_drawn_ahead_go_on_from_where_they_were_kept() -> None:
    cartpole: Any = make_one(Environment("CartPole-v1")).unwrapped
    dynamics, own = DYNAMICS[type(cartpole)](cartpole), slice(1, 3)
    kept, other = (TensorStarts(Starts(dynamics, seeds, 4, spare=4), CPU) for seeds in ([1, 2, 3], [7, 8, 9]))
    for who in ([True, True, False], [True, False, True], [False, True, True]):
        kept.take(torch.tensor(who))
        other.take(torch.tensor([True] * 3))
    other.restore(own, kept.state(own))
    everyone = torch.tensor([True] * 3)
    for _ in range(12):
        torch.testing.assert_close(other.take(everyone)[:, own], kept.take(everyone)[:, own], rtol=0, atol=0)


def test_only_copies_of_known_environments_are_resident_and_only_off_the_cpu() -> None:
    assert is_resident(Environment("Acrobot-v1"))
    assert not is_resident(Environment("FrozenLake-v1"))
    assert not is_resident(Environment("CartPole-v1", {"render_mode": "rgb_array"}))
    assert isinstance(make(Environment("CartPole-v1"), 1, 1, CPU), HostBatch)
    meta = torch.device("meta")  # stands for any device that is not the CPU
    assert isinstance(make(Environment("CartPole-v1"), 1, 1, meta), ResidentBatch)
    assert isinstance(make(Environment("FrozenLake-v1"), 1, 1, meta), HostBatch)
