"""A2C: the synchronous form of Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning"."""

from __future__ import annotations

from rlbench.algorithms.actor_critic import ActorCritic

from rlbench import hyper, static


class A2C(ActorCritic):
    """One step of RMSProp on a short rollout, of several copies with `num_envs`; the settings are Stable-Baselines3's.

    Its value loss is 0.5 (V - target)^2, which value_coef 1 gives here. The paper shares the networks, has an entropy
    bonus of 0.01 and TensorFlow's RMSProp: `shared_trunk=true`, `entropy_coef=0.01`, `optimizer=rmsprop-tf`.
    """

    name = "a2c"

    lr: float = hyper(7e-4, low=0.0, doc="RMSProp's step size")
    gae_lambda: float = hyper(1.0, low=0.0, high=1.0, doc="lambda of generalised advantage estimation; 1: n-step")
    value_coef: float = hyper(1.0, low=0.0, doc="weight of the value loss 0.5 (V - target)^2")
    horizon: int = static(5, low=1, doc="steps per environment copy in one rollout")
    epochs: int = static(1, low=1, doc="passes over a rollout")
    minibatches: int = static(1, low=1, doc="equal parts of a rollout, one gradient step each")
    anneal_lr: bool = static(False, doc="let the step size fall linearly to zero over the budget")
    normalize_advantage: str = static("none", choices=("minibatch", "batch", "none"), doc="as PPO's")
    optimizer: str = static("rmsprop", choices=("adam", "rmsprop", "rmsprop-tf", "sgd"), late=True, doc="as PPO's")
