"""PPO that ends an update once its KL divergence is too large: Spinning Up's and Stable-Baselines3's `target_kl`."""

from __future__ import annotations

from rlbench.algorithms.ppo_clip import PPOClip

from rlbench import hyper


class PPOEarlyStop(PPOClip):
    """PPO-Clip whose epochs end when the KL estimate of a minibatch passes 1.5 target_kl (Achiam 2018, Spinning Up)."""

    name = "ppo-early-stop"

    target_kl: float = hyper(0.01, low=0.0, doc="stop an update once its KL passes 1.5 x this; inf: never")
