"""PPO with a KL penalty, fixed or adaptive (Schulman et al. 2017, section 4)."""

from __future__ import annotations

from typing import Self

import torch

from rlbench import Algorithm, Samples, Stats, hyper, static


class PPOPenalty(Algorithm):
    """L = r A - beta KL(old || new), equation 8, over K epochs of minibatches."""

    name = "ppo-penalty"

    beta: float = hyper(1.0, low=0.0, doc="weight of the penalty; with `adaptive` its start")
    adaptive: bool = static(False, doc="let beta follow the KL divergence")
    kl_target: float = hyper(0.01, low=0.0, doc="the KL divergence aimed at per update, nats (d_targ)")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Equation 8, per sample."""
        return x.ratio * x.advantage - self.beta * x.kl

    def adapt(self, stats: Stats) -> Self:
        """Section 4: beta doubles when d > 1.5 d_targ and halves when d < d_targ / 1.5, for the next update."""
        if not self.adaptive:
            return self
        factor = torch.where(stats.kl > 1.5 * self.kl_target, 2.0, 1.0)
        factor = torch.where(stats.kl < self.kl_target / 1.5, 0.5, factor)
        return self.replace(beta=factor * self.beta)
