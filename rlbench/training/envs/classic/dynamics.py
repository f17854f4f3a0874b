"""What each classic-control environment supplies to the batched fast path.

The compiled equations repeat Gymnasium's own in its order of operations and in its precision, so that they round
alike: the tests follow Gymnasium bit for bit over whole episodes. That also decides details that look odd here. A
square that Gymnasium writes as `x ** 2` of a numpy scalar is the C library's `pow(x, 2)`, which differs from `x * x` in
the last bit about once in a thousand, and Acrobot is chaotic. The kernels are handed the exponent: a constant one would
be compiled to a product.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.training.envs.batch import Observations

TWO = 2.0


class Dynamics(ABC):
    """The equations of one environment over M copies; a state is a row of S numbers in double precision.

    `advance(state [M, S], action [M, K], constants, observation [M, O], reward [M], terminated [M])` is compiled. It
    moves every copy by one step and fills the last three; actions are in double precision, too, an index as a whole
    number. Every copy is computed by itself, so its numbers do not depend on M.
    """

    options: ClassVar[frozenset[str]] = frozenset()  # the constructor's keyword arguments that are understood
    advance: ClassVar[Callable[..., None]]
    constants: npt.NDArray[np.float64]

    @abstractmethod
    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """Read the constants from `env`, an unwrapped instance made with the user's options."""

    @abstractmethod
    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw one initial state [S] exactly as Gymnasium's `reset` does, in its dtype."""

    @abstractmethod
    def observe(self, state: npt.NDArray[Any]) -> Observations:
        """Return the observations [K, O] of initial states [K, S], computed in their dtype as Gymnasium does."""


@cache
def rounds_as_numpy() -> bool:
    """Say whether numpy's sines and cosines are the C library's, which the kernels call.

    Gymnasium computes them by numpy, which may have its own on some processors.
    """
    angles = np.linspace(-4.0, 4.0, 2001)
    return all(
        np.array_equal(vectorised(angles), [scalar(angle) for angle in angles.tolist()])
        for vectorised, scalar in ((np.cos, math.cos), (np.sin, math.sin))
    )
