"""PPO with rollback: PPO-RB of Wang et al. 2020, "Truly Proximal Policy Optimization", section 4.1."""

from __future__ import annotations

import torch
from rlbench.algorithms.ppo_clip import PPOClip

from rlbench import Samples, hyper
from rlbench.functional import clip


class PPORollback(PPOClip):
    """min(r A, F A), F = clip(r) inside of the band and of slope -alpha outside: who left it is led back."""

    name = "ppo-rollback"

    rollback: float = hyper(0.3, low=0.0, doc="alpha, the slope outside of the band; 0 is PPO-Clip")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Equation 8, per sample."""
        inside = clip(x.ratio, 1 - self.clip, 1 + self.clip)
        back = inside - self.rollback * (x.ratio - inside)
        return torch.minimum(x.ratio * x.advantage, back * x.advantage)
