"""The episode under way in an environment whose insides nobody knows: how to live through it again.

An environment cannot be saved in general, but most can be brought back: reset as it was, with its generator where it
was then, and given the same actions. Whether it really is where it was is checked and never assumed.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections import deque
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np

from rlbench.training.envs.spaces import ActionSpec
from rlbench.training.state import State, UnusableError, from_document, to_document
from rlbench.training.watch import Call, Hanging, plainly


class Episode(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Notes how the episode under way began, its actions, and a running hash of what the environment answered."""

    def __init__(self, env: gymnasium.Env[Any, Any], action: ActionSpec) -> None:
        super().__init__(env)
        self._action = action
        self._before: Mapping[str, Any] | None = None  # the generator before the reset; None where a seed set it
        self._actions = bytearray()
        self._answers = hashlib.sha256()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        generator = self._generator() if seed is None else None
        self._before = None if generator is None else generator.bit_generator.state
        self._seeded = seed is not None
        self._actions.clear()
        self._answers = hashlib.sha256()
        observation, info = self.env.reset(seed=seed, options=options)
        self._answers.update(np.asarray(observation).tobytes())
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step, and note it."""
        self._actions += np.asarray(action, self._action.dtype).tobytes()
        outcome = self.env.step(action)
        self._answers.update(np.asarray(outcome[0]).tobytes())
        self._answers.update(np.float64(outcome[1]).tobytes())
        return outcome

    def state(self) -> State:
        """Return how to get to where the environment is; UnusableError if that cannot be told."""
        try:
            return {
                "start": from_document({"seeded": self._seeded, "generator": self._before}),
                "actions": np.frombuffer(bytes(self._actions), np.uint8),
                "here": np.frombuffer(self._where(), np.uint8),
            }
        except Exception as problem:  # what an environment holds may raise anything when it is looked at
            raise UnusableError(f"its environment cannot be written down ({type(problem).__name__})") from problem

    def restore(self, state: State, call: Call = plainly) -> None:
        """Live through the episode in `state`, after a reset from the seed of the run; UnusableError if it differs.

        `call` is what the environment is called with.
        """
        start = to_document(state["start"])
        try:
            if not start["seeded"]:
                generator = self._generator()
                if generator is not None and start["generator"] is not None:
                    generator.bit_generator.state = start["generator"]
                call(self.reset)
            for action in self._sent(state["actions"]):
                call(self.step, action)
            here = self._where()
        except (Exception, Hanging) as problem:  # an environment may raise anything
            raise UnusableError(f"its environment raised {type(problem).__name__} where it did not before") from problem
        if here != state["here"].tobytes():
            raise UnusableError("its environment does not repeat itself")

    def _generator(self) -> np.random.Generator | None:
        """Return the environment's generator, without making one where it has none."""
        generator = getattr(self.env.unwrapped, "_np_random", None)
        return generator if isinstance(generator, np.random.Generator) else None

    def _sent(self, actions: np.ndarray[Any, Any]) -> Any:
        """Return the actions as the environment receives them."""
        return np.frombuffer(actions.tobytes(), self._action.dtype).copy().reshape(-1, *self._action.shape)

    def _where(self) -> bytes:
        """Return a hash of what the environment answered so far, and of all that can be seen of its inside."""
        seen = self._answers.copy()
        _look(self.env, seen, set())
        return seen.digest()


def _look(value: Any, seen: Any, known: set[int]) -> None:
    """Add to the hash `seen` what is the same in two environments in the same state, as far as Python shows it."""
    seen.update(type(value).__qualname__.encode())
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        seen.update(repr(value).encode())
    elif isinstance(value, np.ndarray):
        seen.update(repr(value.shape).encode() + (b"" if value.dtype.hasobject else value.tobytes()))
    elif isinstance(value, np.random.Generator):
        seen.update(json.dumps(value.bit_generator.state, default=str, sort_keys=True).encode())
    elif id(value) not in known:
        known.add(id(value))
        if isinstance(value, dict):
            for key, held in value.items():
                _look(key, seen, known)
                _look(held, seen, known)
        elif isinstance(value, list | tuple | deque):
            for held in value:
                _look(held, seen, known)
        elif isinstance(value, set | frozenset):
            seen.update(repr(sorted(map(repr, value))).encode())
        # A space has a generator of its own, which is set at random where nobody asks for a seed.
        elif not isinstance(value, type | ModuleType | gymnasium.Space) and not inspect.isroutine(value):
            _look(getattr(value, "__dict__", None), seen, known)
