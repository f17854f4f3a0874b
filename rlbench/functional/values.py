"""The loss of the value function, with its derivative written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rlbench.functional.compiled import kernel

Array = npt.NDArray[Any]


@kernel
def _value_loss(
    value: Array, old_value: Array, target: Array, reach: Array, shares: Array, loss: Array, slope: Array
) -> None:
    for r in range(len(value)):
        total = np.float32(0)
        for b in range(value.shape[1]):
            error = value[r, b] - target[r, b]
            moved = value[r, b] - old_value[r, b]
            worse, steep = error, error
            if not abs(moved) <= reach[r]:
                near = old_value[r, b] + min(max(moved, -reach[r]), reach[r]) - target[r, b]
                if near * near > error * error:
                    worse, steep = near, np.float32(0)
            total += shares[r, b] * (np.float32(0.5) * worse * worse)
            slope[r, b] = shares[r, b] * steep
        loss[r] = total


def value_loss(value: Array, old_value: Array, target: Array, value_clip: Array, shares: Array) -> tuple[Array, Array]:
    """Return the mean of 0.5 (V - target)^2, `[R]`, and its derivative with respect to each V, `[R, B]`.

    `shares` `[R, B]` are the samples' shares in the mean. With a finite `value_clip` `[R]` a sample's loss is the
    larger of that and of the same with V moved at most `value_clip` away from the old value (the PPO2 code's rule; not
    in the paper). Where the clipped one is larger, its derivative is zero.
    """
    loss, slope = np.empty(len(value), value.dtype), np.empty_like(value)
    _value_loss(value, old_value, target, value_clip, shares, loss, slope)
    return loss, slope
