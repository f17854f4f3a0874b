"""Whether an instance of Gymnasium's environments does exactly what its class does, looked at and not concluded.

A user's own file may set attributes, replace methods on an instance, a class or a module, or wrap what it makes, and
still hand out an object of Gymnasium's type. So everything that decides a step is compared with a fresh copy, made by
running the source files of Gymnasium once more.
"""

import importlib.util
import sys
from types import FunctionType, ModuleType
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import utils
from gymnasium.utils import seeding
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit, common

from rlbench.training.envs.gymnasium import unlogged

_WRAPPERS = (OrderEnforcing, PassiveEnvChecker, TimeLimit)  # those that change nothing but when an episode is cut
_ENVIRONMENTS = "gymnasium.envs."
_SIMULATED = {"MjData", "MujocoRenderer"}  # a reset clears the one, and the other only draws
_NOTES = {"spec", "env", "_cached_spec"}  # attributes that say how an instance was made and what is inside
_DOES = (FunctionType, property, classmethod, staticmethod)


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
