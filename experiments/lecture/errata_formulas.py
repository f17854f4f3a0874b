"""Errors in the text's formulas and in what it says of them: signs, directions, bounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from rlbench.algorithms.ppo_adaptive import PPOAdaptive
from rlbench.algorithms.ppo_clip import PPOClip
from rlbench.algorithms.ppo_penalty import PPOPenalty

from exact_ratio import used
from lecture_bench import samples_at, trained
from rlbench import Erratum, Stats


def minimised_with_the_wrong_sign() -> str:
    """Descend L_CLIP, and -L_CLIP, in a choice between two actions whose advantages are 1 and -1."""

    def chance(sign: float) -> float:
        """Return the probability of the better action after ten steps from one half."""
        logit = torch.zeros((), dtype=torch.float64, requires_grad=True)
        for _ in range(10):
            better = torch.sigmoid(logit)
            ratio = torch.stack([better, 1 - better]) / 0.5
            objective = PPOClip(clip=0.2).surrogate(samples_at(ratio, torch.tensor([1.0, -1.0]))).mean()
            (slope,) = torch.autograd.grad(sign * objective, logit)
            logit = (logit - 0.2 * slope).detach().requires_grad_()
        return torch.sigmoid(logit).item()

    return (
        f"Ten descent steps on the formula as it stands lower the better action's probability from 0.5 to "
        f"{chance(1.0):.2f}; on its negative they raise it to {chance(-1.0):.2f}."
    )


def two_directions() -> str:
    """Compute both divergences of two policies over two actions."""

    def divergence(p: Sequence[float], q: Sequence[float]) -> float:
        return float(np.sum(np.array(p) * np.log(np.array(p) / np.array(q))))

    old, sure = (0.5, 0.5), (0.999, 0.001)
    return (
        f"From an old policy {old} to a new one {sure}, KL(old || new) is {divergence(old, sure):.2f} and KL(new || "
        f"old) {divergence(sure, old):.2f}: the latter never exceeds log 2 = {np.log(2):.2f} here, however sure the "
        "new one is."
    )


def harmful_side() -> str:
    """Compute what the two numbers count as for the other sign of the advantage."""
    (high, steep), (low, flat) = used(1.5, -1.0), used(0.7, 1.0)
    return (
        f"With A < 0 a ratio of 1.5 counts as {high:.1f} and with A > 0 one of 0.7 as {low:.1f}, both with their whole "
        f"slope ({steep:.0f} and {flat:.0f})."
    )


def ratios_after_updates() -> str:
    """Look at ratios after updates of PPO-Clip."""
    table = trained(PPOClip, 5)[0].updates
    return (
        "In five updates of PPO-Clip with the paper's settings the largest ratio after an update is "
        f"{table['ratio_max'].max():.2f}, and up to {table['outside_band'].max():.1%} of the samples end outside 0.8 "
        "to 1.2."
    )


def stats(kl: float) -> Stats:
    """Return what `adapt` sees of an update with this KL divergence."""
    column = torch.full((1, 1), kl)
    return Stats(kl=column, entropy=column, surrogate=column, mean_return=column, progress=column)


def fixed_beta() -> str:
    """Let the penalty see five updates that are far below the target."""
    fixed, adaptive = PPOPenalty(beta=1.0), PPOPenalty(beta=1.0, adaptive=True)
    for _ in range(5):
        fixed, adaptive = fixed.adapt(stats(1e-4)), adaptive.adapt(stats(1e-4))
    lowered, kept = (torch.as_tensor(one.beta).item() for one in (adaptive, fixed))
    return (
        f"After five updates far below the target, the paper's rule has lowered beta from 1 to {lowered:.3f}; in the "
        f"formula given it is still {kept:.0f}."
    )


def unbounded_clip() -> str:
    """Let the clip range see updates that are far below the target."""
    algorithm = PPOAdaptive(clip=0.2, min_clip=0.0, max_clip=float("inf"))
    ranges = []
    for _ in range(20):
        algorithm = algorithm.adapt(stats(1e-4))
        ranges.append(torch.as_tensor(algorithm.clip).item())
    beyond = next(k for k, one in enumerate(ranges) if one > 1)
    return (
        f"From 0.2, {beyond + 1} updates below the target make the clip range {ranges[beyond]:.1f}, whose lower limit "
        f"of {1 - ranges[beyond]:.1f} no ratio can reach; 20 of them make it {ranges[-1]:,.0f}."
    )


ERRATA = [
    Erratum(
        "14",
        "The objective has the wrong sign",
        "Part 3, the total loss",
        "L_CLIP is added to a loss that is minimised, while value loss and negative entropy are added rightly.",
        "Maximise L_CLIP - c1 L_VF + c2 S (Schulman et al. 2017, equation 9), or minimise its negative, as the listing "
        "does.",
        minimised_with_the_wrong_sign,
    ),
    Erratum(
        "15",
        "The KL divergence is the wrong way round",
        "Part 1, TRPO; Part 7, PPO-Penalty",
        "Constraint and penalty are written as KL(new || old).",
        "KL(old || new) in both papers (Schulman et al. 2015, equation 14; 2017, equation 8).",
        two_directions,
    ),
    Erratum(
        "16a",
        "Which side is clipped depends on the advantage",
        "Part 2, the bullets",
        "1.5 is said to become 1.2 and 0.7 to become 0.8, without a sign of the advantage.",
        "The first only for A > 0, the second only for A < 0 (equation 7), as the lecture's own tables show.",
        harmful_side,
    ),
    Erratum(
        "16b",
        "Clipping does not prevent large changes",
        "Part 2, and the recap's bounded updates",
        "Clipping is said to prevent large changes of the policy.",
        "It takes away the incentive; other samples can move a ratio further, and nothing pulls it back.",
        ratios_after_updates,
    ),
    Erratum(
        "17a",
        "An adaptive penalty that does not adapt",
        "Part 7, PPO-Penalty",
        "Called adaptive, and given with a constant beta and no rule.",
        "Double beta if KL > 1.5 target, halve it if KL < target / 1.5, for the next update (section 4 of the paper).",
        fixed_beta,
    ),
    Erratum(
        "17b",
        "The rule is applied to the clip range, without bounds",
        "Part 7, PPO-Adaptive",
        "The paper's rule for beta is applied to epsilon, which nothing keeps below 1.",
        "The paper does not adapt epsilon; whoever does needs bounds (rlbench's ppo-adaptive: 0.05 to 0.5).",
        unbounded_clip,
    ),
]
