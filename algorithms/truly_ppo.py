"""Truly PPO (Wang et al. 2020, "Truly Proximal Policy Optimization", section 4.3)."""

from __future__ import annotations

import torch

from rlbench import Algorithm, Samples, hyper


class TrulyPPO(Algorithm):
    """r A, less alpha KL(old || new) where that KL is delta or more and r A > A: led back into the trust region.

    The paper subtracts alpha delta elsewhere, which has no gradient. Its delta and alpha are those of MuJoCo.
    """

    name = "truly-ppo"

    delta: float = hyper(0.03, low=0.0, doc="the KL divergence of a state's policies that is allowed, nats")
    rollback: float = hyper(5.0, low=0.0, doc="alpha, the weight of the KL divergence beyond delta")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Equation 17, per sample."""
        gain = x.ratio * x.advantage
        outside = (x.kl >= self.delta) & (gain > x.advantage)
        return gain - self.rollback * torch.where(outside, x.kl - self.delta, 0 * x.kl)
