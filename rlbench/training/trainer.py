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
from rlbench.data import Stats
from rlbench.errors import RlbenchError
from rlbench.fields import fields_of
from rlbench.functional.families import family
from rlbench.functional.networks import ActorCritic
from rlbench.functional.optimizers import AdamState
from rlbench.improve.diagnostics import explained_variance, measure_update
from rlbench.improve.problem import Problem
from rlbench.records import Environment, Progress, RunRecord, Table
from rlbench.training import envs as environments
from rlbench.training.estimate import estimate
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
        self.rows: list[dict[str, Array]] = []
        self.learnt: list[Array] = []  # which replicas [R] each row is true of
        self.hypers = [name for name, field in fields_of(type(first)).items() if field.is_hyper]
        self.adapted: set[str] = set()  # the columns of fields that `adapt` has changed
        self.gradient_steps = np.zeros(replicas, np.int64)
        self.samples = np.zeros(replicas, np.int64)

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
        measured = measure_update(problem, new)
        self.params = new.numpy()
        self.learnt.append(self.outcomes.alive.copy())
        self.gradient_steps += problem.meter.count("samples")
        self.samples += problem.meter.total("samples").astype(np.int64)
        progress = self.collector.step / self.steps
        row = {
            "step": np.full(len(self.params), self.collector.step),
            "progress": np.full(len(self.params), progress),
            "mean_return": mean_return,
            **measured,
            "explained_variance": explained_variance(rollout.old_value, rollout.target, rollout.weight),
            **{name: problem.meter.mean(name) for name in _METERED},
            "lr": rate[:, 0],
            "gradient_steps": self.gradient_steps.copy(),
        }
        self.outcomes.check_divergence(self.params, self.optimizer, self.collector.step)
        stats = Stats(
            **{name: _column(row[name]) for name in ("kl", "entropy", "surrogate", "mean_return", "progress")}
        )
        self.algorithm = algorithm.adapt(stats)
        used = {f"field.{name}": getattr(algorithm, name) for name in self.hypers}
        self.rows.append(row | {name: value.numpy()[:, 0].copy() for name, value in used.items()})
        self.adapted |= {name for name in used if getattr(self.algorithm, name[6:]) is not used[name]}

    def record(self, replica: int, seconds: float) -> RunRecord:
        """Return what one replica leaves behind."""
        outcome = self.outcomes[replica]
        kept = [row for row, learnt in zip(self.rows, self.learnt, strict=True) if learnt[replica]]
        names = [n for n in (self.rows[-1] if self.rows else ()) if not n.startswith("field.") or n in self.adapted]
        updates: Table = {name: np.array([row[name][replica] for row in kept]) for name in names}
        return RunRecord(
            status=outcome.status,
            reason=outcome.reason,
            detail=outcome.detail,
            steps=self.collector.step if outcome.status == "finished" else outcome.step,
            episodes=self.collector.episodes.table(replica),
            updates=updates,
            gradient_steps=int(self.gradient_steps[replica]),
            samples=int(self.samples[replica]),
            seconds=seconds,
        )


_METERED = ("clip_fraction", "clip_killed", "value_loss", "grad_norm")


def _column(values: Array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)[:, None])
