"""On which device the runs of one command train, and what follows from it for packs and processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlbench.study import memory
from rlbench.study.packs import groups_of
from rlbench.study.plan import Cell


@dataclass(frozen=True)
class Placement:
    """A device that is there: "cpu", "cuda" or "cuda:N"; `label` is how a manifest records it."""

    device: str = "cpu"
    label: str = "cpu"

    def workers(self, cpus: int) -> int:
        """Return how many processes train by default: one per CPU, or one where they would share a GPU."""
        return cpus if self.device == "cpu" else 1

    def room(self, workers: int) -> float:
        """Return the bytes that the pack of each of `workers` processes may take."""
        if self.device == "cpu":
            return memory.room(workers)
        import torch

        free, _ = torch.cuda.mem_get_info(torch.device(self.device))
        return memory.SHARE * float(free) / workers

    def most(self, workers: int) -> float:
        """Return the bytes that each of `workers` processes may take before it is refused more.

        A driver reserves addresses by the terabyte, so on a GPU no limit could tell.
        """
        return memory.most(workers) if self.device == "cpu" else math.inf

    def trainer(self, train: Callable[..., Any] | None) -> Callable[..., Any] | None:
        """Return what trains there; `train` (None: the default trainer) as it is on the CPU."""
        if self.device == "cpu":
            return train
        from rlbench.training import trainer

        return partial(train or trainer.train, device=self.device)


@dataclass(frozen=True)
class OnCluster(Placement):
    """A device of a cluster's nodes, for `processes` packs at once with `memory` bytes each."""

    processes: int = 1
    memory: float = 0.0

    def workers(self, cpus: int) -> int:
        """Return how many packs train at once."""
        return self.processes

    def room(self, workers: int) -> float:
        """Return the bytes that a pack may take."""
        return self.memory

    def most(self, workers: int) -> float:
        """Return the bytes that a task may take before it is refused more: its whole share of the smallest node."""
        return self.memory + memory.IMPORTED if self.device == "cpu" else math.inf


def place(device: str, cells: Sequence[Cell]) -> Placement:
    """Return where `cells` train for what a user asked for; RlbenchError if that device is not there.

    "auto" decides once for all cells, so that the runs of one command are comparable to the bit.
    """
    if device == "cpu":  # without importing torch
        return Placement()
    from rlbench.training.devices import describe, resolve

    environments = list({cell.environment.label: cell.environment for cell in cells}.values())
    largest = max(map(len, groups_of(cells)), default=0)
    resolved = resolve(device, environments, largest)
    return Placement(resolved, describe(resolved))
