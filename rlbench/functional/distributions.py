"""Action distributions of policy heads `[..., B, H]`; actions are `[..., B]` or `[..., B, K]`.

The same mathematics twice, and the tests compare the two. A `Distribution` is for autograd. A `Likelihood` is what
training uses for every sample: compiled loops, with the derivatives written out. A `Family` is the kind of distribution
that an action space gets; its samples are functions of noise that was drawn beforehand, so that randomness stays data.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.functional import categorical, gaussian

Array = npt.NDArray[Any]


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


class Likelihood(ABC):
    """A batch of action distributions with parameters `head`, `[R, B, H]`; `pull_*` take gradients back to the head."""

    @abstractmethod
    def log_prob(self, action: Array) -> Array:
        """Return the log-probability (density) of the actions, `[R, B]`."""

    @abstractmethod
    def entropy(self) -> Array:
        """Return the entropy in nats, `[R, B]`."""

    @abstractmethod
    def kl_from(self, old: Any) -> Array:
        """Return KL(old || self) per state, `[R, B]`; `old` is of the same class."""

    @abstractmethod
    def pull_log_prob(self, action: Array, slope: Array) -> Array:
        """Return the gradient with respect to the head, `[R, B, H]`, from that of the log-probability, `[R, B]`."""

    @abstractmethod
    def pull_entropy(self, slope: Array) -> Array:
        """Return the gradient with respect to the head from that of the entropy, `[R, B]` or `[R, 1]`."""

    @abstractmethod
    def pull_kl(self, old: Any, slope: Array) -> Array:
        """Return the gradient with respect to the head from that of KL(old || self), `[R, B]`."""

    @abstractmethod
    def fisher(self, tangent: Array) -> Array:
        """Return the Fisher information with respect to the head times `tangent`, both `[R, B, H]`."""


class _KernelLikelihood(Likelihood):
    """One whose loops run over M = R B states."""

    def __init__(self, head: Array) -> None:
        self._shape = head.shape
        self._rows = _rows(head)  # [M, H]

    def _per_state(self, kernel: Callable[..., None], *arguments: Array) -> Array:
        out = np.empty(len(self._rows), self._rows.dtype)
        kernel(*arguments, out)
        return out.reshape(self._shape[:-1])

    def _per_head(self, kernel: Callable[..., None], *arguments: Array) -> Array:
        out = np.empty_like(self._rows)
        kernel(*arguments, out)
        return out.reshape(self._shape)


class CategoricalLikelihood(_KernelLikelihood):
    """One choice among n; action: an index `[R, B]`."""

    def __init__(self, head: Array) -> None:
        super().__init__(head)
        self.log_probs, self.probs = np.empty_like(self._rows), np.empty_like(self._rows)
        categorical.softmax(self._rows, self.log_probs, self.probs)

    def log_prob(self, action: Array) -> Array:
        return self._per_state(categorical.take, self.log_probs, action.reshape(-1))

    def entropy(self) -> Array:
        return self._per_state(categorical.entropy, self.log_probs, self.probs)

    def kl_from(self, old: CategoricalLikelihood) -> Array:
        return self._per_state(categorical.divergence, old.log_probs, old.probs, self.log_probs)

    def pull_log_prob(self, action: Array, slope: Array) -> Array:
        return self._per_head(categorical.pull_take, self.probs, action.reshape(-1), slope.reshape(-1))

    def pull_entropy(self, slope: Array) -> Array:
        return self._per_head(categorical.pull_entropy, self.log_probs, self.probs, _each(slope, self._shape))

    def pull_kl(self, old: CategoricalLikelihood, slope: Array) -> Array:
        return self._per_head(categorical.pull_divergence, old.probs, self.probs, slope.reshape(-1))

    def fisher(self, tangent: Array) -> Array:
        return self._per_head(categorical.fisher, self.probs, _rows(tangent))


class IndependentLikelihood(Likelihood):
    """Several independent choices; action: indices `[R, B, K]`."""

    def __init__(self, head: Array, sizes: Sequence[int]) -> None:
        self._cuts = np.cumsum(sizes)[:-1]
        self.parts = [CategoricalLikelihood(part) for part in np.split(head, self._cuts, axis=-1)]

    def log_prob(self, action: Array) -> Array:
        return _sum_of_parts(part.log_prob(action[..., k]) for k, part in enumerate(self.parts))

    def entropy(self) -> Array:
        return _sum_of_parts(part.entropy() for part in self.parts)

    def kl_from(self, old: IndependentLikelihood) -> Array:
        return _sum_of_parts(part.kl_from(other) for part, other in zip(self.parts, old.parts, strict=True))

    def pull_log_prob(self, action: Array, slope: Array) -> Array:
        return np.concatenate([part.pull_log_prob(action[..., k], slope) for k, part in enumerate(self.parts)], -1)

    def pull_entropy(self, slope: Array) -> Array:
        return np.concatenate([part.pull_entropy(slope) for part in self.parts], -1)

    def pull_kl(self, old: IndependentLikelihood, slope: Array) -> Array:
        pairs = zip(self.parts, old.parts, strict=True)
        return np.concatenate([part.pull_kl(other, slope) for part, other in pairs], -1)

    def fisher(self, tangent: Array) -> Array:
        pieces = np.split(tangent, self._cuts, axis=-1)
        return np.concatenate([part.fisher(piece) for part, piece in zip(self.parts, pieces, strict=True)], -1)


class GaussianLikelihood(_KernelLikelihood):
    """Independent normal numbers; head: A means, then A log standard deviations; action `[R, B, A]`."""

    def log_prob(self, action: Array) -> Array:
        return self._per_state(gaussian.log_density, self._rows, _rows(action))

    def entropy(self) -> Array:
        return self._per_state(gaussian.entropy, self._rows)

    def kl_from(self, old: GaussianLikelihood) -> Array:
        return self._per_state(gaussian.divergence, old._rows, self._rows)

    def pull_log_prob(self, action: Array, slope: Array) -> Array:
        return self._per_head(gaussian.pull_log_density, self._rows, _rows(action), slope.reshape(-1))

    def pull_entropy(self, slope: Array) -> Array:
        return self._per_head(gaussian.pull_entropy, _each(slope, self._shape))

    def pull_kl(self, old: GaussianLikelihood, slope: Array) -> Array:
        return self._per_head(gaussian.pull_divergence, old._rows, self._rows, slope.reshape(-1))

    def fisher(self, tangent: Array) -> Array:
        return self._per_head(gaussian.fisher, self._rows, _rows(tangent))


def _rows(x: Array) -> Array:
    """Return `[R, B, H]` as `[R B, H]`."""
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


def _each(slope: Array, shape: tuple[int, ...]) -> Array:
    """Return slopes `[R, B]` or `[R, 1]` as one number per state, `[R B]`."""
    return np.ascontiguousarray(np.broadcast_to(slope, shape[:-1])).reshape(-1)


def _sum_of_parts(parts: Any) -> Array:
    first, *others = parts
    for part in others:
        first = first + part
    result: Array = first
    return result


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

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Return noise for actions of leading shape `shape`, as `sample` wants it: Gumbel noise for logits."""
        return rng.gumbel(size=(*shape, self.head_size)).astype(np.float32)

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

    sampler = staticmethod(categorical.sample)

    def __init__(self, n: int) -> None:
        self.head_size = n

    def build(self, head: torch.Tensor) -> Categorical:
        return Categorical(head)

    def likelihood(self, head: Array) -> CategoricalLikelihood:
        return CategoricalLikelihood(head)

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

    def sample(self, head: Array, noise: Array) -> Array:
        parts = np.split(head + noise, np.cumsum(self.sizes)[:-1], axis=-1)
        return np.stack([np.argmax(part, axis=-1) for part in parts], axis=-1)

    def sample_tensor(self, head: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        parts = torch.split(head + noise, list(self.sizes), -1)
        return torch.stack([torch.argmax(part, -1) for part in parts], -1)


class GaussianFamily(Family):
    """Box, flattened to A numbers; the standard deviation does not depend on the state."""

    sampler = staticmethod(gaussian.sample)

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
