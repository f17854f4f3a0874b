"""Policies evaluated by compiled loops, with the derivatives written out: what training uses for every sample.

A likelihood is a batch of action distributions with parameters `head`, `[R, B, H]`. It gives log-probabilities,
entropies and KL divergences, `[R, B]`, and pulls gradients with respect to those back to the head. The mathematics is
that of `rlbench.functional.distributions`, which holds it in torch for autograd; the tests compare the two.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlbench.functional import choices, normals

Array = npt.NDArray[Any]


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
        self._shape = head.shape
        logits = _rows(head)
        self.log_probs, self.probs = np.empty_like(logits), np.empty_like(logits)  # [M, H], M = R B
        choices.softmax(logits, self.log_probs, self.probs)

    def log_prob(self, action: Array) -> Array:
        out = self._per_state()
        choices.take(self.log_probs, action.reshape(-1), out)
        return out.reshape(self._shape[:-1])

    def entropy(self) -> Array:
        out = self._per_state()
        choices.entropy(self.log_probs, self.probs, out)
        return out.reshape(self._shape[:-1])

    def kl_from(self, old: CategoricalLikelihood) -> Array:
        out = self._per_state()
        choices.divergence(old.log_probs, old.probs, self.log_probs, out)
        return out.reshape(self._shape[:-1])

    def pull_log_prob(self, action: Array, slope: Array) -> Array:
        out = np.empty_like(self.probs)
        choices.pull_take(self.probs, action.reshape(-1), slope.reshape(-1), out)
        return out.reshape(self._shape)

    def pull_entropy(self, slope: Array) -> Array:
        out = np.empty_like(self.probs)
        choices.pull_entropy(self.log_probs, self.probs, _each(slope, self._shape), out)
        return out.reshape(self._shape)

    def pull_kl(self, old: CategoricalLikelihood, slope: Array) -> Array:
        out = np.empty_like(self.probs)
        choices.pull_divergence(old.probs, self.probs, slope.reshape(-1), out)
        return out.reshape(self._shape)

    def fisher(self, tangent: Array) -> Array:
        out = np.empty_like(self.probs)
        choices.fisher(self.probs, _rows(tangent), out)
        return out.reshape(self._shape)

    def _per_state(self) -> Array:
        return np.empty(len(self.probs), self.probs.dtype)


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
        self._shape = head.shape
        self.rows = _rows(head)  # [M, 2 A], M = R B

    def log_prob(self, action: Array) -> Array:
        out = self._per_state()
        normals.log_density(self.rows, _rows(action), out)
        return out.reshape(self._shape[:-1])

    def entropy(self) -> Array:
        out = self._per_state()
        normals.entropy(self.rows, out)
        return out.reshape(self._shape[:-1])

    def kl_from(self, old: GaussianLikelihood) -> Array:
        out = self._per_state()
        normals.divergence(old.rows, self.rows, out)
        return out.reshape(self._shape[:-1])

    def pull_log_prob(self, action: Array, slope: Array) -> Array:
        out = np.empty_like(self.rows)
        normals.pull_log_density(self.rows, _rows(action), slope.reshape(-1), out)
        return out.reshape(self._shape)

    def pull_entropy(self, slope: Array) -> Array:
        out = np.empty_like(self.rows)
        normals.pull_entropy(_each(slope, self._shape), out)
        return out.reshape(self._shape)

    def pull_kl(self, old: GaussianLikelihood, slope: Array) -> Array:
        out = np.empty_like(self.rows)
        normals.pull_divergence(old.rows, self.rows, slope.reshape(-1), out)
        return out.reshape(self._shape)

    def fisher(self, tangent: Array) -> Array:
        out = np.empty_like(self.rows)
        normals.fisher(self.rows, _rows(tangent), out)
        return out.reshape(self._shape)

    def _per_state(self) -> Array:
        return np.empty(len(self.rows), self.rows.dtype)


def _rows(x: Array) -> Array:
    """Return `[R, B, H]` as `[R B, H]`."""
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


def _each(slope: Array, shape: tuple[int, ...]) -> Array:
    """Return slopes `[R, B]` or `[R, 1]` as one number per state, `[R B]`."""
    return np.ascontiguousarray(np.broadcast_to(slope, shape[:-1])).reshape(-1)


def _total(parts: Any) -> Array:
    first, *others = parts
    for part in others:
        first = first + part
    result: Array = first
    return result
