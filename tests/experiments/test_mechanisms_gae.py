"""Bias and variance of GAE: exactly on a small Markov process, by estimators on cases that are known."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlbench import Environment
from rlbench.functional import gae
from rlbench.userfiles import import_file

FOLDER = Path(__file__).parents[2] / "experiments" / "lecture"
policies = import_file(FOLDER / "mechanism_policies.py", "suite")
mechanism = import_file(FOLDER / "mechanism_gae.py", "suite")
Array = np.ndarray[Any, Any]

# A Markov process of two states that ends after five steps, from state 0: what a fixed policy makes of an MDP.
GAMMA, HORIZON = 0.9, 5
CHANCE = np.array([[0.7, 0.3], [0.4, 0.6]])  # from the row's state to the column's
REWARD = np.array([[0.0, 1.0], [-1.0, 2.0]])
WRONG = np.array([[0.5, 1.0], [1.0, 0.6], [0.8, 0.4], [0.2, 0.5], [0.5, 0.4], [9.0, 9.0]])  # V of (t, state); the end's
PATHS = [(0, *path) for path in itertools.product((0, 1), repeat=HORIZON)]


def estimates(paths: list[tuple[int, ...]], lam: float) -> Array:
    """Return the engine's lambda-returns of the first state along paths."""
    states = np.array(paths).T  # [T + 1, paths]
    value = torch.from_numpy(WRONG[np.arange(HORIZON + 1)[:, None], states])
    reward = torch.from_numpy(REWARD[states[:-1], states[1:]])
    ended = torch.zeros(reward.shape, dtype=torch.bool)
    ended[-1] = True
    _, target = gae(reward, value[:-1], value[1:], ended, ended, gamma=GAMMA, lam=lam)
    return target[0].numpy()


def exactly(lam: float, wrong: Array = WRONG) -> tuple[float, float]:
    """Return mean and variance of the lambda-return by their recursions, backwards in time."""
    mean, square = np.zeros(2), np.zeros(2)
    for t in range(HORIZON - 1, -1, -1):
        alive = t + 1 < HORIZON
        now = REWARD + GAMMA * (1 - lam) * wrong[t + 1] * alive  # [from, to]
        later = GAMMA * lam * alive
        square = (CHANCE * (now**2 + 2 * now * later * mean + later**2 * square)).sum(1)
        mean = (CHANCE * (now + later * mean)).sum(1)
    return float(mean[0]), float(square[0] - mean[0] ** 2)


def chance(path: tuple[int, ...]) -> float:
    return float(np.prod([CHANCE[a, b] for a, b in itertools.pairwise(path)]))


def test_the_paths_engine_and_the_recursions_agree_on_mean_and_variance() -> None:
    weights = np.array([chance(path) for path in PATHS])
    assert weights.sum() == pytest.approx(1)
    for lam in (0.0, 0.3, 0.9, 1.0):
        found = estimates(PATHS, lam)
        mean = weights @ found
        assert (mean, weights @ (found - mean) ** 2) == pytest.approx(exactly(lam))


def test_a_wrong_value_biases_all_but_lambda_one_and_lambda_one_varies_most() -> None:
    truth, _ = exactly(1.0)
    by_hand = sum(chance(p) * sum(GAMMA**t * REWARD[p[t], p[t + 1]] for t in range(HORIZON)) for p in PATHS)
    assert truth == pytest.approx(by_hand)  # whatever the value function is
    means, variances = np.transpose([exactly(lam) for lam in mechanism.LAMBDAS])
    assert (np.diff((means - truth) ** 2) < 0).all()
    assert (np.diff(variances) > 0).all()
    # No law: where the critic's errors differ more from state to state than returns do, lambda = 0 varies most.
    assert exactly(0.0, 10 * WRONG * [1, -1])[1] > exactly(1.0)[1]


def test_moments_of_sampled_paths_are_the_exact_ones() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(PATHS), size=4000 * 8, p=[chance(path) for path in PATHS])
    lambdas = (0.0, 0.9, 1.0)
    sampled = np.stack([estimates(PATHS, lam)[drawn].reshape(4000, 8) for lam in lambdas])
    found = mechanism.moments(sampled)
    exact = [exactly(lam) for lam in lambdas]
    np.testing.assert_allclose(found.variance, [variance for _, variance in exact], rtol=0.03)
    bias = [(mean - exact[-1][0]) ** 2 for mean, _ in exact]
    np.testing.assert_allclose(found.squared_bias, bias, rtol=0.1, atol=0.02)


def test_noise_is_taken_off_squared_biases_and_squared_norms() -> None:
    rng = np.random.default_rng(1)
    unbiased = rng.standard_normal((1, 5000, 4))
    noisy = np.concatenate([0.1 + 2 * rng.standard_normal((1, 5000, 4)), unbiased])
    found = mechanism.moments(noisy)
    np.testing.assert_allclose(found.variance, [4, 1], rtol=0.05)
    # Without the correction it would be 0.01 + (4 + 1) / 4.
    assert found.squared_bias[0] == pytest.approx(0.01, abs=0.1)
    assert found.squared_bias[1] == 0

    truth = np.full(500, 0.1)  # of squared length 5, in noise whose mean over 8 has 62.5
    vectors = truth + rng.standard_normal((400, 8, 500))
    assert np.mean([mechanism.squared_norm(one) for one in vectors]) == pytest.approx(5, abs=0.6)
    pairs = [mechanism.vector_moments(np.stack([one + 0.2, other])) for one, other in itertools.pairwise(vectors)]
    assert np.mean([one.squared_bias[0] for one in pairs]) == pytest.approx(500 * 0.04, abs=1.5)
    assert np.mean([one.variance[0] for one in pairs]) == pytest.approx(500, rel=0.02)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"PAIRS": 6, "CONTINUATIONS": 5, "AHEAD": 200, "ROLLOUTS": 4, "HORIZON": 128}
    for name, value in sizes.items():
        monkeypatch.setattr(mechanism, name, value)


def untrained_critic(identifier: str) -> Any:
    """Return a policy whose critic says 0 everywhere."""
    policy = policies.trained(Environment(identifier), 100, 512, horizon=256, minibatches=4, hidden=(16,))
    policy.params[:, policy.network.policy_size :] = 0
    return policy


@pytest.mark.usefixtures("small")
def test_continuations_are_discounted_sums_of_their_rewards() -> None:
    policy, lambdas = untrained_critic("CartPole-v1"), (0.0, 0.5, 1.0)
    none, half, full = mechanism.continued(policy, 100, lambdas)
    assert not none.any()  # all that lambda = 0 knows is the reward and the value of the next state
    gamma = policy.algorithm.gamma
    # A reward of 1 a step: gamma times (1 - gamma^n) / (1 - gamma) for n steps, n a whole number.
    steps = np.log(1 - full / gamma * (1 - gamma)) / np.log(gamma)
    np.testing.assert_allclose(steps, np.round(steps), atol=0.01)
    assert steps.min() >= 1
    assert steps.max() <= 200
    assert len(np.unique(np.round(steps))) > 5
    decay = gamma / 2
    np.testing.assert_allclose(half, decay * (1 - decay ** np.round(steps)) / (1 - decay), rtol=1e-5)


@pytest.mark.usefixtures("small")
def test_continuations_go_on_past_the_time_limit() -> None:
    policy = untrained_critic("Pendulum-v1")
    policy.algorithm = policy.algorithm.replace(gamma=1.0)
    mechanism.AHEAD = 450  # the limit is 200
    (full,) = mechanism.continued(policy, 100, (1.0,))
    assert full.mean() < -450  # all steps cost, on average more than 1


@pytest.mark.usefixtures("small")
def test_a_critic_that_says_nothing_is_no_baseline() -> None:
    policy = untrained_critic("CartPole-v1")
    none, mean, critic, _ = mechanism.gradients_by_baseline(policy, 100)
    np.testing.assert_array_equal(none, critic)
    assert np.abs(none - mean).max() > 0.1 * np.abs(none).max()
    (by_lambda,) = mechanism.gradients_by_lambda(policy, 100, (1.0,))
    np.testing.assert_array_equal(by_lambda, critic)
