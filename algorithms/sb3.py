"""Stable-Baselines3's PPO and A2C and sb3-contrib's TRPO as arms: `pip install 'rlbench[peers]'`.

They train in their own code, a run at a time, with their own defaults under their own names. What is not named here has
the library's default: a `MlpPolicy` on the CPU, Adam's epsilon 1e-5 (PPO, TRPO).
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Sequence
from typing import Any, ClassVar

from rlbench import Peer, hyper, static
from rlbench.fields import fields_of


class SB3(Peer):
    """What the algorithms of Stable-Baselines3 (Raffin et al. 2021) have in common."""

    package = "stable-baselines3"
    algorithm: ClassVar[str] = ""
    """The class of the package."""

    learning_rate: float = hyper(3e-4, low=0.0, doc="the optimiser's step size at the start")
    gamma: float = hyper(0.99, low=0.0, high=1.0, doc="discount factor")
    gae_lambda: float = hyper(0.95, low=0.0, high=1.0, doc="lambda of generalised advantage estimation")
    n_envs: int = static(1, low=1, doc="environment copies of one run")
    n_steps: int = static(2048, low=1, doc="steps per environment copy in one rollout")
    normalize_advantage: bool = static(True, doc="standardise advantages, per minibatch")  # type: ignore[assignment]
    linear_schedule: bool = static(False, doc="let the step size fall linearly to zero (rl-zoo's lin_)")
    normalize: bool = static(False, doc="standardise observations and rewards by VecNormalize (rl-zoo's normalize)")
    net_arch: tuple[int, ...] = static((64, 64), low=1, doc="widths of the hidden layers of policy and value")
    activation_fn: str = static("Tanh", choices=("Tanh", "ReLU"), doc="activation of the hidden layers")
    ortho_init: bool = static(True, doc="orthogonal weights or torch's")

    def train(self, environments: Sequence[Any], steps: int, seed: int) -> None:
        """Let the library learn for `steps`; fields that its algorithm takes as they are have its names."""
        import torch
        from stable_baselines3.common.logger import Logger
        from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

        library = getattr(importlib.import_module(self.package.replace("-", "_")), self.algorithm)
        known = inspect.signature(library).parameters
        own = {name: getattr(self, name) for name in fields_of(type(self)) if name in known}
        boundless = {name for name in own if own[name] == math.inf and known[name].default is None}
        copies: Any = DummyVecEnv([lambda env=env: env for env in environments])  # type: ignore[misc]
        rate = self.learning_rate
        model = library(
            "MlpPolicy",
            VecNormalize(copies, gamma=self.gamma) if self.normalize else copies,
            **{name: own[name] for name in own.keys() - boundless}
            | {"learning_rate": (lambda left: left * rate) if self.linear_schedule else rate},
            policy_kwargs={
                "net_arch": list(self.net_arch),
                "activation_fn": getattr(torch.nn, self.activation_fn),
                "ortho_init": self.ortho_init,
            },
            seed=seed,
            device="cpu",
        )
        model.set_logger(Logger(folder=None, output_formats=[]))  # its own makes a folder that nobody needs
        model.learn(steps)


class SB3PPO(SB3):
    """Stable-Baselines3's PPO."""

    name = "sb3-ppo"
    algorithm = "PPO"

    batch_size: int = static(64, low=2, doc="samples of a minibatch")
    n_epochs: int = static(10, low=1, doc="passes over a rollout")
    clip_range: float = hyper(0.2, low=0.0, doc="half-width of the ratio band")
    clip_range_vf: float = hyper(float("inf"), low=0.0, doc="range of value clipping; inf: none")
    ent_coef: float = hyper(0.0, low=0.0, doc="weight of the entropy bonus")
    vf_coef: float = hyper(0.5, low=0.0, doc="weight of the value loss (V - target)^2")
    max_grad_norm: float = hyper(0.5, low=0.0, doc="bound on the norm of the whole gradient")
    target_kl: float = hyper(float("inf"), low=0.0, doc="stop an update once its KL passes 1.5 x this; inf: never")


class SB3A2C(SB3):
    """Stable-Baselines3's A2C (Mnih et al. 2016), one step of RMSProp per short rollout."""

    name = "sb3-a2c"
    algorithm = "A2C"

    learning_rate: float = hyper(7e-4, low=0.0, doc="the optimiser's step size at the start")
    gae_lambda: float = hyper(1.0, low=0.0, high=1.0, doc="lambda of generalised advantage estimation")
    n_steps: int = static(5, low=1, doc="steps per environment copy in one rollout")
    normalize_advantage: bool = static(False, doc="standardise advantages over the rollout")
    use_rms_prop: bool = static(True, doc="PyTorch's RMSProp, or Adam")
    rms_prop_eps: float = hyper(1e-5, low=0.0, doc="RMSProp's epsilon")
    ent_coef: float = hyper(0.0, low=0.0, doc="weight of the entropy bonus")
    vf_coef: float = hyper(0.5, low=0.0, doc="weight of the value loss (V - target)^2")
    max_grad_norm: float = hyper(0.5, low=0.0, doc="bound on the norm of the whole gradient")


class SB3TRPO(SB3):
    """sb3-contrib's TRPO (Schulman et al. 2015)."""

    name = "sb3-trpo"
    package = "sb3-contrib"
    algorithm = "TRPO"

    learning_rate: float = hyper(1e-3, low=0.0, doc="Adam's step size for the value")
    batch_size: int = static(128, low=2, doc="samples of a minibatch of the value")
    n_critic_updates: int = static(10, low=1, doc="passes over a rollout that fit the value")
    target_kl: float = hyper(0.01, low=0.0, doc="bound on the mean KL divergence of an update, nats")
    cg_max_steps: int = static(15, low=1, doc="conjugate-gradient iterations")
    cg_damping: float = hyper(0.1, low=0.0, doc="added to the Fisher matrix's diagonal")
    line_search_max_iter: int = static(10, low=1, doc="step lengths tried")
    line_search_shrinking_factor: float = hyper(0.8, low=0.0, high=1.0, doc="ratio of successive step lengths")
    sub_sampling_factor: int = static(1, low=1, doc="one of so many samples enters the Fisher matrix")
