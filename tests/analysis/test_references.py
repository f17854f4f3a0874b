"""The scale on which scores of different environments meet."""

import gymnasium
import numpy as np
import pytest

from rlbench.analysis.scores.scores import REFERENCES, Reference, normalise, reference
from rlbench.errors import RlbenchError
from rlbench.records import Environment
from rlbench.training.envs.gymnasium import make_one


def test_random_is_zero_and_target_is_one():
    for name, fixed in REFERENCES.items():
        assert normalise([fixed.random, fixed.target], name).tolist() == [0.0, 1.0]


def test_normalise_by_hand():
    assert normalise([20.0, 5.0], "mine", {"mine": Reference(10.0, 30.0)}).tolist() == [0.5, -0.25]


def test_an_unknown_environment_gives_nan_and_options_do_not_borrow():
    assert np.isnan(normalise([1.0, 2.0], "Walker-v9")).all()
    assert np.isnan(normalise([1.0], "Pendulum-v1(g=5.0)")).all()


def test_given_references_are_all_there_are():
    mine = {"CartPole-v1": Reference(0.0, 500.0)}
    assert reference("CartPole-v1", mine) == mine["CartPole-v1"]
    assert normalise([250.0], "CartPole-v1", mine) == [0.5]
    assert reference("Acrobot-v1", mine) is None
    assert reference("Acrobot-v1", {}) is None
    assert reference("Acrobot-v1", {**REFERENCES, **mine}) == reference("Acrobot-v1") == REFERENCES["Acrobot-v1"]


@pytest.mark.parametrize(("random", "target"), [(1.0, 1.0), (np.nan, 1.0), (0.0, np.inf)])
def test_a_scale_without_length_is_refused(random, target):
    with pytest.raises(RlbenchError, match="two different finite returns"):
        Reference(random, target)


WITHOUT_THRESHOLD = ("Pendulum-v1", "Walker2d-v5")


@pytest.mark.parametrize("name", [name for name in REFERENCES if name not in WITHOUT_THRESHOLD])
def test_targets_are_those_of_the_specification(name):
    assert REFERENCES[name].target == gymnasium.spec(name).reward_threshold


@pytest.mark.parametrize("name", WITHOUT_THRESHOLD)
def test_two_have_no_threshold_to_take(name):
    assert gymnasium.spec(name).reward_threshold is None
    assert REFERENCES[name].source.startswith("the specification has none: ")


def measure_random(environment: str, episodes: int, seed: int) -> tuple[float, float]:
    """Return the mean return of uniformly random actions and its standard error: how the table was made."""
    env = make_one(Environment(environment))
    env.action_space.seed(seed)
    returns = np.zeros(episodes)
    for episode in range(episodes):
        env.reset(seed=seed * 1_000_003 + episode)
        ended = False
        while not ended:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            returns[episode] += float(reward)
            ended = terminated or truncated
    env.close()
    return float(returns.mean()), float(returns.std(ddof=1) / np.sqrt(episodes))


def test_random_return_of_cart_pole_measured_again():
    mean, error = measure_random("CartPole-v1", episodes=500, seed=3)
    entry = REFERENCES["CartPole-v1"]
    assert abs(mean - entry.random) < 4 * np.hypot(error, entry.standard_error)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "LunarLander-v3"])  # box2d is not required
def test_random_returns_measured_again(name):
    mean, error = measure_random(name, episodes=200, seed=11)
    entry = REFERENCES[name]
    assert abs(mean - entry.random) <= 4 * np.hypot(error, entry.standard_error) + 1e-9


@pytest.mark.slow
def test_target_of_pendulum_is_what_a_controller_by_hand_reaches():
    env = gymnasium.make("Pendulum-v1")
    returns = []
    for seed in range(200):
        (cosine, sine, speed), _ = env.reset(seed=seed)
        total, ended = 0.0, False
        while not ended:
            angle, energy = np.arctan2(sine, cosine), speed**2 / 2 + 15 * (cosine - 1)  # both 0 upright at rest
            pump = -5 * energy * (1 if speed >= 0 else -1)
            torque = -(10 * angle + 3 * speed) if abs(angle) < 0.5 else pump
            action = np.array([np.clip(torque, -2, 2)], np.float32)
            (cosine, sine, speed), reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
            ended = terminated or truncated
        returns.append(total)
    env.close()
    error = np.std(returns) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - REFERENCES["Pendulum-v1"].target) < 3 + 4 * error
