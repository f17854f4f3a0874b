"""From experience to samples by a hand-made rollout: what is bootstrapped, and from which observation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlbench import registry
from rlbench.algorithm import Algorithm, configure, stack
from rlbench.functional.networks import ActorCritic
from rlbench.training.rollout import Experience, estimate


def network() -> ActorCritic:
    """Return a network whose value is the observation itself: no hidden layer is possible, so one wide open one."""
    return ActorCritic(observations=1, outputs=2, log_std=0, hidden=(1,), activation="relu")


def params(replicas: int) -> np.ndarray:
    """Value = relu(observation), policy = 0."""
    flat = np.zeros((replicas, network().size), np.float32)
    for weight, _ in network().value.layers(flat):
        weight[:] = 1
    return flat


def experience(replicas: int = 1) -> Experience:
    """One copy, five steps with observations 10 .. 50.

    Terminated at t = 1; cut at t = 3, where the final observation is 1000; the next episode begins at 50. The last
    observation is 70.
    """
    observation = np.array([10, 20, 30, 40, 50], np.float32).reshape(5, 1, 1, 1).repeat(replicas, 1)
    terminated, ended = np.zeros((5, replicas, 1), bool), np.zeros((5, replicas, 1), bool)
    terminated[1] = ended[1] = ended[3] = True
    truncations = {r: (np.array([3]), np.array([0]), np.array([[1000.0]], np.float32)) for r in range(replicas)}
    return Experience(
        observation=observation,
        action=np.zeros((5, replicas, 1), np.int64),
        reward=np.ones((5, replicas, 1), np.float32),
        terminated=terminated,
        ended=ended,
        last_observation=np.full((replicas, 1, 1), 70, np.float32),
        truncations=truncations,
    )


def make(**settings: Any) -> Algorithm:
    base = {"gamma": 0.5, "gae_lambda": 0.0, "normalize_advantage": "none"}
    return configure(registry.load("ppo-clip"), base | settings, "test")


def test_td_targets() -> None:
    rollout = estimate(stack([make()]), network(), params(1), experience())
    # r + gamma V(s'): 20 follows 10; a terminal state is worth 0; 40 follows 30; 1000, not 50, was cut off; 70 is last.
    assert rollout.target[0].tolist() == [1 + 10, 1, 1 + 20, 1 + 500, 1 + 35]
    assert rollout.old_value[0].tolist() == [10, 20, 30, 40, 50]
    assert rollout.advantage[0].tolist() == [1, -19, -9, 461, -14]


def test_lambda_one_stops_at_both_kinds_of_end() -> None:
    rollout = estimate(stack([make(gae_lambda=1.0)]), network(), params(1), experience())
    assert rollout.target[0].tolist() == [1 + 0.5, 1, 1 + 0.5 * 501, 501, 36]


def test_a_cut_concerns_its_own_replica_and_copy() -> None:
    both = experience(2)
    both.ended[3, 1] = False
    del both.truncations[1]
    rollout = estimate(stack([make()] * 2), network(), params(2), both)
    assert rollout.target[0].tolist() == [11, 1, 21, 501, 36]
    assert rollout.target[1].tolist() == [11, 1, 21, 1 + 25, 36]


def test_time_and_copies_are_flattened_in_one_order_for_every_quantity() -> None:
    rng = np.random.default_rng(0)
    observation = rng.random((4, 3, 2, 1)).astype(np.float32)
    many = Experience(
        observation=observation,
        action=rng.integers(2, size=(4, 3, 2)),
        reward=rng.random((4, 3, 2)).astype(np.float32),
        terminated=np.ones((4, 3, 2), bool),
        ended=np.ones((4, 3, 2), bool),
        last_observation=rng.random((3, 2, 1)).astype(np.float32),
        truncations={},
    )
    rollout = estimate(stack([make()] * 3), network(), params(3), many)
    for r in range(3):
        np.testing.assert_array_equal(rollout.observation[r, :, 0], observation[:, r].ravel())
        np.testing.assert_array_equal(rollout.action[r].numpy(), many.action[:, r].ravel())
        np.testing.assert_allclose(rollout.target[r].numpy(), many.reward[:, r].ravel(), atol=1e-6)
        np.testing.assert_array_equal(rollout.old_value[r].numpy(), observation[:, r].ravel())


def test_advantages_are_standardised_over_the_batch_where_that_is_asked_for() -> None:
    rollout = estimate(stack([make(normalize_advantage="batch")] * 2), network(), params(2), experience(2))
    raw = np.array([1, -19, -9, 461, -14])
    expected = (raw - raw.mean()) / raw.std(ddof=1)
    for r in range(2):
        np.testing.assert_allclose(rollout.advantage[r], expected, rtol=1e-5)
    minibatch = estimate(stack([make(normalize_advantage="minibatch")]), network(), params(1), experience())
    assert minibatch.advantage[0].tolist() == raw.tolist()  # left to each minibatch


def test_weights_travel_with_their_samples() -> None:
    algorithm = configure(registry.load("reinforce"), {"gamma": 0.5, "baseline": "none"}, "test")
    rollout = estimate(stack([algorithm]), network(), params(1), experience())
    assert rollout.weight is not None
    assert rollout.weight[0].tolist() == [1, 1, 1, 1, 0]
    assert rollout.target[0, :4].tolist() == [1.5, 1, 1.5, 1]


@pytest.mark.parametrize("name", ["Truncation", "Discount"])
def test_the_collector_hands_over_the_final_observation(name: str) -> None:
    """A rollout through a real environment: five steps per episode, the observation is always 0."""
    from rlbench import Environment
    from rlbench.functional.distributions import family
    from rlbench.training import envs
    from rlbench.training.envs.probes import register_probes
    from rlbench.training.noise import Streams
    from rlbench.training.rollout import Collector

    register_probes()
    batch = envs.make(Environment(f"rlbench/Probe{name}-v0"), 2, 3)
    chosen = family(batch.action.kind, batch.action.sizes)
    collector = Collector(batch, chosen, network(), [make()] * 2, [0, 1], Streams([0, 1]))
    seen = collector.collect(params(2), 12, np.ones(2, bool))
    if name == "Discount":  # both ends are terminations
        assert seen.truncations == {}
        np.testing.assert_array_equal(seen.terminated, seen.ended)
        np.testing.assert_array_equal(seen.observation[:, 0, 0, 0], [0, 1] * 6)
        return
    assert not seen.terminated.any()
    for r in range(2):
        times, copies, finals = seen.truncations[r]
        assert times.tolist() == [4] * 3 + [9] * 3
        assert copies.tolist() == [0, 1, 2] * 2
        assert finals.shape == (6, 1)
    assert collector.step == 12 * 3
    assert collector.episodes.table(0)["length"].tolist() == [5] * 6
    assert collector.episodes.table(0)["step"].tolist() == [15] * 3 + [30] * 3


def test_final_observations_are_normalised_like_the_others() -> None:
    from rlbench import Environment
    from rlbench.functional.distributions import family
    from rlbench.training import envs
    from rlbench.training.noise import Streams
    from rlbench.training.rollout import Collector

    algorithm = make(normalize_observation=True)
    batch = envs.make(Environment("Pendulum-v1"), 1, 4)
    wide = ActorCritic(observations=3, outputs=1, log_std=1, hidden=(1,))
    collector = Collector(batch, family("gaussian", (1,)), wide, [algorithm], [0], Streams([0]))
    flat = np.zeros((1, wide.size), np.float32)
    seen = collector.collect(flat, 200, np.ones(1, bool))
    times, _, finals = seen.truncations[0]
    assert times.tolist() == [199] * 4
    # The state before the end is a time step away; raw angular velocities would be up to 8, these are about 1.
    np.testing.assert_allclose(finals, seen.observation[199, 0], atol=1.0)
    assert np.abs(finals - seen.last_observation[0]).max() > np.abs(finals - seen.observation[199, 0]).max()
    assert np.abs(seen.observation[100:]).max() < 5


def test_runs_of_different_algorithms_share_environment_weights_and_noise() -> None:
    from rlbench import Environment
    from rlbench.training.trainer import train

    runs = [
        train(
            [configure(registry.load(name), {"horizon": 128, "minibatches": 1}, "test")],
            Environment("CartPole-v1"),
            128,
            [5],
        )[0]
        for name in ("ppo-clip", "trpo", "actor-critic")
    ]
    for other in runs[1:]:
        np.testing.assert_array_equal(other.episodes["return"], runs[0].episodes["return"])
