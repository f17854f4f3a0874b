"""The lecture's listing, repaired as far as it must be to run: what it would train if it trained."""

from __future__ import annotations

from typing import ClassVar

import torch
from rlbench.algorithms.ppo_clip import PPOClip

from rlbench import Trajectory, hyper, static
from rlbench.functional import gae


class Listing(PPOClip):
    """PPO-Clip with the listing's settings and what it does to the ends of episodes.

    Repaired are the loop over episodes and the shapes. Kept are four full-batch steps a rollout, one hidden stack for
    policy and value, torch's initial weights, a constant step size, advantages standardised over the rollout, an end by
    the time limit that counts as a termination, and a last transition that bootstraps even if it ended its episode
    (from the first state of the next one, which is as unrelated as the dead state of the listing).
    """

    name = "listing"
    learns: ClassVar[bool] = False
    """Not within a probe's budget: it takes four steps where the defaults take 320."""

    value_coef: float = hyper(1.0, low=0.0, doc="weight of 0.5 (V - target)^2; 1 is the listing's 0.5 (V - target)^2")
    entropy_coef: float = hyper(0.01, low=0.0, doc="weight of the entropy bonus")
    adam_eps: float = hyper(1e-8, low=0.0, doc="Adam's epsilon; torch's default")
    epochs: int = static(4, low=1, doc="passes over a rollout")
    minibatches: int = static(1, low=1, doc="equal parts of a rollout; 1: the whole in one step")
    shared_trunk: bool = static(True, doc="one hidden stack for policy and value instead of two")
    orthogonal_init: bool = static(False, doc="orthogonal weights or torch's")
    anneal_lr: bool = static(False, doc="let the step size fall linearly to zero over the budget")
    normalize_advantage: str = static(
        "batch", choices=("minibatch", "batch", "none"), doc="over which samples advantages are standardised"
    )

    def advantages(self, tr: Trajectory) -> tuple[torch.Tensor, torch.Tensor]:
        """GAE with truncations as terminations, and without either on the last step."""
        terminated = tr.ended.clone()
        terminated[-1] = False
        return gae(tr.reward, tr.value, tr.next_value, terminated, tr.ended, gamma=self.gamma, lam=self.gae_lambda)
