"""The runner: computes what is missing and only that, keeps what is done whatever happens."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlbench.errors import RlbenchError
from rlbench.records import Environment, RunRecord, empty_episodes
from rlbench.store import Store, load_table
from rlbench.store.folders import read_specification, seems_stored
from rlbench.study.plan import Plan
from rlbench.study.progress import Summary
from rlbench.study.run import Interrupted, execute

Trainer = Callable[..., list[RunRecord]]


class Fake:
    """A trainer that notes what it is asked for; `stop` is raised by the second pack."""

    def __init__(self, statuses: dict[int, Any] | None = None, stop: BaseException | None = None) -> None:
        self.seeds: list[list[int]] = []
        self.statuses = statuses or {}
        self.stop = stop

    def __call__(self, _: Any, environment: Environment, steps: int, seeds: Any, **__: Any) -> list[RunRecord]:
        self.seeds.append(list(seeds))
        if self.stop and len(self.seeds) == 2:
            raise self.stop
        updates = {"step": np.array([steps])}
        return [
            RunRecord(self.statuses.get(seed, "finished"), f"reason {seed}", steps, empty_episodes(), updates)
            for seed in seeds
        ]


def go(plan: Plan, folder: Path, train: Trainer) -> Summary:
    return execute(plan, folder, workers=0, progress=False, train=train)


def test_a_second_call_has_nothing_to_do(tiny_plan: Callable[..., Plan], tmp_path: Path) -> None:
    first, second = Fake(), Fake()
    assert go(tiny_plan(), tmp_path, first).finished == 4
    summary = go(tiny_plan(), tmp_path, second)
    assert (summary.skipped, summary.trained) == (4, 0)
    assert second.seeds == []


def test_more_seeds_cost_only_the_new_ones_and_arms_are_shared(tiny_plan: Callable[..., Plan], tmp_path: Path) -> None:
    go(tiny_plan(seeds=2), tmp_path, Fake())
    more = Fake()
    assert go(tiny_plan(seeds=4), tmp_path, more).skipped == 4
    assert more.seeds == [[2, 3], [2, 3]]


def test_failed_runs_are_tried_again_and_diverged_ones_are_not(tiny_plan: Callable[..., Plan], tmp_path: Path) -> None:
    summary = go(tiny_plan(), tmp_path, Fake({0: "failed", 1: "diverged"}))
    assert [(cell.seed, reason) for cell, reason, _ in summary.failed] == [(0, "reason 0")] * 2
    assert [cell.seed for cell, *_ in summary.diverged] == [1, 1]
    assert not summary.fine
    again = Fake()
    summary = go(tiny_plan(), tmp_path, again)
    assert again.seeds == [[0], [0]]
    assert (summary.skipped, summary.skipped_diverged, summary.finished) == (2, 2, 2)


def test_interruption_keeps_finished_packs_and_the_next_call_does_the_rest(
    tiny_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    with pytest.raises(Interrupted, match=r"2 of 4 runs are stored; the same command continues"):
        go(tiny_plan(), tmp_path, Fake(stop=KeyboardInterrupt()))
    rest = Fake()
    assert go(tiny_plan(), tmp_path, rest).skipped == 2
    assert len(rest.seeds) == 1


def test_a_full_disk_stops_with_one_sentence_and_keeps_what_is_stored(
    tiny_plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, calls = os.fsync, []

    def fills_up(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 5:  # the first entry is three files and a folder
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fills_up)
    with pytest.raises(RlbenchError, match="No space left on device"):
        go(tiny_plan(), tmp_path, Fake())
    monkeypatch.undo()
    assert len(Store(tmp_path).list()) == 1
    assert go(tiny_plan(), tmp_path, Fake()).skipped == 1


def test_a_damaged_entry_is_trained_again_and_said(tiny_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan = tiny_plan()
    go(plan, tmp_path, Fake())
    (tmp_path / "store" / plan.cells[0].id / "updates.parquet").write_bytes(b"rubbish")
    fake = Fake()
    summary = go(plan, tmp_path, fake)
    assert fake.seeds == [[0]]
    assert len(summary.messages) == 1
    assert plan.cells[0].id in summary.messages[0]
    assert (load_table(tmp_path, plan.planned).runs["status"] == "finished").all()


def test_an_environment_that_cannot_be_made_is_said_before_anything_trains(
    tiny_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    fake = Fake()
    with pytest.raises(RlbenchError, match="Did you mean 'CartPole-v1'"):
        go(tiny_plan(environments=["Acrobot-v1", "CartPol-v1"]), tmp_path, fake)
    assert fake.seeds == []


class RaisingFor(Fake):
    """Raises whenever an algorithm of this name is in a pack."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __call__(self, algorithms: Any, *arguments: Any, **options: Any) -> list[RunRecord]:
        records = super().__call__(algorithms, *arguments, **options)
        if self.name in [one.name for one in algorithms]:
            raise ZeroDivisionError("in surrogate")
        return records


def test_a_plugin_that_raises_while_training_fails_its_runs_only(
    tiny_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    fake = RaisingFor("actor-critic")
    summary = go(tiny_plan(), tmp_path, fake)
    assert [(cell.arm, reason) for cell, reason, _ in summary.failed] == [
        ("actor-critic", "ZeroDivisionError: in surrogate")
    ] * 2
    assert summary.finished == 2
    assert "Traceback" in summary.failed[0][2]
    assert len(fake.seeds) == 4  # once together, each alone, and the other arm
    manifests = Store(tmp_path).list().values()
    assert sorted(one["outcome"]["attempts"] for one in manifests) == [1, 1, 2, 2]


def test_what_raised_once_only_is_no_failure(tiny_plan: Callable[..., Plan], tmp_path: Path) -> None:
    summary = go(tiny_plan(), tmp_path, Fake(stop=ZeroDivisionError("in surrogate")))
    assert (summary.finished, summary.failed) == (4, [])


def test_what_was_planned_is_kept_for_reports(tiny_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan = tiny_plan()
    go(plan, tmp_path, Fake())
    document, cells = read_specification(tmp_path, "tiny")
    assert cells == plan.planned
    assert document == json.loads(json.dumps(plan.document()))
    assert not seems_stored(tmp_path, {**plan.experiment.document(), "seeds": [0]})
    assert seems_stored(tmp_path, plan.experiment.document())
    shutil.rmtree(tmp_path / "store" / plan.cells[0].id)
    assert not seems_stored(tmp_path, plan.experiment.document())
    with pytest.raises(RlbenchError, match="Did you mean 'tiny'"):
        read_specification(tmp_path, "tinny")
    (tmp_path / "tiny" / "experiment.json").write_text("{")
    with pytest.raises(RlbenchError, match="is damaged"):
        read_specification(tmp_path, "tiny")


def test_a_manifest_says_what_produced_the_run(tiny_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan = tiny_plan()
    go(plan, tmp_path, Fake())
    manifest = Store(tmp_path).manifest(plan.cells[0].id)
    assert manifest is not None
    made_by = manifest["provenance"]
    assert made_by["threads"] == 1
    assert made_by["replicas"] == 2
    assert made_by["versions"]["torch"].startswith("2")
    assert made_by["machine"]["cpus"] >= 1
    assert made_by["commit"] is None or len(made_by["commit"]) == 40
    assert manifest["identity"] == json.loads(json.dumps(plan.cells[0].identity))


def test_a_negative_number_of_workers_is_refused(tiny_plan: Callable[..., Plan], tmp_path: Path) -> None:
    with pytest.raises(RlbenchError, match="workers must be at least 0"):
        execute(tiny_plan(), tmp_path, workers=-1)
