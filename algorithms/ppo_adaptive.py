"""PPO-Clip whose clip range follows the KL divergence; a rule that is taught; the PPO paper adapts beta."""

from __future__ import annotations

from typing import Self

import torch
from rlbench.algorithms.ppo_clip import PPOClip

from rlbench import Stats, hyper
from rlbench.functional import clip


class PPOAdaptive(PPOClip):
    """Halve the clip range when KL(old || new) > 1.5 target, double it when KL < target / 1.5, within bounds.

    Without bounds three doublings from 0.2 pass 1, where the lower clip 1 - eps is gone; `max_clip=inf, min_clip=0`
    is that rule.
    """

    name = "ppo-adaptive"

    kl_target: float = hyper(0.01, low=0.0, doc="the KL divergence aimed at per update, nats")
    min_clip: float = hyper(0.05, low=0.0, doc="lower bound of the clip range")
    max_clip: float = hyper(0.5, low=0.0, doc="upper bound of the clip range")

    def adapt(self, stats: Stats) -> Self:
        """Once per update, by the KL over all its samples."""
        factor = torch.where(stats.kl > 1.5 * self.kl_target, 0.5, 1.0)
        factor = torch.where(stats.kl < self.kl_target / 1.5, 2.0, factor)
        return self.replace(clip=clip(factor * self.clip, self.min_clip, self.max_clip))

    def validate(self) -> None:
        """Bounds the wrong way round would fix the clip range."""
        if self.min_clip > self.max_clip:
            raise ValueError(f"min_clip={self.min_clip:g} is above max_clip={self.max_clip:g}.")
