"""Train R replicas in one program: rollout -> advantages -> improve -> adapt -> record; which engine does it."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from rlbench.algorithm import Algorithm
from rlbench.errors import RlbenchError
from rlbench.functional.distributions import family
from rlbench.functional.optimizers import AdamState
from rlbench.improve.compiled import Problem
from rlbench.improve.diagnostics import measure_update
from rlbench.records import Environment, Progress, RunRecord
from rlbench.training import BLOCK
from rlbench.training import envs as environments
from rlbench.training.checkpoints import Checkpoints, Resumption
from rlbench.training.devices import resolve
from rlbench.training.loop import Array, Loop
from rlbench.training.networks import has_own_network, initial, layout
from rlbench.training.noise import Streams
from rlbench.training.rollout import Collector, Experience, estimate


def train(
    algorithms: Sequence[Algorithm],
    environment: Environment,
    steps: int,
    seeds: Sequence[int],
    *,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] | None = None,
    checkpoints: Checkpoints | None = None,
) -> list[RunRecord]:
    """Train one replica per entry of `algorithms` and `seeds` for `steps` environment steps; return their records.

    The algorithms are instances of one class with equal static fields. A replica's record depends on its own
    algorithm, seed, environment and budget alone, to the bit (on a GPU: to rounding). A rollout that the budget cuts
    short is collected, so that budgets are exact, but not learnt from.

    The built-in network trains on the CPU with its derivatives written out and compiled; an algorithm with a `network`
    of its own, and everything on another `device` ("cpu", "cuda", "cuda:1" or "auto"), trains by autograd.

    With `checkpoints` of as many cells, every run goes on from the latest checkpoint that can be used, and writes more
    on its way, to the same record bit for bit.

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
    pack = _Pack(algorithms, environment, steps, seeds, device, Resumption(checkpoints, len(seeds)))
    try:
        # A replica that diverges overflows on its way; it is detected and recorded, so numpy need not warn.
        with threadpool_limits(1), np.errstate(all="ignore"):
            return pack.train(on_progress)
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True, eq=False)
class _Pack:
    """What trains together, in blocks one after the other."""

    algorithms: Sequence[Algorithm]
    environment: Environment
    steps: int
    seeds: Sequence[int]
    device: str
    resumption: Resumption

    def train(self, on_progress: Callable[[Progress], None] | None) -> list[RunRecord]:
        """Return the record of every replica."""
        records: dict[int, RunRecord] = {}
        waiting = deque(self._blocks(range(len(self.seeds))))
        while waiting:
            block = waiting.popleft()
            with contextlib.closing(self._engine(block)) as training:
                if not self.resumption.restore(training, block):
                    waiting.extendleft(reversed(self._blocks(block)))
                    continue
                told = _in_whole(on_progress, len(records), len(block), len(self.seeds))
                ended = training.run(told, partial(self.resumption.write, training, block))
                records |= zip(block, ended, strict=True)
                if waiting:
                    self.resumption.write_at_end(training, block)
        return [records[replica] for replica in range(len(self.seeds))]

    def _blocks(self, replicas: Sequence[int]) -> list[list[int]]:
        """Return replicas in blocks that start, or go on, at the same step."""
        groups = self.resumption.groups(replicas)
        return [
            group[part]
            for group in groups
            for part in blocks(len(group), BLOCK if self.device == "cpu" else len(group))
        ]

    def _engine(self, block: Sequence[int]) -> Loop[Any]:
        algorithms, seeds = [self.algorithms[one] for one in block], [self.seeds[one] for one in block]
        return engine_for(algorithms, self.environment, self.steps, seeds, self.device, remember=self.resumption.wanted)


def blocks(count: int, largest: int) -> list[slice]:
    """Return slices of `range(count)` of nearly equal length, at most `largest` each."""
    parts = -(-count // largest)
    edges = [count * part // parts for part in range(parts + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def _in_whole(
    on_progress: Callable[[Progress], None] | None, before: int, block: int, replicas: int
) -> Callable[[Progress], None] | None:
    """Return what a block of replicas calls, to tell how far all of them are; those of `before` blocks are done."""
    if on_progress is None:
        return None

    def told(progress: Progress) -> None:
        begun, done = ((before * progress.total + block * step) // replicas for step in (progress.begun, progress.step))
        on_progress(Progress(done, progress.total, replicas, progress.mean_return, begun))

    return told


def engine_for(
    algorithms: Sequence[Algorithm],
    environment: Environment,
    steps: int,
    seeds: Sequence[int],
    device: str,
    *,
    remember: bool = False,
) -> Loop[Any]:
    """Return the training of a pack by the engine that is fastest of those that can do it.

    Only with `remember` may it be asked for its states.
    """
    if device == "cpu" and not has_own_network(algorithms[0], environment):
        return Training(algorithms, environment, steps, seeds, remember=remember)
    from rlbench.training.tensor.training import TensorTraining

    return TensorTraining(algorithms, environment, steps, seeds, torch.device(device), remember=remember)


class Training(Loop[Experience]):
    """One pack in training by the compiled engine: the built-in network, on the CPU."""

    MOMENTS = ("first", "second", "steps")

    collector: Collector

    def __init__(
        self,
        algorithms: Sequence[Algorithm],
        environment: Environment,
        steps: int,
        seeds: Sequence[int],
        *,
        remember: bool = False,
    ) -> None:
        super().__init__(algorithms, steps, "cpu, compiled")
        first = algorithms[0]
        self.envs = environments.make(environment, self.replicas, first.num_envs, remember=remember)
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
        self.outcomes.check_overflow(problem.meter, self.collector.step)
        self.adapt()

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()
