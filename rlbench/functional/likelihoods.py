"""Likelihoods of policy heads: what training uses for every sample, with the derivatives written out.

The mathematics is that of `rlbench.functional.distributions`, here in compiled loops over M = R B states; the tests
compare the two. A loop reads the `state` that its class makes of the head and fills its last argument, `[M]` or, for
what is taken back to the head, `[M, H]`.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import ClassVar, Self

import numpy as np

from rlbench.functional.compiled import Array, exact, inlined, kernel

Kernel = Callable[..., None]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)  # in double precision, and so the sums that it enters
_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1), np.float32(2)


class Likelihood:
    """A batch of action distributions with parameters `head`, `[R, B, H]`; `vjp_*` take gradients back to the head."""

    _log_prob: ClassVar[Kernel]
    _entropy: ClassVar[Kernel]
    _kl: ClassVar[Kernel]
    _vjp_log_prob: ClassVar[Kernel]
    _vjp_entropy: ClassVar[Kernel]
    _vjp_kl: ClassVar[Kernel]
    _fisher: ClassVar[Kernel]

    def __init__(self, head: Array) -> None:
        self._shape = head.shape
        self._head = self._rows(head)
        self.state = self._head

    def log_prob(self, action: Array) -> Array:
        """Return the log-probability (density) of the actions, `[R, B]`."""
        return self._per_state(self._log_prob, self.state, self._rows(action))

    def entropy(self) -> Array:
        """Return the entropy in nats, `[R, B]`."""
        return self._per_state(self._entropy, self.state)

    def kl_from(self, old: Self) -> Array:
        """Return KL(old || self) per state, `[R, B]`."""
        return self._per_state(self._kl, old.state, self.state)

    def vjp_log_prob(self, action: Array, grad: Array) -> Array:
        """Return the gradient with respect to the head, `[R, B, H]`, from that of the log-probability, `[R, B]`."""
        return self._per_head(self._vjp_log_prob, self.state, self._rows(action), grad.reshape(-1))

    def vjp_entropy(self, grad: Array) -> Array:
        """Return the gradient with respect to the head from that of the entropy, `[R, B]` or `[R, 1]`."""
        return self._per_head(self._vjp_entropy, self.state, self._rows(np.broadcast_to(grad, self._shape[:-1])))

    def vjp_kl(self, old: Self, grad: Array) -> Array:
        """Return the gradient with respect to the head from that of KL(old || self), `[R, B]`."""
        return self._per_head(self._vjp_kl, old.state, self.state, grad.reshape(-1))

    def fisher(self, tangent: Array) -> Array:
        """Return the Fisher information with respect to the head times `tangent`, both `[R, B, H]`."""
        return self._per_head(self._fisher, self.state, self._rows(tangent))

    def _rows(self, x: Array) -> Array:
        """Return what belongs to the states, `[R, B, ...]`, as `[M, ...]`."""
        return np.ascontiguousarray(x).reshape(-1, *x.shape[len(self._shape) - 1 :])

    def _per_state(self, kernel: Kernel, *arguments: Array) -> Array:
        out = np.empty(len(self._head), self._head.dtype)
        kernel(*arguments, out)
        return out.reshape(self._shape[:-1])

    def _per_head(self, kernel: Kernel, *arguments: Array) -> Array:
        out = np.empty_like(self._head)
        kernel(*arguments, out)
        return out.reshape(self._shape)


class CategoricalLikelihood(Likelihood):
    """One choice among H; head: logits; action: an index `[R, B]`.

    Its state `[2, M, H]` is the log-probabilities and the probabilities.
    """

    def __init__(self, head: Array) -> None:
        super().__init__(head)
        self.state = np.empty((2, *self._head.shape), self._head.dtype)
        self._softmax(self._head, self.state)

    @staticmethod
    @kernel
    def _softmax(head: Array, state: Array) -> None:
        log_probs, probs = state[0], state[1]
        states, choices = head.shape
        for m in range(states):
            largest = head[m, 0]
            for k in range(1, choices):
                largest = np.maximum(largest, head[m, k])
            total = np.float32(0)
            for k in range(choices):
                shifted = head[m, k] - largest
                weight = np.exp(shifted)
                log_probs[m, k] = shifted
                probs[m, k] = weight
                total += weight
            log_total, scale = np.log(total), np.float32(1) / total
            for k in range(choices):
                log_probs[m, k] -= log_total
                probs[m, k] *= scale

    @staticmethod
    @kernel
    def _log_prob(state: Array, action: Array, out: Array) -> None:
        log_probs = state[0]
        for m in range(len(out)):
            out[m] = log_probs[m, action[m]]

    @staticmethod
    @kernel
    def _entropy(state: Array, out: Array) -> None:
        log_probs, probs = state[0], state[1]
        for m in range(len(out)):
            total = np.float32(0)
            for k in range(probs.shape[1]):
                total -= probs[m, k] * log_probs[m, k]
            out[m] = total

    @staticmethod
    @kernel
    def _kl(old: Array, new: Array, out: Array) -> None:
        old_log_probs, old_probs, log_probs = old[0], old[1], new[0]
        for m in range(len(out)):
            total = np.float32(0)
            for k in range(log_probs.shape[1]):
                total += old_probs[m, k] * (old_log_probs[m, k] - log_probs[m, k])
            out[m] = total

    @staticmethod
    @kernel
    def _vjp_log_prob(state: Array, action: Array, grad: Array, out: Array) -> None:
        probs = state[1]
        for m in range(len(out)):
            for k in range(probs.shape[1]):
                out[m, k] = -grad[m] * probs[m, k]
            out[m, action[m]] += grad[m]

    @staticmethod
    @kernel
    def _vjp_entropy(state: Array, grad: Array, out: Array) -> None:
        log_probs, probs = state[0], state[1]
        for m in range(len(out)):
            negative = np.float32(0)
            for k in range(probs.shape[1]):
                negative += probs[m, k] * log_probs[m, k]
            for k in range(probs.shape[1]):
                out[m, k] = -grad[m] * probs[m, k] * (log_probs[m, k] - negative)

    @staticmethod
    @kernel
    def _vjp_kl(old: Array, new: Array, grad: Array, out: Array) -> None:
        old_probs, probs = old[1], new[1]
        for m in range(len(out)):
            for k in range(probs.shape[1]):
                out[m, k] = grad[m] * (probs[m, k] - old_probs[m, k])

    @staticmethod
    @kernel
    def _fisher(state: Array, tangent: Array, out: Array) -> None:
        probs = state[1]
        for m in range(len(out)):
            mean = np.float32(0)
            for k in range(probs.shape[1]):
                mean += probs[m, k] * tangent[m, k]
            for k in range(probs.shape[1]):
                out[m, k] = probs[m, k] * (tangent[m, k] - mean)


class GaussianLikelihood(Likelihood):
    """Independent normal numbers; head: A means, then A log standard deviations; action `[R, B, A]`."""

    @staticmethod
    @kernel
    def _log_prob(head: Array, action: Array, out: Array) -> None:
        size = action.shape[1]
        for m in range(len(out)):
            total = np.float32(0)
            for k in range(size):
                log_std = head[m, size + k]
                z = (action[m, k] - head[m, k]) * np.exp(-log_std)
                total -= _HALF * z * z + log_std + _HALF_LOG_2PI
            out[m] = total

    @staticmethod
    @kernel
    def _entropy(head: Array, out: Array) -> None:
        size = head.shape[1] // 2
        for m in range(len(out)):
            total = np.float32(0)
            for k in range(size):
                total += head[m, size + k] + _HALF_LOG_2PI + _HALF
            out[m] = total

    @staticmethod
    @kernel
    def _kl(old_head: Array, head: Array, out: Array) -> None:
        size = head.shape[1] // 2
        for m in range(len(out)):
            total = np.float32(0)
            for k in range(size):
                log_std, old_log_std = head[m, size + k], old_head[m, size + k]
                shift = (old_head[m, k] - head[m, k]) * np.exp(-log_std)
                ratio = np.exp(_TWO * (old_log_std - log_std))
                total += log_std - old_log_std + _HALF * (ratio + shift * shift - _ONE)
            out[m] = total

    @staticmethod
    @kernel
    def _vjp_log_prob(head: Array, action: Array, grad: Array, out: Array) -> None:
        size = action.shape[1]
        for m in range(len(out)):
            for k in range(size):
                precision = np.exp(-head[m, size + k])
                z = (action[m, k] - head[m, k]) * precision
                out[m, k] = grad[m] * z * precision
                out[m, size + k] = grad[m] * (z * z - _ONE)

    @staticmethod
    @kernel
    def _vjp_entropy(head: Array, grad: Array, out: Array) -> None:
        size = out.shape[1] // 2
        for m in range(len(out)):
            for k in range(size):
                out[m, k] = 0
                out[m, size + k] = grad[m]

    @staticmethod
    @kernel
    def _vjp_kl(old_head: Array, head: Array, grad: Array, out: Array) -> None:
        size = head.shape[1] // 2
        for m in range(len(out)):
            for k in range(size):
                precision = np.exp(-head[m, size + k])
                shift = (old_head[m, k] - head[m, k]) * precision
                ratio = np.exp(_TWO * (old_head[m, size + k] - head[m, size + k]))
                out[m, k] = -grad[m] * shift * precision
                out[m, size + k] = grad[m] * (_ONE - ratio - shift * shift)

    @staticmethod
    @kernel
    def _fisher(head: Array, tangent: Array, out: Array) -> None:
        size = head.shape[1] // 2
        for m in range(len(out)):
            for k in range(size):
                precision = np.exp(-head[m, size + k])
                out[m, k] = tangent[m, k] * precision * precision
                out[m, size + k] = _TWO * tangent[m, size + k]


# Nodes and weights of the Gauss-Hermite quadrature, by which expectations under a normal number are computed.
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(16)
WEIGHTS /= WEIGHTS.sum()
_LOG_2 = math.log(2)


@inlined
def _log_slope(u: float) -> float:
    """Return log(1 - tanh(u)^2), which cancels where u is large unless it is written so."""
    far = abs(u)
    return 2 * (_LOG_2 - far - math.log1p(math.exp(-2 * far)))


class SquashedGaussianLikelihood(GaussianLikelihood):
    """The hyperbolic tangent of independent normal numbers; head and actions are those before it.

    The density is that of tanh(u), in [-1, 1], and the entropy is exact to 2e-5 nats while standard deviations are at
    most 1, to 4e-3 while they are at most 2 (0.02 at 3, 0.1 at 5). KL and Fisher information are those of the normal
    numbers, which a function that can be undone does not change.
    """

    @staticmethod
    @kernel
    def _log_prob(head: Array, action: Array, out: Array) -> None:
        size = action.shape[1]
        for m in range(len(out)):
            total = np.float32(0)
            for k in range(size):
                log_std = head[m, size + k]
                z = (action[m, k] - head[m, k]) * np.exp(-log_std)
                total -= _HALF * z * z + log_std + _HALF_LOG_2PI
                total -= _log_slope(np.float64(action[m, k]))
            out[m] = total

    @staticmethod
    @kernel
    def _entropy(head: Array, out: Array) -> None:
        size = head.shape[1] // 2
        for m in range(len(out)):
            total = 0.0
            for k in range(size):
                total += head[m, size + k] + _HALF_LOG_2PI + _HALF
                std = math.exp(head[m, size + k])
                for node in range(len(NODES)):
                    total += WEIGHTS[node] * _log_slope(head[m, k] + std * NODES[node])
            out[m] = total

    @staticmethod
    @kernel
    def _vjp_entropy(head: Array, grad: Array, out: Array) -> None:
        size = out.shape[1] // 2
        for m in range(len(out)):
            for k in range(size):
                shift, stretch, std = 0.0, 1.0, math.exp(head[m, size + k])
                for node in range(len(NODES)):
                    slope = -2 * WEIGHTS[node] * math.tanh(head[m, k] + std * NODES[node])
                    shift += slope
                    stretch += slope * std * NODES[node]
                out[m, k] = grad[m] * shift
                out[m, size + k] = grad[m] * stretch


class IndependentLikelihood(Likelihood):
    """Several independent choices; action: indices `[R, B, K]`."""

    def __init__(self, head: Array, sizes: Sequence[int]) -> None:
        self._ends = np.cumsum(sizes)[:-1]
        self.parts = [CategoricalLikelihood(part) for part in np.split(head, self._ends, axis=-1)]

    def log_prob(self, action: Array) -> Array:
        return reduce(add, [part.log_prob(action[..., k]) for k, part in enumerate(self.parts)])

    def entropy(self) -> Array:
        return reduce(add, [part.entropy() for part in self.parts])

    def kl_from(self, old: Self) -> Array:
        return reduce(add, [part.kl_from(other) for part, other in zip(self.parts, old.parts, strict=True)])

    def vjp_log_prob(self, action: Array, grad: Array) -> Array:
        return np.concatenate([part.vjp_log_prob(action[..., k], grad) for k, part in enumerate(self.parts)], -1)

    def vjp_entropy(self, grad: Array) -> Array:
        return np.concatenate([part.vjp_entropy(grad) for part in self.parts], -1)

    def vjp_kl(self, old: Self, grad: Array) -> Array:
        return np.concatenate([part.vjp_kl(other, grad) for part, other in zip(self.parts, old.parts, strict=True)], -1)

    def fisher(self, tangent: Array) -> Array:
        tangents = np.split(tangent, self._ends, axis=-1)
        return np.concatenate([part.fisher(piece) for part, piece in zip(self.parts, tangents, strict=True)], -1)


@kernel
def sample_categorical(head: Array, noise: Array, out: Array) -> None:
    """Fill `out` `[M, 1]` with the index of the largest logit plus Gumbel noise, both `[M, H]`.

    The Gumbel-max trick: argmax(logits + Gumbel noise) is distributed as softmax(logits).
    """
    for m in range(len(out)):
        best = 0
        for k in range(1, head.shape[1]):
            if head[m, k] + noise[m, k] > head[m, best] + noise[m, best]:
                best = k
        out[m, 0] = best


@kernel
def sample_gaussian(head: Array, noise: Array, out: Array) -> None:
    """Fill `out` `[M, A]` with mean + standard deviation * `noise` `[M, A]`."""
    size = noise.shape[1]
    for m in range(len(out)):
        for k in range(size):
            out[m, k] = head[m, k] + np.exp(head[m, size + k]) * noise[m, k]


@exact
def squash(action: Array, low: Array, high: Array, out: Array) -> None:
    """Fill `out` `[M, A]` with the hyperbolic tangent of actions `[M, A]`, stretched to the bounds `[A]`.

    In double precision, then rounded to single, and within the bounds: what is sent to an environment.
    """
    for m in range(len(out)):
        for k in range(action.shape[1]):
            sent = np.float32(low[k] + 0.5 * (math.tanh(action[m, k]) + 1.0) * (high[k] - low[k]))
            out[m, k] = np.minimum(np.maximum(np.float64(sent), low[k]), high[k])
