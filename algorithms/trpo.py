"""TRPO-lite: the natural gradient within a trust region (Schulman et al. 2015, "Trust Region Policy Optimization").

"Lite": one path per update without the paper's vine sampling, and the whole rollout in every Fisher product.
"""

from __future__ import annotations

import torch

from rlbench import Algorithm, Params, Problem, Samples, first_order, hyper, static
from rlbench.functional import backtracking_line_search, conjugate_gradient, dot, weighted_mean


class TRPO(Algorithm):
    """Maximise r A subject to mean KL(old || new) <= delta, equation 14; the value is fitted by minibatch Adam.

    From the paper are delta = 0.01 (its table 2) and 10 conjugate-gradient iterations (appendix C.1); gamma = 0.99 is
    its table's, too. Common practice and not in the paper are damping 0.1, the line search's 10 tries with factor 0.8,
    generalised advantage estimation (Schulman et al. 2016), standardised advantages, and the value's fit by Adam with
    step size 1e-3. The shared fields (horizon, networks, epochs of the value) are rlbench's own, as for PPO; the paper
    used up to 50,000 samples per update.
    """

    name = "trpo"

    lr: float = hyper(1e-3, low=0.0, doc="Adam's step size for the value")
    delta: float = hyper(0.01, low=0.0, doc="bound on the mean KL divergence of an update, nats")
    damping: float = hyper(0.1, low=0.0, doc="added to the Fisher matrix's diagonal")
    normalize_advantage: str = static(
        "batch", choices=("minibatch", "batch", "none"), doc="over which samples advantages are standardised"
    )
    cg_iterations: int = static(10, low=1, doc="conjugate-gradient iterations")
    backtracks: int = static(10, low=1, doc="step lengths tried")
    shrink: float = static(0.8, low=0.0, high=1.0, doc="ratio of successive step lengths")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Equation 14's objective, per sample."""
        return x.ratio * x.advantage

    def improve(self, problem: Problem) -> Params:
        """Appendix C: direction by conjugate gradient, length from delta, then a line search, all per replica."""
        batch, old = problem.full(), problem.params

        start, gradient, _ = problem.gradient(old, batch)
        fisher = problem.fisher(old, batch)

        def damped(v: Params) -> Params:
            return fisher(v) + self.damping * v

        direction = conjugate_gradient(damped, gradient, iterations=self.cg_iterations)
        # s^T A s / 2 is the KL of step s to second order, so this length just reaches delta.
        step = direction * (2 * self.delta / dot(direction, damped(direction))).sqrt()

        def accept(params: Params) -> torch.Tensor:
            x = problem.policy_samples(params, batch)
            return (weighted_mean(x.kl, x.weight) <= self.delta) & (weighted_mean(self.surrogate(x), x.weight) > start)

        params, _ = backtracking_line_search(accept, old, step, shrink=self.shrink, tries=self.backtracks)
        return first_order(problem, start=params, policy=False)

    def validate(self) -> None:
        """A value fitted after the trust-region step would move a shared policy out of it."""
        if self.shared_trunk:
            raise ValueError("trpo needs separate networks; set shared_trunk to false.")
