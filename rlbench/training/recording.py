"""What is recorded of R replicas in training: their episodes, their updates, and how each ended."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch

from rlbench.algorithm import Algorithm
from rlbench.data import Stats
from rlbench.fields import fields_of
from rlbench.functional.compiled import exact
from rlbench.improve.diagnostics import METERED, Meter
from rlbench.records import Status, Table
from rlbench.training.envs import Failure
from rlbench.training.state import (
    Array,
    State,
    UnusableError,
    from_document,
    joined,
    part,
    put,
    put_rows,
    rows,
    to_document,
)

_COLUMNS = ("step", "return", "length")


@exact
def _count(
    reward: Array, ended: Array, running: Array, length: Array, at: Array, returns: Array, lengths: Array
) -> None:
    """Go through a rollout `[T, M]`; write where, with which return and at which length episodes ended, `[K]` each.

    `running` and `length` `[M]` are those of the episodes under way, before and after.
    """
    k = 0
    for t in range(reward.shape[0]):
        for m in range(reward.shape[1]):
            running[m] += reward[t, m]
            length[m] += 1
            if ended[t, m]:
                at[k] = t * reward.shape[1] + m
                returns[k], lengths[k] = running[m], length[m]
                running[m], length[m] = 0.0, 0
                k += 1


class EpisodeLog:
    """The episodes of R replicas x N copies, rollout by rollout."""

    def __init__(self, replicas: int, num_envs: int) -> None:
        self._copies = num_envs
        self._running = np.zeros(replicas * num_envs)
        self._length = np.zeros(replicas * num_envs, np.int64)
        self._parts: list[list[tuple[Array, Array, Array]]] = [[] for _ in range(replicas)]
        self._latest = np.full(replicas, np.nan)

    def add(self, step: int, reward: Array, ended: Array, alive: Array) -> None:
        """Take in a rollout, `[T, R, N]`, that began after `step` environment steps of each run."""
        horizon, replicas, copies = reward.shape
        ends = np.count_nonzero(ended)
        at, lengths, returns = np.empty(ends, np.int64), np.empty(ends, np.int64), np.empty(ends)
        flat = (horizon, replicas * copies)
        _count(reward.reshape(flat), ended.reshape(flat), self._running, self._length, at, returns, lengths)
        times, replica, _ = np.unravel_index(at, reward.shape)
        steps = step + (times + 1) * copies
        for r in np.flatnonzero(alive):
            own = replica == r
            if own.any():
                self._parts[r].append((steps[own], returns[own], lengths[own]))
                self._latest[r] = returns[own].mean()

    def mean_return(self) -> Array:
        """Return the mean return of the episodes that ended in the latest rollout with any, `[R]`; NaN before."""
        return self._latest.copy()

    def table(self, replica: int) -> Table:
        """Return the `episodes` table of one replica."""
        empty = (np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))
        columns = zip(*[empty, *self._parts[replica]], strict=True)
        return dict(zip(_COLUMNS, map(np.concatenate, columns), strict=True))

    def state(self, replica: int) -> State:
        """Return the episodes of one replica, those under way included."""
        own = self._own(replica)
        running = {"running": self._running[own].copy(), "under_way": self._length[own].copy()}
        return self.table(replica) | running | {"latest": self._latest[[replica]]}

    def restore(self, replica: int, state: State) -> None:
        """Go on from the episodes in `state`."""
        own = self._own(replica)
        put(self._running, own, state["running"], "running")
        put(self._length, own, state["under_way"], "under_way")
        put(self._latest, [replica], state["latest"], "latest")
        step, returns, length = (state[name] for name in _COLUMNS)
        self._parts[replica] = [(step, returns, length)]

    def _own(self, replica: int) -> slice:
        return slice(replica * self._copies, (replica + 1) * self._copies)


_COSTS = ("gradient_steps", "samples")


class History:
    """The rows so far, and what the gradients cost: `gradient_steps` and `samples`, `[R]`."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._hypers = [name for name, field in fields_of(type(algorithm)).items() if field.is_hyper]
        replicas = len(getattr(algorithm, self._hypers[0]))
        self.gradient_steps = np.zeros(replicas, np.int64)
        self.samples = np.zeros(replicas, np.int64)
        self._rows: list[dict[str, Array]] = []
        self._learnt: list[Array] = []  # which replicas [R] each row is true of
        self._adapted: set[str] = set()  # the fields that `adapt` has changed
        self._known: tuple[Algorithm | None, dict[str, Array]] = (None, {})

    def add(self, algorithm: Algorithm, meter: Meter, columns: dict[str, Array], alive: Array) -> None:
        """Add the row of one update that `algorithm` made, `columns` `[R]`, for the replicas in `alive` `[R]`."""
        self.gradient_steps += meter.count("samples")
        self.samples += meter.total("samples").astype(np.int64)
        row = {name: meter.mean(name) for name in METERED}
        self._rows.append(columns | row | {"gradient_steps": self.gradient_steps.copy()} | self._fields(algorithm))
        self._learnt.append(alive.copy())

    def add_columns(self, columns: dict[str, Array]) -> None:
        """Add columns `[R]` to the latest row."""
        self._rows[-1] |= columns

    def _fields(self, algorithm: Algorithm) -> dict[str, Array]:
        """Return the columns of the hyper fields; those of an algorithm that stayed the same are made once."""
        if self._known[0] is not algorithm:
            columns = {f"field.{name}": getattr(algorithm, name).numpy()[:, 0].copy() for name in self._hypers}
            self._known = (algorithm, columns)
        return self._known[1]

    def stats(self) -> Stats:
        """Return what `adapt` sees of the latest update."""
        latest = self._rows[-1]
        names = [field.name for field in fields(Stats) if field.name in latest]
        return Stats(**{name: torch.tensor(latest[name], dtype=torch.float32)[:, None] for name in names})

    def note_adapted(self, before: Algorithm, after: Algorithm) -> None:
        """Note which fields `adapt` replaced: they get a column for the whole run."""
        self._adapted |= {name for name in self._hypers if getattr(after, name) is not getattr(before, name)}

    def table(self, replica: int) -> Table:
        """Return the `updates` table of one replica."""
        kept = [row for row, learnt in zip(self._rows, self._learnt, strict=True) if learnt[replica]]
        return {name: np.array([row[name][replica] for row in kept]) for name in self._columns()}

    def state(self, replica: int) -> State:
        """Return the rows of one replica, and what its gradients cost."""
        names = list(self._rows[-1]) if self._rows else []
        columns = {name: np.array([row[name][replica] for row in self._rows]) for name in names}
        learnt = np.array([learnt[replica] for learnt in self._learnt], bool)
        notes = {"adapted": from_document(sorted(self._adapted)), "order": from_document(names)}
        return joined(columns=columns) | {"learnt": learnt, **notes} | rows(self, _COSTS, replica)

    def restore(self, replica: int, state: State) -> None:
        """Go on from the rows of one replica; UnusableError if the replicas before it had others."""
        columns, learnt, names = part(state, "columns"), state["learnt"], to_document(state["order"])
        if not self._learnt:
            whole = [(name, columns[name].dtype) for name in names]
            self._rows = [{name: np.zeros(len(self.samples), kind) for name, kind in whole} for _ in learnt]
            self._learnt = [np.zeros(len(self.samples), bool) for _ in learnt]
        if len(learnt) != len(self._learnt) or any(list(row) != names for row in self._rows):
            raise UnusableError("replicas that were not trained alike have other updates")
        for at, row in enumerate(self._rows):
            self._learnt[at][replica] = learnt[at]
            for name in names:
                row[name][replica] = columns[name][at]
        self._adapted |= set(to_document(state["adapted"]))
        put_rows(self, _COSTS, replica, state)

    def _columns(self) -> Sequence[str]:
        names = self._rows[-1] if self._rows else {}
        return [name for name in names if not name.startswith("field.") or name[len("field.") :] in self._adapted]


_MOMENT = ("step", "params", "statistics")


class Snapshots:
    """The policies of R replicas at moments of the training, as `rlbench.training.policy.kept` takes them."""

    def __init__(self, replicas: int) -> None:
        self._of: list[list[tuple[Array, ...]]] = [[] for _ in range(replicas)]

    def add(self, step: int, params: Array, statistics: Array) -> None:
        """Take in a moment: parameters `[R, P]` and what observations are normalised by, `[R, 2, O]`."""
        for own, *arrays in zip(self._of, params, statistics, strict=True):
            own.append((np.array(step), *(array.copy() for array in arrays)))

    def of(self, replica: int) -> list[tuple[Array, ...]]:
        """Return the moments of one replica: step, params `[P]`, statistics `[2, O]`."""
        return self._of[replica]

    def state(self, replica: int) -> State:
        """Return the moments of one replica, `[K, ...]` each; nothing where there are none."""
        return dict(zip(_MOMENT, map(np.stack, zip(*self._of[replica], strict=True)), strict=False))

    def restore(self, replica: int, state: State) -> None:
        """Go on from the moments in `state`."""
        self._of[replica] = list(zip(*(state[name] for name in _MOMENT), strict=True)) if state else []


@dataclass
class Outcome:
    """One replica's end; `step` is the environment step at which it stopped."""

    status: Status = "finished"
    reason: str = ""
    detail: str = ""
    step: int = 0
    again: bool = False


class Outcomes:
    """The outcome of every replica so far, and `alive` `[R]`: those that still train."""

    def __init__(self, replicas: int) -> None:
        self._all = [Outcome() for _ in range(replicas)]
        self.alive = np.ones(replicas, bool)

    def __getitem__(self, replica: int) -> Outcome:
        return self._all[replica]

    def note_experience(
        self, failures: dict[int, Failure], nonfinite_action: Array, nonfinite_environment: Array, step: int
    ) -> None:
        """Note replicas whose policy acted NaN, whose environment failed, or returned numbers that are not finite.

        Masks are bool `[R]`; what comes first is to blame.
        """
        self._end_where(nonfinite_action, "diverged", f"the policy's actions became NaN before step {step}", step)
        for failed, failure in failures.items():
            self._end(failed, "failed", f"the environment {failure.cause}", step, failure.trace, again=failure.again)
        reason = f"the environment returned NaN or infinity before step {step}"
        self._end_where(nonfinite_environment, "failed", reason, step)

    def note_evaluation(self, failures: dict[int, Failure], step: int) -> None:
        """Note replicas whose environment failed in an evaluation."""
        for failed, failure in failures.items():
            reason = f"the environment {failure.cause} in the evaluation at step {step}"
            self._end(failed, "failed", reason, step, failure.trace, again=failure.again)

    def note_update(self, nonfinite: Array, meter: Meter, step: int) -> None:
        """Note replicas whose parameters are no longer finite, bool `[R]`, or of which a gradient or a loss was not.

        A trust region that finds no step leaves parameters as they were, whatever it measured.
        """
        reason = f"parameters became NaN or infinite in the update at step {step}"
        self._end_where(nonfinite, "diverged", reason, step)
        overflow = ~np.isfinite(meter.total("grad_norm") + meter.total("value_loss"))
        reason = f"the gradient or the value loss became NaN or infinite in the update at step {step}"
        self._end_where(overflow, "diverged", reason, step)

    def state(self, replica: int) -> State:
        """Return how one replica ended, if it did."""
        return {"alive": self.alive[[replica]], "outcome": from_document(asdict(self._all[replica]))}

    def restore(self, replica: int, state: State) -> None:
        """Go on from the outcome in `state`."""
        put(self.alive, [replica], state["alive"], "alive")
        self._all[replica] = Outcome(**to_document(state["outcome"]))

    def _end_where(self, ended: Array, status: Status, reason: str, step: int) -> None:
        for replica in np.flatnonzero(ended):
            self._end(int(replica), status, reason, step)

    def _end(
        self, replica: int, status: Status, reason: str, step: int, detail: str = "", *, again: bool = False
    ) -> None:
        if self.alive[replica]:
            self._all[replica] = Outcome(status, reason, detail, step, again)
            self.alive[replica] = False
