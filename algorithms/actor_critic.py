"""An actor-critic without clip or penalty: what PPO is without its trust region (Schulman et al. 2017, equation 6)."""

from __future__ import annotations

import torch

from rlbench import Algorithm, Samples


class ActorCritic(Algorithm):
    """L = r A over K epochs of minibatches; the paper's "no clipping or penalty" of table 1."""

    name = "actor-critic"

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Equation 6, per sample."""
        return x.ratio * x.advantage
