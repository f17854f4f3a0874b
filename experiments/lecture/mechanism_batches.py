"""How well the gradient of a batch points where the gradient of a very large one points."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mechanism_policies import STEPS, FixedPolicy, fresh_seeds, gradients, rollouts, segments, some, trained
from rlbench import Environment
from rlbench.training.rollout import samples

Array = npt.NDArray[Any]

SIZES = (128, 512, 2048, 8192, 32_768)
STREAMS = 6
"""Independent rollouts of the largest size, from which all batches are cut."""
_EACH = 16  # batches of one size that are cut from one stream, at most


def measure(environment: Environment, seed: int) -> dict[str, dict[str, float]]:
    """Return for each batch size the mean cosine of gradients with a reference and with one another."""
    found = gradients_by_size(trained(environment, seed, STEPS[environment.id]), seed)
    largest = found[SIZES[-1]][:, 0]  # [streams, P]
    return {
        f"N={size}": {"cosine": with_reference(found[size], largest), "pairwise_cosine": with_each_other(found[size])}
        for size in SIZES
    }


def gradients_by_size(policy: FixedPolicy, seed: int) -> dict[int, Array]:
    """Return the policy gradients of batches of each size, `[streams, batches, P]`.

    Batches follow each other as in training, and GAE sees nothing beyond a batch; its advantages are standardised over
    the batch.
    """
    experience = rollouts(policy, fresh_seeds(seed, 4, STREAMS), SIZES[-1])
    one = policy.algorithm.replace(normalize_advantage="batch")
    found = {}
    for size in SIZES:
        batches = segments(experience, size)
        rollout = samples(one, batches, policy.trajectory(batches))
        count = SIZES[-1] // size
        chosen = np.arange(STREAMS * count).reshape(STREAMS, count)[:, :: max(count // _EACH, 1)]
        gradient = gradients(policy, some(rollout, chosen.reshape(-1)))
        found[size] = gradient.reshape(*chosen.shape, -1)
    return found


def with_reference(gradient: Array, largest: Array) -> float:
    """Return the mean cosine of gradients `[streams, batches, P]` with the mean of the largest of the other streams.

    `largest` is `[streams, P]`.
    """
    others = (largest.sum(0) - largest) / (len(largest) - 1)
    return float(np.einsum("sbp,sp->sb", _unit(gradient), _unit(others)).mean())


def with_each_other(gradient: Array) -> float:
    """Return the mean cosine of two gradients of different streams, from `[streams, batches, P]`."""
    means = _unit(gradient).mean(1)  # the mean of products is the product of means
    products = means @ means.T
    return float(products[~np.eye(len(means), dtype=bool)].mean())


def _unit(vectors: Array) -> Array:
    """Return vectors of length 1; a zero vector, which points nowhere, stays one."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
