"""What follows from the clipped objective alone: its tables, its pessimism, and what it does not hold back."""

from __future__ import annotations

import math

import torch
from rlbench.algorithms.ppo_clip import PPOClip

from lecture_bench import samples_at
from rlbench import Exact

TABLES = {
    1.0: ((0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4), (0.8, 0.9, 1.0, 1.1, 1.2, 1.2, 1.2)),
    -1.0: ((0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2), (0.8, 0.8, 0.8, 0.9, 1.0, 1.1, 1.2)),
}
"""The lecture's two rows of figures in Part 2, by the sign of the advantage: ratio, and the ratio that is used."""


def used(ratio: float, advantage: float) -> tuple[float, float]:
    """Return min(r A, clip(r) A) / A with epsilon 0.2, the ratio that PPO-Clip uses, and its derivative by r."""
    r = torch.tensor([ratio], dtype=torch.float64, requires_grad=True)
    a = torch.tensor([advantage], dtype=torch.float64)
    effective = PPOClip(clip=0.2).surrogate(samples_at(r, a)) / a
    (slope,) = torch.autograd.grad(effective.sum(), r)
    return effective.item(), slope.item()


def tables() -> tuple[bool, str]:
    """Compute every entry of the lecture's two tables."""
    off = [
        abs(used(ratio, advantage)[0] - entry)
        for advantage, (ratios, entries) in TABLES.items()
        for ratio, entry in zip(ratios, entries, strict=True)
    ]
    right = sum(one < 1e-9 for one in off)
    return right == len(off), f"{right} of {len(off)} entries are right; the largest deviation is {max(off):.1e}."


def bullets() -> tuple[bool, str]:
    """Compute both bullets for both signs of the advantage."""
    found = {(ratio, sign): used(ratio, sign) for ratio in (1.5, 0.7) for sign in (1.0, -1.0)}
    said = {1.5: 1.2, 0.7: 0.8}
    holds = all(abs(value - said[ratio]) < 1e-9 for (ratio, _), (value, _) in found.items())
    words = [
        f"ratio {ratio} counts as {value:.1f} (slope {slope:.0f}) for A {'>' if sign > 0 else '<'} 0"
        for (ratio, sign), (value, slope) in found.items()
    ]
    return holds, f"{'; '.join(words)}. A ratio that has moved to the harmful side is not clipped."


def pessimistic() -> tuple[bool, str]:
    """Compare L_CLIP with r A on a dense grid of ratios, advantages and clip ranges."""
    ratio = torch.linspace(1e-3, 10, 2001, dtype=torch.float64)
    advantage = torch.linspace(-5, 5, 401, dtype=torch.float64)
    r, a = (one.flatten() for one in torch.meshgrid(ratio, advantage, indexing="ij"))
    x = samples_at(r, a)
    gaps = [PPOClip(clip=clip).surrogate(x) - x.ratio * a for clip in (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)]
    above, below = max(gap.max().item() for gap in gaps), min(gap.min().item() for gap in gaps)
    return above <= 0, (
        f"L_CLIP - r A is at most {above:.1f} at {len(gaps) * len(r):,} points (down to {below:.1f}), as it must be: "
        "the smaller of two numbers exceeds neither. It bounds the surrogate r A, not the return of the new policy."
    )


def clipped_ratio_moves() -> tuple[bool, str]:
    """Take a step on the clipped objective that moves the ratio of a sample which is clipped already.

    A softmax policy over two actions, linear in two features that are zero at first; both samples took the first
    action and have A = 1. The first one's ratio is 1.25, the second one's 1.
    """
    features = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    lean = math.log(0.625 / 0.375)  # makes the probability of the first sample's action 1.25 x 0.5

    def ratios(weights: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(features @ weights) / 0.5

    def step(chosen: list[int]) -> tuple[float, float]:
        """Return the first sample's ratio before and after a gradient step of length 0.5 on the chosen samples."""
        weights = torch.tensor([lean, -lean], dtype=torch.float64, requires_grad=True)
        before = ratios(weights)
        x = samples_at(before[chosen], torch.ones(len(chosen), dtype=torch.float64))
        (slope,) = torch.autograd.grad(PPOClip(clip=0.2).surrogate(x).sum(), weights)
        return before[0].item(), ratios(weights + 0.5 * slope)[0].item()

    start, alone = step([0])
    _, both = step([0, 1])
    outside = [used(ratio, 1.0)[1] for ratio in (1.25, 2.0, 5.0)]
    return both <= start + 1e-12, (
        f"Outside the band the slope is {max(map(abs, outside)):.0f} at ratios 1.25, 2 and 5, so nothing pulls back: a "
        f"step on the clipped sample alone leaves its ratio at {alone:.3f}, and a step on it together with another "
        f"sample that shares its parameters moves it from {start:.3f} to {both:.3f}."
    )


CHECKS = [
    Exact(
        "The two tables of effective ratios are right.",
        tables,
        id="9a",
        source="Part 2, the clipping mechanism",
        known="Schulman et al. 2017, equation 7 and figure 1.",
    ),
    Exact(
        "A ratio of 1.5 is clipped to 1.2 and one of 0.7 to 0.8, whatever the advantage.",
        bullets,
        id="9b",
        source="Part 2, the bullets below the formula, which name no sign",
        known="Schulman et al. 2017, figure 1: for each sign of the advantage one side is flat.",
    ),
    Exact(
        "The minimum makes the objective pessimistic: it never exceeds r A.",
        pessimistic,
        id="10",
        source="Part 5, the note on pessimism",
        known="Schulman et al. 2017, section 3: a lower bound on the unclipped objective.",
    ),
    Exact(
        "Clipping bounds the policy update: a sample's ratio moves no further once it is clipped.",
        clipped_ratio_moves,
        id="11c",
        source="Part 2 and the recap",
        known="Wang et al. 2020 (Truly PPO): the objective does not hold the ratio in its band.",
    ),
]
