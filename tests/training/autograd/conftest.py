"""Trainings by the autograd engine, whatever the device is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from rlbench import Environment, registry
from rlbench.algorithm import Algorithm, configure
from rlbench.fields import fields_of
from rlbench.records import RunRecord
from rlbench.training.engines import AutogradTraining

CPU = torch.device("cpu")
SMALL = {"horizon": 50, "num_envs": 2, "minibatches": 5, "epochs": 2, "hidden": (16, 16)}


@pytest.fixture
def make() -> Any:
    """Return a function that makes a small version of an algorithm by name or class."""

    def make(algorithm: str | type[Algorithm] = "ppo-clip", **settings: Any) -> Algorithm:
        cls = registry.load(algorithm) if isinstance(algorithm, str) else algorithm
        known = fields_of(cls)
        chosen = SMALL | ({"value_minibatches": 5} if "value_minibatches" in known else {})
        if cls.name == "reinforce":
            chosen |= {"epochs": 1, "minibatches": 1}
        if cls.name == "trpo":  # in single precision conjugate gradients magnify rounding
            chosen |= {"cg_iterations": 4}
        return configure(cls, {key: value for key, value in (chosen | settings).items() if key in known}, "test")

    return make


@pytest.fixture
def train_tensor() -> Any:
    """Return a function that trains by autograd for some updates on an environment by id."""

    def train(
        algorithms: Sequence[Algorithm],
        identifier: str,
        updates: int,
        seeds: Sequence[int],
        device: torch.device = CPU,
        **options: Any,
    ) -> list[RunRecord]:
        steps = updates * algorithms[0].samples_per_update
        loop = AutogradTraining(algorithms, Environment(identifier, options), steps, seeds, device)
        try:
            with np.errstate(all="ignore"):
                return loop.run(None)
        finally:
            loop.close()

    return train
