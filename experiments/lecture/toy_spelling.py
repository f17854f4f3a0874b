"""A toy of sparse rewards: answer a prompt with the right letters, rewarded letter by letter or once, at the end.

One of four prompts is shown; each has an answer of so many letters of an alphabet of eight. The return of an episode
is the share of letters that are right, scaled so that guessing is worth 0 on average and the whole answer 1. Only when
it is paid differs: with every letter ("dense") or in one sum with the last ("terminal"), as a reward model pays for a
text. A wrong letter does not hinder the next ones.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete

from lecture_arms import DEFAULTS
from rlbench import Environment
from toy_curves import learning_curve

Array = npt.NDArray[Any]

ID = "toys/Spelling-v0"
PROMPTS, LETTERS = 4, 8
REWARDS = ("dense", "terminal")
STEPS = 102_400
COPIES = 8


class Spelling(gymnasium.Env[Array, np.int64]):
    """Answer a prompt letter by letter; what is seen is the prompt and the place, both one-hot.

    world   which answers, a function of this number
    length  letters of an answer
    reward  "dense" or "terminal"
    """

    def __init__(self, world: int = 0, length: int = 8, reward: str = "dense") -> None:
        if reward not in REWARDS:
            raise ValueError(f"reward must be one of {', '.join(REWARDS)}, not {reward!r}")
        self.observation_space = Box(0.0, 1.0, (PROMPTS + length,), np.float32)
        self.action_space = Discrete(LETTERS)
        self.answers = np.random.default_rng([world, length]).integers(LETTERS, size=(PROMPTS, length))
        self._length, self._dense = length, reward == "dense"
        self._right, self._wrong = 1 / length, -1 / (LETTERS - 1) / length  # of a letter; guessing is worth 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Show one of the prompts."""
        super().reset(seed=seed)
        self._prompt = int(self.np_random.integers(PROMPTS))
        self._place, self._earned = 0, 0.0
        return self._see(), {}

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Write a letter."""
        worth = self._right if action == self.answers[self._prompt, self._place] else self._wrong
        self._place += 1
        self._earned += worth
        ended = self._place == self._length
        paid = worth if self._dense else self._earned * ended
        return self._see(), paid, ended, False, {}

    def _see(self) -> Array:
        seen = np.zeros(PROMPTS + self._length, np.float32)
        seen[self._prompt] = 1
        if self._place < self._length:
            seen[PROMPTS + self._place] = 1
        return seen


def register() -> None:
    """Make the environment known to Gymnasium; calling it again does nothing."""
    if ID not in gymnasium.registry:
        gymnasium.register(ID, entry_point=Spelling)


def measure(environment: Environment, seed: int) -> dict[str, dict[str, list[float]]]:
    """Return the learning curves with either reward; `environment` says how long answers are.

    Every seed is another set of answers. PPO has the lecture's defaults, its 2048 samples from eight copies.
    """
    register()
    settings = DEFAULTS | {"num_envs": COPIES, "horizon": DEFAULTS["horizon"] // COPIES}
    curves = {}
    for reward in REWARDS:
        placed = Environment(ID, {**environment.options, "world": seed, "reward": reward})
        curves[reward] = {"score": learning_curve(placed, seed, STEPS, settings)}
    return curves


register()
