"""A fingerprint of everything that an environment holds, to tell whether two of them are in one state.

It sees what Python sees: attributes, containers, arrays and generators, however deep. Two environments of one
fingerprint behave alike from there on, unless something hides its state; such a thing is refused.
"""

from __future__ import annotations

import collections
import enum
import functools
import hashlib
import json
import random
import struct
import types
from collections.abc import Callable, Iterable, Set
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec

from rlbench.training.state import UnusableError

_ENGINES = ("mujoco",)
"""Modules whose objects show their state as arrays and numbers, though not as attributes of Python's own."""

_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype, enum.Enum, range, slice)
_NAMED = (type, types.ModuleType, np.ufunc)
_CONSTANT = (EnvSpec,)  # how it was made, which is the same for both
_CALLED = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial)
_SHOWN = (np.ndarray, int, float)
_DEPTH = 100


def fingerprint(thing: Any, still: Set[str] = frozenset()) -> str:
    """Return the SHA-256 of what a thing holds; UnusableError where it holds something that hides its state.

    A space's generator is seeded by chance as a rule, and never used: it may be in one of the states `still`.
    """
    simulated = isinstance(thing, gymnasium.Env) and bool(worlds(thing))
    return _Walk(still, simulated=simulated).of(thing, 0).hex()


def generators_of_spaces(env: gymnasium.Env[Any, Any]) -> set[str]:
    """Return the states of the generators that the spaces of an environment and its wrappers have, as `still`."""
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    found = [value for layer in layers for value in vars(layer).values() if isinstance(value, gymnasium.Space)]
    for space in found:  # which grows: spaces hold spaces
        inner = getattr(space, "spaces", ())
        found += inner.values() if isinstance(inner, collections.abc.Mapping) else inner
    return {state for space in found if (state := _drawn(space)) is not None}


def worlds(env: gymnasium.Env[Any, Any]) -> list[Any]:
    """Return the worlds of Box2D that an environment holds.

    What happens in one depends on all that ever did, and does not show; so it must be no older than the episode.
    """
    return [value for value in vars(env.unwrapped).values() if type(value).__name__ == "b2World"]


def state_of(generator: np.random.Generator) -> str:
    """Return the state of a generator in writing."""
    return json.dumps(generator.bit_generator.state, default=lambda value: np.asarray(value).tolist())


def _drawn(space: gymnasium.Space[Any]) -> str | None:
    generator = getattr(space, "_np_random", None)
    return None if generator is None else state_of(generator)


class _Walk:
    """One look at a thing and all that it holds; what is met twice is looked at once."""

    def __init__(self, still: Set[str], *, simulated: bool) -> None:
        self._still, self._simulated = still, simulated
        self._known: dict[int, bytes] = {}
        self._held: list[Any] = []  # so that no number of `id` is given twice

    def of(self, thing: Any, depth: int) -> bytes:
        """Return the digest of a thing, found at some depth."""
        if isinstance(thing, _PLAIN):
            return _digest(type(thing).__qualname__, repr(thing))
        if isinstance(thing, _NAMED):
            return _digest("named", getattr(thing, "__module__", None), getattr(thing, "__qualname__", repr(thing)))
        if isinstance(thing, _CONSTANT):
            return _digest("constant", type(thing).__qualname__)
        if id(thing) not in self._known:
            if depth > _DEPTH:
                raise UnusableError("its environment holds things within things without end")
            self._held.append(thing)
            self._known[id(thing)] = _digest("circle", type(thing).__qualname__)
            self._known[id(thing)] = _digest(type(thing).__qualname__, *self._content(thing, depth + 1))
        return self._known[id(thing)]

    def _content(self, thing: Any, depth: int) -> Iterable[Any]:
        """Return what makes up a thing, as digests and plain values."""
        look: Callable[[Any], bytes] = functools.partial(self.of, depth=depth)
        if isinstance(thing, torch.Tensor):
            thing = thing.detach().cpu().numpy()
        if isinstance(thing, np.ndarray) and thing.dtype != object:
            return thing.dtype.str, thing.shape, thing.tobytes()
        if isinstance(thing, np.random.Generator):
            return ("generator", state_of(thing))
        if isinstance(thing, np.random.RandomState | random.Random):
            get = thing.get_state if isinstance(thing, np.random.RandomState) else thing.getstate
            return ("generator", look(get()))
        if isinstance(thing, _CALLED):
            return self._function(thing, look)
        if isinstance(thing, gymnasium.Space) and (drawn := _drawn(thing)) is not None and drawn not in self._still:
            raise UnusableError("its environment draws from one of its spaces")
        unseen = ("_np_random",) if isinstance(thing, gymnasium.Space) else ()
        own = [look(pair) for pair in _attributes(thing).items() if pair[0] not in unseen]
        if isinstance(thing, set | frozenset):
            return [*own, *sorted(map(look, thing))]
        if isinstance(thing, collections.abc.Mapping):
            return [*own, *(look(part) for pair in thing.items() for part in pair)]
        if isinstance(thing, list | tuple | collections.deque | np.ndarray):
            return [*own, *map(look, thing)]
        if getattr(type(thing), "__module__", "").split(".")[0] in _ENGINES:
            shown = ((name, getattr(thing, name, None)) for name in dir(type(thing)) if not name.startswith("_"))
            return [*own, *(look(part) for pair in shown if isinstance(pair[1], _SHOWN) for part in pair)]
        if self._simulated and type(thing).__name__ == "SwigPyObject":
            return own  # part of a world; see `worlds`
        if _hides(thing):
            raise UnusableError(f"its environment holds a {type(thing).__qualname__}, which may hide its state")
        return own

    def _function(self, thing: Any, look: Callable[[Any], bytes]) -> Iterable[Any]:
        """Return what a function is called, and what it holds."""
        if isinstance(thing, types.BuiltinFunctionType):
            return thing.__qualname__, look(thing.__self__)
        if isinstance(thing, types.FunctionType):
            cells = [cell.cell_contents for cell in thing.__closure__ or ()]
            return thing.__module__, thing.__qualname__, look([*cells, thing.__defaults__, thing.__kwdefaults__])
        held = (thing.__func__, thing.__self__) if isinstance(thing, types.MethodType) else thing.__reduce__()[2]
        return [look(part) for part in held]


def _attributes(thing: Any) -> dict[str, Any]:
    """Return a thing's attributes by name, also of those that have slots."""
    slots = [name for cls in type(thing).__mro__ for name in _names(cls.__dict__.get("__slots__", ()))]
    found = {name: getattr(thing, name) for name in slots if name != "__dict__" and hasattr(thing, name)}
    return found | getattr(thing, "__dict__", {})


def _names(slots: Any) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def _hides(thing: Any) -> bool:
    """Return whether a thing has memory beside its attributes, as those have that are written in C."""
    cls = type(thing)
    slots = sum(len(list(_names(one.__dict__.get("__slots__", ())))) for one in cls.__mro__)
    offsets = (cls.__dictoffset__, cls.__weakrefoffset__)
    seen = object.__basicsize__ + struct.calcsize("P") * (slots + sum(offset > 0 for offset in offsets))
    return cls.__basicsize__ > seen or cls.__itemsize__ > 0


def _digest(*parts: Any) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(f"{len(content)} ".encode() + content)
    return digest.digest()
