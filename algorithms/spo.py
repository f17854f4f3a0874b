"""SPO: Simple Policy Optimization (Xie et al. 2025, ICML, arXiv 2401.16025)."""

from __future__ import annotations

import torch

from rlbench import Algorithm, Samples, hyper


class SPO(Algorithm):
    """r A - |A| (r - 1)^2 / (2 epsilon), whose maximum lies at r = 1 + sign(A) epsilon: a bound that has a gradient."""

    name = "spo"

    clip: float = hyper(0.2, low=1e-6, doc="epsilon, how far from 1 the best ratio is")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """The paper's objective, per sample."""
        away = x.ratio - 1
        return x.ratio * x.advantage - x.advantage.abs() * away * away / (2 * self.clip)
