"""The batched fast path of environments of Gymnasium's: compiled loops over all copies at once, and when it is taken.

Beside this file are the equations of classic control; `rlbench.training.envs.mujoco` has those of MuJoCo's tasks.

Whether an instance does exactly what its class does is looked at and not concluded. A user's own file may set
attributes, replace methods on an instance, a class or a module, or wrap what it makes, and still hand out an object of
Gymnasium's type. So everything that decides a step is compared with a fresh copy, made by running the source files of
Gymnasium once more.
"""

import importlib.util
import sys
from types import FunctionType, ModuleType
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs import classic_control
from gymnasium.envs.classic_control import utils
from gymnasium.envs.registration import load_env_creator
from gymnasium.utils import seeding
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit, common

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
from rlbench.training.envs.gymnasium import unlogged

__all__ = ["DYNAMICS", "ClassicBatch", "classic_batch", "is_known", "supports", "time_limit"]

_STEPS = 50  # that an instance is followed before its equations stand in for it
_WRAPPERS = (OrderEnforcing, PassiveEnvChecker, TimeLimit)  # those that change nothing but when an episode is cut
_ENVIRONMENTS = "gymnasium.envs."
_SIMULATED = {"MjData", "MujocoRenderer"}  # a reset clears the one, and the other only draws
_NOTES = {"spec", "env", "_cached_spec"}  # attributes that say how an instance was made and what is inside
_DOES = (FunctionType, property, classmethod, staticmethod)

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


def is_as_shipped(template: gymnasium.Env[Any, Any]) -> bool:
    """Return whether the class of an instance, its attributes and its wrappers are as Gymnasium ships them.

    Made with the keyword arguments of its specification, that is; an instance that has begun an episode is not.
    """
    layer = template
    while isinstance(layer, gymnasium.Wrapper):
        arguments = getattr(layer, "_saved_kwargs", {})
        if type(layer) not in _WRAPPERS or not _alike(vars(layer), vars(type(layer)(layer.env, **arguments))):
            return False
        layer = layer.env
    own = [sys.modules[base.__module__] for base in type(layer).__mro__ if base.__module__.startswith(_ENVIRONMENTS)]
    if not own or not all(map(_is_untouched, (gymnasium.core, common, seeding, utils, *own))):
        return False
    kwargs = layer.spec.kwargs if layer.spec else {}
    with unlogged(type(layer)):
        fresh = getattr(_fresh(own[0]), type(layer).__name__)(**kwargs)
    return _alike(vars(layer), vars(fresh))


def _is_untouched(module: ModuleType) -> bool:
    """Return whether the classes, functions and constants of a module are those of its file."""
    fresh = {name: value for name, value in vars(_fresh(module)).items() if not name.startswith("__")}
    return all(_alike(vars(module).get(name), value) for name, value in fresh.items() if not _is_hint(value))


def _is_hint(value: Any) -> bool:
    """Return whether a value only serves to write types, in which nothing is computed."""
    return type(value).__module__ in ("typing", "typing_extensions")


def _fresh(module: ModuleType) -> ModuleType:
    """Return a new copy of a module, run from its file, which nothing else sees."""
    assert module.__file__ is not None
    spec = importlib.util.spec_from_file_location(module.__name__, module.__file__)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


def _is_formal(name: str, *homes: dict[str, Any]) -> bool:
    """Return whether Python itself keeps something under a name, as it does after a class was copied or pickled."""
    return name.startswith("__") and not any(isinstance(home.get(name), _DOES) for home in homes)


def _alike(one: Any, other: Any) -> bool:
    """Return whether two things that are made by the same source do the same."""
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        names = {name for name in (one.keys() | other.keys()) - _NOTES if not _is_formal(name, one, other)}
        return all(name in one and name in other and _alike(one[name], other[name]) for name in names)
    if isinstance(one, type) and isinstance(other, type):
        bases = [[(base.__module__, base.__qualname__) for base in cls.__bases__] for cls in (one, other)]
        named = one.__qualname__ == other.__qualname__ and bases[0] == bases[1]
        return named and _alike(dict(vars(one)), dict(vars(other)))
    if isinstance(one, FunctionType) and isinstance(other, FunctionType):
        here = one.__globals__ is vars(sys.modules[other.__globals__["__name__"]])
        return here and all(
            _alike(getattr(one, name), getattr(other, name)) for name in ("__code__", "__defaults__", "__kwdefaults__")
        )
    if isinstance(one, property) and isinstance(other, property):
        return _alike(one.fget, other.fget) and _alike(one.fset, other.fset)
    if isinstance(one, classmethod | staticmethod):
        return type(one) is type(other) and _alike(one.__func__, other.__func__)
    if type(one).__qualname__ != type(other).__qualname__:
        return False
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if type(one).__name__ == "MjModel":
        return _model(one) == _model(other)
    if type(one).__name__ in _SIMULATED:
        return True
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else bool(one == other)


def _model(model: Any) -> bytes:
    """Return a model of MuJoCo's as it would stand in a file."""
    import mujoco

    written = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, written)
    return written.tobytes()
