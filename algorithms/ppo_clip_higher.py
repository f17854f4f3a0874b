"""PPO whose ratio band is wider above than below: clip-higher (Yu et al. 2025, "DAPO", equation 8)."""

from __future__ import annotations

import torch

from rlbench import Algorithm, Samples, hyper
from rlbench.functional import clip as clipped_to


class PPOClipHigher(Algorithm):
    """min(r A, clip(r, 1 - low, 1 + high) A): rare actions may become likely faster than likely ones rare."""

    name = "ppo-clip-higher"

    clip: float = hyper(0.2, low=0.0, doc="epsilon low, how far the ratio may fall; clip fractions refer to it")
    clip_high: float = hyper(0.28, low=0.0, doc="epsilon high, how far it may rise")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Equation 8, per sample."""
        clipped = clipped_to(x.ratio, 1 - self.clip, 1 + self.clip_high)
        return torch.minimum(x.ratio * x.advantage, clipped * x.advantage)
