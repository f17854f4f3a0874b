"""What an environment holds, in one number: the same for equal contents, another for every difference."""

from __future__ import annotations

import collections
import enum
import functools
import itertools
import random
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from rlbench.training.envs.fingerprint import fingerprint, generators_of_spaces
from rlbench.training.state import UnusableError


class Holder:
    """A thing with attributes."""

    def __init__(self, **held: Any) -> None:
        vars(self).update(held)

    def method(self) -> None:
        """Do nothing."""


class Slots:
    """A thing without a dictionary, whose second slot may be empty."""

    __slots__ = ("first", "second")

    def __init__(self, first: int) -> None:
        self.first = first


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def advanced(generator: Any) -> Any:
    generator.random()
    return generator


def closed_over(number: int, default: int = 0) -> Callable[..., int]:
    return lambda more=default: number + more


def ring(number: int) -> list[Any]:
    found: list[Any] = [number]
    found.append(found)
    return found


# How to make a thing, and one that differs from it.
KINDS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "number": (lambda: 1, lambda: 2),
    "type of a number": (lambda: 1, lambda: 1.0),
    "enum": (lambda: Colour.RED, lambda: Colour.BLUE),
    "class": (lambda: Holder, lambda: Slots),
    "array": (lambda: np.arange(3), lambda: np.arange(1, 4)),
    "type of an array": (lambda: np.zeros(2, np.int32), lambda: np.zeros(2, np.float32)),
    "shape": (lambda: np.zeros((2, 3)), lambda: np.zeros((3, 2))),
    "array of things": (lambda: np.array([Slots(1), None]), lambda: np.array([Slots(2), None])),
    "tensor": (lambda: torch.ones(2), lambda: torch.zeros(2)),
    "list": (lambda: [1, 2], lambda: [2, 1]),
    "list or tuple": (lambda: [1, 2], lambda: (1, 2)),
    "deque": (lambda: collections.deque([1]), lambda: collections.deque([2])),
    "set": (lambda: {"a", "b", "c"}, lambda: {"a", "b"}),
    "value of a mapping": (lambda: {"a": 1}, lambda: {"a": 2}),
    "key of a mapping": (lambda: {"a": 1}, lambda: {"b": 1}),
    "attribute": (lambda: Holder(x=1), lambda: Holder(x=2)),
    "slot": (lambda: Slots(1), lambda: Slots(2)),
    "attribute of a thing within": (lambda: Holder(x=Holder(y=[1])), lambda: Holder(x=Holder(y=[2]))),
    "Generator": (lambda: np.random.default_rng(1), lambda: np.random.default_rng(2)),
    "Generator that drew": (lambda: np.random.default_rng(1), lambda: advanced(np.random.default_rng(1))),
    "RandomState that drew": (lambda: np.random.RandomState(1), lambda: advanced(np.random.RandomState(1))),
    "Random that drew": (lambda: random.Random(1), lambda: advanced(random.Random(1))),
    "closure": (lambda: closed_over(1), lambda: closed_over(2)),
    "default": (lambda: closed_over(1), lambda: closed_over(1, 1)),
    "bound method": (lambda: Holder(x=1).method, lambda: Holder(x=2).method),
    "method of a list": (lambda: [1].append, lambda: [2].append),
    "partial": (lambda: functools.partial(max, 1), lambda: functools.partial(max, 2)),
    "circle": (lambda: ring(1), lambda: ring(2)),
    "space": (lambda: gymnasium.spaces.Discrete(2), lambda: gymnasium.spaces.Discrete(3)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_equal_contents_are_equal_and_others_are_not(kind: str) -> None:
    make, other = KINDS[kind]
    assert fingerprint(Holder(held=make())) == fingerprint(Holder(held=make())) != fingerprint(Holder(held=other()))


def test_what_is_met_twice_is_looked_at_once_and_not_confused() -> None:
    shared = [1]
    assert fingerprint([shared, shared]) == fingerprint([[1], [1]])
    assert fingerprint([Holder(x=1), Holder(x=2)]) != fingerprint([Holder(x=1), Holder(x=1)])


@pytest.mark.parametrize(
    ("thing", "why"),
    [
        (itertools.count(), "holds a count, which may hide its state"),
        (iter([1, 2]), "holds a list_iterator, which may hide its state"),
        (functools.reduce(lambda inner, _: [inner], range(200), [0]), "things within things without end"),
    ],
)
def test_what_hides_its_state_is_refused(thing: Any, why: str) -> None:
    with pytest.raises(UnusableError, match=why):
        fingerprint(Holder(held=thing))
    deep = functools.reduce(lambda inner, _: [inner], range(90), [0])
    assert fingerprint(deep) != fingerprint([deep])


def test_a_space_that_was_drawn_from_is_refused_unless_it_was_so_before() -> None:
    env = Holder(action_space=gymnasium.spaces.Discrete(3, seed=1))
    wrapped: Any = gymnasium.make("CartPole-v1")
    wrapped.action_space.seed(1)
    wrapped.unwrapped.pair = gymnasium.spaces.Dict(
        {"a": gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(3, seed=1)])}
    )
    still = generators_of_spaces(wrapped)
    assert fingerprint(env, still) == fingerprint(Holder(action_space=gymnasium.spaces.Discrete(3)), still)
    with pytest.raises(UnusableError, match="draws from one of its spaces"):
        fingerprint(env)
    env.action_space.sample()
    with pytest.raises(UnusableError, match="draws from one of its spaces"):
        fingerprint(env, still)
