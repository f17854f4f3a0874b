"""The value loss by hand and against autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rlbench.functional.returns import value_loss

VALUE, OLD, TARGET = np.array([1.0, 3.0, 3.0]), np.array([1.0, 1.0, 1.0]), np.array([2.0, 4.0, 0.0])


def loss_and_slope(value: Any, old: Any, target: Any, value_clip: float) -> tuple[Any, Any]:
    """Return loss and slope of each of n values, as n replicas of one sample."""
    columns = (np.asarray(x).reshape(-1, 1) for x in (value, old, target))
    loss, slope = value_loss(*columns, np.full(np.size(value), value_clip), np.ones((np.size(value), 1)))
    return loss, slope[:, 0]


def test_by_hand() -> None:
    loss, slope = loss_and_slope(VALUE, OLD, TARGET, np.inf)
    assert loss.tolist() == [0.5, 0.5, 4.5]
    assert slope.tolist() == [-1.0, -1.0, 3.0]
    # Clipped to 1.5 the second loses (4 - 1.5)^2 / 2, which is more and does not depend on V; the third (1.5)^2 / 2,
    # which is less.
    loss, slope = loss_and_slope(VALUE, OLD, TARGET, 0.5)
    assert loss.tolist() == [0.5, 3.125, 4.5]
    assert slope.tolist() == [-1.0, 0.0, 3.0]


@pytest.mark.parametrize("value_clip", [np.inf, 0.3, 1.0])
def test_loss_and_slope_are_autograds(value_clip: float) -> None:
    old, target, start, share = np.random.default_rng(0).standard_normal((4, 3, 50))
    value = torch.from_numpy(start).requires_grad_()
    before = torch.from_numpy(old)
    near = before + (value - before).clamp(-value_clip, value_clip)
    worse = torch.maximum((value - torch.from_numpy(target)).square(), (near - torch.from_numpy(target)).square())
    expected = (0.5 * worse * torch.from_numpy(share)).sum(-1)
    expected.sum().backward()
    loss, slope = value_loss(start, old, target, np.full(3, value_clip), share)
    np.testing.assert_allclose(loss, expected.detach().numpy())
    assert value.grad is not None
    np.testing.assert_allclose(slope, value.grad.numpy())


def test_values_inside_the_clip_range_round_as_without_one() -> None:
    old, target, value = np.random.default_rng(0).standard_normal((3, 101)).astype(np.float32)
    wide = float(np.abs(value - old).max())
    for mine, other in zip(
        loss_and_slope(value, old, target, np.inf), loss_and_slope(value, old, target, wide), strict=True
    ):
        np.testing.assert_array_equal(mine, other)
