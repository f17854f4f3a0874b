"""Linear algebra on stacked parameters `[R, P]`: one answer per replica, `[R, 1]`."""

from __future__ import annotations

from collections.abc import Callable

import torch


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
