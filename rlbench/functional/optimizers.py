"""Adam on a flat buffer `[R, P]`; every coefficient may differ per replica."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(eq=False)
class AdamState:
    """First and second moments `[R, P]` and the number of steps taken `[R, 1]`."""

    first: Array
    second: Array
    steps: Array

    @classmethod
    def zeros(cls, replicas: int, size: int) -> AdamState:
        """Return the state before the first step."""
        return cls(
            np.zeros((replicas, size), np.float32),
            np.zeros((replicas, size), np.float32),
            np.zeros((replicas, 1), np.int64),
        )


def adam(
    params: Array,
    grad: Array,
    state: AdamState,
    *,
    lr: Array,
    eps: Array,
    active: Array | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
) -> None:
    """Take one descent step in place (Kingma and Ba 2015, algorithm 1); `grad` is used up as scratch memory.

    `lr` and `eps` are `[R, 1]`. Replicas outside `active` `[R]` keep parameters and state to the bit.
    """
    if active is not None and not active.all():
        part = AdamState(state.first[active], state.second[active], state.steps[active])
        chosen = params[active]
        adam(chosen, grad[active], part, lr=lr[active], eps=eps[active], betas=betas)
        params[active] = chosen
        state.first[active], state.second[active], state.steps[active] = part.first, part.second, part.steps
        return
    beta1, beta2 = betas
    state.steps += 1
    first, second = state.first, state.second
    first *= np.float32(beta1)
    first += np.float32(1 - beta1) * grad
    second *= np.float32(beta2)
    grad *= grad
    grad *= np.float32(1 - beta2)
    second += grad
    # With bias corrections c1, c2: lr (m / c1) / (sqrt(v / c2) + eps).
    c1 = 1 - beta1**state.steps
    c2 = 1 - beta2**state.steps
    np.sqrt(second, out=grad)
    grad *= (1 / np.sqrt(c2)).astype(np.float32)
    grad += eps
    np.divide(first, grad, out=grad)
    grad *= (lr / c1).astype(np.float32)
    params -= grad


def norms(grad: Array) -> Array:
    """Return the Euclidean norm of each replica's gradient, `[R, P]` to `[R]`."""
    # Unlike einsum, vecdot sums a row the same way however many rows there are.
    result: Array = np.sqrt(np.vecdot(grad, grad))
    return result


def clip_by_norm(grad: Array, max_norm: Array) -> None:
    """Scale each replica's gradient `[R, P]` in place so that its norm is at most `max_norm` `[R, 1]`."""
    # The small number is torch.nn.utils.clip_grad_norm_'s.
    scale = np.minimum(max_norm[:, 0] / (norms(grad) + np.float32(1e-6)), np.float32(1))
    if not (scale >= 1).all():  # so that NaN spreads over its own replica whatever the others' norms are
        grad *= scale[:, None]
