"""Action distributions, built from a policy head `[..., B, H]`; actions are `[..., B]` or `[..., B, K]`.

A class turns a head into log-probabilities, entropies and analytic KL divergences, all `[..., B]`, through autograd.
Training uses the same mathematics with its derivatives written out, `rlbench.functional.likelihoods`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch


class Distribution(ABC):
    """A batch of action distributions with parameters `head`, `[..., B, H]`."""

    @abstractmethod
    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        """Return the log-probability (density) of the actions, `[..., B]`."""

    @abstractmethod
    def entropy(self) -> torch.Tensor:
        """Return the entropy in nats, `[..., B]`."""

    @abstractmethod
    def kl_from(self, old: Any) -> torch.Tensor:
        """Return KL(old || self) per state, `[..., B]`; `old` is of the same class."""


class Categorical(Distribution):
    """One choice among n; head: n logits; action: an index `[..., B]`."""

    def __init__(self, head: torch.Tensor) -> None:
        self.log_probs = torch.log_softmax(head, -1)

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        return self.log_probs.gather(-1, action.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> torch.Tensor:
        return -(self.log_probs.exp() * self.log_probs).sum(-1)

    def kl_from(self, old: Categorical) -> torch.Tensor:
        return (old.log_probs.exp() * (old.log_probs - self.log_probs)).sum(-1)


class Independent(Distribution):
    """Several independent choices, for MultiDiscrete and MultiBinary spaces; action: indices `[..., B, K]`."""

    def __init__(self, parts: Sequence[Categorical]) -> None:
        self.parts = parts

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        return _total([part.log_prob(action[..., k]) for k, part in enumerate(self.parts)])

    def entropy(self) -> torch.Tensor:
        return _total([part.entropy() for part in self.parts])

    def kl_from(self, old: Independent) -> torch.Tensor:
        return _total([part.kl_from(other) for part, other in zip(self.parts, old.parts, strict=True)])


class DiagonalGaussian(Distribution):
    """Independent normal numbers; head: A means, then A log standard deviations; action `[..., B, A]`."""

    def __init__(self, head: torch.Tensor) -> None:
        self.mean, self.log_std = head.chunk(2, -1)

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        z = (action - self.mean) * (-self.log_std).exp()
        return -(0.5 * z * z + self.log_std + 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> torch.Tensor:
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def kl_from(self, old: DiagonalGaussian) -> torch.Tensor:
        variance_ratio = (2 * (old.log_std - self.log_std)).exp()
        shift = (old.mean - self.mean) * (-self.log_std).exp()
        return (self.log_std - old.log_std + 0.5 * (variance_ratio + shift * shift - 1)).sum(-1)


def _total(parts: list[torch.Tensor]) -> torch.Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
