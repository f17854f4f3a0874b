"""What breaks the promises of a run is refused, or warned of and marked, before anything is trained."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch

import rlbench
from rlbench import Algorithm, Arm, Environment, Experiment, Samples, Trajectory, hyper, registry
from rlbench.checks import broken_promise
from rlbench.errors import RlbenchError
from rlbench.functional import mean
from rlbench.study import run
from rlbench.study.environments import bound
from rlbench.study.plan import make_plan
from rlbench.study.run import execute, step_twice

cloudpickle.register_pickle_by_value(sys.modules[__name__])
NAME = "rlbench-test/Vetted-v0"
SMALL: dict[str, Any] = {"horizon": 16, "hidden": [4], "epochs": 1, "minibatches": 1}


class Plain(Algorithm):
    name = "vetted-plain"
    weight: float = hyper(1.0)

    def surrogate(self, x: Samples) -> torch.Tensor:
        return x.ratio * (x.advantage - mean(x.advantage)) * self.weight


def with_surrogate(formula: Callable[[Any], Any], coupled: str = "") -> Algorithm:
    class Mixing(Algorithm):
        name = "vetted-mixing"
        clip: float = hyper(0.2)

        def surrogate(self, x: Samples) -> torch.Tensor:
            value = torch.as_tensor(formula(x))
            return value * torch.as_tensor(self.clip).mean() if coupled else value

    return Mixing()


def with_advantages(formula: Callable[[torch.Tensor], torch.Tensor]) -> Algorithm:
    class Mixing(Plain):
        name = "vetted-mixing"

        def advantages(self, tr: Trajectory) -> Any:
            advantage, target, *_ = super().advantages(tr)
            return formula(advantage), target

    return Mixing()


class Stateful(Algorithm):
    name = "vetted-stateful"

    def surrogate(self, x: Samples) -> torch.Tensor:
        type(self).calls = getattr(self, "calls", 0) + 1  # type: ignore[attr-defined]
        return x.ratio * x.advantage * self.calls  # type: ignore[attr-defined]


MIXING = {
    "mean": with_surrogate(lambda x: x.ratio * (x.advantage - x.advantage.mean())),
    "deviation": with_surrogate(lambda x: x.ratio * x.advantage / x.advantage.std()),
    "first replica": with_surrogate(lambda x: x.ratio * x.advantage[0]),
    "leading axis": with_surrogate(lambda x: x.ratio * x.advantage.cumsum(0)),
    "maximum without a gradient": with_surrogate(lambda x: x.ratio * x.advantage / x.advantage.detach().abs().max()),
    "comparison": with_surrogate(lambda x: x.ratio * (x.advantage > x.advantage.median())),
    "ratio of all": with_surrogate(lambda x: x.ratio * x.advantage * (x.ratio.max() < 2)),
}
ALONE = {
    "hyper-parameters": with_surrogate(lambda x: x.ratio * x.advantage, "hyper-parameters"),
    "number of samples": with_surrogate(lambda x: x.ratio * x.advantage.sum(-1, keepdim=True) / x.advantage.numel()),
    "only some sizes": with_surrogate(
        lambda x: x.ratio * (x.advantage.reshape(-1, 16) - x.advantage.mean()).reshape(x.advantage.shape)
    ),
    "a generator": with_surrogate(
        lambda x: x.ratio * x.advantage * torch.rand(x.ratio.shape, generator=torch.Generator().manual_seed(0))
    ),
    "place in the pack": with_surrogate(
        lambda x: (
            x.ratio * x.advantage * (1 + torch.arange(x.advantage.shape[0]).reshape(-1, *[1] * (x.ratio.ndim - 1)))
        )
    ),
}
DRAWING = {
    "noise": with_surrogate(lambda x: x.ratio * x.advantage * (1 + 0.1 * torch.randn_like(x.advantage))),
    "dropout": with_surrogate(lambda x: torch.nn.functional.dropout(x.ratio * x.advantage)),
    "numpy": with_surrogate(lambda x: x.ratio * x.advantage * np.random.default_rng().random()),
    "state": Stateful(),
}


@pytest.mark.parametrize("kind", MIXING)
def test_a_surrogate_that_mixes_replicas_is_found(kind: str) -> None:
    assert broken_promise(MIXING[kind]).startswith("surrogate mixes replicas: a reduction runs over a leading axis")


@pytest.mark.parametrize("kind", ALONE)
def test_a_surrogate_that_depends_on_the_pack_is_found(kind: str) -> None:
    assert broken_promise(ALONE[kind]).startswith("surrogate mixes replicas")


def test_an_adaptation_that_depends_on_the_pack_is_found() -> None:
    class Coupled(Plain):
        name = "vetted-coupled"

        def adapt(self, stats: Any) -> Any:
            weight = torch.as_tensor(self.weight)
            return self.replace(weight=torch.zeros_like(weight) + weight.mean())

    class Counting(Plain):
        name = "vetted-counting"
        calls: ClassVar[list[int]] = []

        def adapt(self, stats: Any) -> Any:
            self.calls.append(1)
            return self.replace(weight=self.weight + len(self.calls))

    assert broken_promise(Coupled()).startswith("adapt mixes replicas")
    assert broken_promise(Counting()).startswith("adapt must return the same numbers")


@pytest.mark.parametrize("kind", DRAWING)
def test_a_surrogate_that_does_not_repeat_itself_is_found(kind: str) -> None:
    assert broken_promise(DRAWING[kind]).startswith("surrogate must return the same numbers")


def test_advantages_that_mix_or_draw_are_found() -> None:
    for formula in (lambda a: a - a.mean(), lambda a: a / a.abs().max(), lambda a: a.flip(1)):
        assert broken_promise(with_advantages(formula)).startswith("advantages mixes replicas")
    noisy = with_advantages(lambda advantage: advantage + torch.rand_like(advantage))
    assert broken_promise(noisy).startswith("advantages must return the same numbers")


@pytest.mark.parametrize("name", registry.names())
def test_the_built_in_algorithms_keep_their_promises(name: str) -> None:
    assert broken_promise(registry.load(name)()) == ""


def test_what_keeps_its_promises_or_raises_is_left_to_training() -> None:
    assert broken_promise(Plain()) == ""
    assert broken_promise(with_surrogate(lambda x: x.ratio.view(7, 7, 7))) == ""


def test_a_surrogate_that_no_samples_would_suit_is_found() -> None:
    assert "has no attribute 'nothing_of_the_kind'" in broken_promise(with_surrogate(lambda x: x.nothing_of_the_kind))
    assert "one number per sample" in broken_promise(with_surrogate(lambda x: x.ratio.mean()))
    assert broken_promise(with_surrogate(lambda x: x.weight.sum())) == ""  # there may be weights in training


def experiment(cls: type[Algorithm], environment: Any = "CartPole-v1", **settings: Any) -> Experiment:
    return Experiment("vetted", [Arm(cls, **SMALL, **settings)], [environment], 2, 32)


def test_a_command_refuses_to_train_it_and_stores_nothing(tmp_path: Path) -> None:
    mixing = experiment(type(MIXING["mean"]))
    with pytest.raises(RlbenchError, match=r"vetted-mixing is not trained.*surrogate mixes replicas"):
        execute(make_plan(mixing), tmp_path, workers=0, progress=False)
    assert not [path for path in (tmp_path / "store").glob("*") if not path.name.startswith(".")]


def test_what_passed_is_not_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Any] = []
    monkeypatch.setattr(run, "broken_promise", lambda algorithm: checked.append(algorithm.weight) or "")
    for weights in ([1.0], [1.0, 2.0], [1.0, 2.0]):
        execute(make_plan(experiment(Plain, weight=weights)), tmp_path, workers=0, progress=False)
    assert checked == [1.0, 2.0]
    (tmp_path / "store/.vetted.json").write_text('{"not": ["a list"')
    execute(make_plan(experiment(Plain, weight=[3.0])), tmp_path, workers=0, progress=False)
    assert checked == [1.0, 2.0, 3.0]


class Walk(gymnasium.Env[Any, Any]):
    """A random walk; `how` says where else than in its seed its numbers come from."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    episodes = 0

    def __init__(self, how: str = "") -> None:
        self.how = how

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if self.how == "seeded global generator" and seed is not None:
            np.random.seed(seed)  # noqa: NPY002
        type(self).episodes += 1
        self.time = 0
        return np.array([self.np_random.normal()], np.float32), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        reward = {
            "": lambda: float(action),
            "numpy's generator": np.random.normal,
            "seeded global generator": np.random.normal,
            "Python's generator": random.random,
            "its space": lambda: float(self.action_space.sample()),
            "state of the class": lambda: float(type(self).episodes),
            "the clock": lambda: float(np.random.default_rng().random()),
        }[self.how]()
        return np.array([self.np_random.normal()], np.float32), reward, self.time % 7 == 0, False, {}


@pytest.fixture
def _walk() -> Iterator[None]:
    gymnasium.register(NAME, entry_point=Walk)
    yield
    gymnasium.registry.pop(NAME, None)


def reason(how: str) -> str:
    (record,) = step_twice([], bound(Environment(NAME, {"how": how})), 1, [0], on_progress=print)
    return record.reason


@pytest.mark.usefixtures("_walk")
@pytest.mark.parametrize(
    "how",
    [
        *("numpy's generator", "seeded global generator", "Python's generator", "its space"),
        *("state of the class", "the clock"),
    ],
)
def test_an_environment_that_is_more_than_a_function_of_its_seed_is_found(how: str) -> None:
    assert reason(how) == "gave other observations or rewards when it was stepped again"


@pytest.mark.usefixtures("_walk")
def test_an_environment_that_is_a_function_of_its_seed_is_not_accused() -> None:
    assert reason("") == ""


class Fatal(Plain):
    """Ends the process in which it is looked at."""

    name = "vetted-fatal"

    def adapt(self, stats: Any) -> Any:
        os._exit(1)


def test_looking_at_a_plugin_takes_no_command_along(tmp_path: Path) -> None:
    summary = execute(make_plan(experiment(Fatal)), tmp_path, workers=1, progress=False)
    assert [reason for _, reason, _ in summary.failed] == ["its worker process ended with status 1"] * 2


@pytest.mark.usefixtures("_walk")
@pytest.mark.parametrize("workers", [0, 1])
def test_it_is_warned_of_and_marked_once_per_command(workers: int, tmp_path: Path) -> None:
    plan = make_plan(
        Experiment(
            "vetted",
            [Arm("random", horizon=16), Arm("ppo-clip", **SMALL)],
            [Environment(NAME, {"how": how}) for how in ("", "numpy's generator")],
            2,
            32,
        )
    )
    summary = execute(plan, tmp_path, workers=workers, progress=False)
    (said,) = summary.messages
    assert said.startswith(f"{NAME}(how=numpy's generator) gave other observations or rewards")
    assert "cannot be reproduced" in said
    marked = {
        cell.environment.options["how"]: json.loads((tmp_path / "store" / cell.id / "manifest.json").read_text())[
            "provenance"
        ].get("reproducible", True)
        for cell in plan.cells
    }
    assert marked == {"": True, "numpy's generator": False}


@pytest.mark.usefixtures("_walk")
def test_results_in_python_and_their_report_say_it(tmp_path: Path) -> None:
    lottery = experiment(Plain, Environment(NAME, {"how": "the clock"}))
    with pytest.warns(UserWarning, match="its runs cannot be reproduced"):
        results = rlbench.run(lottery, results_dir=tmp_path, workers=0, progress=False)
    assert not results.runs["reproducible"].any()
    from rlbench.analysis.report.sentences import warnings

    assert any("cannot be reproduced" in sentence for sentence in warnings(results))
