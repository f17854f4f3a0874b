"""Action distributions of policy heads `[..., B, H]`; actions are `[..., B]` or `[..., B, K]`.

A `Distribution` is for autograd. A `Family` is the kind of distribution that an action space gets; its samples are
functions of noise that was drawn beforehand, so that randomness stays data.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch

from rlbench.functional.compiled import Array
from rlbench.functional.likelihoods import (
    NODES,
    WEIGHTS,
    CategoricalLikelihood,
    GaussianLikelihood,
    IndependentLikelihood,
    Likelihood,
    SquashedGaussianLikelihood,
    sample_categorical,
    sample_gaussian,
)


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
        return reduce(add, [part.log_prob(action[..., k]) for k, part in enumerate(self.parts)])

    def entropy(self) -> torch.Tensor:
        return reduce(add, [part.entropy() for part in self.parts])

    def kl_from(self, old: Independent) -> torch.Tensor:
        return reduce(add, [part.kl_from(other) for part, other in zip(self.parts, old.parts, strict=True)])


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


class SquashedGaussian(DiagonalGaussian):
    """The hyperbolic tangent of independent normal numbers; head and action `[..., B, A]` are those before it.

    See `rlbench.functional.likelihoods.SquashedGaussianLikelihood`.
    """

    def log_prob(self, action: torch.Tensor) -> torch.Tensor:
        return super().log_prob(action) - _log_slope(action.to(self.mean.dtype)).sum(-1)

    def entropy(self) -> torch.Tensor:
        nodes, weights = (torch.as_tensor(x, dtype=self.mean.dtype, device=self.mean.device) for x in (NODES, WEIGHTS))
        u = self.mean.unsqueeze(-1) + self.log_std.exp().unsqueeze(-1) * nodes
        return super().entropy() + (_log_slope(u) * weights).sum((-1, -2))


def _log_slope(u: torch.Tensor) -> torch.Tensor:
    """Return log(1 - tanh(u)^2), the logarithm of the derivative of the hyperbolic tangent."""
    return 2 * (math.log(2) - u - torch.logaddexp(-2 * u, torch.zeros_like(u)))


class Family(ABC):
    """A kind of distribution for one action space: the width of its head, its noise and its samples."""

    head_size: int
    log_std_size: int = 0
    """How many of the head's numbers are free parameters (log standard deviations) instead of network outputs."""
    sampler: Callable[[Array, Array, Array], None] | None = None
    """Compiled: fills actions `[M, K]`, in double precision, from heads `[M, H]` and noise `[M, Z]`; None: has none."""

    @property
    def outputs(self) -> int:
        """How many of the head's numbers are the network's."""
        return self.head_size - self.log_std_size

    @property
    def noise_size(self) -> int:
        """Z, how many random numbers an action takes; where all of them are 0 it is the most likely action."""
        return self.log_std_size or self.head_size

    @abstractmethod
    def build(self, head: torch.Tensor) -> Distribution:
        """Return the distributions of a head `[..., B, H]`, for autograd."""

    @abstractmethod
    def likelihood(self, head: Array) -> Likelihood:
        """Return the distributions of a head `[..., B, H]`, with their derivatives written out."""

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Return noise for actions of leading shape `shape`, as `sample` wants it: Gumbel noise for logits."""
        return rng.gumbel(size=(*shape, self.noise_size)).astype(np.float32)

    def sample(self, head: Array, noise: Array) -> Array:
        """Return one action for each head, a function of the head and its noise alone."""
        assert self.sampler is not None
        drawn = np.empty((*head.shape[:-1], self.log_std_size or 1))
        self.sampler(*(x.reshape(-1, x.shape[-1]) for x in (head, noise, drawn)))
        return self.actions(drawn)

    @abstractmethod
    def sample_tensor(self, head: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return what `sample` does, in torch on the device of the head."""

    def actions(self, sampled: Array) -> Array:
        """Return what the compiled sampler drew, `[..., K]` in double precision, as this family's actions."""
        raise NotImplementedError


class CategoricalFamily(Family):
    """Discrete(n)."""

    sampler = staticmethod(sample_categorical)

    def __init__(self, n: int) -> None:
        self.head_size = n

    def build(self, head: torch.Tensor) -> Categorical:
        return Categorical(head)

    def likelihood(self, head: Array) -> CategoricalLikelihood:
        return CategoricalLikelihood(head)

    def actions(self, sampled: Array) -> Array:
        return sampled[..., 0].astype(np.int64)

    def sample_tensor(self, head: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return torch.argmax(head + noise, -1)


class IndependentFamily(Family):
    """MultiDiscrete(sizes); MultiBinary(K) is the case of K twos."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self.head_size = sum(self.sizes)

    def build(self, head: torch.Tensor) -> Independent:
        return Independent([Categorical(part) for part in torch.split(head, list(self.sizes), -1)])

    def likelihood(self, head: Array) -> IndependentLikelihood:
        return IndependentLikelihood(head, self.sizes)

    def sample(self, head: Array, noise: Array) -> Array:
        parts = np.split(head + noise, np.cumsum(self.sizes)[:-1], axis=-1)
        return np.stack([np.argmax(part, axis=-1) for part in parts], axis=-1)

    def sample_tensor(self, head: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        parts = torch.split(head + noise, list(self.sizes), -1)
        return torch.stack([torch.argmax(part, -1) for part in parts], -1)


class GaussianFamily(Family):
    """Box, flattened to A numbers; the standard deviation does not depend on the state."""

    sampler = staticmethod(sample_gaussian)

    def __init__(self, size: int) -> None:
        self.head_size = 2 * size
        self.log_std_size = size

    def build(self, head: torch.Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(head)

    def likelihood(self, head: Array) -> GaussianLikelihood:
        return GaussianLikelihood(head)

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.standard_normal((*shape, self.noise_size), dtype=np.float32)

    def actions(self, sampled: Array) -> Array:
        return sampled.astype(np.float32)

    def sample_tensor(self, head: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return head[..., : self.log_std_size] + torch.exp(head[..., self.log_std_size :]) * noise


class SquashedGaussianFamily(GaussianFamily):
    """Box with bounds; what is drawn, and learnt from, are the numbers before the hyperbolic tangent."""

    def build(self, head: torch.Tensor) -> SquashedGaussian:
        return SquashedGaussian(head)

    def likelihood(self, head: Array) -> SquashedGaussianLikelihood:
        return SquashedGaussianLikelihood(head)


def family(kind: str, sizes: Sequence[int]) -> Family:
    """Return the family of an action space, by the kinds and sizes of `rlbench.training.envs.ActionSpec`."""
    if kind == "categorical":
        return CategoricalFamily(sizes[0])
    if kind == "multicategorical":
        return IndependentFamily(sizes)
    if kind == "bernoulli":
        return IndependentFamily([2] * sizes[0])
    if kind == "gaussian":
        return GaussianFamily(sizes[0])
    if kind == "squashed":
        return SquashedGaussianFamily(sizes[0])
    raise ValueError(f"there is no distribution for actions of kind {kind!r}")
