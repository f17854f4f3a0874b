"""Which distribution an action space gets: the width of its head, its noise, its samples and its likelihood.

Samples are functions of noise that was drawn beforehand, so that randomness stays data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.functional import choices, normals
from rlbench.functional.distributions import Categorical, DiagonalGaussian, Distribution, Independent
from rlbench.functional.likelihoods import (
    CategoricalLikelihood,
    GaussianLikelihood,
    IndependentLikelihood,
    Likelihood,
)

Array = npt.NDArray[Any]


class Family(ABC):
    """A kind of distribution for one action space: the width of its head, its noise and its samples."""

    head_size: int
    log_std_size: int = 0
    """How many of the head's numbers are free parameters (log standard deviations) instead of network outputs."""
    sampler: Callable[[Array, Array, Array], None] | None = None
    """Compiled: fills actions `[M, K]`, in double precision, from heads `[M, H]` and noise `[M, Z]`; None: has none."""

    @abstractmethod
    def build(self, head: torch.Tensor) -> Distribution:
        """Return the distributions of a head `[..., B, H]`, for autograd."""

    @abstractmethod
    def likelihood(self, head: Array) -> Likelihood:
        """Return the distributions of a head `[..., B, H]`, with their derivatives written out."""

    @abstractmethod
    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Return noise for actions of leading shape `shape`, as `sample` wants it."""

    @abstractmethod
    def sample(self, head: Array, noise: Array) -> Array:
        """Return one action for each head, a function of the head and its noise alone."""

    @abstractmethod
    def sample_tensor(self, head: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return what `sample` does, in torch on the device of the head."""

    def actions(self, sampled: Array) -> Array:
        """Return what the compiled sampler drew, `[..., K]` in double precision, as this family's actions."""
        raise NotImplementedError


class CategoricalFamily(Family):
    """Discrete(n)."""

    sampler = staticmethod(choices.sample)

    def __init__(self, n: int) -> None:
        self.head_size = n

    def build(self, head: torch.Tensor) -> Categorical:
        return Categorical(head)

    def likelihood(self, head: Array) -> CategoricalLikelihood:
        return CategoricalLikelihood(head)

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.gumbel(size=(*shape, self.head_size)).astype(np.float32)

    def sample(self, head: Array, noise: Array) -> Array:
        return self.actions(_sampled(self.sampler, head, noise, 1))

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

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.gumbel(size=(*shape, self.head_size)).astype(np.float32)

    def sample(self, head: Array, noise: Array) -> Array:
        parts = np.split(head + noise, np.cumsum(self.sizes)[:-1], axis=-1)
        return np.stack([np.argmax(part, axis=-1) for part in parts], axis=-1)

    def sample_tensor(self, head: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        parts = torch.split(head + noise, list(self.sizes), -1)
        return torch.stack([torch.argmax(part, -1) for part in parts], -1)


class GaussianFamily(Family):
    """Box, flattened to A numbers; the standard deviation does not depend on the state."""

    sampler = staticmethod(normals.sample)

    def __init__(self, size: int) -> None:
        self.head_size = 2 * size
        self.log_std_size = size

    def build(self, head: torch.Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(head)

    def likelihood(self, head: Array) -> GaussianLikelihood:
        return GaussianLikelihood(head)

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.standard_normal((*shape, self.log_std_size), dtype=np.float32)

    def sample(self, head: Array, noise: Array) -> Array:
        return self.actions(_sampled(self.sampler, head, noise, self.log_std_size))

    def actions(self, sampled: Array) -> Array:
        return sampled.astype(np.float32)

    def sample_tensor(self, head: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return head[..., : self.log_std_size] + torch.exp(head[..., self.log_std_size :]) * noise


def _sampled(sampler: Callable[[Array, Array, Array], None], head: Array, noise: Array, width: int) -> Array:
    """Return actions `[..., width]` by a compiled sampler."""
    actions = np.empty((*head.shape[:-1], width))
    sampler(head.reshape(-1, head.shape[-1]), noise.reshape(-1, noise.shape[-1]), actions.reshape(-1, width))
    return actions


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
    raise ValueError(f"there is no distribution for actions of kind {kind!r}")
