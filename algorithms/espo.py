"""ESPO: early stopping instead of clipping (Sun et al. 2022, "You May Not Need Ratio Clipping in PPO")."""

from __future__ import annotations

import torch
from rlbench.algorithms.actor_critic import ActorCritic

from rlbench import Params, Problem, Samples, first_order, hyper
from rlbench.functional import weighted_mean


class ESPO(ActorCritic):
    """r A over epochs of minibatches that end when the mean |r - 1| of one passes delta (algorithm 1)."""

    name = "espo"

    delta: float = hyper(0.25, low=0.0, doc="the mean deviation of the ratio from 1 that is allowed")

    def improve(self, problem: Problem) -> Params:
        """Algorithm 1; a replica that has stopped keeps its parameters."""

        def too_far(x: Samples) -> torch.Tensor:
            return ~(weighted_mean((x.ratio.detach() - 1).abs(), x.weight) <= self.delta)

        return first_order(problem, stop=too_far)
