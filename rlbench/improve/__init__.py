"""One improvement step: what it sees, what is measured of it, and the default step, `first_order`."""

from collections.abc import Callable

import torch

from rlbench.data import Params, Problem, Samples
from rlbench.functional.returns import kl_estimate, weighted_mean


def first_order(
    problem: Problem,
    *,
    start: Params | None = None,
    policy: bool = True,
    value: bool = True,
    epochs: int | None = None,
    minibatches: int | None = None,
    stop: Callable[[Samples], torch.Tensor] | None = None,
) -> Params:
    """Return the parameters after `epochs` passes of minibatch Adam (the algorithm's own number by default), `[R, P]`.

    Advantages are estimated anew in every epoch where the algorithm's `reestimate` says so.

    Maximises mean surrogate + entropy_coef * mean entropy - value_coef * mean value loss (Schulman et al. 2017,
    equation 9). `policy=False` fits the value only. A replica stops when its KL estimate passes 1.5 `target_kl`,
    or where `stop` says so, bool `[R, 1]`, of the samples of a batch before its step.
    """
    algorithm = problem.algorithm
    params = (problem.params if start is None else start).clone()
    stops = torch.as_tensor(algorithm.target_kl)
    may_stop = policy and bool(torch.isfinite(stops).any())
    going = problem.alive

    rounds, count = epochs or algorithm.epochs, minibatches or algorithm.minibatches
    for done, batch in enumerate(problem.minibatches(epochs=rounds, count=count), start=1):
        if problem.none_left(going):
            break
        _, grad, x = problem.gradient(params, batch, policy=policy, entropy=policy, value=value, active=going)
        if may_stop:
            kl = weighted_mean(kl_estimate(x.log_ratio.detach()), x.weight)
            going = going & ~problem.mask(kl > 1.5 * stops)
        if stop is not None:
            going = going & ~problem.mask(stop(x))
        params = problem.ascend(params, grad, going & problem.usable(batch), policy=policy, value=value)
        if algorithm.reestimate and done % count == 0 and done < count * rounds:
            problem.reestimate(params)
    return params
