"""The batched fast path of Gymnasium's classic-control environments: compiled loops over all copies at once."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.envs import classic_control
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from rlbench.training.envs.classic.acrobot import Acrobot
from rlbench.training.envs.classic.batch import ClassicBatch
from rlbench.training.envs.classic.cartpole import CartPole
from rlbench.training.envs.classic.dynamics import Dynamics, rounds_as_numpy
from rlbench.training.envs.classic.mountain_car import MountainCar, MountainCarContinuous
from rlbench.training.envs.classic.pendulum import Pendulum

__all__ = ["DYNAMICS", "ClassicBatch", "classic_batch", "supports"]

DYNAMICS: dict[type, type[Dynamics]] = {
    classic_control.AcrobotEnv: Acrobot,
    classic_control.CartPoleEnv: CartPole,
    classic_control.MountainCarEnv: MountainCar,
    classic_control.Continuous_MountainCarEnv: MountainCarContinuous,
    classic_control.PendulumEnv: Pendulum,
}


def supports(template: gymnasium.Env[Any, Any]) -> bool:
    """Say whether the fast path reproduces this instance to the bit."""
    return is_known(template) and rounds_as_numpy()


def is_known(template: gymnasium.Env[Any, Any]) -> bool:
    """Say whether there are equations for this instance.

    It must be one of the classes above, neither derived nor wrapped in anything that changes what it does,
    made with options that the fast path knows.
    """
    dynamics = DYNAMICS.get(type(template.unwrapped))
    if dynamics is None or template.spec is None or not set(template.spec.kwargs) <= dynamics.options:
        return False
    layer = template
    while isinstance(layer, gymnasium.Wrapper):
        if type(layer) not in (OrderEnforcing, PassiveEnvChecker, TimeLimit):
            return False
        layer = layer.env
    return True


def classic_batch(template: gymnasium.Env[Any, Any], replicas: int, num_envs: int) -> ClassicBatch:
    """Return R x N copies of `template`, an instance that `supports` accepts."""
    env = template.unwrapped
    return ClassicBatch(DYNAMICS[type(env)](env), template, replicas, num_envs)
