"""How the loops of this package are compiled: one set of options for every kernel.

A kernel is a Python function over numpy arrays that numba translates once per machine and keeps on disk. It treats one
replica after the other, so a replica's numbers do not depend on how many there are. Products and sums may be fused,
except in `exact` ones; the order of a sum never changes. A helper that a kernel calls stands in the kernel's own file:
what is kept on disk is renewed when that file changes, and only then.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])
_COMMON: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_CONTRACT: dict[str, Any] = {**_COMMON, "fastmath": {"contract"}}


def kernel(function: F) -> F:
    """Compile a function that Python calls; the machine code is kept on disk."""
    compiled: F = njit(cache=True, **_CONTRACT)(function)
    return compiled


def helper(function: F) -> F:
    """Compile a function that kernels in the same file call."""
    compiled: F = njit(**_CONTRACT)(function)
    return compiled


def inlined(function: F) -> F:
    """Compile a few lines that are put in place of their call, in kernels of the same file."""
    compiled: F = njit(inline="always", **_CONTRACT)(function)
    return compiled


def exact(function: F) -> F:
    """Compile a function that Python calls, rounding every operation by itself as numpy does."""
    compiled: F = njit(cache=True, **_COMMON)(function)
    return compiled


def exact_inlined(function: F) -> F:
    """Compile what `inlined` does, for the exact functions in the same file."""
    compiled: F = njit(inline="always", **_COMMON)(function)
    return compiled


def exact_helper(function: F) -> F:
    """Compile a function that exact ones call."""
    compiled: F = njit(**_COMMON)(function)
    return compiled


_BLOCK = 128  # numbers that numpy adds up before it halves them


@exact_helper
def summed(values: Array) -> Any:
    """Return the sum of numbers side by side, for exact functions, in the order in which numpy adds them up.

    The one helper that is not in its kernels' files: its order is numpy's and will not change. From eight numbers on
    it is eight sums side by side; more than 128 are halved.
    """
    count = len(values)
    if count > _BLOCK:
        half = count // 2
        half -= half % 8
        return summed(values[:half]) + summed(values[half:])
    whole = count - count % 8 if count >= 8 else 0
    total = values[0]
    if whole:
        side = values[:8].copy()
        for k in range(8, whole):
            side[k % 8] += values[k]
        total = ((side[0] + side[1]) + (side[2] + side[3])) + ((side[4] + side[5]) + (side[6] + side[7]))
    for k in range(max(whole, 1), count):
        total += values[k]
    return total
