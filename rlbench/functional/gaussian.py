"""Independent normal numbers, M states of A numbers each: kernels of `rlbench.functional.distributions`.

`head` is `[M, 2 A]`, means and then log standard deviations; `action` `[M, A]`, slopes and results `[M]`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rlbench.functional.compiled import kernel

Array = npt.NDArray[Any]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)  # in double precision, and so the sums that it enters
_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1), np.float32(2)


@kernel
def log_density(head: Array, action: Array, out: Array) -> None:
    """Fill `out` with the log-densities of the actions."""
    size = action.shape[1]
    for m in range(len(out)):
        total = np.float32(0)
        for k in range(size):
            log_std = head[m, size + k]
            z = (action[m, k] - head[m, k]) * np.exp(-log_std)
            total -= _HALF * z * z + log_std + _HALF_LOG_2PI
        out[m] = total


@kernel
def entropy(head: Array, out: Array) -> None:
    """Fill `out` with the entropies, nats."""
    size = head.shape[1] // 2
    for m in range(len(out)):
        total = np.float32(0)
        for k in range(size):
            total += head[m, size + k] + _HALF_LOG_2PI + _HALF
        out[m] = total


@kernel
def divergence(old_head: Array, head: Array, out: Array) -> None:
    """Fill `out` with KL(old || new), nats."""
    size = head.shape[1] // 2
    for m in range(len(out)):
        total = np.float32(0)
        for k in range(size):
            log_std, old_log_std = head[m, size + k], old_head[m, size + k]
            shift = (old_head[m, k] - head[m, k]) * np.exp(-log_std)
            ratio = np.exp(_TWO * (old_log_std - log_std))
            total += log_std - old_log_std + _HALF * (ratio + shift * shift - _ONE)
        out[m] = total


@kernel
def pull_log_density(head: Array, action: Array, slope: Array, out: Array) -> None:
    """Fill `out` `[M, 2 A]` with the gradient at the head of the actions' log-densities."""
    size = action.shape[1]
    for m in range(len(out)):
        for k in range(size):
            precision = np.exp(-head[m, size + k])
            z = (action[m, k] - head[m, k]) * precision
            out[m, k] = slope[m] * z * precision
            out[m, size + k] = slope[m] * (z * z - _ONE)


@kernel
def pull_entropy(slope: Array, out: Array) -> None:
    """Fill `out` `[M, 2 A]` with the gradient at the head of the entropies."""
    size = out.shape[1] // 2
    for m in range(len(out)):
        for k in range(size):
            out[m, k] = 0
            out[m, size + k] = slope[m]


@kernel
def pull_divergence(old_head: Array, head: Array, slope: Array, out: Array) -> None:
    """Fill `out` `[M, 2 A]` with the gradient at the new head of KL(old || new)."""
    size = head.shape[1] // 2
    for m in range(len(out)):
        for k in range(size):
            precision = np.exp(-head[m, size + k])
            shift = (old_head[m, k] - head[m, k]) * precision
            ratio = np.exp(_TWO * (old_head[m, size + k] - head[m, size + k]))
            out[m, k] = -slope[m] * shift * precision
            out[m, size + k] = slope[m] * (_ONE - ratio - shift * shift)


@kernel
def fisher(head: Array, tangent: Array, out: Array) -> None:
    """Fill `out` `[M, 2 A]` with the Fisher information at the head times `tangent` `[M, 2 A]`."""
    size = head.shape[1] // 2
    for m in range(len(out)):
        for k in range(size):
            precision = np.exp(-head[m, size + k])
            out[m, k] = tangent[m, k] * precision * precision
            out[m, size + k] = _TWO * tangent[m, size + k]


@kernel
def sample(head: Array, noise: Array, out: Array) -> None:
    """Fill `out` `[M, A]` with mean + standard deviation * `noise` `[M, A]`."""
    size = noise.shape[1]
    for m in range(len(out)):
        for k in range(size):
            out[m, k] = head[m, k] + np.exp(head[m, size + k]) * noise[m, k]
