"""Dual-clip PPO (Ye et al. 2020, "Mastering Complex Control in MOBA Games with Deep Reinforcement Learning")."""

from __future__ import annotations

import torch
from rlbench.algorithms.ppo_clip import PPOClip

from rlbench import Samples, hyper


class PPODualClip(PPOClip):
    """max(min(r A, clip(r) A), c A) where A < 0, equation 7: large ratios do not drive bad actions without bound."""

    name = "ppo-dual-clip"

    dual: float = hyper(3.0, low=1.0, doc="c, the ratio beyond which a negative advantage has no gradient")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Equation 7, per sample."""
        clipped = super().surrogate(x)
        return torch.where(x.advantage < 0, torch.maximum(clipped, self.dual * x.advantage), clipped)
