"""Train R replicas in one program: rollout -> advantages -> improve -> adapt -> record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from rlbench.algorithm import Algorithm, stack
from rlbench.errors import RlbenchError
from rlbench.functional.families import family
from rlbench.functional.networks import ActorCritic
from rlbench.functional.optimizers import AdamState
from rlbench.improve.diagnostics import explained_variance, measure_update
from rlbench.improve.problem import Problem
from rlbench.records import Environment, Progress, RunRecord
from rlbench.training import envs as environments
from rlbench.training.estimate import estimate
from rlbench.training.history import History
from rlbench.training.noise import Streams
from rlbench.training.outcomes import Outcomes
from rlbench.training.rollout import Collector, Experience

Array = npt.NDArray[Any]


def train(
    algorithms: Sequence[Algorithm],
    environment: Environment,
    steps: int,
    seeds: Sequence[int],
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[RunRecord]:
    """Train one replica per entry of `algorithms` and `seeds` for `steps` environment steps; return their records.

    The algorithms are instances of one class with equal static fields. A replica's record depends on its own
    algorithm, seed, environment and budget alone, to the bit. A rollout that the budget cuts short is collected, so
    that budgets are exact, but not learnt from. Raises RlbenchError if the environment is unknown or has unsupported
    spaces, or if `steps` is less than one rollout or no multiple of `num_envs`.
    """
    first = algorithms[0]
    if steps % first.num_envs or steps < first.samples_per_update:
        raise RlbenchError(
            f"{first.name} on {environment.label}: steps={steps} must be a multiple of num_envs={first.num_envs} and "
            f"at least one rollout of {first.samples_per_update} steps."
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # A replica that diverges overflows on its way; it is detected and recorded, so numpy need not warn.
        with threadpool_limits(1), np.errstate(all="ignore"):
            training = _Training(algorithms, environment, steps, seeds)
            try:
                return training.run(on_progress)
            finally:
                training.envs.close()
    finally:
        torch.set_num_threads(threads)


class _Training:
    """The state of one pack in training."""

    def __init__(
        self, algorithms: Sequence[Algorithm], environment: Environment, steps: int, seeds: Sequence[int]
    ) -> None:
        first, replicas = algorithms[0], len(algorithms)
        self.algorithm = stack(algorithms)
        self.steps, self.horizon, self.num_envs = steps, first.horizon, first.num_envs
        self.envs = environments.make(environment, replicas, first.num_envs)
        self.family = family(self.envs.action.kind, self.envs.action.sizes)
        self.network = ActorCritic(
            observations=self.envs.observation_size,
            outputs=self.family.head_size - self.family.log_std_size,
            log_std=self.family.log_std_size,
            hidden=first.hidden,
            activation=first.activation,
            shared=first.shared_trunk,
        )
        self.streams = Streams(seeds)
        self.params = np.stack(
            [
                self.network.init(rng, orthogonal=one.orthogonal_init, log_std=one.initial_log_std)
                for rng, one in zip(self.streams.weights, algorithms, strict=True)
            ]
        )
        self.optimizer = AdamState.zeros(replicas, self.network.size, self.network.policy_size)
        self.outcomes = Outcomes(replicas)
        self.collector = Collector(self.envs, self.family, self.network, algorithms, seeds, self.streams)
        self.history = History(self.algorithm)

    def run(self, on_progress: Callable[[Progress], None] | None) -> list[RunRecord]:
        """Spend the budget and return the records."""
        started = time.perf_counter()
        while self.collector.step < self.steps and self.outcomes.alive.any():
            horizon = min(self.horizon, (self.steps - self.collector.step) // self.num_envs)
            progress = self.collector.step / self.steps
            experience = self.collector.collect(self.params, horizon, self.outcomes.alive)
            self.outcomes.check_experience(self.envs.failures, experience, self.collector.step)
            mean_return = self.collector.episodes.mean_return()
            if horizon == self.horizon:
                self.update(experience, mean_return, progress)
            if on_progress is not None:
                known = mean_return[np.isfinite(mean_return)]
                latest = float(known.mean()) if len(known) else float("nan")
                on_progress(Progress(self.collector.step, self.steps, len(self.params), latest))
        seconds = (time.perf_counter() - started) / len(self.params)
        return [self.record(replica, seconds) for replica in range(len(self.params))]

    def update(self, experience: Experience, mean_return: Array, progress: float) -> None:
        """Improve all replicas on one rollout and record what happened."""
        algorithm = self.algorithm
        rollout = estimate(algorithm, self.network, self.params, experience)
        # Annealed as in CleanRL: the first update takes the full step, the last nearly none.
        rate = torch.as_tensor(algorithm.lr).numpy() * np.float32(1 - progress if algorithm.anneal_lr else 1)
        problem = Problem(
            algorithm, self.network, self.family, self.params, self.optimizer, rollout,
            lr=rate, alive=self.outcomes.alive, permute=self.streams.permute, progress=progress,
        )  # fmt: skip
        new = algorithm.improve(problem)
        columns: dict[str, Array | float] = {
            "step": self.collector.step,
            "progress": self.collector.step / self.steps,
            "mean_return": mean_return,
            **measure_update(problem, new),
            "explained_variance": explained_variance(rollout.old_value, rollout.target, rollout.weight),
            "lr": rate[:, 0],
        }
        self.history.add(algorithm, problem.meter, columns, self.outcomes.alive)
        self.params = new.numpy()
        self.outcomes.check_divergence(self.params, self.optimizer, self.collector.step)
        self.algorithm = algorithm.adapt(self.history.stats())
        self.history.note_adapted(algorithm, self.algorithm)

    def record(self, replica: int, seconds: float) -> RunRecord:
        """Return what one replica leaves behind."""
        outcome = self.outcomes[replica]
        return RunRecord(
            status=outcome.status,
            reason=outcome.reason,
            detail=outcome.detail,
            steps=self.collector.step if outcome.status == "finished" else outcome.step,
            episodes=self.collector.episodes.table(replica),
            updates=self.history.table(replica),
            gradient_steps=int(self.history.gradient_steps[replica]),
            samples=int(self.history.samples[replica]),
            seconds=seconds,
        )
