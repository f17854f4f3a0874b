"""ESPO: early stopping instead of clipping (Sun et al. 2022, "You May Not Need Ratio Clipping in PPO")."""

from __future__ import annotations

from rlbench.algorithms.actor_critic import ActorCritic

from rlbench import Params, Problem, hyper
from rlbench.functional import weighted_mean


class ESPO(ActorCritic):
    """r A over epochs of minibatches that end when the mean |r - 1| of one passes delta (algorithm 1)."""

    name = "espo"

    delta: float = hyper(0.25, low=0.0, doc="the mean deviation of the ratio from 1 that is allowed")

    def improve(self, problem: Problem) -> Params:
        """Algorithm 1; a replica that has stopped keeps its parameters."""
        params, going = problem.params.clone(), problem.alive
        for batch in problem.minibatches(epochs=self.epochs, count=self.minibatches):
            _, grad, x = problem.gradient(params, batch, entropy=True, value=True, active=going)
            going = going & problem.mask(weighted_mean((x.ratio.detach() - 1).abs(), x.weight) <= self.delta)
            params = problem.ascend(params, grad, going & problem.usable(batch))
            if problem.none_left(going):
                break
        return params
