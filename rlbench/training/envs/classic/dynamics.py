"""What each classic-control environment supplies to the batched fast path.

The equations repeat Gymnasium's own in its order of operations, so that they round alike: the tests follow
Gymnasium bit for bit over whole episodes. That also decides details that look odd here. A square that
Gymnasium writes as `x ** 2` of a numpy scalar is the C library's `pow(x, 2)`, which differs from `x * x` in
the last bit about once in a thousand, and Acrobot is chaotic; hence `squares`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import repeat
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.training.envs.batch import Flags, Floats, Observations


class Dynamics(ABC):
    """The equations of one environment over M copies; `state` is [S, M], a column per copy.

    Every operation is element by element on contiguous rows, so a copy's numbers do not depend on M.
    """

    options: ClassVar[frozenset[str]] = frozenset()  # the constructor's keyword arguments that are understood
    variables: ClassVar[int]  # S

    def __init__(self, env: gymnasium.Env[Any, Any], copies: int) -> None:
        """Read the constants from `env`, an unwrapped instance made with the user's options."""
        self.state: Floats = np.zeros((self.variables, copies))  # [S, M]

    @abstractmethod
    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw one initial state [S] exactly as Gymnasium's `reset` does, in its dtype."""

    def restart(self, copies: npt.NDArray[np.intp], generators: Sequence[np.random.Generator]) -> Observations:
        """Give K copies new initial states, each from its generator; return their observations [K, O]."""
        columns = np.stack([self.draw(generator) for generator in generators], axis=1)  # [S, K]
        self.state[:, copies] = columns
        return self.observe(columns)

    @abstractmethod
    def advance(self, action: npt.NDArray[Any]) -> tuple[Floats, Flags]:
        """Move `state` by one step under actions [M] or [M, A]; return reward and terminated, [M]."""

    @abstractmethod
    def observe(self, state: npt.NDArray[Any]) -> Observations:
        """Return the observations [K, O] of states [S, K]."""


def squares(values: npt.NDArray[np.float64]) -> Floats:
    """Return `values ** 2` rounded as numpy's scalars round it, by the C library's `pow`."""
    flat = values.ravel().tolist()
    return np.array(list(map(math.pow, flat, repeat(2.0)))).reshape(values.shape)


def cosines(values: npt.NDArray[Any]) -> Floats:
    """Return the cosines of [M] angles by `math.cos`, which `numpy.cos` need not equal on every processor."""
    return np.array([math.cos(value) for value in values.tolist()])
