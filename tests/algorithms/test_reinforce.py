"""REINFORCE: Monte-Carlo returns, baselines, unfinished episodes, one policy step."""

from __future__ import annotations

import numpy as np
import pytest
import rlbench.algorithms.reinforce
import torch
from rlbench.algorithms.reinforce import Reinforce

from rlbench import Environment, Problem, Trajectory
from rlbench.algorithm import configure, stack
from rlbench.data import Params
from rlbench.errors import RlbenchError
from rlbench.improve import first_order
from rlbench.training.trainer import train


def trajectory(replicas: int | None = None) -> Trajectory:
    """Two copies, four steps: one terminates at step 2 and is then unfinished, one is cut by a time limit at 4."""
    reward = torch.tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0], [8.0, 8.0]])
    terminated = torch.tensor([[False, False], [True, False], [False, False], [False, False]])
    ended = terminated.clone()
    ended[3, 1] = True
    value = torch.full((4, 2), 0.25)
    tensors = (reward, value, torch.full((4, 2), 1e6), terminated, ended)
    if replicas is not None:
        tensors = tuple(x[:, None].expand(4, replicas, 2).contiguous() for x in tensors)
    return Trajectory(*tensors)


RETURNS = torch.tensor([[2.0, 4.0], [2.0, 6.0], [8.0, 8.0], [8.0, 8.0]])
FINISHED = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("baseline", "expected"), [("none", 0.0), ("value", 0.25), ("mean", (2 + 2 + 4 + 6 + 8 + 8) / 6)]
)
@pytest.mark.parametrize("replicas", [None, 3])
def test_baselines_and_mask(baseline: str, expected: float, replicas: int | None) -> None:
    algorithm = Reinforce(gamma=0.5, baseline=baseline)
    stacked = algorithm if replicas is None else stack([algorithm] * replicas)
    advantage, target, weight = stacked.advantages(trajectory(replicas))
    for r in range(replicas or 1):
        of_one = [x if replicas is None else x[:, r] for x in (advantage, target, weight)]
        torch.testing.assert_close(of_one[1], RETURNS)
        torch.testing.assert_close(of_one[2], FINISHED)
        torch.testing.assert_close(of_one[0] * FINISHED, (RETURNS - expected) * FINISHED)


def test_nothing_is_bootstrapped() -> None:
    # next_value is a million everywhere.
    advantage, target, _ = Reinforce(gamma=0.99).advantages(trajectory())
    assert max(advantage.max(), target.max()) < 20


def test_the_mean_baseline_is_each_replicas_own() -> None:
    tr = trajectory(2)
    doubled = Trajectory(tr.reward * torch.tensor([[1.0], [2.0]]), tr.value, tr.next_value, tr.terminated, tr.ended)
    advantage = stack([Reinforce(gamma=0.5, baseline="mean")] * 2).advantages(doubled).advantage
    torch.testing.assert_close(advantage[:, 1], 2 * advantage[:, 0])


def test_one_policy_step_per_rollout_and_the_value_fit_leaves_the_policy_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved: list[tuple[bool, bool]] = []

    def watched(problem: Problem, *, start: Params | None = None, **options: object) -> Params:
        before = problem.params if start is None else start.clone()
        after = first_order(problem, start=start, **options)  # type: ignore[arg-type]
        change = (after != before).any(0)
        moved.append((bool(change[: problem.policy_size].any()), bool(change[problem.policy_size :].any())))
        return after

    monkeypatch.setattr(rlbench.algorithms.reinforce, "first_order", watched)
    algorithm = configure(Reinforce, {"horizon": 128, "value_minibatches": 4}, "test")
    (record,) = train([algorithm], Environment("CartPole-v1"), 3 * 128, [0])
    assert moved == [(True, False), (False, True)] * 3
    assert np.diff(record.updates["gradient_steps"], prepend=0).tolist() == [1 + 40] * 3


@pytest.mark.parametrize("baseline", ["none", "mean"])
def test_without_a_learned_baseline_the_value_is_not_fitted(baseline: str) -> None:
    algorithm = configure(Reinforce, {"horizon": 128, "baseline": baseline, "value_minibatches": 4}, "test")
    (record,) = train([algorithm], Environment("CartPole-v1"), 3 * 128, [0])
    assert record.updates["gradient_steps"].tolist() == [1, 2, 3]
    assert np.isnan(record.updates["value_loss"]).all()


def test_a_rollout_without_a_finished_episode_changes_nothing() -> None:
    # Pendulum's episodes last 200 steps: the first rollout of 150 holds no end, the second one.
    algorithm = configure(Reinforce, {"horizon": 150, "value_minibatches": 5, "anneal_lr": False}, "test")
    (record,) = train([algorithm], Environment("Pendulum-v1"), 300, [0])
    assert record.updates["kl"][0] == 0
    assert record.updates["kl"][1] > 0
    assert np.isnan(record.updates["explained_variance"][0])


def test_value_minibatches_must_divide_the_rollout() -> None:
    with pytest.raises(RlbenchError, match="value_minibatches"):
        configure(Reinforce, {"horizon": 100}, "test")
