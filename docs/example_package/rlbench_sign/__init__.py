"""PPO that learns from the sign of an advantage only: how much does its size matter?"""

from __future__ import annotations

import torch

from rlbench import Algorithm, Samples, hyper
from rlbench.functional import clip


class SignPPO(Algorithm):
    """PPO-Clip on sign(A), every sample as important as any other."""

    name = "sign-ppo"
    is_policy_gradient = False  # on purpose: the gradient of what is maximised is another one

    clip: float = hyper(0.2, low=0.0, doc="epsilon, half-width of the ratio band")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """The clipped objective, per sample."""
        sign = x.advantage.sign()
        return torch.minimum(x.ratio * sign, clip(x.ratio, 1 - self.clip, 1 + self.clip) * sign)
