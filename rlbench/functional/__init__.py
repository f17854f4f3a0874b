"""Pure mathematics: no configuration, no I/O, no hidden randomness.

For formulas of an algorithm, on torch tensors; each keeps the replicas apart:

    samples `[..., B]`           mean, weighted_mean, standardise, clip, kl_estimate, clipped_value_loss
    rollouts `[T, ..., N]`       gae, lambda_returns, reward_to_go, rollout_mean, discounted_scan
    parameters `[R, P]`          dot, norm, where, conjugate_gradient, backtracking_line_search

In `distributions`: `Categorical`, `DiagonalGaussian` and others of a head, as `Samples.from_heads` takes them.

Two kinds of arrays meet here. What the author of an algorithm sees is torch (samples `[..., B]`, flat parameters
`[R, P]`), so that autograd can differentiate a surrogate. The networks and the optimiser are numpy on the same memory:
numpy works on a stack of matrices slice by slice, so the numbers of one replica do not depend on how many others there
are, and at these sizes it is also several times faster.
"""

from rlbench.functional.optimizers import backtracking_line_search, conjugate_gradient, dot, norm, where
from rlbench.functional.returns import (
    clip,
    clipped_value_loss,
    discounted_scan,
    gae,
    kl_estimate,
    lambda_returns,
    mean,
    reward_to_go,
    rollout_mean,
    standardise,
    weighted_mean,
)

__all__ = [
    "backtracking_line_search",
    "clip",
    "clipped_value_loss",
    "conjugate_gradient",
    "discounted_scan",
    "dot",
    "gae",
    "kl_estimate",
    "lambda_returns",
    "mean",
    "norm",
    "reward_to_go",
    "rollout_mean",
    "standardise",
    "weighted_mean",
    "where",
]
