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
from rlbench.data import Estimates, Stats, Trajectory
from rlbench.diagnostics import explained_variance, measure_update
from rlbench.errors import RlbenchError
from rlbench.fields import fields_of
from rlbench.functional.distributions import family
from rlbench.functional.networks import ActorCritic
from rlbench.functional.optimizers import AdamState
from rlbench.functional.surrogates import standardise
from rlbench.improve import Problem, Rollout
from rlbench.records import Environment, Progress, RunRecord, Table
from rlbench.training import envs as environments
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
            f"{first.name} on {environment.label}: steps={steps} must be a multiple of num_envs={first.num_envs} and at "
            f"least one rollout of {first.samples_per_update} steps."
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
        self.optimizer = AdamState.zeros(*self.params.shape)
        self.outcomes = Outcomes(replicas)
        self.collector = Collector(self.envs, self.family, self.network, algorithms, seeds, self.streams)
        self.rows: list[dict[str, Array]] = []
        self.gradient_steps = np.zeros(replicas, np.int64)

    def run(self, on_progress: Callable[[Progress], None] | None) -> list[RunRecord]:
        """Spend the budget and return the records."""
        started = time.perf_counter()
        while self.collector.step < self.steps and self.outcomes.alive.any():
            horizon = min(self.horizon, (self.steps - self.collector.step) // self.num_envs)
            progress = self.collector.step / self.steps
            experience = self.collector.collect(self.params, horizon, self.outcomes.alive)
            self.outcomes.check_environments(self.envs.failures, experience, self.collector.step)
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
        rollout = self.flatten(experience)
        # Annealed as in CleanRL: the first update takes the full step, the last nearly none.
        rate = np.array(algorithm.lr, np.float32) * np.float32(1 - progress if algorithm.anneal_lr else 1)
        problem = Problem(
            algorithm, self.network, self.family, self.params, self.optimizer, rollout,
            lr=rate, alive=self.outcomes.alive, permute=self.streams.permute, progress=progress,
        )  # fmt: skip
        new = algorithm.improve(problem)
        measured = measure_update(problem, new)
        self.params = new.numpy()
        self.gradient_steps += problem.meter.count("grad_norm")
        progress = self.collector.step / self.steps
        row = {
            "step": np.full(len(self.params), self.collector.step),
            "progress": np.full(len(self.params), progress),
            "mean_return": mean_return,
            **measured,
            "explained_variance": explained_variance(rollout.old_value, rollout.target),
            **{name: problem.meter.mean(name) for name in _METERED},
            "lr": rate[:, 0],
            "gradient_steps": self.gradient_steps.copy(),
        }
        self.outcomes.check_divergence(self.params, self.optimizer, self.collector.step)
        stats = Stats(
            **{name: _column(row[name]) for name in ("kl", "entropy", "surrogate", "mean_return", "progress")}
        )
        self.algorithm = algorithm.adapt(stats)
        adapted = [
            name
            for name, field in fields_of(type(algorithm)).items()
            if field.is_hyper and getattr(algorithm, name) is not getattr(self.algorithm, name)
        ]
        self.rows.append(row | {f"field.{name}": np.array(getattr(algorithm, name))[:, 0] for name in adapted})

    def flatten(self, experience: Experience) -> Rollout:
        """Return the samples of a rollout with values, advantages and targets, `[R, T N]` each."""
        time_steps, replicas, copies = experience.reward.shape
        observation = _flat(experience.observation)
        value = self.network.forward(self.params, observation, policy=False).value  # [R, T N]
        last = self.network.forward(self.params, experience.last_observation, policy=False).value  # [R, N]
        values = value.reshape(replicas, time_steps, copies).transpose(1, 0, 2)
        following = np.concatenate([values[1:], last[None]])
        for r, (at, copy, final) in experience.cuts.items():
            # One replica at a time: the number of cuts must not decide how another replica's products round.
            of_r = self.network.forward(self.params[r : r + 1], final[None], policy=False).value
            following[at, r, copy] = of_r[0]
        trajectory = Trajectory(
            *(
                torch.from_numpy(np.ascontiguousarray(array))
                for array in (experience.reward, values, following, experience.terminated, experience.ended)
            )
        )
        with torch.no_grad():
            advantage, target, weight = Estimates(*self.algorithm.advantages(trajectory))
            samples = [None if one is None else torch.from_numpy(_flat(one.numpy())) for one in (advantage, target, weight)]
            flat_advantage, flat_target, flat_weight = samples
            assert flat_advantage is not None
            assert flat_target is not None
            if self.algorithm.normalize_advantage == "batch":
                flat_advantage = standardise(flat_advantage, flat_weight)
        action = torch.from_numpy(_flat(experience.action))
        old_value = torch.from_numpy(np.ascontiguousarray(value))
        return Rollout(observation, action, flat_advantage, flat_target, old_value, flat_weight)

    def record(self, replica: int, seconds: float) -> RunRecord:
        """Return what one replica leaves behind."""
        outcome = self.outcomes[replica]
        kept = [row for row in self.rows if row["step"][replica] <= outcome.step or outcome.status == "finished"]
        names = self.rows[-1].keys() if self.rows else ()
        updates: Table = {name: np.array([row[name][replica] for row in kept]) for name in names}
        return RunRecord(
            status=outcome.status,
            reason=outcome.reason,
            detail=outcome.detail,
            steps=self.collector.step if outcome.status == "finished" else outcome.step,
            episodes=self.collector.episodes.table(replica),
            updates=updates,
            gradient_steps=int(self.gradient_steps[replica]),
            samples=len(kept) * self.horizon * self.num_envs,
            seconds=seconds,
        )


_METERED = ("clip_fraction", "clip_killed", "surrogate", "value_loss", "grad_norm")


def _flat(array: Array) -> Array:
    """Return `[T, R, N, ...]` as `[R, T N, ...]`."""
    moved = np.moveaxis(array, 1, 0)
    return np.ascontiguousarray(moved).reshape(moved.shape[0], -1, *moved.shape[3:])


def _column(values: Array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)[:, None])
