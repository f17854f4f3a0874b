"""Train R replicas in one program: rollout -> advantages -> improve -> adapt -> record; which engine does it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from rlbench.algorithm import Algorithm
from rlbench.errors import RlbenchError
from rlbench.functional.families import family
from rlbench.functional.optimizers import AdamState
from rlbench.improve.diagnostics import measure_update
from rlbench.improve.problem import Problem
from rlbench.records import Environment, Progress, RunRecord
from rlbench.training import envs as environments
from rlbench.training.devices import resolve
from rlbench.training.estimate import estimate
from rlbench.training.loop import Array, Loop
from rlbench.training.networks import has_own_network, initial, layout
from rlbench.training.noise import Streams
from rlbench.training.rollout import Collector, Experience

BLOCK = 24
"""Replicas of a pack that train at a time on the CPU. With many more, what a gradient step works on leaves the
processor's own cache, and every replica costs up to a fifth more."""


def train(
    algorithms: Sequence[Algorithm],
    environment: Environment,
    steps: int,
    seeds: Sequence[int],
    *,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] | None = None,
) -> list[RunRecord]:
    """Train one replica per entry of `algorithms` and `seeds` for `steps` environment steps; return their records.

    The algorithms are instances of one class with equal static fields. A replica's record depends on its own
    algorithm, seed, environment and budget alone, to the bit (on a GPU: to rounding). A rollout that the budget cuts
    short is collected, so that budgets are exact, but not learnt from.

    The built-in network trains on the CPU with its derivatives written out and compiled; an algorithm with a `network`
    of its own, and everything on another `device` ("cpu", "cuda", "cuda:1" or "auto"), trains by autograd.

    Raises RlbenchError if the environment is unknown or has unsupported spaces, if `steps` is less than one rollout or
    no multiple of `num_envs`, if the device is not there, or if the algorithm's network cannot be trained.
    """
    first = algorithms[0]
    if steps % first.num_envs or steps < first.samples_per_update:
        raise RlbenchError(
            f"{first.name} on {environment.label}: steps={steps} must be a multiple of num_envs={first.num_envs} and "
            f"at least one rollout of {first.samples_per_update} steps."
        )
    device = resolve(device, [environment], len(seeds))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    records: list[RunRecord] = []
    try:
        # A replica that diverges overflows on its way; it is detected and recorded, so numpy need not warn.
        with threadpool_limits(1), np.errstate(all="ignore"):
            for block in blocks(len(seeds), BLOCK if device == "cpu" else len(seeds)):
                training = engine_for(algorithms[block], environment, steps, seeds[block], device)
                try:
                    records += training.run(_in_whole(on_progress, block, len(seeds)))
                finally:
                    training.close()
    finally:
        torch.set_num_threads(threads)
    return records


def blocks(count: int, largest: int) -> list[slice]:
    """Return slices of `range(count)` of nearly equal length, at most `largest` each."""
    parts = -(-count // largest)
    edges = [count * part // parts for part in range(parts + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def _in_whole(
    on_progress: Callable[[Progress], None] | None, block: slice, replicas: int
) -> Callable[[Progress], None] | None:
    """Return what a block of replicas calls, to tell how far all of them are that train one block after the other."""
    if on_progress is None:
        return None

    def told(progress: Progress) -> None:
        done = block.start * progress.total + (block.stop - block.start) * progress.step
        on_progress(Progress(done // replicas, progress.total, replicas, progress.mean_return))

    return told


def engine_for(
    algorithms: Sequence[Algorithm], environment: Environment, steps: int, seeds: Sequence[int], device: str
) -> Loop[Any]:
    """Return the training of a pack by the engine that is fastest of those that can do it."""
    if device == "cpu" and not has_own_network(algorithms[0], environment):
        return Training(algorithms, environment, steps, seeds)
    from rlbench.training.tensor.training import TensorTraining

    return TensorTraining(algorithms, environment, steps, seeds, torch.device(device))


class Training(Loop[Experience]):
    """One pack in training by the compiled engine: the built-in network, on the CPU."""

    collector: Collector

    def __init__(
        self, algorithms: Sequence[Algorithm], environment: Environment, steps: int, seeds: Sequence[int]
    ) -> None:
        super().__init__(algorithms, steps)
        first = algorithms[0]
        self.envs = environments.make(environment, self.replicas, first.num_envs)
        self.family = family(self.envs.action.kind, self.envs.action.sizes)
        self.network = layout(first, self.envs.observation_size, self.family)
        self.streams = Streams(seeds)
        self.params = initial(self.network, algorithms, self.streams)
        self.optimizer = AdamState.zeros(self.replicas, self.network.size, self.network.policy_size)
        self.collector = Collector(self.envs, self.family, self.network, algorithms, seeds, self.streams)

    def collect(self, horizon: int) -> Experience:
        """Return the experience of `horizon` steps of every copy, and note which replicas it ends."""
        experience = self.collector.collect(self.params, horizon, self.outcomes.alive)
        self.outcomes.check_experience(self.envs.failures, experience, self.collector.step)
        return experience

    def update(self, experience: Experience, mean_return: Array, progress: float) -> None:
        """Improve all replicas on one rollout and record what happened."""
        algorithm, rate = self.algorithm, self.rate(progress)
        rollout = estimate(algorithm, self.network, self.params, experience)
        problem = Problem(
            algorithm, self.network, self.family, self.params, self.optimizer, rollout,
            lr=rate, alive=self.outcomes.alive, permute=self.streams.permute, progress=progress,
        )  # fmt: skip
        new = algorithm.improve(problem)
        self.note_update(problem.meter, rollout, mean_return, rate, measure_update(problem, new))
        self.params = new.numpy()
        self.outcomes.check_divergence(self.params, self.optimizer, self.collector.step)
        self.adapt()

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()
