from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import NormalizeObservation, NormalizeReward

from rlbench.training.envs.normalize import ObservationNormalizer, RewardNormalizer, RunningMoments


def test_moments_are_those_of_the_whole_history() -> None:
    rng = np.random.default_rng(0)
    history = 3 + np.array([1.0, 100.0]) * rng.normal(size=(400, 2, 5, 2))  # [T, R, N, K]
    moments = RunningMoments(2, 2)
    for batch in history:
        moments.update(batch)
    samples = history.transpose(1, 3, 0, 2).reshape(2, 2, -1)
    np.testing.assert_allclose(moments.mean, samples.mean(-1), rtol=1e-6)
    np.testing.assert_allclose(moments.variance, samples.var(-1), rtol=1e-5)
    assert moments.count == pytest.approx(2000)


def test_the_prior_is_a_ten_thousandth_of_a_standard_sample() -> None:
    moments = RunningMoments(1, 1)
    moments.update(np.full((1, 1, 1), 5.0))
    total = 1.0001
    assert moments.mean[0, 0] == pytest.approx(5 / total)
    # sum of squared deviations: the prior's own, and that between the prior's mean and the sample
    assert moments.variance[0, 0] == pytest.approx((1e-4 + 25 * 1e-4 / total) / total)


def test_observations_are_normalised_by_the_statistics_that_include_them() -> None:
    rng = np.random.default_rng(1)
    history = (5 + 2 * rng.normal(size=(300, 1, 4, 3))).astype(np.float32)
    normalizer = ObservationNormalizer(1, 3)
    for observation in history:
        normalised = normalizer.update_and_apply(observation)
    samples = history.astype(np.float64).reshape(-1, 3)
    expected = (history[-1] - samples.mean(0)) / np.sqrt(samples.var(0) + 1e-8)
    np.testing.assert_allclose(normalised, expected, atol=1e-4)
    assert normalised.dtype == np.float32


def test_final_observations_do_not_move_the_statistics() -> None:
    normalizer = ObservationNormalizer(2, 3)
    observation = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    normalised = normalizer.update_and_apply(observation)
    mean = normalizer.moments.mean.copy()
    np.testing.assert_array_equal(normalizer.apply(observation), normalised)
    one_copy = normalizer.apply(observation[:, 2])  # any axes between the replicas' and the observation's
    np.testing.assert_array_equal(one_copy, normalised[:, 2])
    np.testing.assert_array_equal(normalizer.moments.mean, mean)
    assert normalizer.moments.count == pytest.approx(4.0001)


def test_normalised_values_are_clipped_at_ten() -> None:
    normalizer = ObservationNormalizer(1, 1)
    normalizer.update_and_apply(np.array([[[-1.0], [1.0]]], np.float32))
    extreme = normalizer.apply(np.array([[[-1e6], [1e6], [0.0]]], np.float32))
    np.testing.assert_allclose(extreme, [[[-10], [10], [0]]], atol=1e-6)
    rewards = RewardNormalizer(1, 2, 0.99)
    for _ in range(50):
        rewards.apply(np.array([[0.1, -0.1]]), np.zeros((1, 2), bool))
    assert rewards.apply(np.array([[1e4, 0.0]]), np.zeros((1, 2), bool))[0, 0] <= 10
    one = RewardNormalizer(1, 1, 0.0)
    assert abs(one.apply(np.array([[1e-9]]), np.zeros((1, 1), bool))[0, 0]) <= 10


def test_observations_agree_with_gymnasiums_vector_wrapper() -> None:
    envs = NormalizeObservation(gymnasium.make_vec("Pendulum-v1", 3, vectorization_mode="sync"))
    plain = gymnasium.make_vec("Pendulum-v1", 3, vectorization_mode="sync")
    normalizer = ObservationNormalizer(1, 3)
    theirs, raw = envs.reset(seed=0)[0], plain.reset(seed=0)[0]
    plain.action_space.seed(0)
    for _ in range(450):  # past two truncations, with Gymnasium's default autoreset in both
        ours = normalizer.update_and_apply(raw[None])[0]
        assert np.abs(theirs).max() < 10
        np.testing.assert_allclose(ours, theirs, atol=2e-4)  # Gymnasium accumulates in float32
        action = plain.action_space.sample()
        theirs, raw = envs.step(action)[0], plain.step(action)[0]


def test_rewards_agree_with_gymnasiums_vector_wrapper_where_episodes_only_truncate() -> None:
    same_step: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}
    plain = gymnasium.make_vec("Pendulum-v1", 3, vectorization_mode="sync", vector_kwargs=same_step)
    envs = NormalizeReward(
        gymnasium.make_vec("Pendulum-v1", 3, vectorization_mode="sync", vector_kwargs=same_step), gamma=0.9
    )
    if not hasattr(envs, "_autoreset_mode"):
        pytest.skip("this Gymnasium carries the running return over a same-step reset")
    normalizer = RewardNormalizer(1, 3, 0.9)
    envs.reset(seed=0)
    plain.reset(seed=0)
    plain.action_space.seed(0)
    for _ in range(450):
        action = plain.action_space.sample()
        _, theirs, *_ = envs.step(action)
        _, reward, terminated, truncated, _ = plain.step(action)
        ours = normalizer.apply(reward[None], (terminated | truncated)[None])[0]
        np.testing.assert_allclose(ours, np.clip(theirs, -10, 10), rtol=1e-4)


def test_rewards_are_divided_by_the_deviation_of_discounted_returns() -> None:
    rng = np.random.default_rng(2)
    gamma = np.array([0.9, 0.5])
    rewards = rng.normal(size=(200, 2, 3))  # [T, R, N]
    ended = rng.random(size=(200, 2, 3)) < 0.1
    normalizer = RewardNormalizer(2, 3, gamma)
    history = []
    returns = np.zeros((2, 3))
    for reward, end in zip(rewards, ended, strict=True):
        scaled = normalizer.apply(reward, end)
        returns = returns * gamma[:, None] + reward  # the last reward belongs to its episode's return ...
        history.append(returns)
        returns = np.where(end, 0.0, returns)  # ... and the next episode starts from nothing
    deviation = np.stack(history).std(axis=(0, 2))
    np.testing.assert_allclose(scaled, rewards[-1] / deviation[:, None], rtol=1e-4)


@pytest.mark.parametrize("size", [1, 4, 17])
@pytest.mark.parametrize("copies", [1, 3, 16])
def test_a_replica_does_not_depend_on_the_others(size: int, copies: int) -> None:
    rng = np.random.default_rng(3)
    observations = rng.normal(size=(40, 20, copies, size)).astype(np.float32)
    rewards = rng.normal(size=(40, 20, copies))
    ended = rng.random(size=(40, 20, copies)) < 0.2
    gamma = np.linspace(0.9, 0.99, 20)

    def run(replicas: list[int]) -> tuple[Any, Any]:
        observation_normalizer = ObservationNormalizer(len(replicas), size)
        reward_normalizer = RewardNormalizer(len(replicas), copies, gamma[replicas])
        return (
            np.stack([observation_normalizer.update_and_apply(one) for one in observations[:, replicas]]),
            np.stack(
                [
                    reward_normalizer.apply(one, end)
                    for one, end in zip(rewards[:, replicas], ended[:, replicas], strict=True)
                ]
            ),
        )

    whole = run(list(range(20)))
    for replicas in ([7], [0, 7, 19]):
        part = run(replicas)
        np.testing.assert_array_equal(part[0], whole[0][:, replicas])
        np.testing.assert_array_equal(part[1], whole[1][:, replicas])


def test_nan_stays_in_its_replica() -> None:
    normalizer = ObservationNormalizer(2, 1)
    observation = np.array([[[np.nan], [1.0]], [[0.5], [1.0]]], np.float32)
    normalised = normalizer.update_and_apply(observation)
    assert np.isnan(normalised[0]).all()
    assert np.isfinite(normalised[1]).all()
