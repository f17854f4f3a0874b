"""Running normalisation of observations and rewards on a device, as `rlbench.training.envs.normalize` defines it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rlbench.training.envs.normalize import CLIP, EPSILON
from rlbench.training.state import Saved

Tensor = torch.Tensor


class TensorMoments(Saved):
    """Mean and variance of everything seen, `[R, K]` in float64; they start as in Gym."""

    ROWS, COMMON = ("mean", "variance"), ("count",)

    def __init__(self, replicas: int, size: int, device: torch.device) -> None:
        self.mean = torch.zeros(replicas, size, dtype=torch.float64, device=device)
        self.variance = torch.ones_like(self.mean)
        self.count = 1e-4

    def update(self, batch: Tensor) -> None:
        """Take in N samples per replica, `[R, N, K]` (Chan, Golub and LeVeque 1979)."""
        samples = batch.shape[1]
        mean = batch.mean(1)
        variance = (batch - mean[:, None]).square().mean(1)
        total = self.count + samples
        delta = mean - self.mean
        self.mean = self.mean + delta * samples / total
        squares = self.variance * self.count + variance * samples
        self.variance = (squares + delta.square() * self.count * samples / total) / total
        self.count = total

    def scale(self) -> Tensor:
        """Return the standard deviation, kept away from zero, `[R, K]`."""
        return (self.variance + EPSILON).sqrt()


class TensorObservationNormalizer(Saved):
    """Shifts and scales observations to mean 0 and variance 1, clipped to [-10, 10]."""

    PARTS = ("moments",)

    def __init__(self, replicas: int, size: int, device: torch.device) -> None:
        self.moments = TensorMoments(replicas, size, device)

    def update_and_apply(self, observation: Tensor) -> Tensor:
        """Take in the observations `[R, N, O]`, then return them normalised; once per environment step."""
        self.moments.update(observation.to(torch.float64))
        return self.apply(observation)

    def apply(self, observation: Tensor) -> Tensor:
        """Normalise `[R, N, O]` with the statistics so far, as for the final observations of episodes."""
        scaled = (observation - self.moments.mean[:, None]) / self.moments.scale()[:, None]
        return scaled.clamp(-CLIP, CLIP).to(torch.float32)


class TensorRewardNormalizer(Saved):
    """Divides rewards by the standard deviation of the running discounted return, clipped to [-10, 10]."""

    ROWS, PARTS = ("_returns",), ("moments",)

    def __init__(self, num_envs: int, gamma: Sequence[float], device: torch.device) -> None:
        """Start with returns of 0; `gamma` is the discount of each replica `[R]`."""
        self.moments = TensorMoments(len(gamma), 1, device)
        self._gamma = torch.tensor(gamma, dtype=torch.float64, device=device)[:, None]
        self._returns = torch.zeros(len(gamma), num_envs, dtype=torch.float64, device=device)

    def apply(self, reward: Tensor, ended: Tensor) -> Tensor:
        """Take in a step's rewards `[R, N]` and return them scaled; `ended` `[R, N]` is either kind of end."""
        self._returns = self._returns * self._gamma + reward
        self.moments.update(self._returns[..., None])
        self._returns = self._returns.masked_fill(ended, 0.0)
        return (reward / self.moments.scale()).clamp(-CLIP, CLIP)
