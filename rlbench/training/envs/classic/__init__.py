"""The batched fast path of environments of Gymnasium's: compiled loops over all copies at once.

Here are the equations of classic control; `rlbench.training.envs.mujoco` has those of MuJoCo's tasks.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs import classic_control
from gymnasium.envs.registration import load_env_creator

from rlbench.training.envs.base import copy_seeds
from rlbench.training.envs.classic.batch import ClassicBatch, time_limit
from rlbench.training.envs.classic.dynamics import (
    Acrobot,
    CartPole,
    Dynamics,
    MountainCar,
    MountainCarContinuous,
    Pendulum,
    rounds_as_numpy,
)
from rlbench.training.envs.classic.shipped import is_as_shipped

__all__ = ["DYNAMICS", "ClassicBatch", "classic_batch", "is_known", "supports", "time_limit"]

_STEPS = 50  # that an instance is followed before its equations stand in for it

DYNAMICS: dict[type, type[Dynamics]] = {
    classic_control.AcrobotEnv: Acrobot,
    classic_control.CartPoleEnv: CartPole,
    classic_control.MountainCarEnv: MountainCar,
    classic_control.Continuous_MountainCarEnv: MountainCarContinuous,
    classic_control.PendulumEnv: Pendulum,
}


def _dynamics(env: gymnasium.Env[Any, Any]) -> type[Dynamics] | None:
    """Return what computes an environment, of Gymnasium's own class, in compiled loops; None where nothing does."""
    if type(env).__module__.startswith("gymnasium.envs.mujoco."):
        # Only now: the module needs what MuJoCo itself takes to load.
        from rlbench.training.envs.mujoco import TASKS, is_calling_back

        return None if is_calling_back() else TASKS.get(type(env).__module__)
    return DYNAMICS.get(type(env))


def supports(template: gymnasium.Env[Any, Any]) -> bool:
    """Say whether the fast path reproduces this instance to the bit; it may be stepped for that."""
    try:
        return is_known(template) and rounds_as_numpy() and _follows(template)
    except Exception:  # with odd options an instance may raise anything, which Gymnasium's way shows
        return False


def is_known(template: gymnasium.Env[Any, Any]) -> bool:
    """Say whether there are equations for this instance.

    It must do exactly what one of the classes above does, made with options that the fast path knows; and the class
    must make it: a function may return something else the next time.
    """
    dynamics = _dynamics(template.unwrapped)
    spec = template.unwrapped.spec
    if dynamics is None or spec is None or spec.entry_point is None:
        return False
    maker: Any = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    return maker is type(template.unwrapped) and set(spec.kwargs) <= dynamics.options and is_as_shipped(template)


_followed: dict[tuple[Any, ...], bool] = {}


def _follows(template: gymnasium.Env[Any, Any]) -> bool:
    """Return whether the equations give what an instance gives in its first steps; looked at once per process.

    Another version of Gymnasium may have changed its equations, its start states or its rewards.
    """
    assert template.unwrapped.spec is not None
    kind = (type(template.unwrapped), str(template.unwrapped.spec.kwargs), time_limit(template))
    if kind not in _followed:
        _followed[kind] = _gives_the_same(template)
    return _followed[kind]


def _gives_the_same(template: gymnasium.Env[Any, Any]) -> bool:
    batch, rng = classic_batch(template, 1, 1), np.random.default_rng(0)
    (seed,) = copy_seeds(0, 1)
    theirs, ours = template.reset(seed=seed)[0], batch.reset([0])
    for _ in range(_STEPS):
        if not np.array_equal(batch.observation(theirs), ours[0, 0]):
            return False
        action = batch.action.draw(rng)[None]
        step = batch.step(action)
        theirs, reward, terminated, truncated, _ = template.step(batch.action.to_environment(action)[0, 0])
        if (float(reward), terminated, truncated) != (step.reward[0, 0], step.terminated[0, 0], step.truncated[0, 0]):
            return False
        if terminated or truncated:
            theirs = template.reset()[0]
        ours = step.observation
    return True


def classic_batch(template: gymnasium.Env[Any, Any], replicas: int, num_envs: int) -> ClassicBatch:
    """Return R x N copies of `template`, an instance that `supports` accepts."""
    env, dynamics = template.unwrapped, _dynamics(template.unwrapped)
    assert dynamics is not None
    return ClassicBatch(dynamics(env), template, replicas, num_envs)
