"""The value loss by hand and against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlbench.functional.values import value_loss

VALUE, OLD, TARGET = np.array([1.0, 3.0, 3.0]), np.array([1.0, 1.0, 1.0]), np.array([2.0, 4.0, 0.0])


def test_by_hand() -> None:
    loss, slope = value_loss(VALUE, OLD, TARGET, None)
    assert loss.tolist() == [0.5, 0.5, 4.5]
    assert slope.tolist() == [-1.0, -1.0, 3.0]
    # Clipped to 1.5 the second loses (4 - 1.5)^2 / 2, which is more and does not depend on V; the third (1.5)^2 / 2,
    # which is less.
    loss, slope = value_loss(VALUE, OLD, TARGET, 0.5)
    assert loss.tolist() == [0.5, 3.125, 4.5]
    assert slope.tolist() == [-1.0, 0.0, 3.0]


@pytest.mark.parametrize("value_clip", [None, 0.3, 1.0])
def test_the_slope_is_autograds(value_clip: float | None) -> None:
    old, target, start = np.random.default_rng(0).standard_normal((3, 4, 50))
    value = torch.from_numpy(start).requires_grad_()
    expected = (value - torch.from_numpy(target)).square()
    if value_clip is not None:
        before = torch.from_numpy(old)
        near = before + (value - before).clamp(-value_clip, value_clip)
        expected = torch.maximum(expected, (near - torch.from_numpy(target)).square())
    (0.5 * expected).sum().backward()
    loss, slope = value_loss(start, old, target, value_clip)
    np.testing.assert_allclose(loss, 0.5 * expected.detach().numpy())
    assert value.grad is not None
    np.testing.assert_allclose(slope, value.grad.numpy())


def test_an_infinite_value_clip_is_none_to_the_bit() -> None:
    old, target, value = np.random.default_rng(0).standard_normal((3, 101)).astype(np.float32)
    for mine, other in zip(value_loss(value, old, target, None), value_loss(value, old, target, np.inf), strict=True):
        np.testing.assert_array_equal(mine, other)
