"""Returns and lengths of the episodes that ended, in the environment's own rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rlbench.functional.compiled import exact
from rlbench.records import Table
from rlbench.training.state import State, put

Array = npt.NDArray[Any]

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
