"""Which network an algorithm trains: the built-in one, or a module of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlbench.algorithm import Algorithm
from rlbench.functional.distributions import Family, family
from rlbench.functional.networks import ActorCritic
from rlbench.functional.torch_networks import seeded
from rlbench.records import Environment
from rlbench.training import envs as environments
from rlbench.training.noise import Streams

Array = npt.NDArray[Any]


def layout(algorithm: Algorithm, observations: int, actions: Family) -> ActorCritic:
    """Return the built-in network as the algorithm's fields describe it."""
    return ActorCritic(
        observations=observations,
        outputs=actions.head_size - actions.log_std_size,
        log_std=actions.log_std_size,
        hidden=algorithm.hidden,
        activation=algorithm.activation,
        shared=algorithm.shared_trunk,
    )


def initial(network: ActorCritic, algorithms: Sequence[Algorithm], streams: Streams) -> Array:
    """Return the initial parameters of the built-in network, `[R, P]`."""
    return np.stack(
        [
            network.init(rng, orthogonal=one.orthogonal_init, log_std=one.initial_log_std)
            for rng, one in zip(streams.weights, algorithms, strict=True)
        ]
    )


def has_own_network(algorithm: Algorithm, environment: Environment) -> bool:
    """Return whether `algorithm.network` gives a module for this environment; RlbenchError if it cannot be made."""
    if type(algorithm).network is Algorithm.network:
        return False
    envs = environments.make(environment, 1, 1)
    try:
        actions = family(envs.action.kind, envs.action.sizes)
        outputs = actions.head_size - actions.log_std_size
        return seeded(0, lambda: algorithm.network(envs.observation_size, outputs)) is not None
    finally:
        envs.close()
