"""Returns and advantages from rewards; every tensor is time-major, `[T, ..., N]`.

`terminated` (the episode is over, its future is worth nothing) and `ended` (terminated or cut by a time limit) stay
apart: an end cuts the sum, only a termination makes the next state's value zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.functional.compiled import kernel

Coefficient = float | torch.Tensor
Array = npt.NDArray[Any]


@kernel
def _scan(values: Array, factors: Array) -> None:
    """Add to each row of `values` `[T, M]` the following one times the row's factors, from the last row backwards."""
    for t in range(len(values) - 2, -1, -1):
        for m in range(values.shape[1]):
            values[t, m] += factors[t, m] * values[t + 1, m]


def discounted_scan(x: torch.Tensor, decay: torch.Tensor) -> torch.Tensor:
    """Return y with y[t] = x[t] + decay[t] * y[t + 1] and y[T] = 0, both arguments `[T, ..., N]`."""
    if x.device.type == "cpu":
        result = np.array(x.numpy(), order="C")
        factors = np.ascontiguousarray(np.broadcast_to(decay.numpy(), result.shape))
        _scan(result.reshape(len(result), -1), factors.reshape(len(result), -1))
        return torch.from_numpy(result)
    rows = list(x)
    for t in range(len(rows) - 2, -1, -1):
        rows[t] = rows[t] + decay[t] * rows[t + 1]
    return torch.stack(rows)


def gae(
    reward: torch.Tensor,
    value: torch.Tensor,
    next_value: torch.Tensor,
    terminated: torch.Tensor,
    ended: torch.Tensor,
    *,
    gamma: Coefficient,
    lam: Coefficient,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return generalised advantages and the lambda-returns (advantage + value), each `[T, ..., N]`.

    delta_t = r_t + gamma V(s_{t+1}) (1 - terminated_t) - V(s_t) and
    A_t = delta_t + gamma lambda (1 - ended_t) A_{t+1} (Schulman et al. 2016, equations 12 and 16). `next_value` is the
    value of the true successor, at a truncation that of the final observation. Coefficients are floats or `[..., 1]`.
    """
    delta = reward + gamma * next_value * (~terminated) - value
    advantage = discounted_scan(delta, (gamma * lam) * (~ended).to(delta.dtype))
    return advantage, advantage + value


def lambda_returns(
    reward: torch.Tensor,
    value: torch.Tensor,
    next_value: torch.Tensor,
    terminated: torch.Tensor,
    ended: torch.Tensor,
    *,
    gamma: Coefficient,
    lam: Coefficient,
) -> torch.Tensor:
    """Return the lambda-return, GAE plus value, `[T, ..., N]` (Sutton and Barto 2018, section 12.1)."""
    return gae(reward, value, next_value, terminated, ended, gamma=gamma, lam=lam)[1]


def reward_to_go(reward: torch.Tensor, ended: torch.Tensor, *, gamma: Coefficient) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the discounted sum of rewards until the episode's end, and whether that end was seen, each `[T, ..., N]`.

    The second tensor is 1 for a sample whose episode ends within the rollout and 0 for the unfinished rest, whose sum
    is not a Monte-Carlo return. Nothing is bootstrapped: an episode cut by a time limit counts as it was played.
    """
    alive = (~ended).to(reward.dtype)
    returns = discounted_scan(reward, gamma * alive)
    finished = discounted_scan(ended.to(reward.dtype), alive)
    return returns, finished
