"""PPO with a KL penalty, fixed or adaptive (Schulman et al. 2017, section 4)."""

from __future__ import annotations

from typing import Self

import torch

from rlbench import Algorithm, Samples, Stats, hyper, static
from rlbench.functional import clip


class PPOPenalty(Algorithm):
    """L = r A - beta KL(old || new), equation 8, over K epochs of minibatches.

    An adaptive beta stays within bounds that are not in the paper: after some 150 halvings it would be 0 in single
    precision, and after as many doublings infinite, and neither ever changes again. `min_beta=0, max_beta=inf` is the
    paper's rule.
    """

    name = "ppo-penalty"

    beta: float = hyper(1.0, low=0.0, doc="weight of the penalty; with `adaptive` its start")
    adaptive: bool = static(False, doc="let beta follow the KL divergence")
    kl_target: float = hyper(0.01, low=0.0, doc="the KL divergence aimed at per update, nats (d_targ)")
    min_beta: float = hyper(1e-4, low=0.0, doc="lower bound of an adaptive beta")
    max_beta: float = hyper(1e4, low=0.0, doc="upper bound of an adaptive beta")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Equation 8, per sample."""
        return x.ratio * x.advantage - self.beta * x.kl

    def adapt(self, stats: Stats) -> Self:
        """Section 4: beta doubles when d > 1.5 d_targ and halves when d < d_targ / 1.5, for the next update."""
        if not self.adaptive:
            return self
        factor = torch.where(stats.kl > 1.5 * self.kl_target, 2.0, 1.0)
        factor = torch.where(stats.kl < self.kl_target / 1.5, 0.5, factor)
        return self.replace(beta=clip(factor * self.beta, self.min_beta, self.max_beta))

    def validate(self) -> None:
        """Bounds the wrong way round would fix beta."""
        if self.min_beta > self.max_beta:
            raise ValueError(f"min_beta={self.min_beta:g} is above max_beta={self.max_beta:g}.")
