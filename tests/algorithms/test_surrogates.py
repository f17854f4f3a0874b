"""Every built-in objective against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from rlbench.algorithms.actor_critic import ActorCritic
from rlbench.algorithms.ppo_adaptive import PPOAdaptive
from rlbench.algorithms.ppo_clip import PPOClip
from rlbench.algorithms.ppo_penalty import PPOPenalty
from rlbench.algorithms.random_policy import RandomPolicy
from rlbench.algorithms.reinforce import Reinforce
from rlbench.algorithms.trpo import TRPO

from rlbench import Algorithm, Samples

SamplesOf = Callable[[list[float], list[float]], Samples]
RATIOS = [0.7, 1.0, 1.5, 0.7, 1.0, 1.5]
ADVANTAGES = [2.0, 2.0, 2.0, -2.0, -2.0, -2.0]


@pytest.mark.parametrize("cls", [PPOClip, PPOAdaptive])
def test_ppo_clip(cls: type[PPOClip], samples_of: SamplesOf) -> None:
    # A > 0: min(r, 1 + eps) A. A < 0: max(r, 1 - eps) A.
    value = cls(clip=0.2).surrogate(samples_of(RATIOS, ADVANTAGES))
    assert value.tolist() == pytest.approx([1.4, 2.0, 2.4, -1.6, -2.0, -3.0])


def test_ppo_clip_has_no_gradient_where_clipping_binds(samples_of: SamplesOf) -> None:
    x = samples_of(RATIOS, ADVANTAGES)
    x.ratio.retain_grad()
    PPOClip(clip=0.2).surrogate(x).sum().backward()
    assert x.ratio.grad is not None
    # Outside the band on the harmful side the objective pulls back: the first and the last sample.
    assert x.ratio.grad.tolist() == pytest.approx([2.0, 2.0, 0.0, 0.0, -2.0, -2.0])


@pytest.mark.parametrize("clip", [0.0, 1e-9, 0.2, torch.zeros(1)])
def test_ppo_clip_of_any_width_has_the_policy_gradient_at_ratio_1(clip: float, samples_of: SamplesOf) -> None:
    x = samples_of([1.0, 1.0], [2.0, -3.0])
    x.ratio.retain_grad()
    PPOClip(clip=clip).surrogate(x).sum().backward()
    assert x.ratio.grad is not None
    assert x.ratio.grad.tolist() == [2.0, -3.0]


@pytest.mark.parametrize("cls", [ActorCritic, TRPO])
def test_plain_ratio(cls: type[Algorithm], samples_of: SamplesOf) -> None:
    value = cls().surrogate(samples_of(RATIOS, ADVANTAGES))
    assert value.tolist() == pytest.approx([1.4, 2.0, 3.0, -1.4, -2.0, -3.0])


def test_ppo_penalty(samples_of: SamplesOf) -> None:
    value = PPOPenalty(beta=3.0).surrogate(samples_of(RATIOS, ADVANTAGES))
    kl = [-0.5 * (math.log(r) + math.log(2 - r)) for r in RATIOS]
    expected = [r * a - 3.0 * d for r, a, d in zip(RATIOS, ADVANTAGES, kl, strict=True)]
    assert value.tolist() == pytest.approx(expected)


def test_reinforce(samples_of: SamplesOf) -> None:
    value = Reinforce().surrogate(samples_of(RATIOS, ADVANTAGES))
    assert value.tolist() == pytest.approx([math.log(r / 2) * a for r, a in zip(RATIOS, ADVANTAGES, strict=True)])


def test_random(samples_of: SamplesOf) -> None:
    assert not RandomPolicy().surrogate(samples_of(RATIOS, ADVANTAGES)).any()


@pytest.mark.parametrize("cls", [PPOClip, ActorCritic, PPOPenalty, TRPO, Reinforce])
def test_at_ratio_one_the_gradient_is_the_policy_gradient(cls: type[Algorithm], samples_of: SamplesOf) -> None:
    x = samples_of([1.0, 1.0], [0.7, -1.3])
    x.log_prob.retain_grad()
    cls().surrogate(x).sum().backward()
    assert x.log_prob.grad is not None
    assert x.log_prob.grad.tolist() == pytest.approx([0.7, -1.3])


def test_coefficients_may_be_columns() -> None:
    ratio = torch.tensor([[0.7, 1.5], [0.7, 1.5]])

    class Fixed:
        advantage = torch.ones(2, 2)

    x = Fixed()
    x.ratio = ratio  # type: ignore[attr-defined]
    value = PPOClip(clip=torch.tensor([[0.1], [0.4]])).surrogate(x)  # type: ignore[arg-type]
    torch.testing.assert_close(value, torch.tensor([[0.7, 1.1], [0.7, 1.4]]))
