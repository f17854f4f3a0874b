"""What the toys' measurements share: one PPO run, and its returns tenth by tenth of the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlbench import Environment, registry
from rlbench.algorithm import configure
from rlbench.training.trainer import train

PARTS = 10


def learning_curve(environment: Environment, seed: int, steps: int, settings: Mapping[str, Any]) -> list[float]:
    """Train PPO-Clip and return the mean return of the episodes that ended in each tenth of the budget.

    The toys' returns are 0 for a policy that guesses and 1 for the best one, so these are scores. Their mean is the
    area under the learning curve. Raises RuntimeError where the run does not finish.
    """
    algorithm = configure(registry.load("ppo-clip"), dict(settings), f"PPO on {environment.label}")
    (record,) = train([algorithm], environment, steps, [seed])
    if record.status != "finished":
        raise RuntimeError(f"training {record.status}: {record.reason}")
    part = np.minimum(PARTS * (record.episodes["step"] - 1) // steps, PARTS - 1)
    return [float(record.episodes["return"][part == one].mean()) for one in range(PARTS)]
