"""Costs: what was measured counts, what was not follows a rule of thumb, and the file may be anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlbench import registry
from rlbench.algorithm import configure
from rlbench.records import Environment, RunRecord, empty_episodes
from rlbench.store.runs import COSTS
from rlbench.study import limits
from rlbench.study.plan import Cell, trained_arm
from rlbench.study.schedule import GPU_BLOCK, Costs, rule_of_thumb
from rlbench.training import BLOCK


def cell(
    environment: str = "CartPole-v1",
    steps: int = 40_960,
    fingerprint: str = "f00",
    algorithm: str = "ppo-clip",
    **fields: Any,
) -> Cell:
    arm = trained_arm(configure(registry.load(algorithm), fields, "test"), fingerprint=fingerprint)
    return Cell(arm, Environment(environment), steps, 0)


def records(seconds: float, status: Any = "finished", peak_bytes: int = 0) -> list[RunRecord]:
    return [RunRecord(status, "", 1, empty_episodes(), {}, seconds=seconds, peak_bytes=peak_bytes)] * 4


def note(costs: Costs, replicas: int, per_step: float, peak_bytes: int = 0) -> None:
    """Note a pack of `replicas` that took so many seconds per environment step of a run."""
    one = records(per_step * cell().steps / replicas, peak_bytes=peak_bytes)[0]
    costs.note(cell(), [one] * replicas)


def test_what_was_measured_scales_the_rule_of_thumb() -> None:
    costs = Costs()
    note(costs, 5, 3 * rule_of_thumb(cell(), 5))
    assert costs.per_step(cell(), 7) == pytest.approx(3 * rule_of_thumb(cell(), 7))
    assert costs.per_step(cell(lr=0.1), 7) == costs.per_step(cell(), 7)  # the same kind
    note(costs, 8, 5 * rule_of_thumb(cell(), 8))
    assert costs.per_step(cell(), 7) == pytest.approx(4 * rule_of_thumb(cell(), 7))


@pytest.mark.parametrize(
    "other",
    [
        cell(epochs=3),
        cell("Acrobot-v1"),
        cell(fingerprint="f01"),
        cell(steps=1, algorithm="actor-critic"),
    ],
)
def test_other_static_fields_environments_and_sources_are_another_kind(other: Cell) -> None:
    costs = Costs()
    note(costs, 1, 1.0)
    assert costs.per_step(cell(), 1) != rule_of_thumb(cell(), 1)
    assert costs.per_step(other, 1) == rule_of_thumb(other, 1)


def test_the_rule_of_thumb_knows_what_takes_longer() -> None:
    def fixed_and_each(**fields: Any) -> tuple[float, float]:
        one, two = (rule_of_thumb(cell(**fields), replicas) for replicas in (1, 2))
        return 2 * one - two, two - one

    fixed, each = fixed_and_each()
    assert fixed_and_each(epochs=20)[1] > each
    assert fixed_and_each(minibatches=64)[0] > fixed
    assert fixed_and_each(num_envs=4, horizon=512)[0] < fixed
    assert fixed_and_each(hidden=[256, 256])[1] > each


def test_packs_that_spent_their_budget_are_kept_and_others_are_not(tmp_path: Path) -> None:
    costs = Costs(tmp_path)
    costs.note(cell(), records(2.0, "failed"))
    costs.note(cell(steps=4096), records(2.0))  # two rollouts tell little
    assert costs.per_step(cell(), 1) == rule_of_thumb(cell(), 1)
    costs.note(cell(), records(2.0))
    costs.save()
    again = Costs(tmp_path)
    assert again.per_step(cell(), 4) == pytest.approx(4 * 2.0 / 40_960)
    assert [path.name for path in tmp_path.iterdir()] == [COSTS]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": {"x": [1, 2]}}', '{"a": {"1": [1]}}'])
def test_a_damaged_file_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / COSTS).write_text(text)
    assert Costs(tmp_path).per_step(cell(), 1) == rule_of_thumb(cell(), 1)


def test_a_folder_that_cannot_be_written_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    costs = Costs(tmp_path / "file")
    note(costs, 1, 1.0)
    costs.save()


def test_memory_bounds_a_pack_by_estimate_and_by_what_was_measured() -> None:
    costs = Costs(observations={"CartPole-v1": 4})
    one = limits.replica_bytes(cell().algorithm, 4, cell().steps)
    assert costs.largest(cell(), 3.5 * one) == 3
    assert costs.largest(cell(), 0.5 * one) == 1
    assert costs.largest(cell(), float("inf")) == BLOCK
    assert Costs(device="cuda (Model)").largest(cell(), float("inf")) == GPU_BLOCK
    note(costs, 10, 1e-4, round(20 * one))
    assert costs.largest(cell(), 6.5 * one) == 3
    small = Costs(observations={"CartPole-v1": 4})
    note(small, 1, 1e-4, round(20 * one))  # not its replica's
    assert small.largest(cell(), 6.5 * one) == 6
