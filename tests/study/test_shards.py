"""Shards: every run in exactly one, as many in each, the same whatever else is planned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from rlbench.errors import RlbenchError
from rlbench.store import load_table
from rlbench.study.experiment import Arm, Measurement
from rlbench.study.plan import Plan, make_plan
from rlbench.study.run import execute
from rlbench.study.shards import Shard, parse_shard, shard_of

TINY = {"horizon": 16, "minibatches": 1, "epochs": 1}
WIDTHS = [Arm("ppo-clip", f"width {width}", hidden=[width], **TINY) for width in range(2, 12)]


def measure(_: object, seed: int) -> dict[str, dict[str, list[int]]]:
    return {"a": {"x": [seed]}, "b": {"x": [seed]}}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_partition_the_runs_evenly(tiny_plan: Callable[..., Plan], count: int) -> None:
    plan = tiny_plan(arms=WIDTHS, seeds=9)
    shards = [Shard(index, count) for index in range(1, count + 1)]
    assert all(sum(shard.holds(cell) for shard in shards) == 1 for cell in plan.cells)
    for arm in WIDTHS:
        sizes = Counter(shard_of(cell, count) for cell in plan.cells if cell.arm == arm.label)
        assert max(sizes.values()) - min(sizes[index] for index in range(1, count + 1)) <= 1


def test_arms_of_one_seed_are_spread_too(tiny_plan: Callable[..., Plan]) -> None:
    plan = tiny_plan(arms=WIDTHS, seeds=1)
    assert len({shard_of(cell, 2) for cell in plan.cells}) == 2


def test_a_shard_keeps_its_runs_when_the_experiment_grows(tiny_plan: Callable[..., Plan]) -> None:
    small, large = tiny_plan(arms=WIDTHS[3:4], seeds=2), tiny_plan(arms=WIDTHS, seeds=20)
    of = {cell.id: shard_of(cell, 3) for cell in large.cells}
    assert all(of[cell.id] == shard_of(cell, 3) for cell in small.cells)


def test_what_one_call_measures_stays_together() -> None:
    plan = make_plan(Measurement("m", measure, ["a", "b"], ["chain"], seeds=10))
    of = {seed: {shard_of(cell, 3) for cell in plan.cells if cell.seed == seed} for seed in range(10)}
    assert all(len(shards) == 1 for shards in of.values())
    assert set.union(*of.values()) == {1, 2, 3}


def test_shards_compose_to_what_one_command_gives(tiny_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan = tiny_plan(seeds=5)
    trained = []
    for index in (2, 1, 3):
        summary = execute(plan, tmp_path / "shards", workers=0, progress=False, shard=Shard(index, 3))
        assert summary.skipped == summary.elsewhere == 0
        trained.append(summary.finished)
    assert sum(trained) == 10
    assert min(trained) >= 2
    execute(plan, tmp_path / "whole", workers=0, progress=False)
    shards, whole = (load_table(tmp_path / name, plan.planned) for name in ("shards", "whole"))
    pd.testing.assert_frame_equal(shards.episodes, whole.episodes, check_exact=True)
    pd.testing.assert_frame_equal(shards.updates, whole.updates, check_exact=True)
    assert list(shards.runs["status"]) == ["finished"] * 10


def test_a_shard_is_named_by_its_number_of_how_many() -> None:
    assert parse_shard("2/3") == Shard(2, 3)
    assert str(Shard(1, 1)) == "1/1"


@pytest.mark.parametrize(
    "text", ["0/3", "4/3", "x", "", "1", "1/", "/3", "-1/3", "1/0", "1.0/3", "1/3/5", "٢/٣", " 1/3"]
)
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(RlbenchError, match="it is I/N with I from 1 to N") as caught:
        parse_shard(text)
    assert "\n" not in str(caught.value)
