"""Costs: what was measured counts, what was not follows a rule of thumb, and the file may be anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlbench import registry
from rlbench.algorithm import configure
from rlbench.records import Environment, RunRecord, empty_episodes
from rlbench.store.runs import COSTS
from rlbench.study import memory
from rlbench.study.plan import Cell
from rlbench.study.schedule import LEAST, SAVING, Cost, Costs, rule_of_thumb


def cell(environment: str = "CartPole-v1", steps: int = 40_960, fingerprint: str = "f00", **overrides: Any) -> Cell:
    algorithm = configure(registry.load("ppo-clip"), overrides, "test")
    return Cell("ppo-clip", algorithm, Environment(environment), steps, 0, fingerprint)


def records(seconds: float, status: Any = "finished", peak_bytes: int = 0) -> list[RunRecord]:
    return [RunRecord(status, "", 1, empty_episodes(), {}, seconds=seconds, peak_bytes=peak_bytes)] * 4


def test_two_sizes_give_the_price_of_a_call_and_of_a_replica() -> None:
    costs = Costs()
    for replicas in (1, 4, 8):
        costs.note(cell(), replicas, 3e-5 + 1e-5 * replicas, 0)
    assert costs.of(cell()) == pytest.approx((3e-5, 1e-5))
    assert costs.seconds(cell(), 10) == pytest.approx(40_960 * 13e-5)
    assert costs.of(cell(lr=0.1)) == costs.of(cell())  # the same kind


def test_one_size_scales_the_rule_of_thumb() -> None:
    costs, thumb = Costs(), rule_of_thumb(cell())
    costs.note(cell(), 5, 3 * thumb.per_step(5), 0)
    assert costs.of(cell()) == pytest.approx((3 * thumb.fixed, 3 * thumb.each))


def test_measurements_that_make_no_sense_as_a_line_still_give_positive_costs() -> None:
    costs = Costs()
    costs.note(cell(), 1, 5e-3, 0)
    costs.note(cell(), 8, 1e-3, 0)
    assert costs.of(cell()).fixed > 0
    assert costs.of(cell()).each > 0


@pytest.mark.parametrize(
    "other",
    [
        cell(epochs=3),
        cell("Acrobot-v1"),
        cell(fingerprint="f01"),
        Cell("x", configure(registry.load("actor-critic"), {}, "test"), Environment("CartPole-v1"), 1, 0, "f00"),
    ],
)
def test_other_static_fields_environments_and_sources_are_another_kind(other: Cell) -> None:
    costs = Costs()
    costs.note(cell(), 1, 1.0, 0)
    assert costs.measured(cell())
    assert not costs.measured(other)
    assert costs.of(other) == rule_of_thumb(other)


def test_the_rule_of_thumb_knows_what_takes_longer() -> None:
    plain = rule_of_thumb(cell())
    assert rule_of_thumb(cell(epochs=20)).each > plain.each
    assert rule_of_thumb(cell(minibatches=64)).fixed > plain.fixed
    assert rule_of_thumb(cell(num_envs=4, horizon=512)).fixed < plain.fixed
    assert rule_of_thumb(cell(hidden=[256, 256])).each > plain.each


@pytest.mark.parametrize(("cost", "size"), [(Cost(0.0, 1.0), 8), (Cost(1.0, 1.0), 16), (Cost(100.0, 1.0), 1567)])
def test_a_pack_is_worth_doubling_up_to_there(cost: Cost, size: int) -> None:
    assert cost.worthwhile == size
    saved = 1 - (cost.per_step(2 * size) / (2 * size)) / (cost.per_step(size) / size)
    assert saved <= SAVING + 1e-9
    if size > LEAST:
        half = size // 2
        assert 1 - (cost.per_step(2 * half) / (2 * half)) / (cost.per_step(half) / half) > SAVING


def test_packs_that_spent_their_budget_are_kept_and_others_are_not(tmp_path: Path) -> None:
    costs = Costs(tmp_path)
    costs.note_pack(cell(), records(2.0, "failed"))
    costs.note_pack(cell(steps=4096), records(2.0))  # two rollouts tell little
    assert not costs.measured(cell())
    costs.note_pack(cell(), records(2.0))
    costs.save()
    again = Costs(tmp_path)
    assert again.measured(cell())
    assert again.of(cell()).per_step(4) == pytest.approx(4 * 2.0 / 40_960)
    assert [path.name for path in tmp_path.iterdir()] == [COSTS]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": {"x": [1, 2]}}', '{"a": {"1": [1]}}'])
def test_a_damaged_file_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / COSTS).write_text(text)
    assert Costs(tmp_path).of(cell()) == rule_of_thumb(cell())


def test_a_folder_that_cannot_be_written_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    costs = Costs(tmp_path / "file")
    costs.note(cell(), 1, 1.0, 0)
    costs.save()


def test_memory_bounds_a_pack_by_estimate_and_by_what_was_measured() -> None:
    costs = Costs(observations={"CartPole-v1": 4})
    one = memory.replica_bytes(cell().algorithm, 4, cell().steps)
    assert costs.largest(cell(), 3.5 * one) == 3
    assert costs.largest(cell(), 0.5 * one) == 1
    assert costs.largest(cell(), float("inf")) == rule_of_thumb(cell()).worthwhile
    costs.note(cell(), 10, 1e-4, round(20 * one))
    assert costs.largest(cell(), 6.5 * one) == 3
    small = Costs(observations={"CartPole-v1": 4})
    small.note(cell(), 1, 1e-4, round(20 * one))  # not its replica's
    assert small.largest(cell(), 6.5 * one) == 6
