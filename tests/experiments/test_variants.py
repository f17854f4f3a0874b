"""The plugins of the lecture's experiments: each keeps the contract and does what it is named for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rlbench.algorithms.actor_critic import ActorCritic
from rlbench.algorithms.ppo_clip import PPOClip
from rlbench.algorithms.ppo_penalty import PPOPenalty
from rlbench.algorithms.trpo import TRPO

from rlbench import Algorithm, Environment, Problem, RlbenchError, Trajectory, hyper, static
from rlbench.algorithm import configure
from rlbench.checks import check_algorithm
from rlbench.fields import fields_of
from rlbench.functional import gae
from rlbench.records import RunRecord
from rlbench.training.trainer import train
from rlbench.userfiles import import_file

FOLDER = Path(__file__).parents[2] / "experiments" / "lecture"
scales, corrupted, listing = (
    import_file(FOLDER / f"variants_{name}.py", "plugin") for name in ("scales", "corrupted", "listing")
)
bench = import_file(FOLDER / "lecture_bench.py", "suite")
ORIGINALS: dict[type[Algorithm], type[Algorithm]] = {
    corrupted.CorruptedClip: PPOClip,
    corrupted.CorruptedActorCritic: ActorCritic,
    corrupted.CorruptedPenalty: PPOPenalty,
    corrupted.CorruptedTRPO: TRPO,
}
NEUTRAL: dict[type[Algorithm], dict[str, Any]] = {
    scales.ScaledRewards: {"reward_scale": 1.0},
    scales.ScaledAdvantages: {"advantage_scale": 1.0},
    scales.ClampedValueLoss: {"value_clamp": float("inf")},
    **{cls: {"corruption": 0.0, "at": 0.0} for cls in ORIGINALS},
}
PLUGINS = [*NEUTRAL, scales.StandardisedTargets, listing.Listing]
SMALL: dict[str, Any] = {"horizon": 64, "num_envs": 2, "epochs": 2, "minibatches": 4, "hidden": (8,)}


def runs(cls: type[Algorithm], seeds: list[int], *each: Mapping[str, Any], updates: int = 5) -> list[RunRecord]:
    """Train one replica per entry of `each` (all alike without) with small rollouts."""
    algorithms = [configure(cls, SMALL | dict(one), cls.name) for one in each or [{}] * len(seeds)]
    return train(algorithms, Environment("CartPole-v1"), updates * algorithms[0].samples_per_update, seeds)


def assert_same(a: RunRecord, b: RunRecord) -> None:
    """Assert that two runs have the same numbers in all columns that both have; how many steps it took may differ."""
    for left, right in ((a.episodes, b.episodes), (a.updates, b.updates)):
        for name in left.keys() & right.keys() - {"gradient_steps"}:
            np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def trajectory(*lead: int, steps: int = 21, copies: int = 2) -> Trajectory:
    rng = np.random.default_rng(0)
    shape = (steps, *lead, copies)
    reward, value, following = (torch.from_numpy(rng.standard_normal(shape).astype(np.float32)) for _ in range(3))
    terminated = torch.from_numpy(rng.random(shape) < 0.1)
    return Trajectory(reward, value, following, terminated, terminated | torch.from_numpy(rng.random(shape) < 0.1))


def quick(cls: type[Algorithm]) -> type[Algorithm]:
    """Return a plugin with smaller rollouts, which learns a probe sooner."""

    class Quick(cls):  # type: ignore[misc, valid-type]  # the base is a value
        name = f"quick-{cls.name}"
        lr: float = hyper(1e-2, low=0.0)
        horizon: int = static(16, low=1)
        num_envs: int = static(32, low=1)
        epochs: int = static(2, low=1)
        minibatches: int = static(4, low=1)
        hidden: tuple[int, ...] = static((16,), low=1)

    return Quick


@pytest.mark.parametrize("cls", PLUGINS, ids=lambda one: one.name)
def test_keeps_the_contract_in_small_rollouts(cls: type[Algorithm]) -> None:
    assert [(one.name, one.message) for one in check_algorithm(quick(cls)) if not one.passed] == []


@pytest.mark.slow
@pytest.mark.parametrize("cls", PLUGINS, ids=lambda one: one.name)
def test_keeps_the_contract(cls: type[Algorithm]) -> None:
    assert [(one.name, one.message) for one in check_algorithm(cls) if not one.passed] == []


@pytest.mark.parametrize("cls", NEUTRAL, ids=lambda one: one.name)
def test_a_neutral_setting_is_the_original_to_the_bit(cls: type[Algorithm]) -> None:
    (changed,), (original,) = runs(cls, [3], NEUTRAL[cls]), runs(ORIGINALS.get(cls, PPOClip), [3])
    assert_same(changed, original)


@pytest.mark.parametrize("cls", PLUGINS, ids=lambda one: one.name)
def test_replicas_of_different_settings_do_not_meet(cls: type[Algorithm]) -> None:
    """One that is neutral, one that is not, one with other settings: each has the numbers it has alone."""
    strong = {"at": 0.3} if cls in ORIGINALS else {}
    each = [NEUTRAL.get(cls, {}), strong, {**strong, "gamma": 0.9}]
    for r, record in enumerate(runs(cls, [5, 3, 4], *each)):
        assert_same(record, runs(cls, [[5, 3, 4][r]], each[r])[0])


@pytest.mark.parametrize("lead", [(), (3,)])
def test_scaled_rewards_scale_what_is_made_of_rewards(lead: tuple[int, ...]) -> None:
    tr = trajectory(*lead)
    algorithm = scales.ScaledRewards(reward_scale=10.0 if not lead else torch.full((3, 1), 10.0))
    advantage, target = algorithm.advantages(tr)
    right = gae(10 * tr.reward, tr.value, tr.next_value, tr.terminated, tr.ended, gamma=0.99, lam=0.95)
    assert torch.equal(advantage, right[0])
    assert torch.equal(target, right[1])


def test_scaled_advantages_leave_the_targets_alone() -> None:
    tr = trajectory()
    (advantage, target), (plain, right) = (
        scales.ScaledAdvantages(advantage_scale=7.0).advantages(tr),
        PPOClip().advantages(tr),
    )
    assert torch.equal(advantage, 7 * plain)
    assert torch.equal(target, right)


@pytest.mark.parametrize("lead", [(), (3,)])
def test_standardised_targets_have_mean_zero_and_deviation_one_in_each_rollout(lead: tuple[int, ...]) -> None:
    tr = trajectory(*lead)
    advantage, target = scales.StandardisedTargets().advantages(tr)
    assert torch.equal(advantage, PPOClip().advantages(tr)[0])
    torch.testing.assert_close(target.mean((0, -1)), torch.zeros(lead), atol=1e-6, rtol=0)
    torch.testing.assert_close(target.std((0, -1), unbiased=False), torch.ones(lead))


@pytest.mark.parametrize(("limit", "learns"), [(1e-6, False), (1e6, True)])
def test_a_value_above_its_limit_stays_where_it_is_while_the_policy_learns(limit: float, learns: bool) -> None:
    def change(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
        moved = scales.ClampedValueLoss.improve(problem.algorithm, problem) - problem.params
        return moved[:, : problem.policy_size], moved[:, problem.policy_size :]

    policy, value = bench.in_first_update(change, scales.ClampedValueLoss, value_clamp=limit, **SMALL)
    assert bool(policy.any())
    assert bool(value.any()) == learns


def test_a_clamped_loss_works_on_a_shared_trunk_and_refuses_an_early_stop() -> None:
    (record,) = runs(scales.ClampedValueLoss, [3], {"shared_trunk": True})
    assert record.status == "finished"
    with pytest.raises(RlbenchError, match="does not stop by its KL divergence"):
        configure(scales.ClampedValueLoss, {"target_kl": 0.01}, "test")


@pytest.mark.parametrize(("cls", "original"), ORIGINALS.items(), ids=lambda one: one.name)
def test_a_corrupted_algorithm_keeps_the_fields_of_its_original(
    cls: type[Algorithm], original: type[Algorithm]
) -> None:
    one, other = cls(), original()
    assert {name: getattr(one, name) for name in fields_of(original)} == {
        name: getattr(other, name) for name in fields_of(original)
    }


@pytest.mark.parametrize("lead", [(), (3,)])
@pytest.mark.parametrize("stage", [corrupted.BEFORE, corrupted.NOW, corrupted.AFTER])
def test_one_advantage_is_wrong_by_so_many_deviations_in_one_rollout(lead: tuple[int, ...], stage: float) -> None:
    tr = trajectory(*lead)
    right, targets = PPOClip().advantages(tr)
    wrong, same = corrupted.CorruptedClip(corruption=100.0, stage=stage).advantages(tr)
    assert torch.equal(targets, same)
    changed = (wrong != right).nonzero()
    if stage != corrupted.NOW:
        assert len(changed) == 0
        return
    assert changed.tolist() == [[10, *((r,) if lead else ()), 0] for r in range(3 if lead else 1)]
    mean, deviation = right.mean((0, -1)), right.std((0, -1), unbiased=False)
    distance = (wrong[10, ..., 0] - mean) / deviation
    torch.testing.assert_close(distance.abs(), torch.full(lead, 100.0))
    assert (torch.sign(distance) == -torch.sign(right[10, ..., 0] - mean)).all()


def test_the_corruption_comes_once_after_its_share_of_the_budget() -> None:
    records = runs(corrupted.CorruptedPenalty, [3, 3, 3], {"at": 0.0}, {"at": 0.4}, {"at": 1.0, "adaptive": False})
    stages = [record.updates["field.stage"].tolist() for record in records]
    assert stages == [[0, 1, 2, 2, 2], [0, 0, 1, 2, 2], [0, 0, 0, 0, 0]]


def test_the_penalty_still_adapts() -> None:
    (record,) = runs(corrupted.CorruptedPenalty, [3], {"adaptive": True, "kl_target": 10.0, "at": 0.4})
    assert record.updates["field.beta"].tolist() == [1.0, 0.5, 0.25, 0.125, 0.0625]
    assert record.updates["field.stage"].tolist() == [0, 0, 1, 2, 2]


def test_the_listing_forgets_the_last_end_and_takes_a_cut_for_an_end() -> None:
    one, no = torch.ones(3, 1), torch.zeros(3, 1, dtype=torch.bool)
    cut = no.clone()
    cut[1] = True
    algorithm = listing.Listing(gae_lambda=0.0)
    targets = algorithm.advantages(Trajectory(one, 10 * one, 10 * one, no, cut))[1][:, 0]
    torch.testing.assert_close(targets, torch.tensor([10.9, 1.0, 10.9]))
    last = no.clone()
    last[2] = True
    targets = algorithm.advantages(Trajectory(one, 10 * one, 10 * one, last, last))[1][:, 0]
    torch.testing.assert_close(targets, torch.tensor([10.9, 10.9, 10.9]))


def test_the_listing_takes_four_gradient_steps_an_update() -> None:
    algorithm = configure(listing.Listing, {}, "test")
    (record,) = train([algorithm], Environment("CartPole-v1"), 2 * 2048, [3])
    assert record.gradient_steps == 8
    assert record.updates["clip_fraction"].tolist() == [0, 0]
