"""Two commands on one results folder, one of them played by the test: nothing twice, nothing left undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rlbench.records import Environment, RunRecord, Status, empty_episodes
from rlbench.store import Store
from rlbench.store.leases import Lease, holders
from rlbench.study import run
from rlbench.study.plan import Cell, Plan
from rlbench.study.progress import Summary
from rlbench.study.run import execute

ABOUT: dict[str, Any] = {"experiments": [{"name": "tiny", "suite": ""}]}


def record(status: Status = "finished") -> RunRecord:
    return RunRecord(status, "" if status == "finished" else "why", 32, empty_episodes(), {"step": np.array([32])})


class Trainer:
    """Notes what it trains, and does something before its first pack."""

    def __init__(self, first: Callable[[], None] = lambda: None) -> None:
        self.trained: list[tuple[str, int]] = []
        self._first: Callable[[], None] | None = first

    def __call__(self, algorithms: Any, _: Environment, __: int, seeds: Any, **___: Any) -> list[RunRecord]:
        if self._first:
            self._first()
            self._first = None
        self.trained += [(one.name, seed) for one, seed in zip(algorithms, seeds, strict=True)]
        return [record() for _ in seeds]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Return a list of what happens while the command waits, one after the other, each as soon as it does."""
    events: list[Callable[[], None]] = []
    clock = SimpleNamespace(sleep=lambda _: events.pop(0)(), perf_counter=time.perf_counter)
    monkeypatch.setattr(run, "time", clock)
    return events


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Lease]:
    lease = Lease(Store(tmp_path), ABOUT)
    yield lease
    lease.close()


def go(plan: Plan, folder: Path, train: Trainer) -> Summary:
    return execute(plan, folder, workers=0, progress=False, train=train)


def name_of(cell: Cell) -> tuple[str, int]:
    return cell.algorithm.name, cell.seed


@pytest.mark.parametrize("status", ["finished", "diverged", "failed"])
def test_what_another_process_trains_is_waited_for(
    tiny_plan: Callable[..., Plan], tmp_path: Path, other: Lease, meanwhile: list[Callable[[], None]], status: Status
) -> None:
    plan = tiny_plan(seeds=3)
    first, *rest = plan.cells
    other.claim(lambda _: [first.id])

    def store() -> None:
        Store(tmp_path).write(first.identity, record(status), {})
        other.release([first.id])

    meanwhile += [store, lambda: None]  # seen as stored, it is waited for no more
    train = Trainer()
    summary = go(plan, tmp_path, train)
    assert sorted(train.trained) == sorted(map(name_of, rest))  # a run that failed there is not tried again here
    assert (summary.skipped, summary.trained, summary.elsewhere) == (0, 5, 1)
    assert [cell for cell, *_ in summary.diverged + summary.failed] == ([] if status == "finished" else [first])
    assert summary.fine == (status == "finished")


def test_what_a_process_had_claimed_that_ended_is_taken_over(
    tiny_plan: Callable[..., Plan], tmp_path: Path, other: Lease, meanwhile: list[Callable[[], None]]
) -> None:
    plan = tiny_plan()
    other.claim(lambda _: [cell.id for cell in plan.cells])
    meanwhile.append(other.close)
    train = Trainer()
    summary = go(plan, tmp_path, train)
    assert sorted(train.trained) == sorted(map(name_of, plan.cells))
    assert (summary.finished, summary.elsewhere) == (4, 0)


def test_what_is_stored_after_the_command_began_is_not_trained_again(
    tiny_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = tiny_plan(seeds=1)

    def store() -> None:
        (mine,) = holders(tmp_path)
        for cell in plan.cells:
            if cell.id not in mine.claimed:
                Store(tmp_path).write(cell.identity, record(), {})

    train = Trainer(store)
    summary = go(plan, tmp_path, train)
    assert len(train.trained) == 1
    assert (summary.skipped, summary.trained, summary.elsewhere) == (0, 1, 1)


def test_a_run_that_failed_before_is_tried_again(tiny_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan = tiny_plan(seeds=1)
    for cell in plan.cells:
        Store(tmp_path).write(cell.identity, record("failed"), {})
    train = Trainer()
    assert go(plan, tmp_path, train).finished == 2
    assert len(train.trained) == 2


def test_claims_are_seen_while_a_pack_trains_and_are_gone_afterwards(
    tiny_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = tiny_plan()
    seen: list[frozenset[str]] = []
    train = Trainer(lambda: seen.extend(one.claimed for one in holders(tmp_path)))
    go(plan, tmp_path, train)
    (claimed,) = seen
    first = [cell.id for cell in plan.cells if name_of(cell) in train.trained[:2]]
    assert claimed == set(first)  # one pack, and not everything
    assert holders(tmp_path) == []


def test_who_is_waited_for_is_said(
    tiny_plan: Callable[..., Plan],
    tmp_path: Path,
    other: Lease,
    meanwhile: list[Callable[[], None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = tiny_plan(seeds=1)
    other.claim(lambda _: [plan.cells[0].id])
    meanwhile += [lambda: None, other.close]
    execute(plan, tmp_path, workers=0, progress=True, train=Trainer())
    said = [line for line in capsys.readouterr().err.splitlines() if "waiting" in line]
    assert len(said) == 1
    assert said[0].startswith("1 run is trained by process ")


def test_the_lease_ends_with_a_command_that_is_interrupted(tiny_plan: Callable[..., Plan], tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(tiny_plan(), tmp_path, Trainer(interrupt))
    assert holders(tmp_path) == []


def test_a_damaged_entry_is_set_aside_before_it_is_trained_again(
    tiny_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = tiny_plan(seeds=1)
    go(plan, tmp_path, Trainer())
    cell = plan.cells[0].id
    (tmp_path / "store" / cell / "manifest.json").write_text("rubbish")
    aside = tmp_path / "store" / ".set-aside" / f"{cell}.1" / "manifest.json"
    found: list[bool] = []
    summary = go(plan, tmp_path, Trainer(lambda: found.append(aside.read_text() == "rubbish")))
    assert found == [True]
    assert summary.messages == [
        f"Set aside {tmp_path / 'store' / cell} as {aside.parent}: its manifest.json is not one of rlbench's"
    ]
