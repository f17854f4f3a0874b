"""A toy of learning from human feedback: texts of twelve words, their true quality, and a reward learned from raters.

A `World` is a small language with everything that is known about it. Its reference policy, the stand-in for a language
model before reinforcement learning, is a Markov chain over 16 words. The true ("gold") quality of a text rewards
coherence, the text's log-probability under the reference, and content: every word has a worth, and counts once however
often it is said. The reward model never sees that formula. It is a Bradley-Terry model, linear in the counts of words
and of neighbouring pairs of words, fitted to noisy preferences between pairs of texts that the reference wrote. Near
the reference it is good; far from it nobody has ever compared anything. That is the setting of Gao, Schulman and Hilton
(2022), "Scaling Laws for Reward Model Overoptimization", with a formula in the place of their gold reward model.

Both rewards are in standard deviations of the reference's own texts, and the reference has mean 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete

Array = npt.NDArray[Any]

ID = "toys/Language-v0"
WORDS, LENGTH = 16, 12
REWARDS = ("learned", "gold")
BEGIN = WORDS  # stands before the first word
CONTRAST = 2.0
"""Standard deviation of the reference's logits: four or five of the 16 words are likely after any word."""
COMPARISONS = 1000
RIDGE = 1.0
"""Weight of the squared norm in the reward model's fit, the usual default."""
TEXTS = 20_000
"""Texts of the reference by which the rewards are standardised."""
SIZE = (WORDS + 1) + LENGTH + WORDS
"""Numbers in an observation: which word was last, how many there are, and which have been said."""


def once(method: Callable[[Any], Any]) -> property:
    """Return a property that is computed when first read; functools' own holds a lock, which cannot travel by value."""
    kept = f"_once_{method.__name__}"

    def read(self: Any) -> Any:
        if kept not in self.__dict__:
            self.__dict__[kept] = method(self)
        return self.__dict__[kept]

    return property(read, doc=method.__doc__)


@dataclass(frozen=True, eq=False)
class World:
    """The language with this number; every number of it is a function of `number`.

    A text is a row of word indices `[LENGTH]`; every method takes texts `[n, LENGTH]` and returns `[n]`.
    """

    number: int

    @once
    def reference(self) -> Array:
        """Log-probabilities of the next word after each word and, in the last row, at the beginning, `[17, 16]`."""
        logits = CONTRAST * self._rng(0).standard_normal((WORDS + 1, WORDS))
        log_probs: Array = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return log_probs

    @once
    def worth(self) -> Array:
        """What it adds to the content of a text to say a word, `[16]`."""
        return self._rng(1).standard_normal(WORDS)

    def write(self, rng: np.random.Generator, texts: int) -> Array:
        """Return texts of the reference policy, `[texts, LENGTH]`."""
        below = np.exp(self.reference).cumsum(axis=1)
        written = np.empty((texts, LENGTH), np.int64)
        last = np.full(texts, BEGIN)
        for place, chance in enumerate(rng.random((LENGTH, texts, 1))):
            last = written[:, place] = np.minimum((below[last] < chance).sum(axis=1), WORDS - 1)
        return written

    def coherence(self, texts: Array) -> Array:
        """Log-probability under the reference, nats per text."""
        total: Array = self.reference[before(texts), texts].sum(axis=1)
        return total

    def content(self, texts: Array) -> Array:
        """Total worth of the words that occur."""
        total: Array = observe(texts)[:, -WORDS:] @ self.worth
        return total

    def gold(self, texts: Array) -> Array:
        """The true quality."""
        mean, deviation = self._gold_scale
        return (self._raw_gold(texts) - mean) / deviation

    def proxy(self, texts: Array) -> Array:
        """What the learned reward model says."""
        weights, mean, deviation = self._model
        total: Array = (weights[before(texts), texts].sum(axis=1) - mean) / deviation
        return total

    def judge(self, reward: str) -> Callable[[Array], Array]:
        """Return what pays for texts, by the name of the environment's option."""
        if reward not in REWARDS:
            raise ValueError(f"reward must be one of {', '.join(REWARDS)}, not {reward!r}")
        return self.proxy if reward == "learned" else self.gold

    def _raw_gold(self, texts: Array) -> Array:
        """Content and coherence, with equal spread among the reference's texts."""
        return self.content(texts) / self._spreads[0] + self.coherence(texts) / self._spreads[1]

    @once
    def _own_texts(self) -> Array:
        return self.write(self._rng(2), TEXTS)

    @once
    def _spreads(self) -> tuple[float, float]:
        return float(self.content(self._own_texts).std()), float(self.coherence(self._own_texts).std())

    @once
    def _gold_scale(self) -> tuple[float, float]:
        own = self._raw_gold(self._own_texts)
        return float(own.mean()), float(own.std())

    @once
    def _model(self) -> tuple[Array, float, float]:
        """The reward model as one number per pair of neighbours `[17, 16]`; mean and deviation under the reference."""
        rng = self._rng(3)
        one, other = self.write(rng, COMPARISONS), self.write(rng, COMPARISONS)
        prefers_one = rng.random(COMPARISONS) < 1 / (1 + np.exp(self.gold(other) - self.gold(one)))
        fitted = bradley_terry(_counts(one) - _counts(other), prefers_one)
        weights = fitted[WORDS:].reshape(WORDS + 1, WORDS) + fitted[:WORDS]
        own = weights[before(self._own_texts), self._own_texts].sum(axis=1)
        return weights, float(own.mean()), float(own.std())

    def _rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.number, purpose])


_WORLDS: dict[int, World] = {}  # a dictionary, since this file travels by value, which functools' caches cannot


def world(number: int) -> World:
    """Return a world; the copies of an environment share it."""
    if number not in _WORLDS:
        _WORLDS[number] = World(number)
    return _WORLDS[number]


def before(texts: Array) -> Array:
    """Return the word before each word, `[n, t]`."""
    return np.concatenate([np.full((len(texts), 1), BEGIN), texts[:, :-1]], axis=1)


def observe(texts: Array) -> Array:
    """Return what a policy sees after the first t words of n texts `[n, t]`: `[n, SIZE]` of zeros and ones."""
    count, written = texts.shape
    seen, rows = np.zeros((count, SIZE), np.float32), np.arange(count)
    seen[rows, texts[:, -1] if written else BEGIN] = 1
    if written < LENGTH:
        seen[:, WORDS + 1 + written] = 1
    seen[rows[:, None], SIZE - WORDS + texts] = 1
    return seen


def bradley_terry(difference: Array, prefers_first: Array) -> Array:
    """Return the weights `[k]` of a ridge-penalised Bradley-Terry model, by Newton's method.

    `difference` `[n, k]` holds the features of the first text less those of the second. P(first preferred) =
    1 / (1 + exp(-difference w)) (Bradley and Terry 1952).
    """
    weights = np.zeros(difference.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-difference @ weights))
        slope = difference.T @ (prefers_first - chance) - RIDGE * weights
        curvature = (difference.T * (chance * (1 - chance))) @ difference + RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curvature, slope)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _counts(texts: Array) -> Array:
    """Return the features of texts: how often each word and each pair of neighbours occurs, `[n, 16 + 17 * 16]`."""
    rows = np.arange(len(texts))[:, None]
    counts = np.zeros((len(texts), WORDS + (WORDS + 1) * WORDS))
    np.add.at(counts, (rows, texts), 1)
    np.add.at(counts, (rows, WORDS + WORDS * before(texts) + texts), 1)
    return counts


class Language(gymnasium.Env[Array, np.int64]):
    """Write a text word by word; the reward comes with the last one: the reward model's, or the true quality.

    world   which language
    reward  "learned" or "gold"
    """

    def __init__(self, world: int = 0, reward: str = "learned") -> None:
        self.observation_space = Box(0.0, 1.0, (SIZE,), np.float32)
        self.action_space = Discrete(WORDS)
        self._judge = _world(world).judge(reward)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin an empty text."""
        super().reset(seed=seed)
        self._text, self._written = np.zeros((1, LENGTH), np.int64), 0
        return self._see(), {}

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Say a word."""
        self._text[0, self._written] = action
        self._written += 1
        ended = self._written == LENGTH
        return self._see(), float(self._judge(self._text)[0]) if ended else 0.0, ended, False, {}

    def _see(self) -> Array:
        seen: Array = observe(self._text[:, : self._written])[0]
        return seen


_world = world


def register() -> None:
    """Make the environment known to Gymnasium; calling it again does nothing."""
    if ID not in gymnasium.registry:
        gymnasium.register(ID, entry_point=Language)


register()
