"""Bias and variance of advantage estimates and of the gradients made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from mechanism_policies import STEPS, FixedPolicy, collecting, fresh_seeds, gradients, rollouts, trained
from rlbench import Environment
from rlbench.improve.minibatches import Rollout
from rlbench.lab import environments
from rlbench.training.envs.classic import ClassicBatch
from rlbench.training.noise import Streams
from rlbench.training.rollout import Collector, samples

Array = npt.NDArray[Any]

LAMBDAS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0)
PAIRS, CONTINUATIONS, AHEAD = 32, 64, 512
"""State-action pairs, continuations of each, and their steps: 0.99^512 is 0.006."""
ROLLOUTS, HORIZON = 32, 2048
"""Rollouts of which each gives a gradient, and their steps."""
LEAST = 1e-3
"""Variance of a return, in squared rewards, below which nothing is a share of it: its policy has one outcome only."""
BASELINES = ("no baseline", "mean baseline", "critic lambda=1", "critic lambda=0.95")
_PIECES, _PIECE = 8, 64  # rollouts are stopped after 64, 128, ... 512 steps, so that all phases of an episode occur


def measure_lambdas(environment: Environment, seed: int) -> dict[str, dict[str, float]]:
    """Return variance and squared bias of advantages and gradients with each lambda.

    All as shares of the variance with lambda = 1, so that the two add up to a mean squared error. Without a value (NaN)
    where that variance is below `LEAST`, as in Acrobot with a policy that never reaches the goal.
    """
    policy = trained(environment, seed, STEPS[environment.id])
    advantage = moments(continued(policy, seed, LAMBDAS))
    by_lambda = gradients_by_lambda(policy, seed, LAMBDAS)
    gradient = vector_moments(by_lambda)
    whole = advantage.variance[-1] if advantage.variance[-1] >= LEAST else np.nan
    return {
        f"lambda={lam:g}": {
            "variance": advantage.variance[k] / whole,
            "squared_bias": advantage.squared_bias[k] / whole,
            "gradient_variance": gradient.variance[k] / gradient.variance[-1],
            "gradient_squared_bias": gradient.squared_bias[k] / gradient.variance[-1],
            "signal_to_noise": squared_norm(by_lambda[k]) / gradient.variance[k],
        }
        for k, lam in enumerate(LAMBDAS)
    }


def measure_baselines(environment: Environment, seed: int) -> dict[str, dict[str, float]]:
    """Return the variance of the gradient with each baseline, in twofold steps from that with none."""
    by_baseline = gradients_by_baseline(trained(environment, seed, STEPS[environment.id]), seed)
    variance = vector_moments(by_baseline).variance
    return {
        arm: {
            "log2_variance": float(np.log2(variance[k] / variance[0])),
            "signal_to_noise": squared_norm(by_baseline[k]) / variance[k],
        }
        for k, arm in enumerate(BASELINES)
    }


class Moments(NamedTuple):
    """Of L estimators, `[L]` each: mean variance around their own mean, and mean squared bias."""

    variance: Array
    squared_bias: Array


def moments(estimates: Array) -> Moments:
    """Return variance and squared bias of estimates `[L, M, K]`: L estimators, M quantities, K independent trials.

    The last estimator is taken as unbiased. Its own error does not matter: the bias of another is the mean of its
    differences from it, trial by trial, and the variance of that mean is taken off its square (which may therefore be
    negative).
    """
    trials = estimates.shape[-1]
    difference = estimates - estimates[-1]
    squared = difference.mean(-1) ** 2 - difference.var(-1, ddof=1) / trials
    return Moments(estimates.var(-1, ddof=1).mean(-1), squared.mean(-1))


def vector_moments(estimates: Array) -> Moments:
    """Return the trace of the covariance and the squared length of the bias of vectors `[L, K, P]`, as `moments`."""
    trials = estimates.shape[1]
    difference = estimates - estimates[-1]
    noise = difference.var(1, ddof=1).sum(-1) / trials
    return Moments(estimates.var(1, ddof=1).sum(-1), (difference.mean(1) ** 2).sum(-1) - noise)


def squared_norm(estimates: Array) -> float:
    """Return the squared length of the mean of independent vectors `[K, P]`, less what its noise adds to it."""
    noise = estimates.var(0, ddof=1).sum() / len(estimates)
    return float((estimates.mean(0) ** 2).sum() - noise)


def continued(policy: FixedPolicy, seed: int, lambdas: Sequence[float]) -> Array:
    """Return lambda-returns of state-action pairs, less reward and known value, `[L, M, K]`.

    The pairs (s, a) are those that lead to the states s' in which independent rollouts are stopped. From each s' the
    policy continues K times, without a time limit. Classic control is deterministic, so that the lambda-return of
    (s, a) is r + gamma V(s') + gamma lambda A_lambda(s'); r and V(s') are the same for all lambdas and continuations
    and left out: they change neither variances nor differences. A_lambda(s') is the engine's estimate.
    """
    states = _visited(policy, seed)
    envs = _without_limit(policy.environment, len(states) * CONTINUATIONS)
    seeds = fresh_seeds(seed, 1, 1)
    envs.reset(seeds)
    start = envs.place(np.repeat(states, CONTINUATIONS, axis=0)[None])
    streams = Streams(seeds)
    collector = Collector(envs, policy.family, policy.network, [policy.algorithm], seeds, streams, start)
    trajectory = policy.trajectory(collector.collect(policy.params, AHEAD, np.ones(1, bool)))
    gamma = policy.algorithm.gamma
    estimates = []
    for lam in lambdas:
        advantage, _ = policy.algorithm.replace(gae_lambda=lam).advantages(trajectory)
        estimates.append(gamma * lam * advantage[0, 0].numpy().astype(np.float64))
    return np.stack(estimates).reshape(len(lambdas), len(states), CONTINUATIONS)


def _visited(policy: FixedPolicy, seed: int) -> Array:
    """Return states `[M, S]` that followed a step of the policy, each of another rollout."""
    spare = 2 * PAIRS
    collector, envs = collecting(policy, fresh_seeds(seed, 0, spare))
    assert isinstance(envs, ClassicBatch)
    params, alive, found = policy.tiled(spare), np.ones(spare, bool), []
    for piece in range(_PIECES):
        experience = collector.collect(params, _PIECE, alive)
        # Where an episode has just ended, the next state is no successor.
        going = np.flatnonzero(~experience.ended[-1, :, 0])
        found += [envs.states[r, 0] for r in going[going % _PIECES == piece]]
    order = np.random.default_rng(fresh_seeds(seed, 2, 1)).permutation(len(found))
    return np.stack(found)[order[:PAIRS]]


def _without_limit(environment: Environment, copies: int) -> ClassicBatch:
    """Return copies of an environment, one replica, in which no time limit ends an episode."""
    envs = environments.make(Environment(environment.id, {**environment.options, "max_episode_steps": -1}), 1, copies)
    assert isinstance(envs, ClassicBatch), f"{environment.label} cannot be put into a state"
    return envs


def gradients_by_lambda(policy: FixedPolicy, seed: int, lambdas: Sequence[float]) -> Array:
    """Return the gradients of independent rollouts with advantages of each lambda, `[L, K, P]`, on the same samples."""
    experience = rollouts(policy, fresh_seeds(seed, 3, ROLLOUTS), HORIZON)
    trajectory = policy.trajectory(experience)
    estimates = []
    for lam in lambdas:
        one = policy.algorithm.replace(gae_lambda=lam, normalize_advantage="none")
        estimates.append(gradients(policy, samples(one, experience, trajectory)))
    return np.stack(estimates)


def gradients_by_baseline(policy: FixedPolicy, seed: int) -> Array:
    """Return the gradients of independent rollouts with each of `BASELINES`, `[4, K, P]`, on the same samples.

    The first three weigh log pi with one and the same return, bootstrapped where a rollout or a time limit cuts it,
    less nothing, its mean over the rollout, or the critic's value; the fourth is GAE.
    """
    experience = rollouts(policy, fresh_seeds(seed, 3, ROLLOUTS), HORIZON)
    trajectory = policy.trajectory(experience)

    def sampled(lam: float) -> Rollout:
        return samples(policy.algorithm.replace(gae_lambda=lam, normalize_advantage="none"), experience, trajectory)

    full = sampled(1.0)
    returns: torch.Tensor = full.target
    advantages = (returns, returns - returns.mean(-1, keepdim=True), full.advantage, sampled(0.95).advantage)
    return np.stack([gradients(policy, replace(full, advantage=one)) for one in advantages])
