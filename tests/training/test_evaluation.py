"""Evaluations: fresh episodes, the same for all policies, which leave training as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from rlbench import Environment
from rlbench.records import EVALUATED, Evaluation, RunRecord
from rlbench.training import evaluation as evaluating
from rlbench.training.checkpoints import Checkpoints
from rlbench.training.envs import copy_seeds
from rlbench.training.evaluation import Arena, evaluate, generators_of, seeds_of
from rlbench.training.policy import Policy
from rlbench.training.trainer import train
from tests.training.small import make
from tests.training.test_policy import OwnNetwork, find


def trained(
    environment: str, replicas: int = 3, evaluation: Evaluation | None = None, **fields: Any
) -> list[RunRecord]:
    own = {"horizon": 50, "num_envs": 2, "minibatches": 5, "epochs": 2}
    name = fields.pop("name", "ppo-clip")
    algorithm = OwnNetwork(**own) if name == "own-network" else make(name, **fields)
    return train([algorithm] * replicas, Environment(environment), 500, range(replicas), evaluation=evaluation)


def policies(environment: str, **fields: Any) -> list[Policy]:
    return [Policy(record.policy or b"", find) for record in trained(environment, **fields)]


def by_hand(policy: Policy, environment: str, episodes: int, deterministic: bool) -> list[tuple[float, int]]:
    """Play the same episodes in Gymnasium's own environment, action by action."""
    env, played = gymnasium.make(environment), []
    for seed, policy.generator in zip(seeds_of(episodes), generators_of(episodes), strict=True):
        observation, _ = env.reset(seed=seed)
        total, steps, over = 0.0, 0, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(policy(observation, deterministic=deterministic))
            total, steps, over = total + float(reward), steps + 1, terminated or truncated
        played.append((total, steps))
    return played


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize(
    ("environment", "fields"),
    [
        ("CartPole-v1", {}),
        ("Acrobot-v1", {"shared_trunk": True}),
        ("Pendulum-v1", {}),
        ("MountainCarContinuous-v0", {"normalize_observation": True}),
        ("CartPole-v1", {"name": "own-network"}),
        ("rlbench-train/Box-v0", {}),
        ("rlbench-train/MultiDiscrete-v0", {"normalize_observation": True}),
        ("rlbench-train/DiscreteObservation-v0", {}),
    ],
)
def test_an_evaluation_equals_a_loop_by_hand(environment: str, fields: dict[str, Any], deterministic: bool) -> None:
    group = policies(environment, **fields)
    played = evaluate(group, Environment(environment), 4, deterministic=deterministic)
    assert not played.failures
    for row, policy in enumerate(group):
        expected = by_hand(policy, environment, 4, deterministic)
        assert list(zip(played.returns[row], played.lengths[row], strict=True)) == expected


def test_a_policy_fares_alike_alone_among_others_and_in_fewer_episodes() -> None:
    group = policies("CartPole-v1", lr=1e-2)
    for deterministic in (True, False):
        together = evaluate(group, Environment("CartPole-v1"), 12, deterministic=deterministic)
        assert len({*map(tuple, together.returns)}) == len(group)
        alone = evaluate(group[1:2], Environment("CartPole-v1"), 5, deterministic=deterministic)
        np.testing.assert_array_equal(alone.returns[0], together.returns[1, :5])


def test_the_episodes_are_not_those_of_any_training() -> None:
    seeds = seeds_of(100)
    assert len(set(seeds)) == 100
    assert seeds_of(7) == seeds[:7]
    trainings = {seed for run in range(2000) for seed in copy_seeds(run, 8)}
    assert not trainings & {*seeds}


@pytest.mark.parametrize(
    ("environment", "fields"),
    [
        ("CartPole-v1", {}),
        ("Pendulum-v1", {"normalize_observation": True, "normalize_reward": True}),
        ("CartPole-v1", {"name": "ppo-adaptive"}),
        ("CartPole-v1", {"name": "own-network"}),
        ("rlbench-train/Box-v0", {}),
    ],
)
def test_training_has_the_same_numbers_with_and_without(environment: str, fields: dict[str, Any]) -> None:
    without = trained(environment, **fields)
    within = trained(environment, evaluation=Evaluation(200, 3), **fields)
    for before, after in zip(without, within, strict=True):
        assert after.policy == before.policy
        assert (after.steps, after.gradient_steps, after.samples) == (
            before.steps,
            before.gradient_steps,
            before.samples,
        )
        for name, column in before.updates.items():
            np.testing.assert_array_equal(after.updates[name], column)
        for name, column in before.episodes.items():
            np.testing.assert_array_equal(after.episodes[name], column)
        assert [name for name in after.updates if name not in before.updates] == [*EVALUATED]


def test_an_evaluation_is_due_once_in_so_many_steps_and_at_the_end() -> None:
    (record,) = trained("CartPole-v1", 1, Evaluation(150, 2))
    assert record.updates["step"].tolist() == [100, 200, 300, 400, 500]
    for name in EVALUATED:
        assert np.isfinite(record.updates[name]).tolist() == [False, True, True, False, True]
    (seldom,) = trained("CartPole-v1", 1, Evaluation(10_000, 2))
    assert np.isfinite(seldom.updates["eval_return"]).tolist() == [False, False, False, False, True]
    (last,) = policies("CartPole-v1", replicas=1)
    played = evaluate([last], Environment("CartPole-v1"), 2)
    assert record.updates["eval_return"][-1] == played.returns.mean()
    assert record.updates["eval_length"][-1] == played.lengths.mean()
    sampled = evaluate([last], Environment("CartPole-v1"), 2, deterministic=False)
    assert record.updates["eval_return_sampled"][-1] == sampled.returns.mean()


def test_the_time_of_an_evaluation_is_none_of_the_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    class Clock:
        @staticmethod
        def perf_counter() -> float:
            return now[0]

    class Slow(Arena):
        def play(self, *_: Any, **__: Any) -> Any:
            now[0] += 1000.0
            return super().play(*_, **__)

    monkeypatch.setattr("rlbench.training.loop.time", Clock)
    monkeypatch.setattr("rlbench.training.loop.Arena", Slow)
    (record,) = trained("CartPole-v1", 1, Evaluation(100, 2))
    assert now[0] == 10_000.0
    assert record.seconds == 0.0


class Endless(gymnasium.Env[Any, Any]):
    observation_space, action_space = spaces.Box(-1, 1, (1,)), spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.time, self.ends = 0, int(self.np_random.integers(2))
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        return np.zeros(1, np.float32), 1.0, bool(self.ends and self.time == 5), False, {}


def test_an_episode_that_does_not_end_has_no_return(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluating, "LONGEST", 40)
    gymnasium.register("rlbench-train/Endless-v0", entry_point=Endless)
    (policy,) = policies("rlbench-train/Endless-v0", replicas=1)
    played = evaluate([policy], Environment("rlbench-train/Endless-v0"), 12)
    ended = played.lengths[0] == 5
    assert 0 < ended.sum() < 12
    np.testing.assert_array_equal(played.returns[0], np.where(ended, 5.0, np.nan))
    np.testing.assert_array_equal(played.lengths, played.returns)  # one a step


class Moody(gymnasium.Env[Any, Any]):
    """Raises in an evaluation's episode only."""

    observation_space, action_space = spaces.Box(-1, 1, (1,)), spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.time, self.bad = 0, seed in seeds_of(2)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        if self.bad:
            raise RuntimeError("not in this mood")
        self.time += 1
        return np.zeros(1, np.float32), 1.0, self.time == 5, False, {}


def test_an_environment_that_fails_in_an_evaluation_fails_the_run() -> None:
    gymnasium.register("rlbench-train/Moody-v0", entry_point=Moody)
    (record,) = trained("rlbench-train/Moody-v0", 1, Evaluation(200, 2))
    assert (record.status, record.policy) == ("failed", None)
    assert record.reason == "the environment raised RuntimeError: not in this mood in the evaluation at step 200"
    assert "Traceback" in record.detail


@pytest.mark.parametrize("snapshots", [False, True])
def test_a_run_with_evaluations_goes_on_from_its_checkpoint(tmp_path: Path, snapshots: bool) -> None:
    pack = [make("ppo-clip")] * 2
    how: dict[str, Any] = {"evaluation": Evaluation(150, 2), "snapshots": snapshots}
    whole = train(pack, Environment("CartPole-v1"), 500, [0, 1], **how)
    checkpoints = Checkpoints(tmp_path / "checkpoints", ("a", "b"), 0.0)

    class Stop(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 400:
            raise Stop

    how["checkpoints"] = checkpoints
    with pytest.raises(Stop):
        train(pack, Environment("CartPole-v1"), 500, [0, 1], on_progress=stop, **how)
    assert checkpoints.step("a") == 300
    if not snapshots:  # what was not kept before cannot be kept any more, so that the run begins again
        how["snapshots"] = True
        whole = train(pack, Environment("CartPole-v1"), 500, [0, 1], evaluation=Evaluation(150, 2), snapshots=True)
    again = train(pack, Environment("CartPole-v1"), 500, [0, 1], **how)
    for before, after in zip(whole, again, strict=True):
        assert before.policy == after.policy
        for name, column in before.updates.items():
            np.testing.assert_array_equal(after.updates[name], column)
