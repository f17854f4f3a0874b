"""The loop of both engines: spend the budget rollout by rollout, and leave a record of each replica."""

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from rlbench.algorithm import Algorithm, stack
from rlbench.fields import fields_of
from rlbench.functional.distributions import family
from rlbench.improve.diagnostics import explained_variance
from rlbench.improve.minibatches import BaseProblem, Rollout
from rlbench.records import EVALUATED, Environment, Evaluation, Progress, RunRecord
from rlbench.training import envs as environments
from rlbench.training.evaluation import Arena
from rlbench.training.noise import Streams
from rlbench.training.policy import Policy, kept
from rlbench.training.recording import History, Outcomes, Snapshots
from rlbench.training.rollout import Collector, Experience, estimate
from rlbench.training.state import (
    Array,
    Saved,
    State,
    UnusableError,
    from_document,
    joined,
    part,
    plain,
    put,
    put_rows,
    rows,
    to_document,
)

_KEPT = (torch.float32, torch.float64, torch.int64, torch.int32, torch.bool)  # what an algorithm may keep


class Loop(Saved, ABC):
    """One pack in training; its parameters and its optimiser's state are an engine's."""

    ROWS, PARTS = ("params", "seconds"), ("outcomes", "history", "streams", "collector", "snapshots")
    PROBLEM: ClassVar[type[BaseProblem]]
    """The engine's improvement step."""
    MOMENTS: ClassVar[tuple[str, ...]]
    """The attributes of `optimizer` that last, `[R, ...]` each."""

    def __init__(
        self,
        algorithms: Sequence[Algorithm],
        environment: Environment,
        steps: int,
        seeds: Sequence[int],
        device: str | torch.device = "cpu",
        *,
        remember: bool = False,
        evaluation: Evaluation | None = None,
        snapshots: bool = False,
    ) -> None:
        """Begin; only with `remember` may it be asked for its states.

        With `snapshots` the policies are kept as they were at each evaluation, too, and not only as they end.
        """
        first = algorithms[0]
        self.algorithms, self.environment, self.evaluation = algorithms, environment, evaluation
        self.device = torch.device(device)
        self.algorithm = stack(algorithms)
        self.hypers = [name for name, field in fields_of(type(first)).items() if field.is_hyper]
        self.steps, self.horizon, self.num_envs, self.replicas = steps, first.horizon, first.num_envs, len(algorithms)
        self.outcomes = Outcomes(self.replicas)
        self.history = History(self.algorithm)
        self.snapshots = Snapshots(self.replicas) if snapshots else None
        self.seconds = np.zeros(self.replicas)  # each run's share of the time taken, up to the last rollout
        self.unlearnt = 0.0  # seconds that were spent on evaluations
        self.streams = Streams(seeds)
        self.memory: dict[str, torch.Tensor] = {}  # of an improvement step of an algorithm's own
        self.envs = environments.make(environment, self.replicas, self.num_envs, remember=remember)
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            if first.squash:
                self.envs.action = self.envs.action.squashed(f"{first.name} on {environment.label}")
            self.family = family(self.envs.action.kind, self.envs.action.sizes)
            self.network, self.params, self.optimizer = self.begin(algorithms)
            self.collector = Collector(self.envs, self.family, self.network, algorithms, seeds, self.streams)
            undo.pop_all()

    @property
    @abstractmethod
    def place(self) -> str:
        """What computes, as people call it: a run must not go on elsewhere."""

    @abstractmethod
    def begin(self, algorithms: Sequence[Algorithm]) -> tuple[Any, Any, Any]:
        """Return the network, its initial parameters `[R, P]` and the optimiser's state."""

    def problem(
        self, rollout: Rollout, rate: Array, progress: float, experience: Experience | None = None
    ) -> BaseProblem:
        """Return the improvement step on a rollout, with step sizes `rate` `[R, 1]`; on the samples of `experience`."""
        acting = self.params

        def again(params: torch.Tensor) -> Rollout:
            now = params.numpy() if isinstance(acting, np.ndarray) else params
            assert experience is not None
            return estimate(self.algorithm, self.network, now, experience, self.family, acting)

        algorithm = self.algorithm
        if self.device.type != "cpu":
            algorithm = algorithm.replace(**{name: getattr(algorithm, name).to(self.device) for name in self.hypers})
        return self.PROBLEM(
            algorithm, self.network, self.family, self.params, self.optimizer, rollout,
            lr=rate, alive=self.outcomes.alive, permute=self.streams.permute, progress=progress,
            memory=self.memory, again=again, shift=self.streams.shift,
        )  # fmt: skip

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()

    def collect(self, horizon: int) -> Experience:
        """Return the experience of `horizon` steps of every copy, and note which replicas it ends."""
        experience = self.collector.collect(self.params, horizon, self.outcomes.alive)
        self.outcomes.note_experience(self.envs.failures, *experience.nonfinite(), self.collector.step)
        return experience

    def update(self, experience: Experience, mean_return: Array, progress: float) -> None:
        """Improve all replicas on one rollout and record what happened; `mean_return` `[R]` is that before it."""
        rate = self.rate(progress)
        rollout = estimate(self.algorithm, self.network, self.params, experience, self.family)
        problem = self.problem(rollout, rate, progress, experience)
        new = problem.algorithm.improve(problem)
        self._check_memory()
        row = {
            "step": np.full(self.replicas, self.collector.step),
            "progress": np.full(self.replicas, self.collector.step / self.steps),
            "mean_return": mean_return,
            **problem.measure(new),
            "explained_variance": explained_variance(rollout.old_value, rollout.target, rollout.weight),
            "lr": rate[:, 0],
        }
        self.history.add(self.algorithm, problem.meter, row, self.outcomes.alive)
        self.params = new.numpy() if isinstance(self.params, np.ndarray) else new
        self._note_divergence(problem)
        if self.evaluation:
            self.history.add_columns(self._evaluated(self.evaluation))
        if type(before := self.algorithm).adapt is not Algorithm.adapt:
            self.algorithm = before.adapt(self.history.stats())
            self.history.note_adapted(before, self.algorithm)

    def _evaluated(self, evaluation: Evaluation) -> dict[str, Array]:
        """Return the columns of an evaluation `[R]`, after an update; NaN where it is not due.

        It is due once in every so many steps, and after the last update. Training goes on as without it, and its time
        is no part of the training's.
        """
        started, step, each = time.perf_counter(), self.collector.step, self.horizon * self.num_envs
        columns = {name: np.full(self.replicas, np.nan) for name in EVALUATED}
        due = step // evaluation.every > (step - each) // evaluation.every or self.steps - step < each
        if due and step < self.steps and self.snapshots:
            self.snapshots.add(step, plain(self.params), self.collector.statistics)
        playing: list[int] = np.flatnonzero(self.outcomes.alive).tolist() if due else []
        policies = [Policy(self.policy(replica), lambda _: type(self.algorithm)) for replica in playing]
        if policies:
            with contextlib.closing(Arena(self.environment, len(policies), evaluation.episodes)) as arena:
                certain, sampled = (arena.play(policies, deterministic=kind) for kind in (True, False))
            for played in (certain, sampled):
                self.outcomes.note_evaluation({playing[row]: failed for row, failed in played.failures.items()}, step)
            for name, values in zip(EVALUATED, (certain.returns, sampled.returns, certain.lengths), strict=True):
                columns[name][playing] = values.mean(-1)
        self.unlearnt += time.perf_counter() - started
        return columns

    def policy(self, replica: int, before: Sequence[tuple[Array, ...]] = ()) -> bytes:
        """Return the policy of one replica as it is kept, with moments `before` this one."""
        now = np.array(self.collector.step), plain(self.params[replica]), self.collector.statistics[replica]
        steps, params, statistics = map(np.stack, zip(*before, now, strict=True))
        envs = self.envs
        return kept(
            self.algorithms[replica],
            self.environment,
            envs.observation,
            envs.action,
            self.network,
            params,
            statistics,
            steps.tolist(),
        )

    def state(self, replica: int) -> State:
        """Return the state of one replica between two rollouts; UnusableError if it cannot be saved."""
        tensors = {"hyper": rows(self.algorithm, self.hypers, replica)}
        tensors |= {"optimizer": rows(self.optimizer, self.MOMENTS, replica)}
        tensors |= {"memory": {name: plain(values[replica]) for name, values in self.memory.items()}}
        common = {"place": from_document(self.place), "step": np.array(self.collector.step)}
        return super().state(replica) | joined(**tensors) | common

    def restore(self, replica: int, state: State) -> None:
        """Put one replica, before the first rollout, where `state` found it; UnusableError if it does not get there.

        The pack goes on from there once all its replicas, which must be at the same step, are restored.
        """
        if to_document(state["place"]) != self.place:
            raise UnusableError(f"it was trained on {to_document(state['place'])}, not on {self.place}")
        put_rows(self.algorithm, self.hypers, replica, part(state, "hyper"))
        put_rows(self.optimizer, self.MOMENTS, replica, part(state, "optimizer"))
        memory = part(state, "memory")
        if self.memory and set(memory) != set(self.memory):
            raise UnusableError(f"its improvement step kept {sorted(memory)}, and not {sorted(self.memory)}")
        for name, values in memory.items():
            empty = torch.from_numpy(np.zeros((self.replicas, *values.shape), values.dtype)).to(self.device)
            put(self.memory.setdefault(name, empty), replica, values, name)
        super().restore(replica, state)
        self.collector.step = int(state["step"])
        kept_before = bool(part(state, "snapshots"))
        if self.snapshots and self.evaluation and self.collector.step >= self.evaluation.every and not kept_before:
            raise UnusableError("its policies were not kept on the way")

    def run(
        self, on_progress: Callable[[Progress], None] | None, after_rollout: Callable[[], None] = lambda: None
    ) -> list[RunRecord]:
        """Spend the rest of the budget and return the records; `after_rollout` may ask for the `states`."""
        started, begun = time.perf_counter(), self.collector.step
        while self.collector.step < self.steps and self.outcomes.alive.any():
            horizon = min(self.horizon, (self.steps - self.collector.step) // self.num_envs)
            progress = self.collector.step / self.steps
            experience = self.collect(horizon)
            mean_return = self.collector.episodes.mean_return()
            if horizon == self.horizon:
                self.update(experience, mean_return, progress)
            if on_progress is not None:
                known = mean_return[np.isfinite(mean_return)]
                latest = float(known.mean()) if len(known) else float("nan")
                on_progress(Progress(self.collector.step, self.steps, self.replicas, latest, begun))
            now = time.perf_counter()
            self.seconds += (now - started - self.unlearnt) / self.replicas
            started, self.unlearnt = now, 0.0
            after_rollout()
        return [self.record(replica) for replica in range(self.replicas)]

    def rate(self, progress: float) -> Array:
        """Return the step sizes of an update, `[R, 1]`, when `progress` of the budget is used."""
        # Annealed as in CleanRL: the first update takes the full step, the last nearly none.
        rate: Array = torch.as_tensor(self.algorithm.lr).numpy()
        return rate * np.float32(1 - progress if self.algorithm.anneal_lr else 1)

    def _check_memory(self) -> None:
        """Raise ValueError where what an algorithm keeps has no row per replica, or numbers that cannot be saved."""
        for name, values in self.memory.items():
            fine = isinstance(name, str) and isinstance(values, torch.Tensor) and values.dtype in _KEPT
            if not fine or values.shape[:1] != (self.replicas,):
                kinds = ", ".join(str(kind).removeprefix("torch.") for kind in _KEPT)
                raise ValueError(f"problem.memory[{name!r}] must be a tensor [{self.replicas}, ...] of {kinds}")

    def _note_divergence(self, problem: BaseProblem) -> None:
        """Note replicas that diverged, and set parameters that are not finite to zero, which is harmless to step on."""
        nonfinite = ~torch.as_tensor(self.params).isfinite().all(-1)
        self.outcomes.note_update(nonfinite.cpu().numpy(), problem.meter, self.collector.step)
        if nonfinite.any():
            for values in (self.params, self.optimizer.first, self.optimizer.second):
                torch.as_tensor(values).masked_fill_(nonfinite[:, None], 0.0)
            for remembered in self.memory.values():
                remembered[nonfinite] = 0

    def record(self, replica: int) -> RunRecord:
        """Return what one replica leaves behind."""
        outcome, before = self.outcomes[replica], self.snapshots.of(replica) if self.snapshots else ()
        known = hasattr(self.envs, "observation")  # the tasks of a measurement's own may have no space
        return RunRecord(
            status=outcome.status,
            reason=outcome.reason,
            detail=outcome.detail,
            again=outcome.again,
            steps=self.collector.step if outcome.status == "finished" else outcome.step,
            episodes=self.collector.episodes.table(replica),
            updates=self.history.table(replica),
            gradient_steps=int(self.history.gradient_steps[replica]),
            samples=int(self.history.samples[replica]),
            seconds=float(self.seconds[replica]),
            policy=self.policy(replica, before) if outcome.status == "finished" and known else None,
        )
