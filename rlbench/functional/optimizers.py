"""Adam on a flat buffer `[R, P]`; every coefficient may differ per replica."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(eq=False)
class AdamState:
    """Scaled moments `[R, P]` and the number of steps taken `[R, 2]`: of the parameters before `split` and after.

    `first` is the mean of gradients over 1 - beta1, `second` that of their squares over 1 - beta2: two operations less
    a step than the moments themselves.
    """

    first: Array
    second: Array
    steps: Array
    split: int

    @classmethod
    def zeros(cls, replicas: int, size: int, split: int | None = None) -> AdamState:
        """Return the state before the first step; without `split` all parameters belong to the first part."""
        return cls(
            np.zeros((replicas, size), np.float32),
            np.zeros((replicas, size), np.float32),
            np.zeros((replicas, 2), np.int64),
            size if split is None else split,
        )


def adam(
    params: Array,
    grad: Array,
    state: AdamState,
    *,
    lr: Array,
    eps: Array,
    active: Array | None = None,
    parts: tuple[bool, bool] = (True, True),
    betas: tuple[float, float] = (0.9, 0.999),
) -> None:
    """Take one descent step in place (Kingma and Ba 2015, algorithm 1); `grad` is used up as scratch memory.

    `lr` and `eps` are `[R, 1]` or `[1, 1]`. Replicas outside `active` `[R]`, and the part of the parameters that
    `parts` leaves out, keep parameters and state to the bit.
    """
    if active is not None and not active.all():
        part = AdamState(state.first[active], state.second[active], state.steps[active], state.split)
        chosen = params[active]
        rates = (np.broadcast_to(rate, (len(params), 1))[active] for rate in (lr, eps))
        adam(chosen, grad[active], part, lr=next(rates), eps=next(rates), parts=parts, betas=betas)
        params[active] = chosen
        state.first[active], state.second[active], state.steps[active] = part.first, part.second, part.steps
        return
    state.steps += parts
    if all(parts) and np.array_equal(state.steps[:, 0], state.steps[:, 1]):
        pieces = [(slice(None), 0)]
    else:
        ends = (slice(0, state.split), slice(state.split, None))
        pieces = [(ends[k], k) for k in (0, 1) if parts[k]]
    for piece, k in pieces:
        moments = state.first[:, piece], state.second[:, piece]
        _adam_step(params[:, piece], grad[:, piece], *moments, state.steps[:, k : k + 1], lr, eps, betas)


def _adam_step(
    params: Array,
    grad: Array,
    first: Array,
    second: Array,
    steps: Array,
    lr: Array,
    eps: Array,
    betas: tuple[float, float],
) -> None:
    beta1, beta2 = betas
    c1, c2 = 1 - beta1**steps, 1 - beta2**steps  # bias corrections
    scale = np.sqrt(c2 / (1 - beta2))
    first *= np.float32(beta1)
    first += grad
    second *= np.float32(beta2)
    grad *= grad
    second += grad
    # lr (m / c1) / (sqrt(v / c2) + eps), with m = (1 - beta1) first and v = (1 - beta2) second.
    np.sqrt(second, out=grad)
    grad += (eps * scale).astype(np.float32)
    np.divide(first, grad, out=grad)
    grad *= (lr * scale * (1 - beta1) / c1).astype(np.float32)
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
