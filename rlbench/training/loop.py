"""The loop that every engine shares: spend the budget rollout by rollout, and leave a record of each replica."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from rlbench.algorithm import Algorithm, stack
from rlbench.fields import fields_of
from rlbench.improve.diagnostics import explained_variance
from rlbench.records import Progress, RunRecord
from rlbench.training.noise import Streams
from rlbench.training.recording import EpisodeLog, History, Outcomes
from rlbench.training.state import State, UnusableError, from_document, joined, part, put_rows, rows, to_document

Array = npt.NDArray[Any]
E = TypeVar("E")


class Account(Protocol):
    """What collects: `step`, the environment steps of each run so far, the episodes that ended, and its state."""

    step: int
    episodes: EpisodeLog

    def state(self, replica: int) -> State:
        """Return what one replica goes on with; UnusableError if its environment does not tell."""
        ...

    def restore(self, replica: int, state: State) -> None:
        """Go on from what `state` returned; UnusableError if that leads elsewhere."""
        ...


class Samples(Protocol):
    """What the history takes from the samples of a rollout, `[R, n]` each; see
    `rlbench.improve.minibatches.Rollout`.
    """

    old_value: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor | None


class Loop(ABC, Generic[E]):
    """One pack in training; `E` is the experience of one rollout, as an engine has it."""

    MOMENTS: ClassVar[tuple[str, ...]]
    """The attributes of `optimizer` that last, `[R, ...]` each."""

    collector: Account
    params: Any
    optimizer: Any
    streams: Streams

    def __init__(self, algorithms: Sequence[Algorithm], steps: int, place: str) -> None:
        """Begin; `place` is what computes, as people call it: a run must not go on elsewhere."""
        first = algorithms[0]
        self.algorithm = stack(algorithms)
        self.steps, self.horizon, self.num_envs, self.replicas = steps, first.horizon, first.num_envs, len(algorithms)
        self.place = place
        self.outcomes = Outcomes(self.replicas)
        self.history = History(self.algorithm)
        self.seconds = np.zeros(self.replicas)  # each run's share of the time taken, up to the last rollout

    @abstractmethod
    def collect(self, horizon: int) -> E:
        """Return the experience of `horizon` steps of every copy, and note which replicas it ends."""

    @abstractmethod
    def update(self, experience: E, mean_return: Array, progress: float) -> None:
        """Improve all replicas on one rollout and record what happened."""

    @abstractmethod
    def close(self) -> None:
        """Release the environments."""

    def states(self) -> list[State]:
        """Return the state of every replica between two rollouts; UnusableError if it cannot be saved."""
        place = from_document(self.place)
        hypers = [name for name, field in fields_of(type(self.algorithm)).items() if field.is_hyper]
        return [
            joined(
                hyper=rows(self.algorithm, hypers, replica),
                outcome=self.outcomes.state(replica),
                history=history,
                optimizer=rows(self.optimizer, self.MOMENTS, replica),
                streams=self.streams.state(replica),
                collector=self.collector.state(replica),
            )
            | rows(self, ("params",), replica)
            | {"place": place, "step": np.array(self.collector.step), "seconds": self.seconds[[replica]]}
            for replica, history in enumerate(self.history.states())
        ]

    def restore(self, replica: int, state: State) -> None:
        """Put one replica, before the first rollout, where `states` found it; UnusableError if it does not get there.

        Only with `restore_history` of all replicas does the pack go on from there.
        """
        if to_document(state["place"]) != self.place:
            raise UnusableError(f"it was trained on {to_document(state['place'])}, not on {self.place}")
        put_rows(self.algorithm, part(state, "hyper"), replica, part(state, "hyper"))
        self.outcomes.restore(replica, part(state, "outcome"))
        put_rows(self.optimizer, self.MOMENTS, replica, part(state, "optimizer"))
        self.streams.restore(replica, part(state, "streams"))
        self.collector.restore(replica, part(state, "collector"))
        put_rows(self, ("params",), replica, state)
        self.seconds[replica] = state["seconds"][0]

    def restore_history(self, states: Sequence[State]) -> None:
        """Go on from the rows and the step in the states of all replicas."""
        self.history.restore([part(state, "history") for state in states])
        self.collector.step = int(states[0]["step"])

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
            self.seconds += (now - started) / self.replicas
            started = now
            after_rollout()
        return [self.record(replica) for replica in range(self.replicas)]

    def rate(self, progress: float) -> Array:
        """Return the step sizes of an update, `[R, 1]`, when `progress` of the budget is used."""
        # Annealed as in CleanRL: the first update takes the full step, the last nearly none.
        rate: Array = torch.as_tensor(self.algorithm.lr).numpy()
        return rate * np.float32(1 - progress if self.algorithm.anneal_lr else 1)

    def note_update(
        self, meter: Any, rollout: Samples, mean_return: Array, rate: Array, measured: Mapping[str, Array]
    ) -> None:
        """Add the row of the update just made to the history.

        `meter` measured its gradient steps on `rollout`, `measured` is what was measured after it; `mean_return` `[R]`
        and step sizes `rate` `[R, 1]` are those before it.
        """
        row: dict[str, Array | float] = {
            "step": self.collector.step,
            "progress": self.collector.step / self.steps,
            "mean_return": mean_return,
            **measured,
            "explained_variance": explained_variance(rollout.old_value, rollout.target, rollout.weight),
            "lr": rate[:, 0],
        }
        self.history.add(self.algorithm, meter, row, self.outcomes.alive)

    def adapt(self) -> None:
        """Let the algorithm choose its coefficients for the next update."""
        before = self.algorithm
        self.algorithm = before.adapt(self.history.stats())
        self.history.note_adapted(before, self.algorithm)

    def record(self, replica: int) -> RunRecord:
        """Return what one replica leaves behind."""
        outcome = self.outcomes[replica]
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
        )
