"""Adam on flat parameters `[R, P]` in torch, on any device; every coefficient may differ per replica.

The steps are those of `rlbench.functional.optimizers`. Which replicas take part is a tensor and is never asked of the
device, so that no gradient step waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlbench.functional.replicas import norm

_BETAS = (0.9, 0.999)


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


def adam_(
    params: torch.Tensor,
    grad: torch.Tensor,
    state: TensorAdamState,
    *,
    lr: torch.Tensor,
    eps: torch.Tensor,
    active: torch.Tensor,
    parts: tuple[bool, bool] = (True, True),
) -> None:
    """Take one descent step in place (Kingma and Ba 2015, algorithm 1).

    `lr` and `eps` are `[R, 1]`, `active` is bool `[R]`. Replicas outside `active`, and the part of the parameters
    that `parts` leaves out, keep parameters and state to the bit.
    """
    going = active[:, None]
    ends = (slice(0, state.split), slice(state.split, None))
    for k in (0, 1):
        if parts[k]:
            for decay, beta in zip((state.decay1, state.decay2), _BETAS, strict=True):
                column = decay[:, k : k + 1]
                column.copy_(torch.where(going, column * beta, column))
            _step(params[:, ends[k]], grad[:, ends[k]], state, ends[k], k, lr, eps, going)


def _step(
    params: torch.Tensor,
    grad: torch.Tensor,
    state: TensorAdamState,
    part: slice,
    k: int,
    lr: torch.Tensor,
    eps: torch.Tensor,
    going: torch.Tensor,
) -> None:
    beta1, beta2 = _BETAS
    first, second = state.first[:, part], state.second[:, part]
    c1, c2 = 1 - state.decay1[:, k : k + 1], 1 - state.decay2[:, k : k + 1]  # bias corrections
    scale = (c2 / (1 - beta2)).sqrt()
    new_first = first * beta1 + grad
    new_second = second * beta2 + grad * grad
    # lr (m / c1) / (sqrt(v / c2) + eps), with m = (1 - beta1) first and v = (1 - beta2) second.
    ratio = new_first / (new_second.sqrt() + (eps * scale).to(grad.dtype))
    moved = params - ratio * (lr * scale * (1 - beta1) / c1).to(grad.dtype)
    for old, new in ((params, moved), (first, new_first), (second, new_second)):
        old.copy_(torch.where(going, new, old))


def clip_by_norm_(grad: torch.Tensor, max_norm: torch.Tensor) -> None:
    """Scale each replica's gradient `[R, P]` in place so that its norm is at most `max_norm` `[R, 1]`."""
    # The small number is torch.nn.utils.clip_grad_norm_'s. A norm that overflows goes on as NaN, as in `adam`.
    size = norm(grad)
    grad *= torch.where(size.isinf(), torch.nan, (max_norm / (size + 1e-6)).clamp(max=1))
