"""A training of two steps that learns nothing: much of what training needs is loaded only when it is first used."""

from __future__ import annotations

import torch

from rlbench.algorithm import Algorithm, configure, static
from rlbench.data import Params, Samples
from rlbench.improve import Problem
from rlbench.records import Environment
from rlbench.training.trainer import train


class Idle(Algorithm):
    """Keeps its parameters. Nothing is differentiated, since torch's autograd may start threads."""

    name = "idle"
    horizon: int = static(1)
    epochs: int = static(1)
    minibatches: int = static(1)

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Return what needs no gradient."""
        return x.advantage

    def improve(self, problem: Problem) -> Params:
        """Return the parameters as they are."""
        return problem.params


def warm_up() -> None:
    """Train for a moment."""
    train([configure(Idle, {}, "warm-up")], Environment("CartPole-v1"), 2, [0])
