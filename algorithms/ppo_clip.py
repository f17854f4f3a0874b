"""PPO with the clipped surrogate (Schulman et al. 2017, "Proximal Policy Optimization Algorithms", section 3)."""

from __future__ import annotations

import torch

from rlbench import Algorithm, Samples, hyper
from rlbench.functional import clip


class PPOClip(Algorithm):
    """L = min(r A, clip(r, 1 - eps, 1 + eps) A), equation 7, over K epochs of minibatches."""

    name = "ppo-clip"

    clip: float = hyper(0.2, low=0.0, doc="epsilon, half-width of the ratio band")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Equation 7, per sample."""
        clipped = clip(x.ratio, 1 - self.clip, 1 + self.clip)
        return torch.minimum(x.ratio * x.advantage, clipped * x.advantage)
