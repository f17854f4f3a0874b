"""The toys for sparse rewards and many actions: what guessing and the best policy get; PPO solves small ones."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rlbench import Environment
from rlbench.userfiles import import_file

FOLDER = Path(__file__).parents[2] / "experiments" / "lecture"


def load(name: str) -> ModuleType:
    return import_file(FOLDER / f"{name}.py", "experiment")


curves, spelling, bandit = (load(f"toy_{name}") for name in ("curves", "spelling", "bandit"))
SMALL = {"num_envs": 8, "horizon": 32, "epochs": 4, "minibatches": 4, "lr": 1e-2, "hidden": (32,)}


@pytest.mark.filterwarnings("ignore::UserWarning")  # what the checker would like, such as a render mode
@pytest.mark.parametrize(
    ("name", "options"),
    [
        (spelling.ID, {"length": 3}),
        (spelling.ID, {"length": 3, "reward": "terminal"}),
        (bandit.ID, {"actions": 50}),
    ],
)
def test_environments_are_proper_ones(name: str, options: dict[str, Any]) -> None:
    check_env(gymnasium.make(name, **options).unwrapped, skip_render_check=True)


def played(reward: str, letters: tuple[int, ...], prompt: int) -> list[float]:
    """Return the rewards of an answer to a prompt."""
    env = spelling.Spelling(world=100, length=len(letters), reward=reward)
    env.reset(seed=0)
    env._prompt = prompt
    outcomes = [env.step(np.int64(letter)) for letter in letters]
    assert [terminated for *_, terminated, _, _ in outcomes] == [False] * (len(letters) - 1) + [True]
    return [reward for _, reward, *_ in outcomes]


def test_guessing_is_worth_nothing_and_the_answer_one_whenever_it_is_paid() -> None:
    answers = spelling.Spelling(world=100, length=2).answers
    for prompt in range(spelling.PROMPTS):
        both = {reward: [] for reward in spelling.REWARDS}
        for letters in itertools.product(range(spelling.LETTERS), repeat=2):
            for reward in spelling.REWARDS:
                both[reward].append(sum(played(reward, letters, prompt)))
        for returns in both.values():
            assert np.mean(returns) == pytest.approx(0)
            assert max(returns) == pytest.approx(1)
        np.testing.assert_allclose(both["dense"], both["terminal"])
        right = tuple(int(letter) for letter in answers[prompt])
        assert played("dense", right, prompt) == pytest.approx([0.5, 0.5])
        assert played("terminal", right, prompt) == pytest.approx([0, 1])


def test_answers_depend_on_the_world_and_every_prompt_has_its_own() -> None:
    one, again, other = (spelling.Spelling(world=world, length=16).answers for world in (100, 100, 101))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert len({tuple(row) for row in one}) == spelling.PROMPTS


@pytest.mark.parametrize("options", [{"reward": "late"}])
def test_an_unknown_reward_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of dense, terminal, not 'late'"):
        spelling.Spelling(**options)


@pytest.mark.parametrize("reward", spelling.REWARDS)
def test_ppo_spells_short_answers(reward: str) -> None:
    environment = Environment(spelling.ID, {"world": 100, "length": 2, "reward": reward})
    curve = curves.learning_curve(environment, 100, 10_240, SMALL)
    assert len(curve) == curves.PARTS
    assert abs(curve[0]) < 0.6
    assert curve[-1] > 0.9


def test_a_larger_set_of_actions_holds_the_smaller_one() -> None:
    few, many = bandit.points(100, 10), bandit.points(100, 1000)
    np.testing.assert_array_equal(few, many[:10])
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1, rtol=1e-6)
    assert bandit.best(100, 10) < bandit.best(100, 1000) < 1


def test_scores_are_zero_at_random_and_one_for_the_best_action() -> None:
    env = bandit.Bandit(world=100, actions=20)
    known, rng = bandit.points(100, 20), np.random.default_rng(0)
    best, random = [], []
    for episode in range(3000):
        context, _ = env.reset(seed=episode)
        worth = [env.step(np.int64(action)) for action in range(20)]
        assert all(terminated for *_, terminated, _, _ in worth)
        rewards = [reward for _, reward, *_ in worth]
        assert int(np.argmax(rewards)) == int(np.argmax(known @ context))
        best.append(max(rewards))
        random.append(rewards[rng.integers(20)])
    assert np.mean(best) == pytest.approx(1, abs=0.02)
    assert np.mean(random) == pytest.approx(0, abs=0.06)  # 4 standard errors


def test_ppo_finds_the_best_of_a_few_actions() -> None:
    curve = curves.learning_curve(Environment(bandit.ID, {"world": 100, "actions": 3}), 100, 10_240, SMALL)
    assert curve[-1] > 0.95


def test_a_training_that_breaks_off_is_no_curve() -> None:
    environment = Environment(bandit.ID, {"world": 100, "actions": 3})
    with pytest.raises(RuntimeError, match="training diverged"):
        curves.learning_curve(environment, 100, 2560, SMALL | {"lr": 1e30, "max_grad_norm": float("inf")})


MEMBERS = {
    "claim_34_reference_penalty": {"34a", "34b", "34c", "34d", "34e", "34f", "34g"},
    "claim_35_sparse_rewards": {"35a", "35b"},
    "claim_35_mountain_car": {"35c"},
    "claim_36_many_actions": {"36a", "36b", "36c"},
}


@pytest.mark.parametrize("name", MEMBERS)
def test_every_claim_says_where_it_is_made(name: str) -> None:
    experiment = load(name).EXPERIMENT
    assert {claim.id for claim in experiment.claims} == MEMBERS[name]
    assert all(claim.source for claim in experiment.claims)
    assert experiment.question.endswith("?")
    assert experiment.design.count(".") >= 2


def test_what_is_measured_can_be_measured_in_a_worker_that_does_not_have_the_files(tmp_path: Path) -> None:
    measurements = [load(name).EXPERIMENT for name in MEMBERS if name != "claim_35_mountain_car"]
    file = tmp_path / "measures.pickle"
    file.write_bytes(cloudpickle.dumps([one.measure for one in measurements]))
    code = f"import cloudpickle; print(len(cloudpickle.load(open({str(file)!r}, 'rb'))))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [str(len(measurements))]


@pytest.mark.parametrize(
    ("name", "small"),
    [
        ("claim_34_reference_penalty", {"UPDATES": 2}),
        ("claim_35_sparse_rewards", {"STEPS": 4096}),
        ("claim_36_many_actions", {"STEPS": 1024, "RATES": {10: 1e-2, 30: 1e-2}}),
    ],
)
def test_what_is_measured_is_what_the_claims_are_about(
    name: str, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load(name).EXPERIMENT
    scope = experiment.measure.__globals__
    for key, value in small.items():
        monkeypatch.setitem(scope, key, value)
    measured = experiment.measure(experiment.environments[0], 100)
    assert set(measured) == ({"10 actions", "30 actions"} if "RATES" in small else set(experiment.arms))
    for claim in experiment.claims:
        assert all(claim.metric.partition(":")[0] in columns for columns in measured.values())
    for columns in measured.values():
        assert all(np.isfinite(values).all() for values in columns.values())
    again = experiment.measure(experiment.environments[0], 100)
    assert measured == again
