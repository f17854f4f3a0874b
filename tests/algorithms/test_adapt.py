"""The two adaptive rules: thresholds, factors, bounds, one decision per replica."""

from __future__ import annotations

import pytest
import torch
from rlbench.algorithms.ppo_adaptive import PPOAdaptive
from rlbench.algorithms.ppo_penalty import PPOPenalty

from rlbench import Stats
from rlbench.algorithm import configure, stack
from rlbench.errors import RlbenchError

TARGET = 0.01
KLS = [0.0, 0.00666, 0.00667, 0.01, 0.01499, 0.01501, 9.0]


def stats(kls: list[float]) -> Stats:
    kl = torch.tensor(kls)[:, None]
    zero = torch.zeros_like(kl)
    return Stats(kl=kl, entropy=zero, surrogate=zero, mean_return=zero, progress=zero)


def test_beta_doubles_above_and_halves_below() -> None:
    algorithm = stack([PPOPenalty(beta=1.0, adaptive=True, kl_target=TARGET)] * len(KLS))
    assert algorithm.adapt(stats(KLS)).beta[:, 0].tolist() == [0.5, 0.5, 1, 1, 1, 2, 2]  # type: ignore[attr-defined]


def test_beta_keeps_within_each_replicas_bounds_and_comes_back() -> None:
    bounds = [{}, {"min_beta": 0.25, "max_beta": 3.0}, {"min_beta": 0.0, "max_beta": float("inf")}]
    algorithm = stack([PPOPenalty(beta=1.0, adaptive=True, kl_target=TARGET, **one) for one in bounds])
    for kl, updates, expected in (
        (0.0, 200, [1e-4, 0.25, 0.0]),
        (1.0, 2, [4e-4, 1.0, 0.0]),  # without bounds there is no way back
        (1.0, 200, [1e4, 3.0, 0.0]),
        (0.0, 1, [5e3, 1.5, 0.0]),
    ):
        for _ in range(updates):
            algorithm = algorithm.adapt(stats([kl] * 3))
        assert algorithm.beta[:, 0].tolist() == pytest.approx(expected)  # type: ignore[attr-defined]
    with pytest.raises(RlbenchError, match="min_beta=2 is above max_beta=1"):
        configure(PPOPenalty, {"min_beta": 2, "max_beta": 1}, "here")


def test_beta_stays_without_the_switch() -> None:
    algorithm = stack([PPOPenalty(beta=1.0)] * len(KLS))
    assert algorithm.adapt(stats(KLS)) is algorithm


def test_the_clip_range_halves_above_and_doubles_below() -> None:
    algorithm = stack([PPOAdaptive(clip=0.2, kl_target=TARGET)] * len(KLS))
    clip = algorithm.adapt(stats(KLS)).clip  # type: ignore[attr-defined]
    assert clip[:, 0].tolist() == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.2, 0.1, 0.1])


def test_the_clip_range_keeps_within_each_replicas_bounds() -> None:
    bounds = [(0.05, 0.5), (0.1, 0.3), (0.0, float("inf"))]
    for kl, expected in ((0.0, [0.5, 0.3, 3.2]), (1.0, [0.05, 0.1, 0.0125])):
        algorithm = stack([PPOAdaptive(clip=0.2, min_clip=low, max_clip=high) for low, high in bounds])
        for _ in range(4):
            algorithm = algorithm.adapt(stats([kl] * 3))
        assert algorithm.clip[:, 0].tolist() == pytest.approx(expected)  # type: ignore[attr-defined]


def test_each_replica_has_its_own_target_and_decision() -> None:
    algorithm = stack([PPOPenalty(beta=1.0, adaptive=True, kl_target=target) for target in (0.1, 0.01, 0.001)])
    assert algorithm.adapt(stats([0.01] * 3)).beta[:, 0].tolist() == [0.5, 1, 2]  # type: ignore[attr-defined]


def test_a_nan_divergence_changes_nothing() -> None:
    algorithm = stack([PPOAdaptive(clip=0.2)])
    assert algorithm.adapt(stats([float("nan")])).clip.item() == pytest.approx(0.2)  # type: ignore[attr-defined]


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(RlbenchError, match=r"min_clip=0\.4 is above max_clip=0\.3"):
        configure(PPOAdaptive, {"min_clip": 0.4, "max_clip": 0.3}, "test")
