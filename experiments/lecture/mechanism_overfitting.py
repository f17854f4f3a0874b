"""How much better an update looks on the rollout that it was made of than on another one of the same policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mechanism_policies import STEPS, FixedPolicy, fresh_seeds, problem_of, rollouts, trained
from rlbench import Environment, Params, Problem, first_order
from rlbench.training.rollout import Experience, samples

Array = npt.NDArray[Any]

EPOCHS = (1, 2, 4, 10, 20, 40)
UPDATES, FRESH = 4, 16
"""Updates of one policy, each from a rollout of its own, and the rollouts on which all of them are tried."""


def measure(environment: Environment, seed: int) -> dict[str, dict[str, float]]:
    """Return for each number of epochs what the updates gain on their own rollout and on fresh ones."""
    policy = trained(environment, seed, STEPS[environment.id])
    own, fresh = (
        rollouts(policy, fresh_seeds(seed, purpose, count), policy.algorithm.horizon)
        for purpose, count in ((5, UPDATES), (6, FRESH))
    )
    training, trial = evaluation(policy, own), evaluation(policy, fresh)
    found = {}
    for epochs, params in updated(policy, own, fresh_seeds(seed, 7, UPDATES), EPOCHS):
        on_own, _ = surrogate_and_kl(training, params)
        elsewhere = [surrogate_and_kl(trial, one.expand(FRESH, -1).contiguous()) for one in params[:, None]]
        held_out, kl = (float(np.mean(x)) for x in zip(*elsewhere, strict=True))
        gain = float(on_own.mean())
        found[f"K={epochs}"] = {"gap": gain - held_out, "surrogate": gain, "held_out": held_out, "policy_kl": kl}
    return found


def updated(
    policy: FixedPolicy, experience: Experience, seeds: Sequence[int], epochs: Sequence[int]
) -> Iterator[tuple[int, Params]]:
    """Yield (K, parameters `[R, P]` after K epochs on each of R rollouts) for ascending K.

    An update of K epochs passes through those of fewer, so one of the most is enough.
    """
    rollout = samples(policy.algorithm, experience, policy.trajectory(experience))
    problem = problem_of(policy, rollout, seeds=seeds)
    params = problem.params
    for epoch in range(1, max(epochs) + 1):
        params = first_order(problem, start=params, epochs=1)
        if epoch in epochs:
            yield epoch, params


def evaluation(policy: FixedPolicy, experience: Experience) -> Problem:
    """Return the rollouts of a policy with advantages standardised over each."""
    one = policy.algorithm.replace(normalize_advantage="batch")
    rollout = samples(one, experience, policy.trajectory(experience))
    return problem_of(policy, rollout, normalize_advantage="batch")


def surrogate_and_kl(problem: Problem, params: Params) -> tuple[Array, Array]:
    """Return the mean of r A, unclipped, and KL(old || new) of policies `[R, P]`, one for each rollout, `[R]`."""
    x = problem.policy_samples(params, problem.full())
    return (x.ratio * x.advantage).mean(-1).numpy(), x.kl.mean(-1).numpy()
