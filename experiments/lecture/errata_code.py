"""Errors of the listing that show in single expressions: shapes, names, spaces, and what cannot run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import gymnasium
import torch
from rlbench.algorithms.ppo_clip import PPOClip

from lecture_bench import SEED, in_first_update, trained
from rlbench import Erratum, Problem
from rlbench.functional import standardise
from variants_listing import Listing

LISTING = "Part 4, the listing"


def message_of(action: Callable[[], object], error: type[Exception]) -> str:
    """Return what an action complains of; that it must is part of the demonstration."""
    try:
        action()
    except error as problem:
        return f"{type(problem).__name__}: {problem}"
    raise AssertionError(f"no {error.__name__}")


def joined_shapes() -> str:
    """Join values with a bootstrap value of another shape, and of the same."""
    values, bootstrap = torch.zeros(8), torch.zeros(1, 1)
    said = message_of(lambda: torch.cat([values, bootstrap]), RuntimeError)
    return (
        f"Joining (8,) and (1, 1): {said.rstrip('.')}. Joining (8,) and (1,): {len(torch.cat([values, bootstrap[0]]))}."
    )


def broadcast_ratios() -> str:
    """Form ratios of log-probabilities (N,) against (N, 1) with the policy that acted: each should be 1."""

    def measure(problem: Problem) -> torch.Tensor:
        return problem.policy_samples(problem.params, problem.full()).log_prob

    log_probs = in_first_update(measure, Listing, seeds=range(SEED, SEED + 10))
    wrong = [(one - one[:, None]).exp() for one in log_probs]
    right = (log_probs - log_probs).exp()
    outside = [((ratios - 1).abs() > 0.2).float().mean().item() for ratios in wrong]
    low, high = min(ratios.min().item() for ratios in wrong), max(ratios.max().item() for ratios in wrong)
    return (
        f"Before any step, {log_probs.shape[1]} samples have {wrong[0].numel():,} such ratios; with ten initial "
        f"networks they reach from {low:.2f} to {high:.2f}, and {min(outside):.1%} to {max(outside):.1%} of them (on "
        f"average {sum(outside) / 10:.1%}) lie outside the band. Formed sample by sample, all are {right.min():.3f} to "
        f"{right.max():.3f}. With 65,536 samples the matrix has {4 * 65536**2 / 1e9:.1f} GB."
    )


def continuous_actions() -> str:
    """Ask a continuous action space for its number of actions."""
    space = gymnasium.make("Pendulum-v1").action_space
    said = message_of(lambda: space.n, AttributeError)  # type: ignore[attr-defined]  # which is the point
    record = trained(PPOClip, 1, environment="Pendulum-v1")[0]
    return f"On Pendulum-v1: {said}. rlbench's PPO-Clip trains there, {record.steps:,} steps: {record.status}."


def other_observations() -> str:
    """Ask other observation spaces for their first dimension."""
    said = message_of(lambda: gymnasium.make("FrozenLake-v1").observation_space.shape[0], IndexError)  # type: ignore[index]
    image = gymnasium.spaces.Box(0, 255, (210, 160, 3))
    numbers = math.prod(image.shape)
    return f"On FrozenLake-v1: {said}. An image has {numbers:,} numbers, and the expression gives {image.shape[0]}."


def inserted_in_front() -> str:
    """Count what moves when a list is filled from the front."""
    moved = sum(range(2048))
    return f"Filling a list of 2048 from the front moves {moved:,} entries, appending and reversing it once moves 2048."


def shadowed_name() -> str:
    """Overwrite an argument in a loop and read it afterwards."""

    def loop(bootstrap: float) -> float:
        for value in (3.0, 2.0, 1.0):
            bootstrap = value
        return bootstrap

    return f"An argument of 10 that is overwritten in such a loop is {loop(10.0):.0f} after it."


def deviation_of_one() -> str:
    """Standardise a rollout of one sample."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of what is shown here
        one = torch.tensor([5.0])
        wrong = ((one - one.mean()) / (one.std() + 1e-8)).item()
    right = standardise(one).item()
    return f"A single sample standardised that way is {wrong}; with at least one degree of freedom it is {right:.0f}."


def unknown_name() -> str:
    """Evaluate a condition on a name that the surrounding code has under another name."""
    names = {"ratios": torch.ones(3), "eps_clip": 0.2}
    return f"With the listing's names in reach: {message_of(lambda: eval('ratio > 1 + eps', names), NameError)}."


def unclosed_bracket() -> str:
    """Compile a line whose bracket is lost in a comment."""
    said = message_of(lambda: compile("error = (target - value  # )\n", "snippet", "exec"), SyntaxError)
    return f"A line whose closing bracket is in a comment: {said}."


ERRATA = [
    Erratum(
        "2",
        "The first update stops with an error",
        f"{LISTING}, compute_gae",
        "The values (N,) and the bootstrap value (1, 1) are concatenated.",
        "Bring the bootstrap value to one dimension first.",
        joined_shapes,
    ),
    Erratum(
        "3",
        "Ratios of every sample with every other",
        f"{LISTING}, update",
        "Old log-probabilities are stacked to (N, 1) and subtracted from (N,), which broadcasts to (N, N) silently.",
        "Concatenate them to (N,), and assert that every ratio is exactly 1 before the first step, as rlbench's tests "
        "do.",
        broadcast_ratios,
    ),
    Erratum(
        "8a",
        "Continuous actions are not supported",
        f"{LISTING}, the constructor; claimed in the introduction and in Part 8",
        "The number of actions is read from a property that only discrete spaces have, and the policy is categorical.",
        "A Gaussian policy for Box spaces, as in the paper's section 6.1.",
        continuous_actions,
    ),
    Erratum(
        "8b",
        "Only vectors can be observed",
        f"{LISTING}, the constructor",
        "The input's size is the first dimension of the observation's shape.",
        "One-hot numbers for discrete observations, and the product of all dimensions (or a convolution) for images.",
        other_observations,
    ),
    Erratum(
        "9f",
        "Quadratic cost of inserting in front",
        f"{LISTING}, compute_gae",
        "Advantages are inserted at the front of a list one by one.",
        "Write into an array at index t.",
        inserted_in_front,
    ),
    Erratum(
        "9g",
        "An argument is overwritten",
        f"{LISTING}, compute_gae",
        "The loop assigns to the name of the bootstrap value that was passed in.",
        "Another name for the successor's value. Harmless as it stands, since the argument was stored before.",
        shadowed_name,
    ),
    Erratum(
        "9h",
        "A rollout of one sample gives NaN",
        f"{LISTING}, compute_gae",
        "The deviation has N - 1 in the denominator, and the small constant does not help against NaN.",
        "Divide by max(N - 1, 1).",
        deviation_of_one,
    ),
    Erratum(
        "10a",
        "The snippet for debugging uses other names",
        "Debugging checklist",
        "It reads two names that the listing does not have.",
        "The listing's own names.",
        unknown_name,
    ),
    Erratum(
        "11",
        "A snippet that is no Python",
        "Part 6, gotcha 2",
        "The bracket of the mean squared error is opened and then swallowed by a comment.",
        "Close it before the comment.",
        unclosed_bracket,
    ),
]
