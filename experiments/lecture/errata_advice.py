"""Errors in the text's advice, numbers and examples."""

from __future__ import annotations

import gymnasium
import numpy as np
import torch
from rlbench.algorithms.ppo_clip import PPOClip

from errata_estimates import MOST
from exact_steps import compare_scales
from lecture_bench import SEED, in_first_update, trained
from rlbench import Erratum
from rlbench.functional import standardise
from variants_listing import Listing


def looser_limit() -> str:
    """Clip one gradient to both norms."""
    gradient = torch.tensor([3.0, 4.0])

    def clipped(limit: float) -> float:
        leaf = torch.zeros(2, requires_grad=True)
        leaf.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([leaf], limit)
        return float(leaf.grad.norm())

    tight, loose = clipped(0.5), clipped(1.0)
    return f"A gradient of norm {gradient.norm():.0f} has norm {tight:.1f} at a limit of 0.5 and {loose:.1f} at 1.0."


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
        f"One advantage of 1 among 2047 of 0 becomes {standardise(rare).max().item():.1f}. In the first rollouts of "
        f"ten networks on CartPole, where every reward is 1, the largest |A| is {np.abs(real).max():.1f}, and "
        f"{(np.abs(real) > 3).mean():.2%} are above 3."
    )


def gradients_are_not_steps() -> str:
    """Scale advantages by 1000 and compare gradients with Adam's steps."""
    growth, length, _ = compare_scales(max_grad_norm=float("inf"), adam_eps=1e-8)
    return f"Advantages 1000 times as large: gradients {growth:.0f} times as long, Adam's steps {length:.3f} times."


def steps_per_rollout() -> str:
    """Count gradient steps."""
    paper, listing = PPOClip(), Listing()
    many, few = (one.epochs * one.minibatches for one in (paper, listing))
    return (
        f"{many} gradient steps per {paper.horizon} samples in the paper's table 3, {few} in the listing: "
        f"{many / few:.0f} times as many."
    )


ERRATA = [
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
        "Doubtful, and not checked here: as far as we remember, AlphaStar is an actor-critic with V-trace and UPGO, "
        "and Agent57 learns values. Their papers decide it.",
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
