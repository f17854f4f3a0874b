"""The fast path against Gymnasium's own environments, bit for bit."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs import classic_control
from gymnasium.envs.classic_control import acrobot
from gymnasium.wrappers import OrderEnforcing, TimeLimit, TransformReward

from rlbench.records import Environment
from rlbench.training.envs import classic, copy_seeds, make
from rlbench.training.envs.classic import DYNAMICS, ClassicBatch, supports
from rlbench.training.envs.gymnasium import GymBatch, make_one

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "CartPole-v1": ("CartPole-v1", {}),
    "CartPole-v1, costs": ("CartPole-v1", {"sutton_barto_reward": True}),
    "CartPole-v1, short": ("CartPole-v1", {"max_episode_steps": 12}),
    "Acrobot-v1": ("Acrobot-v1", {}),
    "MountainCar-v0": ("MountainCar-v0", {}),
    "MountainCar-v0, fast": ("MountainCar-v0", {"goal_velocity": 0.03}),
    "MountainCarContinuous-v0": ("MountainCarContinuous-v0", {}),
    "MountainCarContinuous-v0, fast": ("MountainCarContinuous-v0", {"goal_velocity": 0.03}),
    "Pendulum-v1": ("Pendulum-v1", {}),
    "Pendulum-v1, light": ("Pendulum-v1", {"g": 2.5}),
}


def policy(identifier: str, observation: Any, rng: np.random.Generator) -> Any:
    """Actions [R, N] or [R, N, 1], random for every other copy, and good enough to reach ends for the rest."""
    shape = observation.shape[:-1]
    skilled = np.arange(shape[1]) % 2 == 1  # [N]
    column = np.moveaxis(observation, -1, 0)
    if identifier.startswith("CartPole"):
        return np.where(skilled, column[2] + column[3] > 0, rng.integers(2, size=shape))
    if identifier == "Acrobot-v1":
        return np.where(skilled, 1 + np.sign(column[5]).astype(int), rng.integers(3, size=shape))
    if identifier == "MountainCar-v0":
        return np.where(skilled, np.where(column[1] < 0, 0, 2), rng.integers(3, size=shape))
    if identifier == "MountainCarContinuous-v0":
        push = np.where(column[1] < 0, -1.0, 1.0) + 0.3 * rng.normal(size=shape)
        return np.where(skilled, push, rng.normal(size=shape))[..., None].astype(np.float32)
    return 2 * rng.normal(size=(*shape, 1)).astype(np.float32)


class Reference:
    """R x N of Gymnasium's own single environments, reset here as soon as they end."""

    def __init__(self, environment: Environment, seeds: list[int], num_envs: int) -> None:
        self.shape = (len(seeds), num_envs)
        self.envs = [[gymnasium.make(environment.id, **environment.options) for _ in range(num_envs)] for _ in seeds]
        self.first = [
            [env.reset(seed=seed)[0] for env, seed in zip(row, copy_seeds(replica, num_envs), strict=True)]
            for row, replica in zip(self.envs, seeds, strict=True)
        ]

    def step(self, action: Any) -> tuple[Any, ...]:
        """Return observation, final observation, reward, terminated, truncated, as nested lists."""
        rows = []
        for row, actions in zip(self.envs, action, strict=True):
            outcomes = []
            for env, one in zip(row, actions, strict=True):
                final, reward, terminated, truncated, _ = env.step(one)
                observation = env.reset()[0] if terminated or truncated else final
                outcomes.append((observation, final, reward, terminated, truncated))
            rows.append(outcomes)
        return tuple([[outcome[field] for outcome in row] for row in rows] for field in range(5))

    def state(self) -> Any:
        """Return the double-precision states [R * N, S]."""
        return np.stack([np.asarray(env.unwrapped.state) for row in self.envs for env in row])  # type: ignore[attr-defined]


@pytest.mark.parametrize("case", CASES)
def test_the_fast_path_follows_gymnasium_bit_for_bit(case: str) -> None:
    identifier, options = CASES[case]
    environment = Environment(identifier, options)
    seeds = [3, 1_000_003, 2**40]
    batch = make(environment, replicas=3, num_envs=4)
    assert isinstance(batch, ClassicBatch)
    reference = Reference(environment, seeds, 4)
    observation = batch.reset(seeds)
    np.testing.assert_array_equal(observation, np.array(reference.first))
    rng = np.random.default_rng(0)
    terminations = truncations = 0
    for _ in range(1100):
        action = policy(identifier, observation, rng)
        step = batch.step(action)
        expected = reference.step(batch.action.to_environment(action))
        for field, ours, theirs in zip(step._fields, step, expected, strict=True):
            np.testing.assert_array_equal(ours, np.array(theirs), err_msg=field)
        expected_state = reference.state()
        np.testing.assert_array_equal(batch._state[:, : expected_state.shape[1]], expected_state)
        observation = step.observation
        terminations += int(step.terminated.sum())
        truncations += int(step.truncated.sum())
    assert terminations + truncations >= 12  # several episodes, so that resets are compared too
    assert terminations > 0 or "Pendulum" in identifier
    assert truncations > 0


@pytest.mark.parametrize("identifier", sorted({identifier for identifier, _ in CASES.values()}))
def test_copies_that_are_placed_in_states_go_on_from_them(identifier: str) -> None:
    first, second = (make(Environment(identifier), replicas=2, num_envs=3) for _ in range(2))
    assert isinstance(first, ClassicBatch)
    assert isinstance(second, ClassicBatch)
    rng = np.random.default_rng(0)
    observation = first.reset([3, 4])
    second.reset([5, 6])
    for _ in range(5):
        second.step(policy(identifier, observation, rng))
        observation = first.step(policy(identifier, observation, rng)).observation
    states = first.states
    np.testing.assert_allclose(second.place(states), observation, rtol=1e-6, atol=1e-7)
    action = policy(identifier, observation, rng)
    for ours, theirs in zip(second.step(action), first.step(action), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (second._elapsed == 1).all()
    assert not np.array_equal(states, first.states)  # a copy, which the step left alone


def test_where_numpy_has_sines_of_its_own_gymnasium_is_stepped_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert supports(make_one(Environment("CartPole-v1")))
    monkeypatch.setattr(classic, "rounds_as_numpy", lambda: False)
    assert not supports(make_one(Environment("CartPole-v1")))


@pytest.mark.filterwarnings("ignore:.*CartPole-v0 is out of date")
def test_cartpole_v0_has_its_own_time_limit() -> None:
    batch = make(Environment("CartPole-v0"), 1, 1)
    assert isinstance(batch, ClassicBatch)
    assert batch._limit == 200


@pytest.mark.parametrize("identifier", sorted({case[0] for case in CASES.values()}))
def test_both_paths_give_the_same_batches(identifier: str) -> None:
    environment = Environment(identifier, {"max_episode_steps": 25})
    fast = make(environment, 2, 3)
    slow = GymBatch(environment, make_one(environment), 2, 3)
    assert type(fast) is not type(slow)
    assert (fast.observation_size, fast.action.kind) == (slow.observation_size, slow.action.kind)
    observation = fast.reset([5, 6])
    np.testing.assert_array_equal(observation, slow.reset([5, 6]))
    rng = np.random.default_rng(0)
    for _ in range(80):
        action = policy(identifier, observation, rng)
        ours, theirs = fast.step(action), slow.step(action)
        for field, one, other in zip(ours._fields, ours, theirs, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other, err_msg=field)
        observation = ours.observation
    slow.close()


@pytest.mark.parametrize("identifier", sorted({case[0] for case in CASES.values()}))
def test_a_replica_does_not_depend_on_the_others(identifier: str) -> None:
    def run(seeds: list[int]) -> list[Any]:
        batch = make(Environment(identifier, {"max_episode_steps": 60}), len(seeds), 3)
        arrays: list[Any] = [batch.reset(seeds)]
        observation = arrays[0]
        noise = [np.random.default_rng(seed) for seed in seeds]
        for _ in range(150):
            action = np.concatenate([policy(identifier, observation[r : r + 1], rng) for r, rng in enumerate(noise)])
            step = batch.step(action)
            arrays += step
            observation = step.observation
        return arrays

    alone, three, twenty = run([77]), run([1, 77, 2]), run([*range(13), 77, *range(20, 26)])
    for one, few, many in zip(alone, three, twenty, strict=True):
        np.testing.assert_array_equal(one[0], few[1])
        np.testing.assert_array_equal(one[0], many[13])


@pytest.mark.parametrize("identifier", ["CartPole-v1", "Pendulum-v1"])
def test_flags_and_final_observations_at_an_end(identifier: str) -> None:
    batch = make(Environment(identifier, {"max_episode_steps": 5}), 2, 2)
    batch.reset([0, 1])
    for time in range(1, 11):
        action = np.zeros((2, 2, 1), np.float32) if identifier == "Pendulum-v1" else np.full((2, 2), time % 2)
        step = batch.step(action)
        assert not step.terminated.any()
        np.testing.assert_array_equal(step.truncated, time % 5 == 0)
        same = (step.observation == step.next_observation).all(axis=-1)
        np.testing.assert_array_equal(same, time % 5 != 0)


def test_returned_arrays_are_not_overwritten_later() -> None:
    batch = make(Environment("Acrobot-v1"), 1, 2)
    first = batch.reset([0])
    step = batch.step(np.array([[0, 2]]))
    kept = [array.copy() for array in (first, *step)]
    batch.step(np.array([[1, 0]]))
    for before, after in zip(kept, (first, *step), strict=True):
        np.testing.assert_array_equal(before, after)


def test_nan_actions_stay_in_their_copy() -> None:
    batch = make(Environment("Pendulum-v1"), 2, 1)
    batch.reset([0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            step = batch.step(np.array([[[np.nan]], [[0.5]]], np.float32))
    assert np.isnan(step.reward).tolist() == [[True], [False]]
    assert np.isfinite(step.observation[1]).all()


def test_a_second_reset_repeats_the_first() -> None:
    batch = make(Environment("CartPole-v1"), 2, 2)
    first = batch.reset([0, 1])
    for _ in range(40):
        batch.step(np.ones((2, 2), int))
    np.testing.assert_array_equal(batch.reset([0, 1]), first)
    assert batch.step(np.ones((2, 2), int)).reward.all()


def test_only_what_is_reproduced_takes_the_fast_path() -> None:
    assert supports(make_one(Environment("CartPole-v1", {"sutton_barto_reward": True})))
    assert supports(make_one(Environment("Pendulum-v1", {"max_episode_steps": 7})))
    assert not supports(make_one(Environment("CartPole-v1", {"render_mode": "rgb_array"})))
    assert not supports(make_one(Environment("FrozenLake-v1")))
    wrapped = TransformReward(gymnasium.make("CartPole-v1"), lambda reward: 2 * reward)
    assert not supports(wrapped)


class Heavier(classic_control.CartPoleEnv):
    pass


def changed(cls: type, **attributes: Any) -> Callable[..., Any]:
    """Return what makes instances of a class with other attributes."""

    def make_changed(**options: Any) -> Any:
        env = cls(**options)
        vars(env).update(attributes)
        return env

    return make_changed


MAKERS: dict[str, Callable[..., Any]] = {
    "a subclass": Heavier,
    "noise on the torque": changed(classic_control.AcrobotEnv, torque_noise_max=0.5),
    "other equations": changed(classic_control.AcrobotEnv, book_or_nips="nips"),
    "another integrator": changed(classic_control.CartPoleEnv, kinematics_integrator="semi-implicit"),
    "another constant": changed(classic_control.CartPoleEnv, gravity=1.6),
    "a weak engine": changed(classic_control.Continuous_MountainCarEnv, min_action=-0.2, max_action=0.2),
    "another action space": changed(classic_control.MountainCarEnv, action_space=gymnasium.spaces.Discrete(2)),
    "a method of its own": changed(
        classic_control.PendulumEnv, step=lambda action: (np.ones(3), 1.0, False, False, {})
    ),
    "an argument that is not in the registration": lambda: classic_control.PendulumEnv(g=2.0),
    "a wrapper with a method of its own": lambda: changed(OrderEnforcing, step=lambda action: (0, 1.0, 0, 0, {}))(
        env=classic_control.CartPoleEnv()
    ),
}


@pytest.fixture
def registered() -> Iterator[Callable[..., Environment]]:
    """Register a maker under an id of its own for the time of a test."""

    def register(maker: Any, **options: Any) -> Environment:
        gymnasium.registry.pop("rlbench-test/Changed-v0", None)
        gymnasium.register("rlbench-test/Changed-v0", entry_point=maker, **{"max_episode_steps": 5, **options})
        return Environment("rlbench-test/Changed-v0")

    yield register
    gymnasium.registry.pop("rlbench-test/Changed-v0", None)


@pytest.mark.parametrize("kind", MAKERS)
def test_what_somebody_changed_is_stepped_itself(kind: str, registered: Callable[..., Environment]) -> None:
    assert isinstance(make(registered(MAKERS[kind]), 1, 1), GymBatch)


@pytest.mark.parametrize("cls", DYNAMICS)
def test_what_nobody_changed_takes_the_fast_path_under_any_name(
    cls: type, registered: Callable[..., Environment]
) -> None:
    assert isinstance(make(registered(cls), 1, 1), ClassicBatch)
    assert isinstance(make(registered(f"{cls.__module__}:{cls.__name__}"), 1, 1), ClassicBatch)


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (classic_control.AcrobotEnv, "torque_noise_max", 0.5),
        (classic_control.AcrobotEnv, "dt", 0.1),
        (classic_control.AcrobotEnv, "step", lambda self, action: (self.state, 0.0, True, False, {})),
        (acrobot, "wrap", lambda x, m, M: x),
        (acrobot, "cos", np.sin),
        (gymnasium.Env, "reset", lambda self, *, seed=None, options=None: None),
        (TimeLimit, "step", lambda self, action: self.env.step(action)),
    ],
)
def test_a_class_or_module_that_somebody_changed_is_stepped_itself(
    owner: Any, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert supports(make_one(Environment("Acrobot-v1")))
    monkeypatch.setattr(owner, name, value)
    assert not supports(make_one(Environment("Acrobot-v1")))


def test_the_least_of_two_time_limits_cuts(registered: Callable[..., Environment]) -> None:
    batch = make(registered(lambda: TimeLimit(classic_control.PendulumEnv(), 3)), 1, 1)
    batch.reset([0])
    cuts = [bool(batch.step(np.zeros((1, 1, 1), np.float32)).truncated[0, 0]) for _ in range(6)]
    assert cuts == [False, False, True] * 2


def test_equations_that_no_longer_follow_gymnasium_stand_in_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another version of Gymnasium may have it."""
    monkeypatch.setattr(classic, "_followed", {})
    monkeypatch.setattr(classic.Pendulum, "draw", lambda self, generator: np.zeros(2))
    assert not supports(make_one(Environment("Pendulum-v1")))
    monkeypatch.setattr(classic, "_followed", {})
    monkeypatch.undo()
    assert supports(make_one(Environment("Pendulum-v1")))


def test_copying_an_instance_changes_nothing() -> None:
    """Python notes on a class how its instances are copied."""
    copy.deepcopy(classic_control.CartPoleEnv())
    pickle.dumps(classic_control.AcrobotEnv())
    assert "__slotnames__" in vars(classic_control.CartPoleEnv)
    for name in ("CartPole-v1", "Acrobot-v1"):
        assert supports(make_one(Environment(name)))
