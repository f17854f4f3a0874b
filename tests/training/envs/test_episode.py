"""An episode is lived through again, and everything that the environment answers is compared."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from rlbench.training.envs.base import action_spec
from rlbench.training.envs.gymnasium import Episode
from rlbench.training.state import UnusableError


class Told(gymnasium.Env[Any, Any]):
    """Answers what the class says, where no look at an instance finds it."""

    answers: ClassVar[dict[str, float]] = {}
    observation_space, action_space = spaces.Box(-9, 9, (1,)), spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.received: list[int] = []
        self.drawn = self.np_random.random()
        return np.array([self.answers["first"]]), {}

    def step(self, action: Any) -> Any:
        self.received.append(int(action))
        if self.answers.get("raises"):
            raise RuntimeError("no more")
        return np.array([self.answers["observation"]]), self.answers["reward"], False, False, {}


@pytest.fixture(autouse=True)
def answers() -> dict[str, float]:
    Told.answers.clear()
    Told.answers.update(first=1.0, observation=2.0, reward=3.0)
    return Told.answers


def begun(seed: int | None = 5) -> Episode:
    env = Told()
    episode = Episode(env, action_spec(env.action_space, "Told"))
    episode.reset(seed=5)
    if seed is None:
        episode.step(2)
        episode.reset()
    return episode


@pytest.mark.parametrize("seed", [5, None])  # the first episode, and one that follows without a seed
def test_an_episode_is_lived_through_again(seed: int | None) -> None:
    episode, other = begun(seed), begun()
    for action in (2, 0, 1):
        episode.step(action)
    other.restore(episode.state())
    assert other.env.received == [2, 0, 1]  # type: ignore[attr-defined]
    assert other.env.drawn == episode.env.drawn  # type: ignore[attr-defined]
    again = begun()
    again.restore(other.state())
    assert again.env.drawn == episode.env.drawn  # type: ignore[attr-defined]


@pytest.mark.parametrize("what", ["first", "observation", "reward"])
def test_one_that_answers_otherwise_is_not_the_same(what: str, answers: dict[str, float]) -> None:
    episode = begun()
    episode.step(2)
    state = episode.state()
    answers[what] += 1
    with pytest.raises(UnusableError, match="does not repeat itself"):
        begun().restore(state)


def test_one_that_raises_where_it_did_not_is_not_the_same(answers: dict[str, float]) -> None:
    episode = begun()
    episode.step(2)
    answers["raises"] = 1
    with pytest.raises(UnusableError, match="raised RuntimeError where it did not before"):
        begun().restore(episode.state())


def test_an_episode_of_another_seed_is_not_the_same() -> None:
    episode, other = begun(), Episode(Told(), action_spec(Told.action_space, "Told"))
    other.reset(seed=6)
    with pytest.raises(UnusableError, match="does not repeat itself"):
        other.restore(episode.state())
