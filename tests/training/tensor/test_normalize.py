"""Running normalisation as tensors is that of arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlbench.training.envs.normalize import ObservationNormalizer, RewardNormalizer
from rlbench.training.tensor.normalize import TensorObservationNormalizer, TensorRewardNormalizer

CPU = torch.device("cpu")


@pytest.mark.parametrize("copies", [1, 3])
def test_observations(copies: int) -> None:
    rng = np.random.default_rng(0)
    arrays, tensors = ObservationNormalizer(2, 4), TensorObservationNormalizer(2, 4, CPU)
    for shift in (0.0, 5.0, -100.0, 2.0):  # the third is clipped
        seen = (rng.standard_normal((2, copies, 4)) + shift).astype(np.float32)
        expected = arrays.update_and_apply(seen)
        np.testing.assert_allclose(tensors.update_and_apply(torch.from_numpy(seen)), expected, rtol=1e-6, atol=1e-6)
    for name in ("mean", "variance"):
        np.testing.assert_allclose(getattr(tensors.moments, name), getattr(arrays.moments, name), rtol=1e-12)
    assert tensors.moments.count == arrays.moments.count == 1e-4 + 4 * copies
    assert (
        np.abs(expected).max()
        < 10
        == arrays.apply(seen + 1e6).max()
        == tensors.apply(torch.from_numpy(seen + 1e6)).max()
    )


@pytest.mark.parametrize("copies", [1, 3])
def test_rewards(copies: int) -> None:
    rng = np.random.default_rng(0)
    arrays, tensors = RewardNormalizer(2, copies, [0.9, 0.99]), TensorRewardNormalizer(copies, [0.9, 0.99], CPU)
    for _ in range(20):
        reward, ended = rng.standard_normal((2, copies)) + 1, rng.random((2, copies)) < 0.2
        found = tensors.apply(torch.from_numpy(reward), torch.from_numpy(ended))
        np.testing.assert_allclose(found, arrays.apply(reward, ended), rtol=1e-12)
