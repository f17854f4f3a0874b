"""One pack in training by the torch engine: any network, any device, derivatives by autograd."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import cast

import torch

from rlbench.algorithm import Algorithm
from rlbench.errors import RlbenchError
from rlbench.fields import fields_of
from rlbench.functional.distributions import family
from rlbench.functional.optimizers import TensorAdamState
from rlbench.functional.torch_networks import (
    ModuleError,
    ModuleNetwork,
    TensorActorCritic,
    TensorNetwork,
    build_modules,
)
from rlbench.improve.autograd import TensorProblem, measure_update
from rlbench.improve.compiled import Problem
from rlbench.records import Environment
from rlbench.training.devices import describe
from rlbench.training.loop import Array, Loop
from rlbench.training.networks import initial, layout
from rlbench.training.noise import Streams
from rlbench.training.tensor.envs import make
from rlbench.training.tensor.rollout import TensorCollector, TensorExperience, estimate


class TensorTraining(Loop[TensorExperience]):
    """The state of one pack; parameters, samples and environments that can be there lie on `device`."""

    MOMENTS = ("first", "second", "decay1", "decay2")

    collector: TensorCollector

    def __init__(
        self,
        algorithms: Sequence[Algorithm],
        environment: Environment,
        steps: int,
        seeds: Sequence[int],
        device: torch.device,
        *,
        remember: bool = False,
    ) -> None:
        super().__init__(algorithms, steps, f"{describe(str(device))}, torch")
        self.device = device
        self.envs = make(environment, self.replicas, self.num_envs, device, remember=remember)
        self.family = family(self.envs.action.kind, self.envs.action.sizes)
        self.streams = Streams(seeds)
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            network, params = self._network(algorithms)
            self.network, self.params = network, params.to(device)
            self.optimizer = TensorAdamState.zeros(self.params, network.policy_size)
            self.collector = TensorCollector(self.envs, self.family, network, algorithms, seeds, self.streams, device)
            undo.pop_all()

    def collect(self, horizon: int) -> TensorExperience:
        """Return the experience of `horizon` steps of every copy, and note which replicas it ends."""
        experience = self.collector.collect(self.params, horizon, self.outcomes.alive)
        wild, broken = (flags.cpu().numpy() for flags in experience.faults())
        self.outcomes.note_experience(self.envs.failures, wild, broken, self.collector.step)
        return experience

    def update(self, experience: TensorExperience, mean_return: Array, progress: float) -> None:
        """Improve all replicas on one rollout and record what happened."""
        algorithm, rate = moved(self.algorithm, self.device), self.rate(progress)
        rollout = estimate(algorithm, self.network, self.params, experience)
        by_autograd = TensorProblem(
            algorithm, self.network, self.family, self.params, self.optimizer, rollout,
            lr=torch.from_numpy(rate).to(self.device),
            alive=torch.from_numpy(self.outcomes.alive).to(self.device),
            permute=self.streams.permute, progress=progress,
        )  # fmt: skip
        problem = cast(Problem, by_autograd)  # which it is to everyone who improves
        with named(algorithm):
            new = algorithm.improve(problem)
        self.note_update(by_autograd.meter, rollout, mean_return, rate, measure_update(by_autograd, new))
        self.params = new
        self._check_divergence()
        self.outcomes.check_overflow(by_autograd.meter, self.collector.step)
        self.adapt()

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()

    def _network(self, algorithms: Sequence[Algorithm]) -> tuple[TensorNetwork, torch.Tensor]:
        """Return the network and its initial parameters `[R, P]`: modules of the algorithm's own, or the built-in."""
        one_by_one = self.device.type == "cpu"
        observations, free = self.envs.observation_size, self.family.log_std_size
        outputs = self.family.head_size - free
        makers = [partial(one.network, observations, outputs) for one in algorithms]
        if type(algorithms[0]).network is not Algorithm.network:
            with named(self.algorithm):
                modules = build_modules(makers, [int(rng.integers(2**63)) for rng in self.streams.weights])
                if modules:
                    network = ModuleNetwork(modules, observations, outputs, free, one_by_one=one_by_one)
                    params = network.initial(modules, [one.initial_log_std for one in algorithms])
                    return network.to(self.device), params
        built_in = layout(algorithms[0], observations, self.family)
        params = torch.from_numpy(initial(built_in, algorithms, self.streams))
        return TensorActorCritic(built_in, one_by_one=one_by_one), params

    def _check_divergence(self) -> None:
        """Note replicas whose parameters are no longer finite and set them to zero, which is harmless to step on."""
        broken = ~self.params.isfinite().all(-1)
        self.outcomes.note_divergence(broken.cpu().numpy(), self.collector.step)
        for tensor in (self.params, self.optimizer.first, self.optimizer.second):
            tensor.masked_fill_(broken[:, None], 0.0)


@contextlib.contextmanager
def named(algorithm: Algorithm) -> Iterator[None]:
    """Say whose module cannot be trained."""
    try:
        yield
    except ModuleError as error:
        raise RlbenchError(f"{algorithm.name}: {error}.") from error


def moved(algorithm: Algorithm, device: torch.device) -> Algorithm:
    """Return a stacked algorithm with its hyper fields on a device."""
    hypers = [name for name, field in fields_of(type(algorithm)).items() if field.is_hyper]
    return algorithm.replace(**{name: getattr(algorithm, name).to(device) for name in hypers})
