"""The autograd engine goes on from checkpoints, too, with networks of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rlbench import Algorithm, Environment
from rlbench.algorithm import configure
from rlbench.records import Progress, RunRecord
from rlbench.training import trainer
from rlbench.training.checkpoints import Checkpoints, say_once
from rlbench.training.engines import AutogradTraining
from tests.training.interruption import STEPS, UPDATES, interrupted, resumed, whole
from tests.training.small import SMALL, make

Same = Callable[[RunRecord, RunRecord], None]
SEEDS = (3, 4, 5)
NORMALISED = {"normalize_observation": True, "normalize_reward": True}


class Own(Algorithm):
    """Policy gradient with a network of its own, and a step size that it changes."""

    name = "own"

    def surrogate(self, x: Any) -> Any:
        return x.ratio * x.advantage

    def adapt(self, stats: Any) -> Algorithm:
        return self.replace(lr=self.lr * (1 - 0.1 * stats.kl))

    def network(self, observations: int, outputs: int) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(observations, 8), torch.nn.Tanh(), torch.nn.Linear(8, outputs + 1))


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    say_once.cache_clear()


def cases(first: str, *others: str) -> pytest.MarkDecorator:
    """Parametrize over environments and settings; what is plain and not the first comes with the slow tests."""
    plain = [pytest.param(one, {}, marks=pytest.mark.slow, id=f"plain-{one}") for one in others]
    normalised = [pytest.param(one, NORMALISED, id=f"normalised-{one}") for one in (first, *others)]
    return pytest.mark.parametrize(
        ("identifier", "settings"), [pytest.param(first, {}, id=f"plain-{first}"), *plain, *normalised]
    )


def goes_on(algorithm: Algorithm, identifier: str, folder: Path, same_runs: Same) -> None:
    """Interrupt a pack after three rollouts, go on in two packs, and compare with one that was not interrupted."""
    environment = Environment(identifier)
    expected = whole(algorithm, environment, SEEDS)
    interrupted(algorithm, environment, SEEDS, folder, 3)
    for seeds in (SEEDS[:1], SEEDS[1:]):
        records, told = resumed(algorithm, environment, seeds, folder)
        assert told == [step * STEPS // UPDATES for step in range(4, UPDATES + 1)]
        for seed, record in zip(seeds, records, strict=True):
            same_runs(record, expected[SEEDS.index(seed)])


@cases("CartPole-v1", "Pendulum-v1", "rlbench-train/Walk-v0")
def test_networks_of_ones_own(identifier: str, settings: dict[str, Any], tmp_path: Path, same_runs: Same) -> None:
    goes_on(configure(Own, SMALL | settings, "test"), identifier, tmp_path, same_runs)


def by_autograd(*_: object) -> type[AutogradTraining]:
    """Stand in for `engine_of`."""
    return AutogradTraining


def test_asking_for_the_state_changes_nothing(tmp_path: Path, same_runs: Same, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "engine_of", by_autograd)
    algorithm, environment = make("ppo-clip"), Environment("CartPole-v1")
    records, _ = resumed(algorithm, environment, SEEDS, tmp_path)  # with a checkpoint after every rollout
    for record, expected in zip(records, whole(algorithm, environment, SEEDS), strict=True):
        same_runs(record, expected)


def test_a_run_does_not_go_on_in_another_engine(
    tmp_path: Path, same_runs: Same, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    algorithm, environment = make("ppo-clip"), Environment("CartPole-v1")
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "engine_of", by_autograd)
        interrupted(algorithm, environment, SEEDS[:1], tmp_path, 3)
    (record,), told = resumed(algorithm, environment, SEEDS[:1], tmp_path)
    assert told[0] == STEPS // UPDATES
    assert "it was trained on cpu, torch, not on cpu, compiled" in capsys.readouterr().err
    same_runs(record, whole(algorithm, environment, SEEDS[:1])[0])


@pytest.mark.gpu
def test_a_gpu_goes_on(tmp_path: Path) -> None:
    algorithm, environment = make("ppo-clip"), Environment("CartPole-v1")
    checkpoints = Checkpoints(tmp_path, ("a",), 0.0)

    def train(tell: Callable[[Progress], None]) -> RunRecord:
        options: dict[str, Any] = {"device": "cuda", "checkpoints": checkpoints, "on_progress": tell}
        return trainer.train([algorithm], environment, STEPS, (3,), **options)[0]

    def interrupt(progress: Progress) -> None:
        if progress.step == STEPS // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(interrupt)
    told: list[int] = []
    record = train(lambda progress: told.append(progress.step))
    assert told[0] == STEPS // 2
    assert record.status == "finished"
    assert len(record.updates["step"]) == UPDATES
