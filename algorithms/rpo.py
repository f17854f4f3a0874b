"""RPO: Robust Policy Optimization (Rahman and Xue 2022, arXiv 2212.07536)."""

from __future__ import annotations

from rlbench.algorithms.ppo_clip import PPOClip

from rlbench import hyper


class RPO(PPOClip):
    """PPO-Clip whose updates see a Gaussian's means moved at random, uniformly by up to alpha, which keeps it wide.

    Actions are drawn from the policy as it is. Policies of discrete actions have no means: there it is PPO-Clip.
    """

    name = "rpo"

    mean_noise: float = hyper(0.5, low=0.0, late=True, doc="alpha, half-width of the noise on means in updates")
