"""Samples whose ratio and advantage are chosen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from rlbench import Samples
from rlbench.functional.distributions import Categorical

MakeSamples = Callable[[list[float], list[float]], Samples]


@pytest.fixture
def samples_of() -> MakeSamples:
    """Return a function from ratios (below 2) and advantages to samples of a policy with two actions.

    The old policy is uniform, so KL(old || new) = -(log r + log(2 - r)) / 2.
    """

    def make(ratio: list[float], advantage: list[float]) -> Samples:
        prob = 0.5 * torch.tensor(ratio, dtype=torch.float64)
        head = torch.stack([prob.log(), (1 - prob).log()], -1).requires_grad_()
        action = torch.zeros(len(ratio), dtype=torch.int64)
        old = torch.zeros_like(head).detach()
        return Samples.from_heads(Categorical, head, old, action, torch.tensor(advantage, dtype=torch.float64))

    return make
