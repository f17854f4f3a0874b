"""The two engines: the built-in network compiled, on the CPU; any network by autograd, on any device."""

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from rlbench.algorithm import Algorithm
from rlbench.data import ObservationSize
from rlbench.errors import RlbenchError
from rlbench.functional.distributions import Family, family
from rlbench.functional.networks import ActorCritic
from rlbench.functional.optimizers import AdamState, TensorAdamState
from rlbench.functional.torch_networks import (
    ModuleNetwork,
    TensorActorCritic,
    build_modules,
    seeded,
)
from rlbench.improve.autograd import AutogradProblem
from rlbench.improve.compiled import CompiledProblem
from rlbench.records import Environment
from rlbench.training import check_device
from rlbench.training import envs as environments
from rlbench.training.loop import Loop
from rlbench.training.noise import Streams
from rlbench.training.state import Array


def engine_of(algorithm: Algorithm, environment: Environment, device: str) -> type[Loop]:
    """Return the engine that is fastest of those that can train an algorithm on an environment."""
    return Training if device == "cpu" and not has_own_network(algorithm, environment) else AutogradTraining


def has_own_network(algorithm: Algorithm, environment: Environment) -> bool:
    """Return whether `algorithm.network` gives a module for this environment; RlbenchError if it cannot be made."""
    if type(algorithm).network is Algorithm.network:
        return False
    with contextlib.closing(environments.make(environment, 1, 1)) as envs:
        outputs = family(envs.action.kind, envs.action.sizes).outputs  # of a squashed policy as many
        return seeded(0, lambda: algorithm.network(ObservationSize(envs.observation.shape), outputs)) is not None


class Training(Loop):
    """One pack in training by the compiled engine."""

    PROBLEM, MOMENTS = CompiledProblem, ("first", "second", "steps")

    @property
    def place(self) -> str:
        return "cpu, compiled"

    def begin(self, algorithms: Sequence[Algorithm]) -> tuple[ActorCritic, Array, AdamState]:
        network = layout(algorithms[0], self.envs.observation_size, self.family)
        optimizer = AdamState.zeros(self.replicas, network.size, network.policy_size)
        return network, initial(network, algorithms, self.streams), optimizer


class AutogradTraining(Loop):
    """One pack in training by autograd; parameters and samples lie on `device`."""

    PROBLEM, MOMENTS = AutogradProblem, ("first", "second", "decay1", "decay2")

    @property
    def place(self) -> str:
        return f"{describe(str(self.device))}, torch"

    def begin(self, algorithms: Sequence[Algorithm]) -> tuple[Any, torch.Tensor, TensorAdamState]:
        network, params = self._network(algorithms)
        params = params.to(self.device)
        return network, params, TensorAdamState.zeros(params, network.policy_size)

    def _network(self, algorithms: Sequence[Algorithm]) -> tuple[ModuleNetwork | TensorActorCritic, torch.Tensor]:
        """Return the network and its initial parameters `[R, P]`: modules of the algorithm's own, or the built-in."""
        one_by_one = self.device.type == "cpu"
        observations, outputs = self.envs.observation_size, self.family.outputs
        if type(algorithms[0]).network is not Algorithm.network:
            shaped = ObservationSize(self.envs.observation.shape)
            makers = [partial(algorithm.network, shaped, outputs) for algorithm in algorithms]
            modules = build_modules(makers, [int(rng.integers(2**63)) for rng in self.streams.weights])
            if modules:
                free = self.family.log_std_size
                network = ModuleNetwork(modules, observations, outputs, free, one_by_one=one_by_one)
                params = network.initial(modules, [algorithm.initial_log_std for algorithm in algorithms])
                return network.to(self.device), params
        built_in = layout(algorithms[0], observations, self.family)
        params = torch.from_numpy(initial(built_in, algorithms, self.streams))
        return TensorActorCritic(built_in, one_by_one=one_by_one), params


def layout(algorithm: Algorithm, observations: int, actions: Family) -> ActorCritic:
    """Return the built-in network as the algorithm's fields describe it."""
    return ActorCritic(
        observations=observations,
        outputs=actions.outputs,
        log_std=actions.log_std_size,
        hidden=algorithm.hidden,
        activation=algorithm.activation,
        shared=algorithm.shared_trunk,
    )


def initial(network: ActorCritic, algorithms: Sequence[Algorithm], streams: Streams) -> Array:
    """Return the initial parameters of the built-in network, `[R, P]`."""
    return np.stack(
        [
            network.init(rng, orthogonal=algorithm.orthogonal_init, log_std=algorithm.initial_log_std)
            for rng, algorithm in zip(streams.weights, algorithms, strict=True)
        ]
    )


def resolve(device: str) -> str:
    """Return "cpu", "cuda" or "cuda:N" as a user asked for it; RlbenchError if it is unknown or not there."""
    check_device(device)
    if device == "cpu":
        return device
    number = device.partition(":")[2]
    if not torch.cuda.is_available():
        why = "torch finds none" if torch.version.cuda else "this torch is built without CUDA"
        raise RlbenchError(f"device={device} needs a CUDA GPU, but {why}; use cpu.")
    if number and int(number) >= torch.cuda.device_count():
        raise RlbenchError(f"device={device} does not exist; torch finds {torch.cuda.device_count()} CUDA GPUs.")
    return device


def describe(device: str) -> str:
    """Return a resolved device as a manifest records it, a GPU with its model."""
    return device if not device.startswith("cuda") else f"cuda ({torch.cuda.get_device_name(torch.device(device))})"
