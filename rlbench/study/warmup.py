"""A training of two steps: much of what training needs is loaded, or on a new machine compiled, when first used."""

from __future__ import annotations

import torch

from rlbench.algorithm import Algorithm, configure
from rlbench.data import Params, Problem, Samples
from rlbench.fields import static
from rlbench.improve import first_order
from rlbench.records import Environment
from rlbench.training.trainer import train


class Idle(Algorithm):
    """Fits its value only. Nothing is differentiated by autograd, which may start threads."""

    name = "idle"
    horizon: int = static(1)
    epochs: int = static(1)
    minibatches: int = static(1)
    normalize_advantage: str = static("none")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Return what needs no gradient."""
        return x.advantage

    def improve(self, problem: Problem) -> Params:
        """Take the default step."""
        return first_order(problem)


def warm_up() -> None:
    """Train for a moment."""
    train([configure(Idle, {}, "warm-up")], Environment("CartPole-v1"), 2, [0])


if __name__ == "__main__":
    warm_up()
