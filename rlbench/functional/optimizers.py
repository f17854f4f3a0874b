"""Optimisation of flat parameters `[R, P]`: Adam, RMSProp and plain steps, compiled and in torch on any device.

And what solves for a step. `rmsprop` is PyTorch's: the mean of squares begins at 0, its decay is 0.99, and epsilon is
added to the root. `rmsprop-tf` is TensorFlow's, which actor-critics were published with (Mnih et al. 2016, the section
on optimisation): the mean begins at 1, and epsilon stands below the root. Where gradients are small, as under a bound
on their norm, an epsilon of 1e-5 shortens the steps of the second and not of the first.

Every coefficient may differ per replica, and an answer per replica is `[R, 1]`.

In torch, which replicas take part is a tensor and is never asked of the device, so that no gradient step waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rlbench.functional.compiled import Array, helper, kernel

RULES = ("adam", "rmsprop", "rmsprop-tf", "sgd")
_BETAS = (0.9, 0.999)
_DECAY = 0.99  # of RMSProp's mean of squares


@dataclass(eq=False)
class AdamState:
    """Scaled moments `[R, P]` and the number of steps taken `[R, 2]`: of the parameters before `split` and after.

    `first` is the mean of gradients over 1 - beta1, `second` that of their squares over 1 - beta2: two operations less
    a step than the moments themselves. RMSProp keeps in `second` the mean of squares itself.
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


def descend(
    params: Array,
    grad: Array,
    state: AdamState,
    *,
    rule: str = "adam",
    lr: Array,
    value_lr: Array | None = None,
    eps: Array,
    max_norm: Array | None = None,
    active: Array | None = None,
    parts: tuple[bool, bool] = (True, True),
) -> None:
    """Take one descent step along `grad` in place, by default Adam's (Kingma and Ba 2015, algorithm 1).

    `lr`, `value_lr`, `eps` and `max_norm` are `[R, 1]`; `value_lr` is the step size of the second part of the
    parameters, `lr` if None. The norm of a replica's whole gradient is clipped to `max_norm`. Replicas outside `active`
    `[R]`, and the part of the parameters that `parts` leaves out, keep parameters and state to the bit.
    """
    _descend(
        params, grad, state.first, state.second, state.steps, state.split, RULES.index(rule),
        lr.reshape(-1), (lr if value_lr is None else value_lr).reshape(-1), eps.reshape(-1),
        np.full(len(params), np.float32(np.inf)) if max_norm is None else max_norm.reshape(-1),
        np.ones(len(params), np.bool_) if active is None else active,
        *parts, *_BETAS,
    )  # fmt: skip


@helper
def _move(
    params: Array, grad: Array, first: Array, second: Array, factor: Any, rate: Any, small: Any, b1: Any, b2: Any
) -> None:
    """One replica's step; a function of its own, which the compiler turns into vector instructions."""
    for i in range(len(params)):
        clipped = grad[i] * factor
        mean = first[i] * b1 + clipped
        square = second[i] * b2 + clipped * clipped
        first[i], second[i] = mean, square
        params[i] -= rate * (mean / (np.sqrt(square) + small))


@helper
def _move_by_squares(
    params: Array, grad: Array, second: Array, factor: Any, rate: Any, below: Any, beside: Any, decay: Any
) -> None:
    """One replica's step of RMSProp, with an epsilon below the root or beside it."""
    for i in range(len(params)):
        clipped = grad[i] * factor
        square = second[i] * decay + (np.float32(1) - decay) * (clipped * clipped)
        second[i] = square
        params[i] -= rate * (clipped / (np.sqrt(square + below) + beside))


@kernel
def _descend(
    params: Array,
    grad: Array,
    first: Array,
    second: Array,
    steps: Array,
    split: int,
    rule: int,
    lr: Array,
    value_lr: Array,
    eps: Array,
    max_norm: Array,
    active: Array,
    before: bool,
    after: bool,
    beta1: float,
    beta2: float,
) -> None:
    b1, b2 = np.float32(beta1), np.float32(beta2)
    for r in range(len(params)):
        if not active[r]:
            continue
        # The small number is torch.nn.utils.clip_grad_norm_'s. NaN goes on into every parameter, and a norm that
        # overflows does, too: clipped to its bound such a gradient would be 0, and nothing would be learnt.
        norm = np.sqrt(np.dot(grad[r], grad[r]))
        factor = np.minimum(max_norm[r] / (norm + np.float32(1e-6)), np.float32(1))
        if np.isinf(norm):
            factor = np.float32(np.nan)
        for part in range(2):
            if not (before if part == 0 else after):
                continue
            steps[r, part] += 1
            size = lr[r] if part == 0 else value_lr[r]
            low, high = (0, split) if part == 0 else (split, params.shape[1])
            if rule == 1 or rule == 2:
                if rule == 2 and steps[r, part] == 1:
                    second[r, low:high] = np.float32(1)
                _move_by_squares(
                    params[r, low:high],
                    grad[r, low:high],
                    second[r, low:high],
                    factor,
                    size,
                    eps[r] if rule == 2 else np.float32(0),
                    eps[r] if rule == 1 else np.float32(0),
                    np.float32(_DECAY),
                )
                continue
            if rule == 3:
                for i in range(low, high):
                    params[r, i] -= size * (grad[r, i] * factor)
                continue
            c1, c2 = 1 - beta1 ** steps[r, part], 1 - beta2 ** steps[r, part]  # bias corrections
            # lr (m / c1) / (sqrt(v / c2) + eps), with m = (1 - beta1) first and v = (1 - beta2) second.
            stretch = np.sqrt(c2 / (1 - beta2))
            rate, small = np.float32(size * stretch * (1 - beta1) / c1), np.float32(eps[r] * stretch)
            _move(
                params[r, low:high], grad[r, low:high], first[r, low:high], second[r, low:high],
                factor, rate, small, b1, b2,
            )  # fmt: skip


def norms(grad: Array) -> Array:
    """Return the Euclidean norm of each replica's gradient, `[R, P]` to `[R]`."""
    # Unlike einsum, vecdot sums a row the same way however many rows there are.
    result: Array = np.sqrt(np.vecdot(grad, grad))
    return result


@dataclass(eq=False)
class TensorAdamState:
    """Scaled moments `[R, P]`, and beta to the power of the steps taken, `[R, 2]` for each of the two betas.

    `first` is the mean of gradients over 1 - beta1, `second` that of their squares over 1 - beta2. The two columns of
    `decay1` and `decay2` are of the parameters before `split` and after. They are float64, and products instead of
    powers: how a power rounds may depend on its place in a tensor.
    """

    first: torch.Tensor
    second: torch.Tensor
    decay1: torch.Tensor
    decay2: torch.Tensor
    split: int

    @classmethod
    def zeros(cls, params: torch.Tensor, split: int) -> TensorAdamState:
        """Return the state before the first step, for parameters like `params` `[R, P]`."""
        ones = torch.ones(len(params), 2, dtype=torch.float64, device=params.device)
        return cls(torch.zeros_like(params), torch.zeros_like(params), ones, ones.clone(), split)


def descend_(
    params: torch.Tensor,
    grad: torch.Tensor,
    state: TensorAdamState,
    *,
    rule: str = "adam",
    lr: torch.Tensor,
    value_lr: torch.Tensor | None = None,
    eps: torch.Tensor,
    active: torch.Tensor,
    parts: tuple[bool, bool] = (True, True),
) -> None:
    """Do what `descend` does, without clipping.

    `lr`, `value_lr` and `eps` are `[R, 1]`, `active` is bool `[R]`. Replicas outside `active`, and the part of the
    parameters that `parts` leaves out, keep parameters and state to the bit.
    """
    going = active[:, None]
    for k, part in enumerate((slice(0, state.split), slice(state.split, None))):
        if not parts[k]:
            continue
        begins, size = state.decay1[:, k : k + 1] == 1, lr if k == 0 or value_lr is None else value_lr
        for decay, beta in zip((state.decay1, state.decay2), _BETAS, strict=True):
            column = decay[:, k : k + 1]
            column.copy_(torch.where(going, column * beta, column))
        c1, c2 = 1 - state.decay1[:, k : k + 1], 1 - state.decay2[:, k : k + 1]  # bias corrections
        first, second, used = state.first[:, part], state.second[:, part], grad[:, part]
        if rule == "sgd":
            params[:, part] = torch.where(going, params[:, part] - used * size, params[:, part])
            continue
        if rule.startswith("rmsprop"):
            below = rule == "rmsprop-tf"
            square = (torch.where(begins, 1.0, second) if below else second) * _DECAY + (1 - _DECAY) * used * used
            moved = params[:, part] - size * (used / ((square + eps).sqrt() if below else square.sqrt() + eps))
            for old, new in ((params[:, part], moved), (second, square)):
                old.copy_(torch.where(going, new, old))
            continue
        new_first, new_second = first * _BETAS[0] + used, second * _BETAS[1] + used * used
        # lr (m / c1) / (sqrt(v / c2) + eps), with m = (1 - beta1) first and v = (1 - beta2) second.
        scale = (c2 / (1 - _BETAS[1])).sqrt()
        ratio = new_first / (new_second.sqrt() + (eps * scale).to(grad.dtype))
        moved = params[:, part] - ratio * (size * scale * (1 - _BETAS[0]) / c1).to(grad.dtype)
        for old, new in ((params[:, part], moved), (first, new_first), (second, new_second)):
            old.copy_(torch.where(going, new, old))


def clip_by_norm_(grad: torch.Tensor, max_norm: torch.Tensor) -> None:
    """Scale each replica's gradient `[R, P]` in place so that its norm is at most `max_norm` `[R, 1]`."""
    # The small number is torch.nn.utils.clip_grad_norm_'s. A norm that overflows goes on as NaN, as in `descend`.
    size = norm(grad)
    grad *= torch.where(size.isinf(), torch.nan, (max_norm / (size + 1e-6)).clamp(max=1))


def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the inner product of each replica's vectors, `[R, P]` x `[R, P]` to `[R, 1]`."""
    return (a * b).sum(-1, keepdim=True)


def norm(a: torch.Tensor) -> torch.Tensor:
    """Return the Euclidean norm of each replica's vector, `[R, P]` to `[R, 1]`."""
    return dot(a, a).sqrt()


def where(condition: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return replica r of `a` where `condition[r]` holds, else of `b`; condition `[R, 1]`, the others `[R, P]`."""
    return torch.where(condition, a, b)


def conjugate_gradient(
    matvec: Callable[[torch.Tensor], torch.Tensor], b: torch.Tensor, *, iterations: int, tolerance: float = 1e-10
) -> torch.Tensor:
    """Return x with A x = b approximately, `[R, P]`, for a positive definite A given by its products `matvec`.

    A replica whose squared residual falls below `tolerance` keeps its answer while the others go on (Hestenes and
    Stiefel 1952; used for the natural gradient by Schulman et al. 2015, appendix C).
    """
    x = torch.zeros_like(b)
    residual, direction = b.clone(), b.clone()
    rr = dot(residual, residual)  # [R, 1]
    for _ in range(iterations):
        going = rr > tolerance
        if not bool(going.any()):
            break
        product = matvec(direction)
        curvature = dot(direction, product)
        alpha = where(going & (curvature > 0), rr / curvature, torch.zeros_like(rr))
        x = x + alpha * direction
        residual = residual - alpha * product
        new_rr = dot(residual, residual)
        direction = where(going, residual + new_rr / rr * direction, direction)
        rr = where(going, new_rr, rr)
    return x


def backtracking_line_search(
    accept: Callable[[torch.Tensor], torch.Tensor],
    start: torch.Tensor,
    step: torch.Tensor,
    *,
    shrink: float,
    tries: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (point, fraction): start + shrink^j step for the first j < tries that `accept` takes, per replica.

    `accept` maps points `[R, P]` to booleans `[R, 1]`; a replica of which no try is accepted stays at `start` with
    fraction 0. Fractions are `[R, 1]`.
    """
    point = start.clone()
    fraction = torch.zeros_like(start[:, :1])
    scale = 1.0
    for _ in range(tries):
        open_ = fraction == 0
        if not bool(open_.any()):
            break
        candidate = start + scale * step
        taken = open_ & accept(candidate)
        point = where(taken, candidate, point)
        fraction = where(taken, torch.full_like(fraction, scale), fraction)
        scale *= shrink
    return point, fraction
