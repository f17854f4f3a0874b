"""What an algorithm may see and keep: the policy that acted, observations and actions, and tensors of its own."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch

from rlbench import Algorithm, Environment, static
from rlbench.algorithm import configure
from rlbench.checks import broken_promise
from rlbench.data import ObservationSize, Params, Problem, Samples, Trajectory
from rlbench.records import RECORDED, Evaluation, RunRecord
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
    without = configure(forgetful(cls), {**SMALL, "lr": 0.05}, "test")
    (other,) = trainer.train([without], environment, STEPS, [3])
    assert other.updates["kl"].tolist() != expected[0].updates["kl"].tolist()  # the memory is of consequence


def forgetful(cls: type[Algorithm]) -> type[Algorithm]:
    """Return the algorithm without its memory."""

    def improve(self: Algorithm, problem: Problem) -> Params:
        problem.memory.clear()
        return cls.improve(self, problem)

    return type(f"Forgetful{cls.__name__}", (cls,), {"improve": improve})


@pytest.mark.parametrize(
    "kept", [torch.zeros(()), torch.zeros(3), torch.zeros(1, 2, dtype=torch.bfloat16), 1, np.zeros(1)]
)
def test_memory_that_cannot_be_kept_is_refused_in_a_sentence(kept: Any) -> None:
    class Wrong(Momentum):
        def improve(self, problem: Problem) -> Params:
            problem.memory["count"] = kept
            return problem.params.clone()

    with pytest.raises(ValueError, match=re.escape("problem.memory['count'] must be a tensor [1, ...] of float32")):
        trainer.train([configure(Wrong, SMALL, "test")], Environment("CartPole-v1"), STEPS, [0])


def test_memory_of_a_run_that_diverged_is_zero_and_others_keep_theirs() -> None:
    class Diverging(Momentum):
        """The run with a step size of 1 diverges in its second update."""

        seen: ClassVar[list[torch.Tensor]] = []

        def improve(self, problem: Problem) -> Params:
            params = super().improve(problem)
            self.seen.append(problem.memory["velocity"].isfinite().all(-1))
            if problem.progress > 0:
                params = params + torch.where(self.lr == 1.0, float("nan"), 0.0)
                problem.memory["velocity"] = problem.memory["velocity"] + torch.where(self.lr == 1.0, float("nan"), 0.0)
            return params

    algorithms = [configure(Diverging, {**SMALL, "lr": lr}, "test") for lr in (0.05, 1.0)]
    fine, broken = trainer.train(algorithms, Environment("CartPole-v1"), STEPS, [3, 5])
    assert (fine.status, broken.status) == ("finished", "diverged")
    assert all(each.all() for each in Diverging.seen[2:])


def test_a_state_with_other_tensors_is_no_state_of_this_run(tmp_path: Path) -> None:
    class Growing(Momentum):
        size: ClassVar[int] = 2

        def improve(self, problem: Problem) -> Params:
            problem.memory["own"] = torch.zeros(len(problem.params), self.size)
            return super().improve(problem)

    algorithm, environment = configure(Growing, {**SMALL, "lr": 0.05}, "test"), Environment("CartPole-v1")
    for seed, size in ((3, 2), (5, 4)):
        Growing.size = size
        interrupted(algorithm, environment, (seed,), tmp_path, 3)
    records, _ = resumed(algorithm, environment, (3, 5), tmp_path)  # from the start, since they do not fit together
    assert [record.status for record in records] == ["finished", "finished"]


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


@pytest.mark.parametrize("cls", [Watching, WatchingLinear])
def test_what_is_made_of_log_probabilities_does_not_depend_on_the_pack(cls: type[Watching], same_runs: Same) -> None:
    algorithm, environment = configure(cls, SMALL, "test"), Environment("Pendulum-v1")
    (alone,) = trainer.train([algorithm], environment, STEPS, [3])
    packed = trainer.train([algorithm] * 3, environment, STEPS, [7, 3, 5])[1]
    same_runs(alone, packed)


@pytest.mark.parametrize("column", ["tr.observation[..., 3]", "tr.log_prob", "tr.action.double()"])
def test_formulas_that_mix_replicas_are_found_whatever_else_they_use(column: str) -> None:
    class Mixing(Watching):
        def advantages(self, tr: Trajectory) -> tuple[torch.Tensor, torch.Tensor]:
            return tr.reward - tr.reward.mean() + 0 * eval(column), tr.reward

    class Apart(Watching):
        def advantages(self, tr: Trajectory) -> tuple[torch.Tensor, torch.Tensor]:
            return tr.reward + 0 * eval(column), tr.reward

    assert "advantages mixes replicas" in broken_promise(configure(Mixing, SMALL, "test"))
    assert broken_promise(configure(Apart, SMALL, "test")) == ""


def test_formulas_for_continuous_actions_are_tried_with_such() -> None:
    class Continuous(Watching):
        def advantages(self, tr: Trajectory) -> tuple[torch.Tensor, torch.Tensor]:
            return tr.reward - tr.action.square().sum(-1), tr.reward

    class Mixing(Watching):
        def advantages(self, tr: Trajectory) -> tuple[torch.Tensor, torch.Tensor]:
            return tr.reward.mean() - tr.action.square().sum(-1), tr.reward

    assert broken_promise(configure(Continuous, SMALL, "test")) == ""
    assert "advantages mixes replicas" in broken_promise(configure(Mixing, SMALL, "test"))


def test_a_layer_that_holds_the_size_may_be_copied() -> None:
    size = ObservationSize((3, 4))
    for made in (copy.deepcopy(torch.nn.Linear(size, 2)), pickle.loads(pickle.dumps(torch.nn.Linear(size, 2)))):
        assert (made.in_features, made.in_features.shape) == (12, (3, 4))


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


def test_claims_may_be_about_all_that_is_recorded_and_nothing_else() -> None:
    task, evaluation = Environment("CartPole-v1"), Evaluation(STEPS, 1)
    (record,) = trainer.train([configure(Momentum, SMALL, "test")], task, STEPS, [0], evaluation=evaluation)
    assert {*record.updates, *record.episodes} == {*RECORDED}
