"""What the checks are made on: samples of a policy that moved, and the way to say what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from rlbench.data import Samples
from rlbench.functional.distributions import Categorical, Distribution

REPLICAS, SAMPLES, ACTIONS = 3, 50, 4  # 50: no multiple of a vector register, where unequal rounding shows


class Broken(Exception):
    """A check failed; the message says what to change."""


def require(condition: bool, message: str) -> None:
    """Raise Broken with `message` unless `condition` holds."""
    if not condition:
        raise Broken(message)


@dataclass(frozen=True, eq=False)
class Case:
    """Samples with what they were made of."""

    x: Samples
    head: torch.Tensor
    old_head: torch.Tensor
    action: torch.Tensor

    def replica(self, r: int) -> Samples:
        """Return the samples of one replica, without the leading axis."""
        return Samples.from_heads(
            Categorical, self.head[r].detach(), self.old_head[r], self.action[r], self.x.advantage[r]
        )

    def alone(self, r: int, build: Callable[[torch.Tensor], Distribution]) -> Samples:
        """Return the samples of one replica as it has them where it trains alone, `[1, B]`."""
        own = slice(r, r + 1)
        return Samples.from_heads(
            build, self.head[own].detach(), self.old_head[own], self.action[own], self.x.advantage[own]
        )


def make_case(
    build: Callable[[torch.Tensor], Distribution],
    replicas: int | None,
    *,
    moved: float = 0.3,
    changed: int | None = None,
    samples: int = SAMPLES,
) -> Case:
    """Return samples of a policy that moved away from the old one; `[B]` tensors without `replicas`, else `[R, B]`.

    The replica `changed`, if there is one, saw something else than it did without.
    """
    lead = (samples,) if replicas is None else (replicas, samples)
    rng, other = np.random.default_rng(0), np.random.default_rng(1)

    def normal(*shape: int) -> torch.Tensor:
        numbers, others = (one.standard_normal(shape).astype(np.float32) for one in (rng, other))
        if changed is not None:
            numbers[changed] = others[changed]
        return torch.from_numpy(numbers)

    old_head = normal(*lead, ACTIONS)
    head = (old_head + moved * normal(*lead, ACTIONS)).requires_grad_()
    if build is Categorical:
        action = torch.from_numpy(rng.integers(ACTIONS, size=lead))
    else:
        center, log_std = old_head.chunk(2, -1)
        action = center + log_std.exp() * normal(*lead, ACTIONS // 2)
    return Case(Samples.from_heads(build, head, old_head, action, normal(*lead)), head, old_head, action)
