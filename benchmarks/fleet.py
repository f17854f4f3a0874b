"""A simulation of many cores and the one process that sends them packs and stores what comes back.

The driver does one thing after the other, as `rlbench.study.executors.ray.Ray.run` does: it waits until packs have
ended, takes all of them, stores their runs one by one, and sends as many again. Cores take packs in the order in which
they were sent. What the driver's steps cost and how long packs take is measured elsewhere and put in.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

AHEAD = 0.25  # packs beyond one per core that wait on the cluster, as a share of the cores


@dataclass(frozen=True)
class Driver:
    """Seconds of the driver: once per run of a command and cell, per look, per pack, and per cell of a pack."""

    plan_cell: float  # to plan a cell and find that it is not stored
    look: float  # at the cluster
    look_pending: float  # more per pack that is on the cluster
    claim: float  # of a pack's cells, so that no other command trains them, and letting go of them
    claim_pending: float  # more per cell that is claimed
    send: float
    send_cell: float
    land: float
    land_cell: float
    store_cell: float

    def per_cell(self, replicas: int) -> float:
        """Return what a cell costs where packs come back faster than they are stored, so that looks are rare."""
        each = self.send + self.land + self.claim
        return each / replicas + self.plan_cell + self.send_cell + self.land_cell + self.store_cell


@dataclass(frozen=True)
class Outcome:
    """Seconds until everything is stored, how long the driver and (on average) a core were at work, and packs."""

    makespan: float
    driver: float
    core: float
    packs: int


def simulate(
    cells: int,
    replicas: int,
    cores: int,
    seconds: Callable[[int], float],
    driver: Driver,
    *,
    spread: float = 0.0,
    start: float = 0.0,
    seed: int = 0,
) -> Outcome:
    """Train `cells` runs in packs of `replicas` on `cores`; `seconds` is a pack's mean duration by its replicas.

    Durations are log-normal with the coefficient of variation `spread`; a core is ready `start` seconds after it gets
    its first pack.
    """
    sizes = [replicas] * (cells // replicas) + ([cells % replicas] if cells % replicas else [])
    sigma = np.sqrt(np.log1p(spread**2))
    factors = np.exp(sigma * np.random.default_rng(seed).standard_normal(len(sizes)) - sigma**2 / 2)
    limit = cores + max(1, round(AHEAD * cores))
    new = cores  # cores that have had no pack yet
    free: list[float] = []  # when each of the others is
    under_way: list[tuple[float, int]] = []  # the end and the size of each pack that was sent
    now = busy = driver.plan_cell * cells
    worked, sent, claimed = 0.0, 0, 0
    while sent < len(sizes) or under_way:
        while sent < len(sizes) and len(under_way) < limit:
            size = sizes[sent]
            claimed += size
            cost = driver.send + driver.send_cell * size + driver.claim + driver.claim_pending * claimed
            now, busy = now + cost, busy + cost
            if new:
                new, begin = new - 1, now + start
            else:
                begin = max(now, heapq.heappop(free))
            duration = seconds(size) * factors[sent]
            heapq.heappush(free, begin + duration)
            heapq.heappush(under_way, (begin + duration, size))
            worked, sent = worked + duration, sent + 1
        look = driver.look + driver.look_pending * len(under_way)
        now, busy = max(now, under_way[0][0]) + look, busy + look
        until = now
        while under_way and under_way[0][0] <= until:
            size = heapq.heappop(under_way)[1]
            cost = driver.land + (driver.land_cell + driver.store_cell) * size
            claimed -= size
            now, busy = now + cost, busy + cost
    return Outcome(now, busy, worked / cores, len(sizes))
