"""Policies held fixed: rollouts cut as training would see them, and gradients against autograd."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlbench import Environment
from rlbench.training.rollout import samples
from rlbench.userfiles import import_file

FOLDER = Path(__file__).parents[2] / "experiments" / "lecture"
policies = import_file(FOLDER / "mechanism_policies.py", "suite")
batches = import_file(FOLDER / "mechanism_batches.py", "suite")
overfitting = import_file(FOLDER / "mechanism_overfitting.py", "suite")
SMALL = {"horizon": 256, "minibatches": 4, "epochs": 3, "hidden": (16, 8)}
ENVIRONMENTS = ("CartPole-v1", "Pendulum-v1")  # discrete actions that end episodes, continuous ones and a time limit


def policy_for(identifier: str, **settings: Any) -> Any:
    return policies.trained(Environment(identifier), 100, 512, **(SMALL | settings))


@pytest.mark.parametrize("identifier", ENVIRONMENTS)
def test_segments_are_the_rollouts_that_training_collects_one_after_the_other(identifier: str) -> None:
    policy, seeds, length = policy_for(identifier), [7, 8, 9], 150
    cut = policies.segments(policies.rollouts(policy, seeds, 4 * length), length)
    assert cut.ended.any()
    collector, _ = policies.collecting(policy, seeds)
    for s in range(4):
        one = collector.collect(policy.tiled(3), length, np.ones(3, bool))
        rows = [4 * r + s for r in range(3)]
        for field in fields(one):
            if field.name in ("last_observation", "truncations"):
                continue
            np.testing.assert_array_equal(getattr(cut, field.name)[:, rows], getattr(one, field.name), field.name)
        np.testing.assert_array_equal(cut.last_observation[rows], one.last_observation)
        assert [r for r in range(3) if rows[r] in cut.truncations] == sorted(one.truncations)
        for r, parts in one.truncations.items():
            for left, right in zip(cut.truncations[rows[r]], parts, strict=True):
                np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("identifier", ENVIRONMENTS)
def test_the_gradient_is_that_of_autograd_through_a_policy_written_anew(
    identifier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_for(identifier)
    experience = policies.rollouts(policy, [5, 6, 7], 120)
    one = policy.algorithm.replace(normalize_advantage="none")
    rollout = samples(one, experience, policy.trajectory(experience))
    monkeypatch.setattr(policies, "CHUNK", 240)  # two rollouts, then one
    found = policies.gradients(policy, rollout)
    assert found.shape == (3, policy.network.policy_size)
    for r in range(3):
        np.testing.assert_allclose(found[r], by_autograd(policy, rollout, r), rtol=2e-3, atol=2e-5 * abs(found).max())


def by_autograd(policy: Any, rollout: Any, r: int) -> np.ndarray[Any, Any]:
    """Return the gradient of the mean of log pi(a|s) A in double precision."""
    flat = torch.from_numpy(policy.params[0, : policy.network.policy_size].astype(np.float64)).requires_grad_()
    x, at = rollout.observation[r].double(), 0
    shapes = policy.network.policy.shapes
    for k, (inputs, outputs) in enumerate(shapes):
        weight = flat[at : at + inputs * outputs].reshape(inputs, outputs)
        x = x @ weight + flat[at + inputs * outputs : at + (inputs + 1) * outputs]
        at += (inputs + 1) * outputs
        if k + 1 < len(shapes):
            x = torch.tanh(x)
    action = rollout.action[r]
    if policy.family.log_std_size:
        density = torch.distributions.Normal(x, flat[at:].exp()).log_prob(action.double()).sum(-1)
    else:
        density = torch.distributions.Categorical(logits=x).log_prob(action)
    (density * rollout.advantage[r].double()).mean().backward()
    assert flat.grad is not None
    return flat.grad.numpy()


def test_seeds_of_rollouts_differ_by_purpose_and_from_those_of_training() -> None:
    drawn = [seed for purpose in range(3) for seed in policies.fresh_seeds(100, purpose, 50)]
    assert len(set(drawn)) == len(drawn)
    assert min(drawn) > 1000
    assert policies.fresh_seeds(100, 1, 3) == policies.fresh_seeds(100, 1, 5)[:3]


def test_cosines_of_vectors_at_known_angles() -> None:
    gradient = np.array([[[3.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [1.0, 1.0]]])  # [streams, batches, P]
    half = np.sqrt(0.5)
    # Each of the first stream with each of the second: 1, half, 0, half.
    assert batches.with_each_other(gradient) == pytest.approx((1 + 2 * half) / 4)
    largest = np.array([[5.0, 5.0], [4.0, 0.0]])
    # The first stream with (4, 0): 1 and 0; the second with (5, 5): half and 1.
    assert batches.with_reference(gradient, largest) == pytest.approx((1 + 0 + half + 1) / 4)
    assert batches.with_each_other(np.zeros((2, 1, 2))) == 0


def test_cosines_rise_with_the_size_of_a_batch_as_those_of_noisy_vectors_do() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros(50)
    truth[0] = 1.0
    expected = {0.1: 1 / np.sqrt(1 + 50 * 0.01), 1.0: 1 / np.sqrt(51)}  # |truth| over the length of truth and noise
    for noise, cosine in expected.items():
        gradient = truth + noise * rng.standard_normal((6, 200, 50))
        assert batches.with_reference(gradient, np.tile(truth, (6, 1))) == pytest.approx(cosine, abs=0.02)
        assert batches.with_each_other(gradient) == pytest.approx(cosine**2, abs=0.02)


def test_an_update_of_many_epochs_passes_through_those_of_few() -> None:
    policy = policy_for("CartPole-v1")
    experience = policies.rollouts(policy, [5, 6], 256)
    found = dict(overfitting.updated(policy, experience, [1, 2], (1, 3)))
    rollout = samples(policy.algorithm, experience, policy.trajectory(experience))
    for epochs, params in found.items():
        problem = policies.problem_of(policy, rollout, seeds=[1, 2], epochs=epochs)
        assert torch.equal(problem.algorithm.improve(problem), params)
    assert not torch.equal(found[1], found[3])


def test_a_policy_that_stays_gains_nothing_anywhere_and_an_update_gains_on_its_own_rollout() -> None:
    policy = policy_for("CartPole-v1")
    experience = policies.rollouts(policy, [5, 6], 256)
    problem = overfitting.evaluation(policy, experience)
    gain, kl = overfitting.surrogate_and_kl(problem, problem.params)
    np.testing.assert_allclose(gain, 0, atol=1e-6)
    np.testing.assert_allclose(kl, 0, atol=1e-7)
    ((_, params),) = overfitting.updated(policy, experience, [1, 2], (10,))
    gain, kl = overfitting.surrogate_and_kl(problem, params)
    assert (gain > 0.001).all()
    assert (kl > 1e-4).all()
