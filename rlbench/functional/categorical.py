"""The categorical distribution over M states and H choices: kernels of `rlbench.functional.distributions`.

`log_probs` and `probs` are `[M, H]`, `action` `[M]` holds indices, slopes and results are `[M]`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rlbench.functional.compiled import kernel

Array = npt.NDArray[Any]


@kernel
def softmax(head: Array, log_probs: Array, probs: Array) -> None:
    """Fill log-probabilities and probabilities from logits `[M, H]`."""
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


@kernel
def take(log_probs: Array, action: Array, out: Array) -> None:
    """Fill `out` with the log-probability of each action."""
    for m in range(len(out)):
        out[m] = log_probs[m, action[m]]


@kernel
def entropy(log_probs: Array, probs: Array, out: Array) -> None:
    """Fill `out` with the entropies, nats."""
    for m in range(len(out)):
        total = np.float32(0)
        for k in range(probs.shape[1]):
            total -= probs[m, k] * log_probs[m, k]
        out[m] = total


@kernel
def divergence(old_log_probs: Array, old_probs: Array, log_probs: Array, out: Array) -> None:
    """Fill `out` with KL(old || new), nats."""
    for m in range(len(out)):
        total = np.float32(0)
        for k in range(log_probs.shape[1]):
            total += old_probs[m, k] * (old_log_probs[m, k] - log_probs[m, k])
        out[m] = total


@kernel
def pull_take(probs: Array, action: Array, slope: Array, out: Array) -> None:
    """Fill `out` `[M, H]` with the gradient at the logits of the actions' log-probabilities."""
    for m in range(len(out)):
        for k in range(probs.shape[1]):
            out[m, k] = -slope[m] * probs[m, k]
        out[m, action[m]] += slope[m]


@kernel
def pull_entropy(log_probs: Array, probs: Array, slope: Array, out: Array) -> None:
    """Fill `out` `[M, H]` with the gradient at the logits of the entropies."""
    for m in range(len(out)):
        negative = np.float32(0)
        for k in range(probs.shape[1]):
            negative += probs[m, k] * log_probs[m, k]
        for k in range(probs.shape[1]):
            out[m, k] = -slope[m] * probs[m, k] * (log_probs[m, k] - negative)


@kernel
def pull_divergence(old_probs: Array, probs: Array, slope: Array, out: Array) -> None:
    """Fill `out` `[M, H]` with the gradient at the new logits of KL(old || new)."""
    for m in range(len(out)):
        for k in range(probs.shape[1]):
            out[m, k] = slope[m] * (probs[m, k] - old_probs[m, k])


@kernel
def fisher(probs: Array, tangent: Array, out: Array) -> None:
    """Fill `out` `[M, H]` with the Fisher information at the logits times `tangent` `[M, H]`."""
    for m in range(len(out)):
        mean = np.float32(0)
        for k in range(probs.shape[1]):
            mean += probs[m, k] * tangent[m, k]
        for k in range(probs.shape[1]):
            out[m, k] = probs[m, k] * (tangent[m, k] - mean)


@kernel
def sample(head: Array, noise: Array, out: Array) -> None:
    """Fill `out` `[M, 1]` with the index of the largest logit plus Gumbel noise, both `[M, H]`.

    The Gumbel-max trick: argmax(logits + Gumbel noise) is distributed as softmax(logits).
    """
    for m in range(len(out)):
        best = 0
        for k in range(1, head.shape[1]):
            if head[m, k] + noise[m, k] > head[m, best] + noise[m, best]:
                best = k
        out[m, 0] = best
