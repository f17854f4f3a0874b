"""Checks by training: the same numbers again, alone and in a pack, and a probe that must be solved."""

import numpy as np
import torch

from rlbench.algorithm import Algorithm, stack
from rlbench.checks.formulas import Broken, make_case, require
from rlbench.functional.distributions import Categorical
from rlbench.records import Environment, RunRecord
from rlbench.training.envs.probes import register_probes
from rlbench.training.trainer import train

SOLVED = 0.8  # return on the probe, of at most 1
MANY = 20  # replicas, more than a vector register holds: rounding may depend on the place in it


def _train(algorithm: Algorithm, environment: str, updates: int, seeds: list[int]) -> list[RunRecord]:
    steps = updates * algorithm.samples_per_update
    records = train([algorithm] * len(seeds), Environment(environment), steps, seeds)
    for record in records:
        require(record.status == "finished", f"Training on {environment} ended early: {record.reason}.")
    return records


def _same(a: RunRecord, b: RunRecord) -> bool:
    return all(
        left.keys() == right.keys() and all(np.array_equal(left[k], right[k], equal_nan=True) for k in left)
        for left, right in ((a.episodes, b.episodes), (a.updates, b.updates))
    )


def _check_repeats(algorithm: Algorithm) -> None:
    first, second = (_train(algorithm, "CartPole-v1", 2, [3])[0] for _ in range(2))
    require(_same(first, second), "Two trainings with one seed differ: draw no random numbers in the algorithm.")


def check_packs(algorithm: Algorithm) -> None:
    """Raise Broken where a run depends on what it trains with."""
    alone = _train(algorithm, "CartPole-v1", 2, [3])[0]
    packed = _train(algorithm, "CartPole-v1", 2, [7, 3, 5])[1]
    require(
        _same(alone, packed) and _rounds_alike(algorithm),
        "A run gives other numbers in a pack than alone: look for a reduction over a leading axis, state kept between "
        "calls, or a torch function whose rounding depends on the position (pow, sigmoid, softplus); exp, log and "
        "arithmetic do not.",
    )


def _rounds_alike(algorithm: Algorithm) -> bool:
    """Return whether the surrogate and its gradient are the same to the bit alone and in a pack."""
    whole = make_case(Categorical, MANY)
    values = stack([algorithm] * MANY).surrogate(whole.x)
    gradients = _gradient(values, whole.head)
    for r in range(MANY):
        part = whole.replica(slice(r, r + 1))
        value = stack([algorithm]).surrogate(part.x)
        if not (torch.equal(value[0], values[r]) and torch.equal(_gradient(value, part.head)[0], gradients[r])):
            return False
    return True


def _gradient(value: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    if not value.requires_grad:
        return torch.zeros_like(head)
    (gradient,) = torch.autograd.grad(value.sum(), head)
    return gradient


def _check_learns(algorithm: Algorithm) -> None:
    if not algorithm.learns:
        return
    register_probes()
    reached = 0.0
    for steps, least in ((10_000, 5), (20_000, 10)):  # many need half the budget only
        updates = max(-(-steps // algorithm.samples_per_update), least)
        record = _train(algorithm, "rlbench/ProbeContext-v0", updates, [0])[0]
        reached = float(record.episodes["return"][-200:].mean())
        if reached > SOLVED:
            return
    raise Broken(
        f"It does not solve the probe (act by the sign of the observation): return {reached:.2f} at the end, best 1. "
        "Look at the sign of the surrogate, which is maximised, at a gradient that is cut off (detach, a clip that "
        "always holds), at lr and epochs, and at advantages that are 0 or constant; or declare learns = False on the "
        "class."
    )


CHECKS = {
    "one seed, one result": _check_repeats,
    "alone equals in a pack": check_packs,
    "solves a probe environment": _check_learns,
}
"""The checks by name, in the order in which they are made."""
