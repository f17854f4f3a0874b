"""What an algorithm may see and keep: the policy that acted, observations and actions, and tensors of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import gymnasium
import pytest
import torch

from rlbench import Algorithm, Environment, static
from rlbench.algorithm import configure
from rlbench.data import ObservationSize, Params, Problem, Samples, Trajectory
from rlbench.records import RunRecord
from rlbench.training import trainer
from tests.training.interruption import STEPS, interrupted, resumed, whole

Same = Callable[[RunRecord, RunRecord], None]
SMALL = {"horizon": 50, "num_envs": 2, "minibatches": 1, "epochs": 1, "hidden": (8,), "normalize_advantage": "none"}


class Momentum(Algorithm):
    """Ascends by heavy-ball momentum, whose velocity lasts from update to update."""

    name = "momentum"

    def surrogate(self, x: Samples) -> torch.Tensor:
        return x.ratio * x.advantage

    def improve(self, problem: Problem) -> Params:
        _, gradient, _ = problem.gradient(problem.params, problem.full(), value=True)
        velocity = gradient + 0.9 * problem.memory.get("velocity", torch.zeros_like(gradient))
        problem.memory["velocity"] = velocity
        return problem.params + self.lr * velocity


class Linear(Momentum):
    """The same with a module of its own."""

    name = "linear-momentum"
    scale: float = static(1.0)

    def network(self, observations: ObservationSize, outputs: int) -> torch.nn.Module:
        assert observations == 4
        assert observations.shape == (4,)
        return torch.nn.Linear(observations, outputs + 1)


@pytest.mark.parametrize("cls", [Momentum, Linear])
def test_memory_lasts_through_packs_and_interruptions(cls: type[Algorithm], tmp_path: Path, same_runs: Same) -> None:
    algorithm, environment = configure(cls, {**SMALL, "lr": 0.05}, "test"), Environment("CartPole-v1")
    expected = whole(algorithm, environment, (3, 5))
    interrupted(algorithm, environment, (5, 3), tmp_path, 3)
    records, told = resumed(algorithm, environment, (3, 5), tmp_path)
    assert told[0] > 100
    for record, other in zip(records, expected, strict=True):
        same_runs(record, other)
    without = configure(registered(cls), {**SMALL, "lr": 0.05}, "test")
    (forgetful,) = trainer.train([without], environment, STEPS, [3])
    assert forgetful.updates["kl"].tolist() != expected[0].updates["kl"].tolist()  # the memory is of consequence


def registered(cls: type[Algorithm]) -> type[Algorithm]:
    """Return the algorithm without its memory."""

    def improve(self: Algorithm, problem: Problem) -> Params:
        problem.memory.clear()
        return cls.improve(self, problem)

    return type(f"Forgetful{cls.__name__}", (cls,), {"improve": improve})


def test_memory_of_another_shape_is_refused_in_a_sentence() -> None:
    class Wrong(Momentum):
        def improve(self, problem: Problem) -> Params:
            problem.memory["count"] = torch.zeros(())
            return problem.params.clone()

    with pytest.raises(ValueError, match=re.escape("problem.memory['count'] must be [R, ...]")):
        trainer.train([configure(Wrong, SMALL, "test")], Environment("CartPole-v1"), STEPS, [0])


class Watching(Algorithm):
    """Takes log-probabilities for advantages, to compare them with those of its samples."""

    name = "watching"
    seen: ClassVar[list[torch.Tensor]] = []
    shapes: ClassVar[list[tuple[int, ...]]] = []

    def advantages(self, tr: Trajectory) -> tuple[torch.Tensor, torch.Tensor]:
        self.shapes.append((*tr.observation.shape, *tr.action.shape))
        return tr.log_prob, tr.reward

    def surrogate(self, x: Samples) -> torch.Tensor:
        return x.ratio * x.advantage

    def improve(self, problem: Problem) -> Params:
        x = problem.policy_samples(problem.params, problem.full())
        self.seen.append((x.advantage - x.old_log_prob).abs().max())
        return super().improve(problem)


class WatchingLinear(Watching):
    name = "watching-linear"

    def network(self, observations: ObservationSize, outputs: int) -> torch.nn.Module:
        return torch.nn.Linear(observations, outputs + 1)


@pytest.mark.parametrize("cls", [Watching, WatchingLinear])
@pytest.mark.parametrize(("identifier", "shapes"), [("CartPole-v1", (4,)), ("Pendulum-v1", (3, 1))])
def test_a_trajectory_knows_what_the_policy_saw_and_did(
    cls: type[Watching], identifier: str, shapes: tuple[int, ...]
) -> None:
    cls.seen.clear()
    cls.shapes.clear()
    algorithm = configure(cls, SMALL, "test")
    for record in trainer.train([algorithm] * 3, Environment(identifier), 300, [0, 1, 2]):
        assert record.status == "finished", record.reason
    assert cls.seen
    assert max(float(each) for each in cls.seen) < 1e-4  # but for rounding
    assert set(cls.shapes) == {(50, 3, 2, shapes[0], 50, 3, 2, *shapes[1:])}


def test_a_network_is_told_the_shape_of_what_it_sees() -> None:
    asked = []

    class Asking(Watching):
        def network(self, observations: ObservationSize, outputs: int) -> torch.nn.Module:
            asked.append((int(observations), observations.shape))
            table = torch.nn.Unflatten(-1, observations.shape)
            return torch.nn.Sequential(table, torch.nn.Flatten(), torch.nn.Linear(observations, outputs + 1))

    gymnasium.register("rlbench-train/Plane-v0", entry_point=Plane, max_episode_steps=20)
    (record,) = trainer.train([configure(Asking, SMALL, "test")], Environment("rlbench-train/Plane-v0"), 100, [0])
    assert record.status == "finished", record.reason
    assert set(asked) == {(12, (3, 4))}


class Plane(gymnasium.Env):
    """Observations are tables of 3 x 4 numbers."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (3, 4))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        return self.observation_space.low, {}

    def step(self, action: int):
        return self.observation_space.high, float(action), False, False, {}
