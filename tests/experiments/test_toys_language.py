"""The toy language and PPO with a penalty on it: every formula against a slower one, and the optimum that is known."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from rlbench.userfiles import import_file

FOLDER = Path(__file__).parents[2] / "experiments" / "lecture"
language, rlhf = (import_file(FOLDER / f"toy_{name}.py", "experiment") for name in ("language", "rlhf"))
WORLD = language.World(100)
BEGIN, LENGTH, WORDS = language.BEGIN, language.LENGTH, language.WORDS


def texts(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(WORDS, size=(count, LENGTH))


@pytest.mark.filterwarnings("ignore::UserWarning")  # what the checker would like, such as a render mode
@pytest.mark.parametrize("reward", language.REWARDS)
def test_the_environment_is_a_proper_one(reward: str) -> None:
    check_env(gymnasium.make(language.ID, world=100, reward=reward).unwrapped, skip_render_check=True)


def test_an_unknown_reward_is_refused() -> None:
    with pytest.raises(ValueError, match="one of learned, gold, not 'true'"):
        language.Language(reward="true")


def test_a_world_is_a_function_of_its_number() -> None:
    again, other = language.World(100), language.World(101)
    for judge in ("gold", "proxy"):
        some = texts(5)
        np.testing.assert_array_equal(getattr(WORLD, judge)(some), getattr(again, judge)(some))
        assert not np.isclose(getattr(WORLD, judge)(some), getattr(other, judge)(some)).any()


def test_the_reference_writes_as_its_probabilities_say() -> None:
    chances = np.exp(WORLD.reference)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    written = WORLD.write(np.random.default_rng(1), 20_000)
    first = np.bincount(written[:, 0], minlength=WORDS) / len(written)
    np.testing.assert_allclose(first, chances[BEGIN], atol=0.015)  # 4 standard errors of a share of a half
    word = int(first.argmax())
    after = np.bincount(written[written[:, 0] == word, 1], minlength=WORDS) / (written[:, 0] == word).sum()
    np.testing.assert_allclose(after, chances[word], atol=0.03)


def test_rewards_are_what_their_formulas_say() -> None:
    weights, (mean, deviation) = WORLD._weights, WORLD._proxy_scale
    own, some = WORLD.write(WORLD._rng(2), language.TEXTS), texts(4)
    content, coherence = (np.std(one(own)) for one in (WORLD.content, WORLD.coherence))
    raw = WORLD.content(own) / content + WORLD.coherence(own) / coherence
    for text, gold, proxy in zip(some, WORLD.gold(some), WORLD.proxy(some), strict=True):
        before = [BEGIN, *text[:-1]]
        said = sum(WORLD.worth[word] for word in set(text.tolist()))
        likely = sum(WORLD.reference[last, word] for last, word in zip(before, text, strict=True))
        assert gold == pytest.approx((said / content + likely / coherence - raw.mean()) / raw.std())
        learned = sum(weights[last, word] for last, word in zip(before, text, strict=True))
        assert proxy == pytest.approx((learned - mean) / deviation)


def test_the_references_texts_have_mean_zero_and_deviation_one() -> None:
    fresh = WORLD.write(np.random.default_rng(2), 20_000)
    for judge in (WORLD.gold, WORLD.proxy):
        assert judge(fresh).mean() == pytest.approx(0, abs=0.04)
        assert judge(fresh).std() == pytest.approx(1, abs=0.04)
    assert 0.5 < np.corrcoef(WORLD.gold(fresh), WORLD.proxy(fresh))[0, 1] < 0.95  # learned something, not everything


def test_bradley_terry_finds_the_weights_that_made_the_preferences() -> None:
    rng = np.random.default_rng(3)
    true = np.array([1.0, -0.5, 0.0])
    difference = rng.standard_normal((50_000, 3))
    prefers = rng.random(50_000) < 1 / (1 + np.exp(-difference @ true))
    found = language.bradley_terry(difference, prefers)
    np.testing.assert_allclose(found, true, atol=0.05)
    slope = difference.T @ (prefers - 1 / (1 + np.exp(-difference @ found))) - language.RIDGE * found
    np.testing.assert_allclose(slope, 0, atol=1e-6)


def test_all_copies_at_once_do_what_one_does() -> None:
    actions = texts(6, seed=4).reshape(2, 3, LENGTH)
    pages = rlhf.Pages(WORLD, ["learned", "gold"], 3)
    first = pages.reset([0, 0])
    alone = {
        (r, n): gymnasium.make(language.ID, world=100, reward=reward)
        for r, reward in enumerate(("learned", "gold"))
        for n in range(3)
    }
    for (r, n), env in alone.items():
        np.testing.assert_array_equal(first[r, n], env.reset(seed=0)[0])
    for place in range(LENGTH):
        step = pages.step(actions[..., place])
        for (r, n), env in alone.items():
            seen, reward, terminated, truncated, _ = env.step(actions[r, n, place])
            np.testing.assert_array_equal(step.next_observation[r, n], seen)
            assert step.reward[r, n] == pytest.approx(reward)
            assert (step.terminated[r, n], step.truncated[r, n]) == (terminated, truncated)
    assert step.terminated.all()
    np.testing.assert_array_equal(step.observation, first)


@pytest.fixture(scope="module")
def tethered() -> rlhf.Rlhf:
    """Three coefficients, trained for some updates."""
    return rlhf.train(100, 100, [rlhf.Tether("learned", coefficient) for coefficient in (0.0, 1.0, 1000.0)], updates=24)


def test_training_starts_at_the_reference(tethered: rlhf.Rlhf) -> None:
    start = tethered.looks[0]
    np.testing.assert_allclose(start["divergence"], 0, atol=1e-5)
    np.testing.assert_allclose(start["gold"], 0, atol=0.15)
    np.testing.assert_allclose(start["proxy"], 0, atol=0.15)
    assert (start["proxy"] == start["proxy"][0]).all()  # one noise for all


def test_the_penalty_is_the_log_ratio_of_the_words_that_were_said(tethered: rlhf.Rlhf) -> None:
    coefficients, tethered.coefficients = tethered.coefficients, np.zeros(3, np.float32)
    experience = tethered.collect(LENGTH)
    tethered.coefficients = coefficients
    found = tethered.departure(experience)
    head = tethered._head(np.ascontiguousarray(experience.observation[:, :, 0].transpose(1, 0, 2)))
    policy = torch.log_softmax(torch.from_numpy(head), -1).numpy()  # [R, T, 16]
    for replica in range(3):
        last = BEGIN
        for place in range(LENGTH):
            word = experience.action[place, replica, 0]
            expected = policy[replica, place, word] - WORLD.reference[last, word]
            assert found[place, replica, 0] == pytest.approx(expected, abs=1e-4)
            last = word


def test_a_huge_coefficient_keeps_the_reference_and_none_leaves_it(tethered: rlhf.Rlhf) -> None:
    per_word = tethered.looks[-1]["divergence"] / LENGTH
    assert per_word[2] < 0.1  # what noise in the gradients leaves of exactly 0
    assert per_word[0] > 0.5


def optimum(world: language.World, coefficient: float) -> float:
    """Return the largest E[proxy] - coefficient KL(pi || pi_ref): coefficient log E_ref[exp(proxy / coefficient)].

    Word by word from the end, since the reward model adds up over neighbouring words.
    """
    weights, (mean, deviation) = world._weights, world._proxy_scale
    value = np.zeros(WORDS)
    for _ in range(LENGTH):
        worth = world.reference + (weights / deviation + value) / coefficient
        after = coefficient * np.log(np.exp(worth).sum(axis=1))  # [17]
        value = after[:WORDS]
    return float(after[BEGIN] - mean / deviation)


def test_the_optimum_is_what_the_references_own_texts_say() -> None:
    own = WORLD.proxy(WORLD.write(np.random.default_rng(5), 200_000))
    assert optimum(WORLD, 3.0) == pytest.approx(3 * np.log(np.exp(own / 3).mean()), abs=0.01)


def test_ppo_comes_near_the_optimum_of_the_penalised_reward(tethered: rlhf.Rlhf) -> None:
    last = tethered.looks[-1]
    reached = last["proxy"][1] - last["divergence"][1]
    assert optimum(WORLD, 1.0) == pytest.approx(reached, abs=0.1)
    assert reached > 0.3  # the reference itself has 0
