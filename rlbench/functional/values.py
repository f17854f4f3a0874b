"""The loss of the value function, with its derivative written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def value_loss(value: Array, old_value: Array, target: Array, value_clip: Array | float | None) -> tuple[Array, Array]:
    """Return (0.5 (V - target)^2, its derivative with respect to V) per sample, `[..., B]` each.

    With `value_clip` (a float or `[..., 1]`) the loss is the larger of that and of the same with V moved at most
    `value_clip` away from the old value (the PPO2 code's rule; not in the paper). Where the clipped one is larger, its
    derivative is zero.
    """
    error = value - target
    if value_clip is None:
        return 0.5 * error * error, error
    moved = value - old_value
    inside = np.abs(moved) <= value_clip
    # Inside the range this is V itself, not old + (V - old), which rounds differently.
    near = np.where(inside, value, old_value + np.clip(moved, -value_clip, value_clip)) - target
    clipped = near * near > error * error
    worse = np.where(clipped, near, error)
    return 0.5 * worse * worse, np.where(clipped & ~inside, np.float32(0), error)
