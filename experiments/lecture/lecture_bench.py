"""What the exact checks and the demonstrations of errors measure with: hand-made samples, one update, short trainings.

Everything is a function of fixed seeds, so that a report built twice says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from rlbench import Algorithm, Environment, Params, Problem, Samples
from rlbench.algorithm import configure
from rlbench.records import RunRecord
from rlbench.training.trainer import train

T = TypeVar("T")
SEED = 100
"""Of whatever is trained here; the published runs have others."""


@dataclass(frozen=True, eq=False)
class _Fixed:
    """Log-probabilities that were given; nothing else is known."""

    log_probs: torch.Tensor

    def log_prob(self) -> torch.Tensor:
        return self.log_probs

    def entropy(self) -> torch.Tensor:
        raise NotImplementedError

    def kl(self) -> torch.Tensor:
        raise NotImplementedError

    def value(self) -> torch.Tensor:
        raise NotImplementedError


def samples_at(ratio: torch.Tensor, advantage: torch.Tensor) -> Samples:
    """Return samples `[..., B]` whose new to old probabilities have these ratios."""
    zero = torch.zeros_like(advantage)
    terms = _Fixed(ratio.log())
    return Samples(advantage=advantage, old_log_prob=zero, old_value=zero, target=zero, terms=terms)


def trained(
    base: type[Algorithm],
    updates: int,
    *,
    seeds: Sequence[int] = (SEED,),
    environment: str = "CartPole-v1",
    **settings: Any,
) -> list[RunRecord]:
    """Train an algorithm with these settings for some updates; return one record per seed."""
    algorithm = configure(base, settings, base.name)
    steps = updates * algorithm.samples_per_update
    return train([algorithm] * len(seeds), Environment(environment), steps, seeds)


def in_first_update(measure: Callable[[Problem], T], base: type[Algorithm], **settings: Any) -> T:
    """Return what `measure` finds in the first update of an algorithm on CartPole-v1; settings as of `trained`."""
    found: list[T] = []

    class Watched(base):  # type: ignore[misc, valid-type]  # the base is a value
        name = f"watched-{base.name}"

        def improve(self, problem: Problem) -> Params:
            found.append(measure(problem))
            return problem.params

    trained(Watched, 1, **settings)
    return found[0]
