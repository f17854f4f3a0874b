"""Pieces of objectives: bounds, means, value losses, the KL estimate, and their gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rlbench.functional import clip, kl_estimate, mean, standardise, weighted_mean


@pytest.mark.parametrize("low", [-0.5, torch.tensor([[-0.5], [-0.5]])])
@pytest.mark.parametrize("high", [0.25, torch.tensor([[0.25], [0.25]])])
def test_clip_mixes_floats_and_tensors(low: object, high: object) -> None:
    x = torch.linspace(-1, 1, 9).repeat(2, 1)
    assert torch.equal(clip(x, low, high), x.clamp(-0.5, 0.25))  # type: ignore[arg-type]


def test_clip_has_a_bound_per_replica() -> None:
    x = torch.tensor([[0.5, 3.0], [0.5, 3.0]])
    limited = clip(x, 1 - torch.tensor([[0.1], [0.2]]), 1 + torch.tensor([[0.1], [0.2]]))
    assert torch.equal(limited, torch.tensor([[0.9, 1.1], [0.8, 1.2]]))


def test_clip_passes_gradient_inside_the_band_only() -> None:
    x = torch.tensor([0.5, 0.9, 1.0, 1.1, 1.5], requires_grad=True)
    clip(x, 0.8, 1.2).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def test_infinite_bounds_leave_everything() -> None:
    x = torch.tensor([-1e30, 0.0, 1e30])
    assert torch.equal(clip(x, -math.inf, math.inf), x)


def test_mean_keeps_the_axis() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(mean(x), torch.tensor([[1.0], [4.0]]))
    assert mean(x[0]).shape == (1,)


def test_weighted_mean_leaves_samples_out() -> None:
    x = torch.tensor([[1.0, 2.0, 99.0], [1.0, 2.0, 3.0]])
    weight = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert weighted_mean(x, weight).tolist() == [[1.5], [0.0]]
    assert torch.equal(weighted_mean(x, None), mean(x))
    assert torch.equal(weighted_mean(x, weight / 8), weighted_mean(x, weight))  # shares count, not sizes


def test_standardise_is_cleanrls() -> None:
    x = torch.randn(3, 40, generator=torch.Generator().manual_seed(0)) * 5 + 2
    expected = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-8)
    torch.testing.assert_close(standardise(x), expected)


def test_standardise_with_weights_uses_the_samples_that_count() -> None:
    x = torch.randn(40, generator=torch.Generator().manual_seed(0))
    weight = (torch.arange(40) < 25).float()
    torch.testing.assert_close(standardise(x, weight)[:25], standardise(x[:25]))


@pytest.mark.parametrize("weight", [None, torch.ones(1), torch.zeros(1)])
def test_standardise_of_one_sample_is_finite(weight: torch.Tensor | None) -> None:
    assert torch.isfinite(standardise(torch.tensor([5.0]), weight)).all()
    assert torch.isfinite(standardise(torch.full((7,), 3.0))).all()


def test_kl_estimate_is_never_negative_and_unbiased() -> None:
    assert kl_estimate(torch.tensor([0.0])).item() == 0
    small = torch.linspace(-1e-3, 1e-3, 1001)
    assert (kl_estimate(small) >= 0).all()
    assert (kl_estimate(torch.linspace(-20, 20, 1001)) >= 0).all()
    # Samples of the old policy N(0, 1); the new one is N(0.3, 1): KL = 0.3^2 / 2.
    x = np.random.default_rng(0).standard_normal(200_000)
    log_ratio = torch.from_numpy(-0.5 * (x - 0.3) ** 2 + 0.5 * x**2)
    estimates = kl_estimate(log_ratio)
    error = 4 * estimates.std() / math.sqrt(len(x))
    assert abs(estimates.mean() - 0.045) < error
