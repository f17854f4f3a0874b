"""Executors: equal numbers everywhere, and a worker that dies takes nothing else along."""

from __future__ import annotations

import os
import signal
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from rlbench import registry
from rlbench.errors import RlbenchError
from rlbench.records import Environment, Progress, RunRecord, empty_episodes
from rlbench.study import executors
from rlbench.study.executors import Event, Job, executor_for
from rlbench.study.executors.launcher import Launcher
from rlbench.study.executors.local import InProcess, Workers
from rlbench.study.plan import Cell, Plan, ResolvedArm, trained_arm
from rlbench.study.schedule import Pack, make_packs
from rlbench.training.trainer import train

# A worker cannot import a test module by name; what stands here travels whole, as a notebook's functions do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def pack(*seeds: int, algorithm: Any = None) -> Pack:
    """A pack for the trainers below, which use no algorithm."""
    arm = trained_arm(algorithm) if algorithm else ResolvedArm("arm", "fake")
    return Pack(tuple(Cell(arm, Environment("none"), 8, seed) for seed in seeds))


def record(seed: int) -> RunRecord:
    return RunRecord(
        "finished", "", 8, empty_episodes(), {"step": np.array([seed]), "process": np.array([os.getpid()])}
    )


def fake_train(_: Any, environment: Environment, steps: int, seeds: list[int], *, on_progress: Any) -> list[RunRecord]:
    """Seed 13 always kills its process, seed 7 the first time, seed 5 raises, seed 3 prints."""
    on_progress(Progress(4, steps, len(seeds), 1.0))
    flag = Path(os.environ.get("TEST_FLAG", "/nonexistent"))
    if 13 in seeds or (7 in seeds and not flag.exists()):
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if 11 in seeds:
        print("going down", file=sys.stderr, flush=True)
        os._exit(3)
    if 5 in seeds:
        raise ValueError("five is right out\nand more")
    if 3 in seeds:
        print("hello from three")
    return [record(seed) for seed in seeds]


def outcome(results: Any) -> dict[int, tuple[str, str]]:
    return {
        cell.seed: (record.status, record.reason)
        for done, records in results
        for cell, record in zip(done.cells, records, strict=True)
    }


def test_a_worker_that_dies_fails_only_its_pack_and_a_second_try_may_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: Launcher
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.setenv("TEST_FLAG", str(tmp_path / "flag"))
    events: list[Event] = []
    packs = [pack(7, 8), pack(13), pack(5), pack(3), pack(11)]
    results = outcome(Workers(2, launcher).run(packs, Job(fake_train, events.append)))
    assert {seed: status for seed, (status, _) in results.items()} == {
        7: "finished", 8: "finished", 13: "failed", 5: "failed", 3: "finished", 11: "failed",
    }  # fmt: skip
    assert results[13][1] == "its worker process was ended by SIGKILL, perhaps by the system for want of memory"
    assert results[11][1] == "its worker process ended with status 3 after saying: going down"
    assert results[5][1] == "ValueError: five is right out"
    assert "hello from three" in [event.line for event in events]
    assert any(event.progress == Progress(4, 8, 2, 1.0) for event in events)


def test_in_process_what_raises_is_failed_alone_and_the_rest_goes_on() -> None:
    results = InProcess().run([pack(5, 6), pack(1)], Job(fake_train))
    records = {cell.seed: one for done, ones in results for cell, one in zip(done.cells, ones, strict=True)}
    assert {seed: one.status for seed, one in records.items()} == {5: "failed", 6: "finished", 1: "finished"}
    assert "five is right out" in records[5].detail
    assert "Traceback" in records[5].detail
    assert {seed: one.attempts for seed, one in records.items()} == {5: 2, 6: 2, 1: 1}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for child processes in /proc")
def test_stopping_early_ends_the_workers(launcher: Launcher) -> None:
    results = Workers(1, launcher).run([pack(1), pack(2), pack(4)], Job(fake_train))
    _, (one,) = next(results)
    (worker,) = one.updates["process"]
    assert Path(f"/proc/{worker}").exists()
    results.close()
    assert not Path(f"/proc/{worker}").exists()


def made(address: str | None, workers: int | None) -> tuple[str | None, int | None]:
    """An executor, as far as looking it up goes."""
    return address, workers


def test_an_installed_executor_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", f"{__name__}:made", executors.GROUP)
    monkeypatch.setattr(executors, "entry_points", lambda group: [point])
    assert executor_for("mine", "there", 3) == ("there", 3)
    assert isinstance(executor_for(workers=0), InProcess)
    assert isinstance(executor_for("local"), Workers)
    for name, address, workers, message in (
        ("slurm", None, None, "There is no executor 'slurm'; it is local or mine or ray"),
        ("local", "127.0.0.1:6379", None, "An address goes with the executor ray"),
        ("local", None, -1, "workers must be at least 0, not -1"),
    ):
        with pytest.raises(RlbenchError, match=message):
            executor_for(name, address, workers)


def test_the_built_in_executors_are_entry_points() -> None:
    entries = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"]
    assert entries[executors.GROUP] == executors._BUILT_IN


def test_a_worker_trains_one_pack_after_the_other(launcher: Launcher) -> None:
    packs = [pack(seed, algorithm=registry.load("random")()) for seed in (1, 2, 4, 6)]
    results = Workers(2, launcher).run(packs, Job(fake_train))
    workers = {int(one.updates["process"][0]) for _, records in results for one in records}
    assert 1 <= len(workers) <= 2
    assert os.getpid() not in workers


def test_what_is_to_be_done_meanwhile_is_done_once_before_the_first_result(launcher: Launcher) -> None:
    calls: list[int] = []
    results = Workers(1, launcher).run([pack(1), pack(2)], Job(fake_train, meanwhile=lambda: calls.append(len(calls))))
    next(results)
    assert calls == [0]
    assert len(list(results)) == 1
    assert calls == [0]


def test_results_are_equal_in_this_process_and_in_one_and_two_workers(
    tiny_plan: Callable[..., Plan], launcher: Launcher
) -> None:
    plan = tiny_plan(seeds=3, steps=96)
    tables = []
    for workers in (0, 1, 2):
        packs = make_packs(plan.cells, max(workers, 1))
        results = Workers(workers, launcher).run(packs, Job()) if workers else InProcess().run(packs, Job(train))
        tables.append(
            {
                cell.id: (one.status, {name: column.tobytes() for name, column in (one.episodes | one.updates).items()})
                for done, records in results
                for cell, one in zip(done.cells, records, strict=True)
            }
        )
    assert len(tables[0]) == 6
    assert all(status == "finished" for status, _ in tables[0].values())
    assert tables[0] == tables[1] == tables[2]
