"""The compiled loop over a whole rollout against the same steps taken one by one."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from rlbench import Environment, registry
from rlbench.algorithm import configure
from rlbench.training.engines import Training
from rlbench.training.recording import EpisodeLog
from rlbench.training.rollout import Collector

ENVIRONMENTS = {
    "CartPole": Environment("CartPole-v1", {"max_episode_steps": 8}),  # more episodes than starts are drawn ahead
    "long CartPole": Environment("CartPole-v1"),
    "Acrobot": Environment("Acrobot-v1", {"max_episode_steps": 25}),
    "Pendulum": Environment("Pendulum-v1", {"max_episode_steps": 17}),
    "MountainCar": Environment("MountainCar-v0", {"max_episode_steps": 40}),
    "continuous MountainCar": Environment("MountainCarContinuous-v0", {"max_episode_steps": 40}),
}
if find_spec("mujoco"):
    ENVIRONMENTS["Hopper"] = Environment("Hopper-v5", {"max_episode_steps": 15})


def collector(environment: Environment, **settings: Any) -> tuple[Collector, Any]:
    """Return a collector over three replicas of two copies, and their parameters."""
    fields = {"horizon": 150, "num_envs": 2, "minibatches": 1, "hidden": (16, 8)} | settings
    algorithm = configure(registry.load("ppo-clip"), fields, "test")
    training = Training([algorithm] * 3, environment, 300, [3, 4, 5])
    return training.collector, training.params


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one network": {"shared_trunk": True},
    "observations": {"normalize_observation": True},
    "rewards of many copies": {"normalize_reward": True, "num_envs": 9},  # numpy adds up eight sums side by side
    "squashed": {"squash": True},
    "both": {"normalize_observation": True, "normalize_reward": True, "num_envs": 9},
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_a_rollout_in_one_loop_is_the_rollout_step_by_step(case: str, settings: str, monkeypatch: Any) -> None:
    environment, fields = ENVIRONMENTS[case], SETTINGS[settings]
    (whole, params), (single, _) = (collector(environment, **fields) for _ in range(2))
    alive, walked = np.ones(3, bool), []
    monkeypatch.setattr(single, "_fused", lambda *rest: walked.append(1) or single._stepwise(*rest))
    for _ in range(3):  # the second rollout begins within episodes, and start states are drawn anew
        ours, theirs = whole.collect(params, 150, alive), single.collect(params, 150, alive)
        for name in ("observation", "action", "reward", "terminated", "ended", "last_observation"):
            one, other = getattr(ours, name), getattr(theirs, name)
            assert (one.dtype, one.shape) == (other.dtype, other.shape), name
            np.testing.assert_array_equal(one, other, err_msg=name)
        assert ours.ended.sum() >= 18
        assert sorted(ours.truncations) == sorted(theirs.truncations)
        for r, parts in ours.truncations.items():
            for one, other in zip(parts, theirs.truncations[r], strict=True):
                np.testing.assert_array_equal(one, other)
    assert len(walked) == 3
    for r in range(3):
        ours_saved, theirs_saved = whole.state(r), single.state(r)
        kept = {name for name in ours_saved if name.startswith(("_now", "_observations", "_rewards"))}
        for name in kept:
            np.testing.assert_array_equal(ours_saved[name], theirs_saved[name], err_msg=name)
        assert len(kept) == 1 + 3 * fields.get("normalize_observation", 0) + 4 * fields.get("normalize_reward", 0)
        for name, column in whole.episodes.table(r).items():
            np.testing.assert_array_equal(column, single.episodes.table(r)[name], err_msg=name)
            assert len(column) > 18


def test_a_family_without_compiled_sampler_goes_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, params = collector(ENVIRONMENTS["CartPole"])
    monkeypatch.setattr(chosen._family, "sampler", None, raising=True)
    monkeypatch.setattr(chosen._family, "sample", lambda head, noise: np.argmax(head + noise, -1))
    monkeypatch.setattr(chosen, "_fused", None)
    assert chosen.collect(params, 150, np.ones(3, bool)).ended.any()


def test_the_account_of_episodes_by_hand() -> None:
    log = EpisodeLog(replicas=2, num_envs=2)
    assert np.isnan(log.mean_return()).all()
    reward = np.arange(12.0).reshape(3, 2, 2)
    ended = np.zeros((3, 2, 2), bool)
    ended[1, 0, 0] = ended[2, 0, 1] = True
    log.add(100, reward, ended, np.array([True, True]))
    table = log.table(0)
    assert table["step"].tolist() == [104, 106]  # two copies: two steps of the run each time
    assert table["return"].tolist() == [0 + 4, 1 + 5 + 9]
    assert table["length"].tolist() == [2, 3]
    assert len(log.table(1)["step"]) == 0
    assert log.mean_return()[0] == pytest.approx((4 + 15) / 2)
    ended[:] = False
    ended[0] = True
    log.add(106, reward, ended, np.array([False, True]))
    assert len(log.table(0)["step"]) == 2  # the replica is no longer alive
    assert log.table(1)["return"].tolist() == [2 + 6 + 10 + 2, 3 + 7 + 11 + 3]
    assert log.table(1)["length"].tolist() == [4, 4]
