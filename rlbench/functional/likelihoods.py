"""Policies evaluated in numpy, with the derivatives written out: what training uses for every sample.

A likelihood is a batch of action distributions with parameters `head`, `[R, B, H]`. It gives log-probabilities,
entropies and KL divergences, `[R, B]`, and pulls gradients with respect to those back to the head. The mathematics is
that of `rlbench.functional.distributions`, which holds it in torch for autograd; the tests compare the two.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_FEW = 8
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Likelihood(ABC):
    """A batch of action distributions; see the module's docstring."""

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


class CategoricalLikelihood(Likelihood):
    """One choice among n; action: an index `[R, B]`."""

    def __init__(self, head: Array) -> None:
        shifted = head - _over_choices(np.maximum, head)
        self.probs = np.exp(shifted)
        total = _over_choices(np.add, self.probs)
        self.log_probs = shifted - np.log(total)
        self.probs /= total

    def log_prob(self, action: Array) -> Array:
        return self.log_probs.reshape(-1)[self._flat(action)].reshape(action.shape)

    def entropy(self) -> Array:
        return -_over_choices(np.add, self.probs * self.log_probs)[..., 0]

    def kl_from(self, old: CategoricalLikelihood) -> Array:
        return _over_choices(np.add, old.probs * (old.log_probs - self.log_probs))[..., 0]

    def pull_log_prob(self, action: Array, slope: Array) -> Array:
        pulled: Array = self.probs * -slope[..., None]
        pulled.reshape(-1)[self._flat(action)] += slope.reshape(-1)
        return pulled

    def pull_entropy(self, slope: Array) -> Array:
        pulled: Array = self.probs * (self.log_probs + self.entropy()[..., None]) * -slope[..., None]
        return pulled

    def pull_kl(self, old: CategoricalLikelihood, slope: Array) -> Array:
        pulled: Array = (self.probs - old.probs) * slope[..., None]
        return pulled

    def fisher(self, tangent: Array) -> Array:
        product: Array = self.probs * (tangent - _over_choices(np.add, self.probs * tangent))
        return product

    def _flat(self, action: Array) -> Array:
        """Return where the probabilities of the chosen actions lie in the flattened array."""
        size = self.log_probs.shape[-1]
        places: Array = action.reshape(-1) + np.arange(0, action.size * size, size)
        return places


class IndependentLikelihood(Likelihood):
    """Several independent choices; action: indices `[R, B, K]`."""

    def __init__(self, head: Array, sizes: Sequence[int]) -> None:
        self._cuts = np.cumsum(sizes)[:-1]
        self.parts = [CategoricalLikelihood(part) for part in np.split(head, self._cuts, axis=-1)]

    def log_prob(self, action: Array) -> Array:
        return _total(part.log_prob(action[..., k]) for k, part in enumerate(self.parts))

    def entropy(self) -> Array:
        return _total(part.entropy() for part in self.parts)

    def kl_from(self, old: IndependentLikelihood) -> Array:
        return _total(part.kl_from(other) for part, other in zip(self.parts, old.parts, strict=True))

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


class GaussianLikelihood(Likelihood):
    """Independent normal numbers; head: A means, then A log standard deviations; action `[R, B, A]`."""

    def __init__(self, head: Array) -> None:
        size = head.shape[-1] // 2
        self.mean, self.log_std = head[..., :size], head[..., size:]
        self.precision = np.exp(-self.log_std)  # 1 / standard deviation

    def log_prob(self, action: Array) -> Array:
        z = (action - self.mean) * self.precision
        density: Array = -(0.5 * z * z + self.log_std + _HALF_LOG_2PI).sum(-1)
        return density

    def entropy(self) -> Array:
        result: Array = (self.log_std + _HALF_LOG_2PI + 0.5).sum(-1)
        return result

    def kl_from(self, old: GaussianLikelihood) -> Array:
        shift, ratio = self._against(old)
        divergence: Array = (self.log_std - old.log_std + 0.5 * (ratio + shift * shift - 1)).sum(-1)
        return divergence

    def pull_log_prob(self, action: Array, slope: Array) -> Array:
        z = (action - self.mean) * self.precision
        return np.concatenate([z * self.precision, z * z - 1], -1) * slope[..., None]

    def pull_entropy(self, slope: Array) -> Array:
        zero = np.zeros_like(self.log_std)
        return np.concatenate([zero, zero + slope[..., None]], -1)

    def pull_kl(self, old: GaussianLikelihood, slope: Array) -> Array:
        shift, ratio = self._against(old)
        return np.concatenate([-shift * self.precision, 1 - ratio - shift * shift], -1) * slope[..., None]

    def fisher(self, tangent: Array) -> Array:
        size = self.mean.shape[-1]
        of_mean = tangent[..., :size] * self.precision * self.precision
        return np.concatenate([of_mean, 2 * tangent[..., size:]], -1)

    def _against(self, old: GaussianLikelihood) -> tuple[Array, Array]:
        """Return the old mean's distance in standard deviations, and the ratio of the old variance to the new."""
        return (old.mean - self.mean) * self.precision, np.exp(2 * (old.log_std - self.log_std))


def _over_choices(combine: np.ufunc, x: Array) -> Array:
    """Return `x` combined by a ufunc over its last axis, which stays with length 1."""
    if x.shape[-1] > _FEW:
        reduced: Array = combine.reduce(x, axis=-1, keepdims=True)
        return reduced
    # Over a short axis numpy's reduction costs more than taking the numbers column by column.
    result = x[..., 0:1]
    for k in range(1, x.shape[-1]):
        result = combine(result, x[..., k : k + 1])
    return result


def _total(parts: Any) -> Array:
    first, *others = parts
    for part in others:
        first = first + part
    result: Array = first
    return result
