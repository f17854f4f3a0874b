"""What a single update shows exactly: the first step, the scale of advantages, a clamped value loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lecture_bench import in_first_update, trained
from rlbench import Exact, Params, Problem, first_order
from rlbench.functional import norm
from variants_corrupted import NOW, CorruptedActorCritic, CorruptedClip
from variants_scales import ClampedValueLoss, ScaledAdvantages

WRONG: dict[str, Any] = {"corruption": 1000.0, "stage": NOW, "normalize_advantage": "none"}
"""An advantage that is wrong by 1000 standard deviations, in the first rollout."""


def first_step() -> tuple[bool, str]:
    """Compare PPO-Clip with no clip in updates of one full-batch step, bit for bit, and in ones of ten epochs."""

    def kls(**settings: Any) -> list[np.ndarray]:
        """Return the recorded KL divergences and largest ratios of three updates, with and without the clip."""
        records = [trained(base, 3, **WRONG, **settings)[0].updates for base in (CorruptedClip, CorruptedActorCritic)]
        return [np.concatenate([table["kl"], table["ratio_max"], table["entropy"]]) for table in records]

    clip, free = kls(epochs=1, minibatches=1)
    later_clip, later_free = kls()
    return not np.array_equal(clip, free), (
        f"With one full-batch step an update, largest difference of any KL divergence, entropy or largest ratio of "
        f"three updates: {np.abs(clip - free).max():.1f}. The wrong advantage moves the policy by a KL divergence of "
        f"{clip[0]:.2g} with the clip and {free[0]:.2g} without; in ten epochs of 32 minibatches by "
        f"{later_clip[0]:.2g} and {later_free[0]:.2g}."
    )


def policy_steps(scale: float, **settings: Any) -> tuple[Params, float]:
    """Return where 20 Adam steps on advantages times `scale` move the policy, and the first gradient's norm."""

    def measure(problem: Problem) -> tuple[Params, float]:
        policy = slice(0, problem.policy_size)
        _, grad, _ = problem.gradient(problem.params, problem.full())
        first = norm(grad[:, policy]).item()
        return (first_order(problem, value=False) - problem.params)[:, policy], first

    fixed: dict[str, Any] = {"normalize_advantage": "none", "epochs": 20, "minibatches": 1}
    return in_first_update(measure, ScaledAdvantages, advantage_scale=scale, **fixed, **settings)


def compare_scales(**settings: Any) -> tuple[float, float, float]:
    """Return by how much a scale of 1000 changes the gradient's norm, the steps' length and (relatively) the steps."""
    (plain, small), (scaled, large) = policy_steps(1.0, **settings), policy_steps(1000.0, **settings)
    difference = (norm(scaled - plain) / norm(plain)).item()
    return large / small, (norm(scaled) / norm(plain)).item(), difference


def adam_is_scale_free() -> tuple[bool, str]:
    """Multiply advantages by 1000 and compare twenty Adam steps."""
    growth, length, change = compare_scales(max_grad_norm=float("inf"), adam_eps=1e-12)
    *_, with_epsilon = compare_scales(max_grad_norm=float("inf"), adam_eps=1e-8)
    *_, with_clipping = compare_scales()
    return length > 2, (
        f"Advantages 1000 times as large make the gradient {growth:.0f} times as large and 20 Adam steps {length:.4f} "
        f"times as long; they differ by {change:.1e} of their length where Adam's epsilon is negligible, by "
        f"{with_epsilon:.1e} with the usual 1e-8, and by {with_clipping:.1e} with 1e-5 and gradients clipped to norm "
        "0.5."
    )


def clamped_loss() -> tuple[bool, str]:
    """Differentiate a clamped loss, and watch the value's parameters through an update in which it is clamped."""

    def slope(error: float) -> float:
        value = torch.zeros(1, requires_grad=True)
        torch.clamp(((value - error) ** 2).mean(), -10, 10).backward()  # type: ignore[no-untyped-call]
        assert value.grad is not None
        return abs(value.grad.item())

    def moved(clamp: float) -> tuple[float, float]:
        """Return the largest change of a value parameter in the first update, and the loss before it."""

        def measure(problem: Problem) -> tuple[float, float]:
            _, _, x = problem.gradient(problem.params, problem.full(), policy=False, value=True)
            loss = float(((x.value.detach() - x.target) ** 2).mean())
            change = ClampedValueLoss.improve(problem.algorithm, problem) - problem.params  # type: ignore[arg-type]
            return float(change[:, problem.policy_size :].abs().max()), loss

        return in_first_update(measure, ClampedValueLoss, value_clamp=clamp)

    frozen, loss = moved(10.0)
    free, _ = moved(float("inf"))
    return frozen > 0, (
        f"At a loss of {3.1**2:.2f} the slope is {slope(3.1):.1f}, at {3.2**2:.2f} it is {slope(3.2):.1f}. CartPole's "
        f"first rollout has a value loss of {loss:.1f}: in the 320 steps of the update no value parameter moves by "
        f"more than {frozen:.1g}; without the clamp one moves by {free:.2g}."
    )


CHECKS = [
    Exact(
        "Clipping limits what a very wrong advantage does in the first step after a rollout.",
        first_step,
        id="12a",
        source="Part 5, why clipping works",
        known="Every ratio is 1 there, where clip(r) = r: Schulman et al. 2017, section 3.",
    ),
    Exact(
        "Without normalisation, advantages 1000 times as large make huge steps.",
        adam_is_scale_free,
        id="22d",
        source="Part 6, gotcha 1; for the optimiser that the lecture uses, Adam",
        known="Kingma and Ba 2015, section 2.1: Adam's steps do not change when gradients are rescaled.",
    ),
    Exact(
        "With its value loss clamped to 10, a critic whose loss is larger still learns.",
        clamped_loss,
        id="23c",
        source="Part 6, gotcha 2",
    ),
]
