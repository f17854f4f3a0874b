"""Linear algebra on stacked parameters `[R, P]`: one answer per replica, `[R, 1]`."""

from __future__ import annotations

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
