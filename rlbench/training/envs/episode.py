"""The episode under way in an environment whose insides nobody knows: how to live through it again.

An environment cannot be saved in general, but most can be brought back: reset as it was, with its generator where it
was then, and given the same actions. Whether it really is where it was is checked and never assumed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Set
from typing import Any

import gymnasium
import numpy as np

from rlbench.training.envs.fingerprint import fingerprint, generators_of_spaces, worlds
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
        self._worlds: list[Any] = []
        self._old_world = False  # whether a simulated world is older than the episode
        self._still: Set[str] = frozenset()  # where the generators of its spaces were after the reset with a seed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        generator = self._generator() if seed is None else None
        self._before = None if generator is None else generator.bit_generator.state
        self._seeded = seed is not None
        self._actions.clear()
        self._answers = hashlib.sha256()
        before = self._worlds
        observation, info = self.env.reset(seed=seed, options=options)
        if self._seeded or before:  # most have none, and need not be asked after every episode
            self._worlds = worlds(self.env)
            self._old_world = not self._seeded and any(one is other for one in self._worlds for other in before)
        if self._seeded:
            self._still = generators_of_spaces(self.env)
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
        if self._old_world:
            raise UnusableError("its environment simulates every episode in one world, which may hide its state")
        try:
            return {
                "start": from_document({"seeded": self._seeded, "generator": self._before}),
                "actions": np.frombuffer(bytes(self._actions), np.uint8),
                "here": np.frombuffer(self._where(), np.uint8),
            }
        except UnusableError:
            raise
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
        except UnusableError:
            raise
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
        seen.update(fingerprint(self.env, self._still).encode())
        return seen.digest()
