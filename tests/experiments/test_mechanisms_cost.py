"""What an update costs: counted passes against a formula, and a thinned Fisher product."""

from __future__ import annotations

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
cost = import_file(FOLDER / "mechanism_cost.py", "suite")
CARTPOLE = Environment("CartPole-v1")
N = 256
SMALL = {"horizon": N, "minibatches": 4}
CONSTANT = SMALL | {"anneal_lr": False}
# Two layers of 64 on four observations, two actions, one value: weights, and those of the first layer.
POLICY, VALUE, FIRST = 4 * 64 + 64 * 64 + 64 * 2, 4 * 64 + 64 * 64 + 64, 4 * 64


def forward(weights: int) -> int:
    return 2 * weights


def backward(weights: int) -> int:
    return 2 * weights + 2 * (weights - FIRST)


def test_operations_of_one_sample() -> None:
    network = policies.trained(CARTPOLE, 100, N, **SMALL).network
    assert cost.forward_operations(network.policy) == forward(POLICY) == 8960
    assert cost.further_operations(network.policy) == backward(POLICY) == 17408


def test_ppo_takes_gradients_of_both_networks_and_evaluates_the_old_policy() -> None:
    run = cost.CountedRun(policies.algorithm("ppo-clip", epochs=3, **CONSTANT), cost.CountedProblem, CARTPOLE, 100)
    for _ in range(2):
        found = run.update()
        of_policy = 3 * N * (forward(POLICY) + backward(POLICY)) + N * forward(POLICY)
        of_value = 3 * N * (forward(VALUE) + backward(VALUE))
        assert found["policy_operations"] == of_policy
        assert found["operations"] == of_policy + of_value
        assert (found["gradients"], found["fisher_products"], found["line_search"]) == (12, 0, 0)
        assert found["cpu_seconds"] > 0


@pytest.mark.parametrize(("problem", "share"), [("CountedProblem", 1.0), ("ThinnedProblem", 26 / 256)])
def test_trpo_takes_fisher_products_a_line_search_and_the_fit_of_the_value(problem: str, share: float) -> None:
    run = cost.CountedRun(policies.algorithm("trpo", epochs=3, **CONSTANT), getattr(cost, problem), CARTPOLE, 100)
    found = run.update()
    products, tried = found["fisher_products"], found["line_search"]
    assert 2 <= products <= 11
    assert 1 <= tried <= 10
    fisher = share * N * (forward(POLICY) + products * 2 * backward(POLICY))  # jvp and backward cost the same
    gradient = N * (forward(POLICY) + backward(POLICY)) + N * forward(POLICY)  # and the old policy's evaluation
    assert found["policy_operations"] == pytest.approx(gradient + fisher + tried * N * forward(POLICY))
    # The value is evaluated once beside the policy's gradient.
    of_value = N * forward(VALUE) + 3 * N * (forward(VALUE) + backward(VALUE))
    assert found["operations"] - found["policy_operations"] == of_value
    assert found["gradients"] == 1 + 3 * 4


def test_a_thinned_fisher_product_is_that_of_every_tenth_sample() -> None:
    policy = policies.trained(CARTPOLE, 100, N, **SMALL)
    experience = policies.rollouts(policy, [5], N)
    rollout = samples(policy.algorithm, experience, policy.trajectory(experience))
    every = policies.problem_of(policy, rollout)
    thinned: Any = object.__new__(cost.ThinnedProblem)
    thinned.__dict__.update(every.__dict__, calls=cost.Counter())
    tenth = policies.some(rollout, slice(None))
    for name in ("action", "advantage", "target", "old_value", "observation"):
        setattr(tenth, name, getattr(rollout, name)[:, ::10].contiguous())
    reference = policies.problem_of(policy, tenth)
    vector = torch.from_numpy(np.random.default_rng(0).standard_normal(policy.params.shape).astype(np.float32))
    found = thinned.fisher(thinned.params, thinned.full())(vector)
    expected = reference.fisher(reference.params, reference.full())(vector)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found, every.fisher(every.params, every.full())(vector), rtol=1e-2)
    assert thinned.calls["fisher_products"] == 1


def test_the_counted_run_learns_what_the_trainer_learns() -> None:
    one = policies.algorithm("ppo-clip", **CONSTANT)
    run = cost.CountedRun(one, cost.CountedProblem, CARTPOLE, 100)
    for _ in range(3):
        run.update()
    trained = policies.trained(CARTPOLE, 100, 3 * N, **SMALL)
    np.testing.assert_array_equal(run._training.params, trained.params)
