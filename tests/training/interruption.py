"""Trainings that are interrupted and go on from a checkpoint after every rollout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from rlbench import Environment
from rlbench.algorithm import Algorithm
from rlbench.records import Progress, RunRecord
from rlbench.training import trainer
from rlbench.training.checkpoints import Checkpoints

UPDATES, STEPS = 8, 800


class Interruption(Exception):
    """What ends a training from outside."""


def named(seeds: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"seed{seed}" for seed in seeds)


def interrupted(algorithm: Algorithm, environment: Environment, seeds: Sequence[int], folder: Path, after: int) -> None:
    """Train with a checkpoint after every rollout, and interrupt it where `after` rollouts have one."""
    told: list[Progress] = []

    def tell(progress: Progress) -> None:
        told.append(progress)
        if len(told) > after:
            raise Interruption

    checkpoints = Checkpoints(folder, named(seeds), 0.0)
    algorithms = [algorithm] * len(seeds)
    with pytest.raises(Interruption):
        trainer.train(algorithms, environment, STEPS, seeds, on_progress=tell, checkpoints=checkpoints)


def resumed(
    algorithm: Algorithm, environment: Environment, seeds: Sequence[int], folder: Path
) -> tuple[list[RunRecord], list[int]]:
    """Train to the end, and return the records and the steps that were told on the way."""
    told: list[Progress] = []
    checkpoints = Checkpoints(folder, named(seeds), 0.0)
    algorithms = [algorithm] * len(seeds)
    records = trainer.train(algorithms, environment, STEPS, seeds, on_progress=told.append, checkpoints=checkpoints)
    return records, [progress.step for progress in told]


def whole(algorithm: Algorithm, environment: Environment, seeds: Sequence[int]) -> list[RunRecord]:
    return trainer.train([algorithm] * len(seeds), environment, STEPS, seeds)
