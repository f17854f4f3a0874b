"""Packs: what trains together, how many at once, what starts first."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbench import registry
from rlbench.algorithm import configure, pack_key
from rlbench.records import Environment, RunRecord, empty_episodes
from rlbench.study.plan import Cell, trained_arm
from rlbench.study.schedule import Costs, make_packs, rule_of_thumb


def cell(environment: Environment | None = None, steps: int = 4096, seed: int = 0, **overrides: Any) -> Cell:
    algorithm = configure(registry.load("ppo-clip"), overrides, "test")
    return Cell(trained_arm(algorithm, fingerprint="f00"), environment or Environment("CartPole-v1"), steps, seed)


def measured(**costs: float) -> Costs:
    """Return costs of some environments, as if so many times as high as the rule of thumb says were measured."""
    known = Costs()
    for environment, times in costs.items():
        one = cell(Environment(environment), 40_960)
        seconds = times * rule_of_thumb(one, 1) * one.steps
        known.note(one, [RunRecord("finished", "", one.steps, empty_episodes(), {}, seconds=seconds)])
    return known


@settings(max_examples=30)
@given(
    groups=st.lists(
        st.tuples(st.integers(1, 20), st.sampled_from([1, 4, 10]), st.sampled_from([4096, 40960])),
        min_size=1,
        max_size=5,
        unique_by=lambda group: group[1:],
    ),
    workers=st.integers(1, 8),
    room=st.sampled_from([1.0, 2e7, 1e9]),
)
def test_packs_cover_every_cell_once_and_hold_only_what_may_train_together(
    groups: list[tuple[int, int, int]], workers: int, room: float
) -> None:
    cells = [
        cell(steps=steps, seed=seed, epochs=epochs, lr=1e-4 * (1 + seed % 3))
        for size, epochs, steps in groups
        for seed in range(size)
    ]
    packs = make_packs(cells, workers, room=room)
    limits = {one.id: Costs().largest(one, room) for one in cells}
    assert sorted(one.id for pack in packs for one in pack.cells) == sorted(one.id for one in cells)
    for pack in packs:
        assert 1 <= len(pack.cells) <= min(limits[one.id] for one in pack.cells)
        assert len({(pack_key(one.algorithm), one.environment.label, one.steps) for one in pack.cells}) == 1
    assert [pack.cost for pack in packs] == sorted((pack.cost for pack in packs), reverse=True)


@pytest.mark.parametrize(
    ("groups", "workers", "sizes"),
    [
        (1, 1, [10]),
        (1, 2, [5, 5]),
        (1, 4, [3, 3, 2, 2]),
        (4, 2, [10, 10, 10, 10]),
        (3, 2, [10, 10, 5, 5]),
        (5, 4, [10, 10, 10, 10, 3, 3, 2, 2]),
        (2, 8, [3, 3, 3, 3, 2, 2, 2, 2]),
    ],
)
def test_groups_are_split_only_where_that_keeps_more_workers_busy(groups: int, workers: int, sizes: list[int]) -> None:
    cells = [cell(seed=seed, hidden=[width]) for width in range(1, groups + 1) for seed in range(10)]
    assert [len(pack.cells) for pack in make_packs(cells, workers)] == sizes


def test_runs_that_differ_only_in_hyper_fields_share_a_pack() -> None:
    cells = [cell(lr=lr, clip=clip, seed=seed) for lr in (1e-3, 1e-4) for clip in (0.1, 0.2) for seed in range(3)]
    assert len(make_packs(cells, 1)) == 1
    assert sorted(len(pack.cells) for pack in make_packs(cells, 2)) == [6, 6]


def test_options_and_budgets_split_packs() -> None:
    heavy, light = Environment("Pendulum-v1", {"g": 9.0}), Environment("Pendulum-v1", {"g": 5.0})
    assert len(make_packs([cell(heavy), cell(light), cell(light, steps=8192)], 1)) == 3


def test_ten_thousand_cells_are_packed_quickly() -> None:
    cells = [cell(seed=seed) for seed in range(10)]
    many = [dataclasses.replace(cells[n % 10], seed=n) for n in range(10_000)]
    packs = make_packs(many, 8)
    largest = Costs().largest(cells[0], 1e12)
    assert len(packs) >= 10_000 / largest
    sizes = [len(pack.cells) for pack in packs]
    assert max(sizes) <= largest
    assert max(sizes) - min(sizes) <= 1


def test_a_rollout_that_does_not_fit_trains_by_itself() -> None:
    huge = [cell(seed=seed, horizon=2**22, minibatches=1, steps=2**23) for seed in range(6)]
    assert [len(pack.cells) for pack in make_packs(huge, 2, room=2e9)] == [1] * 6
    small = [cell(seed=seed) for seed in range(6)]
    assert [len(pack.cells) for pack in make_packs(small, 2, room=2e9)] == [3, 3]


def test_what_was_measured_to_be_slow_starts_first_and_is_split_finer() -> None:
    cells = [cell(Environment(name), seed=seed) for name in ("CartPole-v1", "Acrobot-v1") for seed in range(10)]
    costs = measured(**{"CartPole-v1": 1.0, "Acrobot-v1": 100.0})
    packs = make_packs(cells, 2, costs)
    assert [(pack.cells[0].environment.id, len(pack.cells)) for pack in packs] == [
        ("Acrobot-v1", 5), ("Acrobot-v1", 5), ("CartPole-v1", 5), ("CartPole-v1", 5),
    ]  # fmt: skip
    assert packs[0].cost == pytest.approx(100 * 4096 * rule_of_thumb(cells[0], 5))


def test_more_workers_than_cells_leave_a_cell_to_each() -> None:
    assert [len(pack.cells) for pack in make_packs([cell(seed=seed) for seed in range(3)], 8)] == [1, 1, 1]
