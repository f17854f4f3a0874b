"""Where the runs of one command train: which device, how many processes, how large the packs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlbench.records import RunRecord, empty_episodes
from rlbench.store import Store
from rlbench.study import limits
from rlbench.study.plan import Plan
from rlbench.study.run import execute
from rlbench.study.schedule import Costs, Placement, default_workers, make_packs, place


def fake(*arguments: Any, device: str = "cpu", on_progress: Any = None) -> list[RunRecord]:
    """Return records that say on which device and in which pack they were made."""
    count = len(arguments[-1])
    return [RunRecord("finished", f"{device}, {count}", 32, empty_episodes(), {"step": np.array([32])})] * count


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch say that there is one GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Model")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * 10**9, 8 * 10**9))


def test_on_the_cpu_nothing_is_changed() -> None:
    where = place("cpu", 2)
    assert where == Placement("cpu", "cpu", 2)
    assert (place("cpu", None).workers, place("cpu", 0).at_once) == (default_workers(), 1)
    assert (where.trainer(None), where.trainer(fake)) == (None, fake)
    assert where.room() == pytest.approx(limits.room(2), rel=0.2)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_takes_one_process_and_large_packs() -> None:
    where = place("cuda", None)
    assert (where.device, where.label) == ("cuda", "cuda (Model)")
    assert where.workers == 1
    assert where.room() == 1e9
    assert place("cuda", 2).room() == 5e8
    trainer = where.trainer(fake)
    assert isinstance(trainer, partial)
    assert trainer.keywords == {"device": "cuda"}


@pytest.mark.usefixtures("gpu")
def test_the_manifest_records_the_device_and_the_identity_does_not(
    tiny_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = tiny_plan(seeds=100, arms=["ppo-clip"], steps=2048)
    on_the_cpu = make_packs(plan.cells, 1, Costs())
    assert len(on_the_cpu) > 1
    execute(plan, tmp_path, device="cuda", workers=0, progress=False, train=fake)
    manifests = Store(tmp_path).list()
    assert manifests.keys() == {cell.id for cell in plan.cells}
    assert {manifest["provenance"]["device"] for manifest in manifests.values()} == {"cuda (Model)"}
    reasons = {manifest["outcome"]["reason"] for manifest in manifests.values()}
    assert reasons == {"cuda, 100"}  # one pack, although it is more than the CPU takes
    assert execute(plan, tmp_path, workers=0, progress=False, train=fake).skipped == len(plan.cells)
