from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import gymnasium
import numpy as np
import pytest

from rlbench.errors import RlbenchError
from rlbench.records import Environment
from rlbench.training.envs import copy_seeds, make
from rlbench.training.envs.gymnasium import GymBatch, make_one
from rlbench.training.state import UnusableError

LEDGER = Environment("rlbench-test/Ledger-v0")


def columns(observation: Any) -> Any:
    """The ledger's episode, step, action and mark: four arrays [R, N]."""
    return np.moveaxis(observation, -1, 0)


@pytest.mark.parametrize(
    ("identifier", "named"),
    [
        ("CartPle-v1", "Did you mean 'CartPole-v1'"),
        ("cartpole-v1", "Did you mean 'CartPole-v1'"),
        ("Pendulum-v0", "Did you mean 'Pendulum-v1'"),
        ("CartPole", "Did you mean 'CartPole-v1'"),
        ("Zzz", "gymnasium.pprint_registry()"),
        ("ALE/Pong-v5", "Name its package, too: ale_py:ALE/Pong-v5, after pip install 'rlbench[atari]'"),
        ("Pendulum-v1(g=5.0)", "Arguments are given as --env-arg g=9.8"),
        ("no_such_module:Zzz-v0", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("rlbench-test/NeedsPackage-v0", "needs a package that is not installed: Box3D is not installed"),
    ],
)
def test_environments_that_cannot_be_made_say_why(identifier: str, named: str) -> None:
    with pytest.raises(RlbenchError) as caught:
        make(Environment(identifier), 1, 1)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("identifier", "options", "named"),
    [
        ("Pendulum-v1", {"gravity": 3}, "with the options gravity: TypeError"),
        ("rlbench-test/Ledger-v0", {"lenght": 3}, "unexpected keyword argument 'lenght'"),
        ("FrozenLake-v1", {"map_name": "9x9"}, "with the options map_name: KeyError: '9x9'"),
    ],
)
def test_rejected_options_are_named(identifier: str, options: dict[str, Any], named: str) -> None:
    with pytest.raises(RlbenchError) as caught:
        make(Environment(identifier, options), 1, 1)
    assert identifier in str(caught.value)
    assert named in str(caught.value)


class NoSeed(gymnasium.Env[Any, Any]):
    """The interface of Gym before 0.26, as far as each of its three differences shows."""

    observation_space = gymnasium.spaces.Box(0, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self) -> Any:  # type: ignore[override]
        return np.zeros(2)

    def step(self, action: Any) -> Any:
        return np.zeros(2), 0.0, False, {}


class NoInfo(NoSeed):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:  # type: ignore[override]
        return np.zeros(2)


class FourValues(NoSeed):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:  # type: ignore[override]
        return np.zeros(2), {}


@pytest.mark.parametrize("old", [NoSeed, NoInfo, FourValues])
def test_the_interface_of_before_is_called_by_its_name(old: type[NoSeed]) -> None:
    gymnasium.registry.pop("rlbench-test/Old-v0", None)
    gymnasium.register("rlbench-test/Old-v0", old, max_episode_steps=9)
    batch = make(Environment("rlbench-test/Old-v0"), 1, 1)
    batch.reset([0])
    batch.step(np.zeros((1, 1), np.int64))
    assert batch.failures[0].cause.startswith("has the interface of Gym before 0.26")
    batch.close()


def test_a_module_prefix_imports_what_registers_the_environment() -> None:
    batch = make(Environment("gymnasium:FrozenLake-v1", {"is_slippery": False}), 1, 2)
    assert batch.reset([0]).shape == (1, 2, 16)
    batch.close()


def test_termination_returns_the_final_and_the_first_observation() -> None:
    batch = make(LEDGER, replicas=2, num_envs=2)
    batch.reset([0, 1])
    for time in range(1, 13):
        action = np.full((2, 2), time % 3)
        step = batch.step(action)
        episode, within = divmod(time - 1, 4)
        ended = within == 3
        final = columns(step.next_observation)
        np.testing.assert_array_equal(final[0], episode)
        np.testing.assert_array_equal(final[1], within + 1)
        np.testing.assert_array_equal(final[2], action)  # every action is carried out
        np.testing.assert_array_equal(step.reward, within + 1)  # every reward is the environment's
        np.testing.assert_array_equal(step.terminated, ended)
        assert not step.truncated.any()
        first = columns(step.observation)
        if ended:
            assert first[:3, 1, 1].tolist() == [episode + 1, 0, -1]
            assert (first[:3] == first[:3, 1:, 1:]).all()
        else:
            np.testing.assert_array_equal(first, final)


def test_truncation_by_a_time_limit_is_no_termination() -> None:
    batch = make(Environment("rlbench-test/LimitedLedger-v0"), 1, 1)
    batch.reset([0])
    steps = [batch.step(np.zeros((1, 1), int)) for _ in range(6)]
    assert [bool(step.truncated[0, 0]) for step in steps] == [False, False, True] * 2
    assert not any(step.terminated.any() for step in steps)
    assert [step.next_observation[0, 0, 1] for step in steps] == [1, 2, 3, 1, 2, 3]
    assert [step.observation[0, 0, 1] for step in steps] == [1, 2, 0, 1, 2, 0]


def test_an_end_in_the_last_allowed_step_is_both() -> None:
    batch = make(Environment("rlbench-test/LimitedLedger-v0", {"length": 3}), 1, 1)
    batch.reset([0])
    step = [batch.step(np.zeros((1, 1), int)) for _ in range(3)][-1]
    assert step.terminated.all()
    assert step.truncated.all()


def test_returned_arrays_are_not_overwritten_later() -> None:
    batch = make(LEDGER, 2, 2)
    kept = [batch.reset([0, 1])]
    for _ in range(9):
        step = batch.step(np.zeros((2, 2), int))
        kept += [step.observation, step.next_observation]
    times = [array[0, 0, 1] for array in kept]
    assert times == [0, 1, 1, 2, 2, 3, 3, 0, 4, 1, 1, 2, 2, 3, 3, 0, 4, 1, 1]


def test_an_environment_that_raises_takes_only_its_replica_down() -> None:
    healthy = make(LEDGER, 3, 2)
    broken = make(LEDGER, 3, 2)
    np.testing.assert_array_equal(healthy.reset([0, 1, 2]), broken.reset([0, 1, 2]))
    for time in range(10):
        action = np.zeros((3, 2), int)
        expected = healthy.step(action)
        action[1, 1] = 3 if time == 5 else 0
        step = broken.step(action)
        for whole, part in zip(expected, step, strict=True):
            np.testing.assert_array_equal(part[[0, 2]], whole[[0, 2]])
            if time >= 5:
                assert not part[1].any()  # zeros, and no ends
            else:
                np.testing.assert_array_equal(part[1], whole[1])
    assert list(broken.failures) == [1]
    assert "RuntimeError: broken in step 6" in broken.failures[1].trace
    assert "Traceback" in broken.failures[1].trace
    assert healthy.failures == {}
    broken.close()


def test_an_environment_may_raise_very_late() -> None:
    batch = make(Environment(LEDGER.id, {"fail_at": 700}), 1, 1)
    batch.reset([0])
    for _ in range(699):
        batch.step(np.zeros((1, 1), int))
    assert batch.failures == {}
    batch.step(np.zeros((1, 1), int))
    assert "broken in step 700" in batch.failures[0].trace


def test_a_reset_that_raises_takes_only_its_replica_down() -> None:
    cursed = copy_seeds(1, 2)[1]
    batch = make(Environment(LEDGER.id, {"bad_seeds": (cursed,)}), 3, 2)
    observation = batch.reset([0, 1, 2])
    assert list(batch.failures) == [1]
    assert f"seed {cursed} is cursed" in batch.failures[1].trace
    assert not observation[1].any()
    assert observation[[0, 2]].any()
    assert batch.step(np.zeros((3, 2), int)).reward.tolist() == [[1, 1], [0, 0], [1, 1]]
    batch.reset([3, 4, 5])  # a new start clears the slate
    assert batch.failures == {}


def test_an_observation_outside_its_space_is_a_failure_of_the_replica() -> None:
    class Liar(gymnasium.Env[Any, Any]):
        observation_space = gymnasium.spaces.Discrete(2)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return 0, {}

        def step(self, action: Any) -> Any:
            return 2 * action, 0.0, False, False, {}

    gymnasium.register("rlbench-test/Liar-v0", entry_point=Liar)
    try:
        batch = make(Environment("rlbench-test/Liar-v0"), 2, 1)
        batch.reset([0, 1])
        batch.step(np.array([[0], [1]]))
    finally:
        del gymnasium.registry["rlbench-test/Liar-v0"]
    assert list(batch.failures) == [1]
    assert "lies outside 0..1" in batch.failures[1].trace


def test_nan_is_passed_on_and_stays_in_its_replica() -> None:
    batch = make(LEDGER, 3, 2)
    batch.reset([0, 1, 2])
    step = batch.step(np.array([[0, 0], [4, 0], [0, 0]]))
    assert batch.failures == {}
    assert np.isnan(step.reward).tolist() == [[False, False], [True, False], [False, False]]
    assert np.isnan(step.observation).any(-1).tolist() == [[False, False], [True, False], [False, False]]


def test_copies_get_the_documented_seeds() -> None:
    observation = make(LEDGER, 2, 3).reset([7, 8])
    expected = [[seed % 1000 for seed in copy_seeds(replica, 3)] for replica in (7, 8)]
    np.testing.assert_array_equal(observation[..., 3], expected)


def test_copy_seeds_differ_and_do_not_depend_on_the_number_of_copies() -> None:
    assert copy_seeds(5, 8)[:3] == copy_seeds(5, 3)
    drawn = [seed for replica in range(50) for seed in copy_seeds(replica, 16)]
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= seed < 2**31 for seed in drawn)
    word = np.random.SeedSequence(5, spawn_key=(0x656E76, 2)).generate_state(1, np.uint32)[0]
    assert copy_seeds(5, 3)[2] == word >> 1


@pytest.mark.parametrize("identifier", ["FrozenLake-v1", "Pendulum-v1"])
def test_a_replica_does_not_depend_on_the_others(identifier: str) -> None:
    environment = Environment(identifier)

    def run(seeds: list[int]) -> list[Any]:
        batch = GymBatch(environment, make_one(environment), len(seeds), 2)
        arrays: list[Any] = [batch.reset(seeds)]
        for time in range(30):
            if batch.action.kind == "categorical":
                action = np.array([[(time * seed + copy) % 4 for copy in range(2)] for seed in seeds])
            else:
                action = np.array([[[np.sin(time * seed + copy)] for copy in range(2)] for seed in seeds])
            arrays += batch.step(action)
        batch.close()
        return arrays

    alone, pack = run([11]), run([*range(19), 11])
    for one, many in zip(alone, pack, strict=True):
        np.testing.assert_array_equal(one[0], many[-1])


class Buffered(gymnasium.Env[Any, Any]):
    """Counts its steps in one buffer that it returns every time, and pays and tells as it is told to."""

    observation_space = gymnasium.spaces.Box(-100, 100, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, reward: Any = 1.0, info: Any = None) -> None:
        self._buffer = np.zeros(2, np.float32)
        self._reward, self._info = reward, info
        self._episodes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self._episodes += 1
        self._buffer[:] = -self._episodes, 0
        return self._buffer, self._info

    def step(self, action: Any) -> Any:
        self._buffer += 1
        return self._buffer, self._reward, False, self._buffer[1] == 3, self._info


@pytest.fixture
def buffered() -> Iterator[Callable[..., GymBatch]]:
    """Make a batch of `Buffered`, two copies of one replica."""

    def make_buffered(**options: Any) -> GymBatch:
        environment = Environment("rlbench-test/Buffered-v0")
        gymnasium.registry.pop(environment.id, None)
        gymnasium.register(environment.id, entry_point=Buffered, kwargs=options)
        batch = GymBatch(environment, make_one(environment), 1, 2)
        batch.reset([0])
        return batch

    yield make_buffered
    gymnasium.registry.pop("rlbench-test/Buffered-v0", None)


def test_an_environment_may_return_its_own_buffer_at_every_step(buffered: Callable[..., GymBatch]) -> None:
    batch = buffered()
    steps = [batch.step(np.zeros((1, 2), int)) for _ in range(4)]
    for copy in range(2):
        assert [step.next_observation[0, copy].tolist() for step in steps] == [[0, 1], [1, 2], [2, 3], [-1, 1]]
        assert [step.observation[0, copy].tolist() for step in steps] == [[0, 1], [1, 2], [-2, 0], [-1, 1]]


@pytest.mark.parametrize(
    "reward", [2, 2.0, True, np.float32(2), np.int8(2), np.array(2.0), np.array([2.0]), np.array([[2]]), Fraction(2)]
)
def test_every_real_number_is_a_reward(reward: Any, buffered: Callable[..., GymBatch]) -> None:
    batch = buffered(reward=reward)
    expected = 1.0 if reward is True else 2.0
    assert batch.step(np.zeros((1, 2), int)).reward.tolist() == [[expected, expected]]
    assert batch.failures == {}


@pytest.mark.parametrize(
    "reward", ["2.0", b"2", 2j, np.complex128(2), np.str_("2"), np.array([1.0, 2.0]), None, [], np.array(2j)]
)
def test_what_is_no_real_number_is_no_reward(reward: Any, buffered: Callable[..., GymBatch]) -> None:
    batch = buffered(reward=reward)
    assert batch.step(np.zeros((1, 2), int)).reward.tolist() == [[0, 0]]
    assert batch.failures[0].cause.startswith("returned the reward ")
    assert batch.failures[0].cause.endswith(", which is not one real number")


@pytest.mark.parametrize("reward", [1e300, -1e39, np.float64(3.5e38)])
def test_a_reward_beyond_single_precision_is_called_what_it_is(
    reward: float, buffered: Callable[..., GymBatch]
) -> None:
    batch = buffered(reward=reward)
    batch.step(np.zeros((1, 2), int))
    assert batch.failures[0].cause == f"returned the reward {reward:g}, beyond the 3.4e+38 of single precision"
    infinite = buffered(reward=np.inf)
    assert np.isinf(infinite.step(np.zeros((1, 2), int)).reward).all()  # said where NaN is, too
    assert infinite.failures == {}


@pytest.mark.parametrize("info", [None, 3, {"path": np.arange(5)}, {0: lambda: None}])
def test_nothing_in_info_can_fail_a_run(info: Any, buffered: Callable[..., GymBatch]) -> None:
    batch = buffered(info=info)
    assert batch.step(np.zeros((1, 2), int)).reward.all()
    assert batch.failures == {}


def stepped(batch: Any, steps: int, seed: int) -> list[Any]:
    """Take random steps; return the outcomes of replica 1."""
    rng, shape = np.random.default_rng(seed), (batch.replicas, batch.num_envs)
    return [[part[1] for part in batch.step(rng.integers(4, size=shape))] for _ in range(steps)]


@pytest.mark.parametrize("steps", [3, 40])  # within the first episode, and in a later one
def test_a_replica_goes_on_from_its_state_in_another_batch(steps: int) -> None:
    environment = Environment("FrozenLake-v1", {"max_episode_steps": 12})
    batch, other = (make(environment, 2, 3, remember=True) for _ in range(2))
    batch.reset([5, 6])
    stepped(batch, steps, 0)
    other.reset([7, 6])
    other.restore(1, batch.state(1))
    np.testing.assert_equal(stepped(other, 50, 1), stepped(batch, 50, 1))
    batch.reset([5, 6])
    other.reset([7, 8])  # the first episode depends on the seed of the reset
    with pytest.raises(UnusableError, match="does not repeat itself"):
        other.restore(1, batch.state(0))
    forgetful = make(environment, 2, 3)
    forgetful.reset([5, 6])
    with pytest.raises(UnusableError, match="what happened to the environments was not noted"):
        forgetful.state(0)


class Single(Buffered):
    """Of which only one can live."""

    alive = 0

    def __init__(self) -> None:
        super().__init__()
        if Single.alive:
            raise OSError("Address already in use")
        Single.alive += 1

    def close(self) -> None:
        Single.alive -= 1


def test_an_environment_of_which_only_one_can_live_is_made_once_and_let_go() -> None:
    environment = Environment("rlbench-test/Single-v0")
    gymnasium.register(environment.id, entry_point=Single)
    try:
        with pytest.raises(RlbenchError, match="cannot be created 2 times: OSError: Address already in use"):
            make(environment, 2, 1)
        batch = make(environment, 1, 1)
        batch.reset([0])
        batch.close()
        assert Single.alive == 0
    finally:
        del gymnasium.registry[environment.id]
