"""Returns and advantages from rewards; every tensor is time-major, `[T, ..., N]`.

`terminated` (the episode is over, its future is worth nothing) and `ended` (terminated or cut by a time limit) stay
apart: an end cuts the sum, only a termination makes the next state's value zero.
"""

import numpy as np
import torch

from rlbench.functional.compiled import Array, kernel

Coefficient = float | torch.Tensor


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


Bound = float | torch.Tensor


def mean(x: torch.Tensor) -> torch.Tensor:
    """Return the mean over samples, keeping the axis: `[..., B]` to `[..., 1]`."""
    return x.mean(-1, keepdim=True)


def clip(x: torch.Tensor, low: Bound, high: Bound) -> torch.Tensor:
    """Return `x` limited to [low, high]; unlike in `Tensor.clamp` a float and a tensor bound may be mixed.

    At a bound the derivative is 1, as between them: with low = high = 1 a ratio of 1 still has the policy gradient's.
    """
    low_tensor = torch.as_tensor(low, dtype=x.dtype, device=x.device)
    high_tensor = torch.as_tensor(high, dtype=x.dtype, device=x.device)
    return torch.clamp(x, low_tensor, high_tensor)


def weighted_mean(x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Return the mean over samples weighted by `weight`, `[..., 1]`; zero where no sample has weight."""
    if weight is None:
        return mean(x)
    total = weight.sum(-1, keepdim=True)
    return (x * weight).sum(-1, keepdim=True) / total.clamp(min=1e-8)


def normalised_weights(x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Return each sample's share in a mean over the samples of `x` `[..., B]`, of the same shape."""
    if weight is None:
        return torch.full_like(x, 1 / x.shape[-1])
    # The sum is that of `weighted_mean`: both must agree on which samples count how much.
    return weight / weight.sum(-1, keepdim=True).clamp(min=1e-8)


def rollout_mean(x: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Return the (weighted) mean of a rollout `[T, ..., N]` over time and copies, `[1, ..., 1]`."""
    # Samples go last and lie together first: how a sum rounds must not depend on the axes between.
    # Of a single copy, flattening is a view with gaps; only a copy is as dense in a pack as alone.
    flat = x.movedim(0, -2).flatten(-2).contiguous()
    weights = None if weight is None else weight.movedim(0, -2).flatten(-2).contiguous()
    return weighted_mean(flat, weights).unsqueeze(0)


def standardise(x: torch.Tensor, weight: torch.Tensor | None = None, eps: float = 1e-8) -> torch.Tensor:
    """Return `x` less its mean, divided by its standard deviation over samples (Bessel's correction, as CleanRL)."""
    centred = x - weighted_mean(x, weight)
    squares = centred * centred
    if weight is None:
        freedom = max(x.shape[-1] - 1, 1)
        variance = squares.sum(-1, keepdim=True) / freedom
    else:
        variance = (squares * weight).sum(-1, keepdim=True) / (weight.sum(-1, keepdim=True) - 1).clamp(min=1)
    return centred / (variance.sqrt() + eps)


def kl_estimate(log_ratio: torch.Tensor) -> torch.Tensor:
    """Return the sample estimate of KL(old || new), (r - 1) - log r >= 0 (Schulman 2020, "k3"), `[..., B]`."""
    return torch.expm1(log_ratio) - log_ratio


def clipped_value_loss(
    value: torch.Tensor, old_value: torch.Tensor, target: torch.Tensor, value_clip: Bound | None
) -> torch.Tensor:
    """Return 0.5 (V - target)^2 per sample, `[..., B]`, through autograd.

    With `value_clip` the loss is the larger of that and of the same with V moved at most `value_clip` away from the
    old value (the PPO2 code's rule; not in the paper).
    """
    error = value - target
    if value_clip is None:
        return 0.5 * error * error
    moved = value - old_value
    # Inside the range this is V itself, not old + (V - old), which rounds differently.
    near = torch.where(moved.abs() <= value_clip, value, old_value + clip(moved, -value_clip, value_clip)) - target
    worse = torch.where(near * near > error * error, near, error)
    return 0.5 * worse * worse


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
