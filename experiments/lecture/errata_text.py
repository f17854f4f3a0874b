"""Errors of the text: signs, directions, advice and numbers, shown by calculation."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium
import numpy as np
import torch

from algorithms.ppo_adaptive import PPOAdaptive
from algorithms.ppo_clip import PPOClip
from algorithms.ppo_penalty import PPOPenalty
from errata_estimates import MOST
from exact_ratio import used
from exact_steps import compare_scales
from lecture_bench import SEED, in_first_update, samples_at, trained
from rlbench import Erratum, Stats
from rlbench.functional.surrogates import standardise
from variants_listing import Listing


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
        f"From an old policy {old} to a new one {sure}, KL(old || new) is {divergence(old, sure):.2f} and KL(new || old) "
        f"{divergence(sure, old):.2f}: the latter never exceeds log 2 = {np.log(2):.2f} here, however sure the new one is."
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
        f"In five updates of PPO-Clip with the paper's settings the largest ratio after an update is "
        f"{table['ratio_max'].max():.2f}, and up to {table['outside_band'].max():.1%} of the samples end outside 0.8 to 1.2."
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
    return (
        f"After five updates far below the target, the paper's rule has lowered beta from 1 to "
        f"{torch.as_tensor(adaptive.beta).item():.3f}; in the formula given it is still {torch.as_tensor(fixed.beta).item():.0f}."
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
        f"From 0.2, {beyond + 1} updates below the target make the clip range {ranges[beyond]:.1f}, whose lower limit of "
        f"{1 - ranges[beyond]:.1f} no ratio can reach; 20 of them make it {ranges[-1]:,.0f}."
    )


def looser_limit() -> str:
    """Clip one gradient to both norms."""
    gradient = torch.tensor([3.0, 4.0])

    def clipped(limit: float) -> float:
        leaf = torch.zeros(2, requires_grad=True)
        leaf.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([leaf], limit)
        return float(leaf.grad.norm())

    return f"A gradient of norm {gradient.norm():.0f} has norm {clipped(0.5):.1f} at a limit of 0.5 and {clipped(1.0):.1f} at 1.0."


def smaller_range_moves_less() -> str:
    """Make the first update on one and the same rollout with four clip ranges."""
    kls = {clip: trained(PPOClip, 1, clip=clip)[0].updates["kl"][0] for clip in (0.05, 0.1, 0.2, 0.4)}
    words = ", ".join(f"{kl:.5f} (eps {clip})" for clip, kl in kls.items())
    return f"On the same first rollout of CartPole the update has a KL divergence of {words}."


def largest_return() -> str:
    """Compute the largest return that CartPole-v1 allows."""
    spec = gymnasium.spec("CartPole-v1")
    assert spec.max_episode_steps is not None
    return (
        f"An episode has at most {spec.max_episode_steps} steps of reward 1: its return is at most "
        f"{spec.max_episode_steps}, and {MOST:.2f} with the listing's discount of 0.99."
    )


def number_of_actions() -> str:
    """Ask CartPole for its actions."""
    space = gymnasium.make("CartPole-v1").action_space
    assert isinstance(space, gymnasium.spaces.Discrete)
    return f"CartPole-v1 has {space.n} actions."


def not_within_three() -> str:
    """Standardise a rollout with one rare reward, and a real one."""
    rare = torch.zeros(2048)
    rare[0] = 1.0
    real = in_first_update(lambda problem: problem.full().advantage, Listing, seeds=range(SEED, SEED + 10))
    return (
        f"One advantage of 1 among 2047 of 0 becomes {standardise(rare).max().item():.1f}. In the first rollouts of ten "
        f"networks on CartPole the largest |A| is {np.abs(real).max():.1f}, and {(np.abs(real) > 3).mean():.2%} are above 3."
    )


def gradients_are_not_steps() -> str:
    """Scale advantages by 1000 and compare gradients with Adam's steps."""
    growth, length, _ = compare_scales(max_grad_norm=float("inf"), adam_eps=1e-8)
    return f"Advantages 1000 times as large: gradients {growth:.0f} times as long, Adam's steps {length:.3f} times."


def steps_per_rollout() -> str:
    """Count gradient steps."""
    paper, listing = PPOClip(), Listing()
    many, few = (one.epochs * one.minibatches for one in (paper, listing))
    return f"{many} gradient steps per {paper.horizon} samples in the paper's table 3, {few} in the listing: {many / few:.0f} times."


ERRATA = [
    Erratum(
        "14",
        "The objective has the wrong sign",
        "Part 3, the total loss",
        "L_CLIP is added to a loss that is minimised, while value loss and negative entropy are added rightly.",
        "Maximise L_CLIP - c1 L_VF + c2 S (Schulman et al. 2017, equation 9), or minimise its negative, as the listing does.",
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
    Erratum(
        "18a",
        "A looser limit against instability",
        "Part 9, if learning is unstable",
        "The limit of the gradient's norm is to be raised from 0.5 to 1.0.",
        "Lower it: a larger limit allows larger steps.",
        looser_limit,
    ),
    Erratum(
        "18b",
        "A smaller clip range to allow more change",
        "Part 9, if the policy is too deterministic",
        "Decreasing epsilon is said to allow more change; further up it is the remedy against too much of it.",
        "A smaller epsilon allows less.",
        smaller_range_moves_less,
    ),
    Erratum(
        "19a",
        "Returns that CartPole cannot give",
        "Part 6, gotcha 2",
        "Returns of 500, 750 and 1000 are given for CartPole.",
        "At most 500, and below 100 with the discount that the value learns.",
        largest_return,
    ),
    Erratum(
        "19b",
        "Four actions",
        "Part 10, the first key difference",
        "Language models are compared with four discrete actions.",
        "The lecture's own example has two.",
        number_of_actions,
    ),
    Erratum(
        "20a",
        "Standardised is not bounded",
        "Part 6, gotcha 1",
        "Standardised advantages are said to lie within about -3 and 3.",
        "One of N can reach (N - 1) / sqrt(N); how many exceed 3 depends on their distribution.",
        not_within_three,
    ),
    Erratum(
        "20b",
        "Huge gradients are not huge steps",
        "Part 6, gotcha 1",
        "Advantages of up to 1000 are said to make training explode.",
        "Adam divides by the gradient's own scale (Kingma and Ba 2015, section 2.1); the listing also limits its norm.",
        gradients_are_not_steps,
    ),
    Erratum(
        "21",
        "AlphaStar and Agent57 as examples of PPO",
        "Part 8, real-world usage",
        "Both are listed under PPO and its variants.",
        "Doubtful, and not checked here: as far as we remember, AlphaStar is an actor-critic with V-trace and UPGO, and "
        "Agent57 learns values. Their papers decide it.",
    ),
    Erratum(
        "22",
        "Fewer steps than the algorithm's paper takes",
        "Part 9, default values",
        "K = 4, in a listing without minibatches, is given as PPO's default.",
        "Ten epochs of minibatches of 64 (Schulman et al. 2017, table 3).",
        steps_per_rollout,
    ),
]
