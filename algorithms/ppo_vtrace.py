"""PPO with V-trace (Espeholt et al. 2018, "IMPALA", equation 1): later epochs are not on the policy that acted."""

from __future__ import annotations

import torch
from rlbench.algorithms.ppo_clip import PPOClip

from rlbench import Trajectory, hyper, static
from rlbench.functional import discounted_scan


class PPOVTrace(PPOClip):
    """PPO-Clip whose advantages are V-trace's, anew in every epoch, with the ratios cut at rho and c.

    At ratio 1, as in the first epoch, they are generalised advantages.
    """

    name = "ppo-vtrace"

    rho: float = hyper(1.0, low=0.0, doc="rho bar, where the weight of a step's own error is cut")
    trace: float = hyper(1.0, low=0.0, doc="c bar, where the weight of the errors after it is cut")
    reestimate: bool = static(True, late=True, doc="estimate advantages anew, with the latest value, in every epoch")

    def advantages(self, tr: Trajectory) -> tuple[torch.Tensor, torch.Tensor]:
        """Equation 1, less V; lambda is in the trace, as in the paper's remark 2."""
        error = tr.reward + self.gamma * tr.next_value * (~tr.terminated) - tr.value
        decay = self.gamma * self.gae_lambda * tr.ratio.minimum(torch.as_tensor(self.trace)) * (~tr.ended)
        advantage = discounted_scan(tr.ratio.minimum(torch.as_tensor(self.rho)) * error, decay)
        return advantage, advantage + tr.value
