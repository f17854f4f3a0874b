from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlbench.errors import RlbenchError
from rlbench.records import Environment
from rlbench.training.envs import look_at, make
from rlbench.training.envs.base import ObservationEncoder, action_spec

ACTION_SPACES = {
    "discrete": (spaces.Discrete(3, start=-1), "categorical", (3,)),
    "multidiscrete": (spaces.MultiDiscrete([2, 4], start=[5, -2]), "multicategorical", (2, 4)),
    "multidiscrete of two axes": (spaces.MultiDiscrete([[2, 3], [4, 5]]), "multicategorical", (2, 3, 4, 5)),
    "multibinary": (spaces.MultiBinary(3), "bernoulli", (3,)),
    "multibinary of two axes": (spaces.MultiBinary([2, 2]), "bernoulli", (4,)),
    "box": (spaces.Box(np.array([-1, 0], np.float32), np.array([1, 5], np.float32)), "gaussian", (2,)),
    "box of two axes": (spaces.Box(-2, 2, (2, 3), np.float64), "gaussian", (6,)),
    "unbounded box": (spaces.Box(-np.inf, np.inf, (1,), np.float32), "gaussian", (1,)),
    "half-bounded box of no axes": (spaces.Box(0, np.inf, (), np.float32), "gaussian", (1,)),
}


def learner_actions(kind: str, sizes: tuple[int, ...], batch: tuple[int, ...]) -> Any:
    rng = np.random.default_rng(0)
    if kind == "gaussian":
        return 10 * rng.normal(size=(*batch, *sizes)).astype(np.float32)
    if kind == "bernoulli":
        return rng.integers(2, size=(*batch, *sizes))
    draws = np.stack([rng.integers(size, size=batch) for size in sizes], axis=-1)
    return draws[..., 0] if kind == "categorical" else draws


@pytest.mark.parametrize("name", ACTION_SPACES)
def test_actions_become_members_of_the_space(name: str) -> None:
    space, kind, sizes = ACTION_SPACES[name]
    spec = action_spec(space, "Some-v0")
    assert (spec.kind, spec.sizes) == (kind, sizes)
    action = learner_actions(kind, sizes, (4, 5))
    before = action.copy()
    sent = spec.to_environment(action)
    assert sent.shape == (4, 5, *space.shape)
    assert all(space.contains(np.asarray(sent[index])) for index in np.ndindex(4, 5))
    np.testing.assert_array_equal(action, before)  # the learner keeps its own


@pytest.mark.parametrize("name", ACTION_SPACES)
def test_environments_accept_the_actions_of_every_space(name: str, received: list[Any]) -> None:
    space, kind, sizes = ACTION_SPACES[name]
    batch = make(Environment("rlbench-test/Echo-v0", {"action_space": space}), replicas=2, num_envs=3)
    batch.reset([0, 1])
    action = learner_actions(kind, sizes, (2, 3))
    batch.step(action)
    assert batch.failures == {}
    assert len(received) == 6
    expected = batch.action.to_environment(action).reshape(6, *space.shape)
    np.testing.assert_array_equal(np.stack(received), expected)
    batch.close()


def test_categories_start_where_the_space_starts() -> None:
    discrete = action_spec(spaces.Discrete(3, start=-1), "Some-v0")
    np.testing.assert_array_equal(discrete.to_environment(np.array([0, 1, 2])), [-1, 0, 1])
    several = action_spec(spaces.MultiDiscrete([2, 4], start=[5, -2]), "Some-v0")
    np.testing.assert_array_equal(several.to_environment(np.array([[0, 0], [1, 3]])), [[5, -2], [6, 1]])


def test_box_actions_are_clipped_to_their_own_bounds() -> None:
    low, high = np.array([-1, -np.inf], np.float32), np.array([np.inf, 0.1], np.float32)
    spec = action_spec(spaces.Box(low, high), "Some-v0")
    sent = spec.to_environment(np.array([[-3.0, -300.0], [300.0, 0.5], [0.25, -0.5]]))
    expected = np.array([[-1, -300], [300, 0.1], [0.25, -0.5]], np.float32)
    np.testing.assert_array_equal(sent, expected)
    assert sent.dtype == np.float32


def test_squashed_actions_are_stretched_to_their_own_bounds() -> None:
    low, high = np.array([-2, 0], np.float32), np.array([2, 10], np.float32)
    spec = action_spec(spaces.Box(low, high), "Some-v0").squashed("Some-v0")
    assert (spec.kind, spec.squashed("Some-v0")) == ("squashed", spec)
    sent = spec.to_environment(np.array([[-300.0, 0.0], [0.5, 300.0]], np.float32))
    np.testing.assert_allclose(sent, [[-2, 5], [2 * np.tanh(0.5), 10]], rtol=1e-7)
    assert sent.dtype == np.float32
    discrete = action_spec(spaces.Discrete(3), "Some-v0")
    assert discrete.squashed("Some-v0") is discrete
    for far in (np.inf, np.finfo(np.float32).max):
        with pytest.raises(RlbenchError, match="Some-v0: squash needs actions with bounds of at most 1,000,000"):
            action_spec(spaces.Box(low, np.array([far, 1], np.float32)), "Some-v0").squashed("Some-v0")
    tenth = spaces.Box(-0.1, 0.1, (1,), np.float64)  # which single precision rounds to more
    assert tenth.contains(
        action_spec(tenth, "Some-v0").squashed("Some-v0").to_environment(np.array([300.0], np.float32))
    )


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(0, 255, (2,), np.uint8),
        spaces.Dict({"a": spaces.Discrete(2)}),
        spaces.Tuple([spaces.Discrete(2)]),
        spaces.Text(4),
    ],
)
def test_other_action_spaces_are_refused_by_name(space: spaces.Space[Any]) -> None:
    with pytest.raises(RlbenchError) as caught:
        make(Environment("rlbench-test/Echo-v0", {"action_space": space}), 1, 1)
    message = str(caught.value)
    assert str(space) in message
    assert "Echo-v0" in message
    assert "Discrete, MultiDiscrete, MultiBinary or a Box of floats" in message


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int16, np.bool_])
def test_box_observations_are_flattened_to_float32(dtype: Any) -> None:
    encode = ObservationEncoder.of(spaces.Box(0, 1, (2, 3), dtype), "Some-v0")
    raw = (np.arange(24).reshape(4, 2, 3) % 2).astype(dtype)
    encoded = encode(raw, (4,))
    assert encode.size == 6
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, (np.arange(24) % 2).reshape(4, 6))
    assert not np.shares_memory(encoded, raw)  # a vector environment may reuse its buffer


def test_discrete_observations_become_one_hot_vectors() -> None:
    encode = ObservationEncoder.of(spaces.Discrete(3, start=10), "Some-v0")
    np.testing.assert_array_equal(encode(np.array([12, 10]), (2,)), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(encode(np.int64(11), ()), [0, 1, 0])
    for outside in (9, 13):
        with pytest.raises(ValueError, match=r"lies outside 10\.\.12"):
            encode(np.array([outside]), (1,))


@pytest.mark.parametrize("space", [spaces.MultiBinary(2), spaces.Dict({"a": spaces.Discrete(2)})])
def test_other_observation_spaces_are_refused_by_name(space: spaces.Space[Any]) -> None:
    with pytest.raises(RlbenchError) as caught:
        make(Environment("rlbench-test/Echo-v0", {"observation_space": space}), 1, 1)
    assert str(space) in str(caught.value)
    assert "must be Box or Discrete" in str(caught.value)


@pytest.mark.parametrize("observation", [["1", "2"], [b"1", b"2"], [1j, 2j], np.array([1, 2], complex)])
def test_text_and_complex_numbers_are_no_observation(observation: Any) -> None:
    encode = ObservationEncoder.of(spaces.Box(0, 3, (2,)), "Some-v0")
    with pytest.raises(ValueError, match="returned an observation that is not of real numbers"):
        encode(observation)


def test_numbers_beyond_single_precision_are_called_what_they_are() -> None:
    encode = ObservationEncoder.of(spaces.Box(-np.inf, np.inf, (3,), np.float64), "Some-v0")
    said = r"returned -?1e\+300 in an observation, beyond the 3.4e\+38 of single precision"
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=said):
        encode(np.array([np.nan, -1e300, np.inf]))
    np.testing.assert_array_equal(encode(np.array([np.nan, np.inf, 3e38])), np.float32([np.nan, np.inf, 3e38]))


def test_many_categories_take_no_square_of_memory_and_too_many_are_refused() -> None:
    encode = ObservationEncoder.of(spaces.Discrete(60_000), "Some-v0")
    rows = encode(np.array([[0, 59_999]]), (1, 2))
    assert (rows.shape, rows.sum(), rows[0, 1, -1]) == ((1, 2, 60_000), 2, 1)
    with pytest.raises(
        RlbenchError, match="'Some-v0' has 531,441 different observations, and a one-hot vector is made"
    ):
        ObservationEncoder.of(spaces.Discrete(531_441), "Some-v0")


@pytest.mark.parametrize(
    ("low", "high", "warned"), [(-2, 2, False), (-np.inf, np.inf, False), (0, 1000, True), (-0.01, 0.01, True)]
)
def test_actions_far_from_those_of_a_policy_are_remarked_on(low: float, high: float, warned: bool) -> None:
    space = spaces.Box(low, high, (2,), np.float32)
    facts = look_at(Environment("rlbench-test/Echo-v0", {"action_space": space}))
    assert bool(facts.remark) == warned
    assert not warned or f"its actions range from {low:g} to {high:g}" in facts.remark


def test_an_image_is_known_by_its_kind_of_numbers_and_axes() -> None:
    for shape, dtype, image in (((8, 8, 3), np.uint8, True), ((8, 8), np.float32, False), ((8,), np.uint8, False)):
        options = {"observation_space": spaces.Box(0, 1, shape, dtype)}
        facts = look_at(Environment("rlbench-test/Echo-v0", options))
        assert (facts.size, facts.shape) == (np.prod(shape), shape if image else ())
