"""Measuring what a kind of pack costs before its runs are packed, where nothing is known of it and much depends on it.

Two packs of each kind, of one replica and of a few, train for two rollouts in the worker processes; the second rollout
is what is timed, since much happens only once in the first.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from rlbench.study.executors.launcher import Launcher
from rlbench.study.executors.local import NO_LIMITS, Event, in_workers
from rlbench.study.plan import Cell
from rlbench.study.schedule import Costs, Limits, Pack, groups_of

SIZES = (1, 8)
_ROLLOUTS = 2
LEAST_ROLLOUTS = 200  # of a run, for its kind to be tried out: a trial costs about as much as ten of them, a replica


def worth_trying(cells: Sequence[Cell], workers: int, costs: Costs) -> list[Cell]:
    """Return a cell of every kind that is to be tried out.

    Not what was measured before, nor short runs; and nothing where all may train together and the workers' shares are
    not larger than what a trial trains, since they are then simply halves, thirds and so on.
    """
    groups = groups_of(cells)
    if len(groups) == 1 and len(cells) <= workers * max(SIZES):
        return []
    firsts = [group[0] for group in groups]
    long = [cell for cell in firsts if cell.steps >= LEAST_ROLLOUTS * cell.algorithm.samples_per_update]
    return list({costs.kind(cell): cell for cell in long if not costs.measured(cell)}.values())


def try_out(cells: Sequence[Cell], workers: int, launcher: Launcher, costs: Costs, limits: Limits = NO_LIMITS) -> None:
    """Train a little of what `cells` stand for and note in `costs` what it took; what fails is left to training."""
    tried = {_trial(cell, size): cell for cell in cells for size in SIZES}
    packs = list(tried)
    heard: dict[Pack, list[float]] = {pack: [] for pack in packs}

    def note(event: Event) -> None:
        if event.pack is not None and event.progress is not None:
            heard[event.pack].append(time.perf_counter())

    # The larger ones first, as always.
    for pack, records in in_workers(packs[::-1], None, note, workers, launcher, limits=limits, again=False):
        times = heard[pack][-_ROLLOUTS:]
        if len(times) == _ROLLOUTS and all(record.status == "finished" for record in records):
            peak = max(record.peak_bytes for record in records)
            seconds = (times[-1] - times[0]) / (_ROLLOUTS - 1)
            cell = tried[pack]
            costs.note(cell, len(pack.cells), seconds / cell.algorithm.samples_per_update, peak)


def _trial(cell: Cell, replicas: int) -> Pack:
    steps = _ROLLOUTS * cell.algorithm.samples_per_update
    return Pack(tuple(dataclasses.replace(cell, steps=steps, seed=seed) for seed in range(replicas)))
