"""The policy that does not learn: a score to measure others from."""

from __future__ import annotations

import torch

from rlbench import Algorithm, Params, Problem, Samples, static


class RandomPolicy(Algorithm):
    """Acts with all-zero parameters: uniform choices, or a standard normal clipped to a Box's bounds.

    The first rollout still uses the initial weights, whose choices are uniform to within about a percent.
    """

    name = "random"
    is_policy_gradient = False
    learns = False

    horizon: int = static(128, low=1, doc="steps per environment copy in one rollout")
    epochs: int = static(1, low=1, doc="unused")
    minibatches: int = static(1, low=1, doc="unused")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Nothing to improve."""
        return 0 * x.advantage

    def improve(self, problem: Problem) -> Params:
        """Forget the weights."""
        return torch.zeros_like(problem.params)
