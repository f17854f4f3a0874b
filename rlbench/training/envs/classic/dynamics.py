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
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.training.envs.batch import Flags, Floats, Observations

TWO = 2.0


class Dynamics(ABC):
    """The equations of one environment over M copies; `state` is [M, S], a row per copy.

    Every copy is computed by itself, so its numbers do not depend on M.
    """

    options: ClassVar[frozenset[str]] = frozenset()  # the constructor's keyword arguments that are understood
    variables: ClassVar[int]  # S

    def __init__(self, env: gymnasium.Env[Any, Any], copies: int) -> None:
        """Read the constants from `env`, an unwrapped instance made with the user's options."""
        self.state: Floats = np.zeros((copies, self.variables))  # [M, S]

    @abstractmethod
    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw one initial state [S] exactly as Gymnasium's `reset` does, in its dtype."""

    def restart(self, copies: npt.NDArray[np.intp], generators: Sequence[np.random.Generator]) -> Observations:
        """Give K copies new initial states, each from its generator; return their observations [K, O]."""
        rows = np.stack([self.draw(generator) for generator in generators])  # [K, S]
        self.state[copies] = rows
        return self.observe(rows)

    @abstractmethod
    def advance(self, action: npt.NDArray[Any], observation: Observations, reward: Floats, terminated: Flags) -> None:
        """Move `state` by one step under actions [M] or [M, A]; fill observations [M, O], rewards and ends [M]."""

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
