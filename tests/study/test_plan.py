"""Cells, their identity, and packs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbench import registry
from rlbench.algorithm import pack_key
from rlbench.fields import configure, fields_of
from rlbench.records import Environment, RunRecord, empty_episodes
from rlbench.store import Store
from rlbench.study.plan import MAX_REPLICAS, Cell, Plan, make_packs, to_do


def cell(environment: Environment | None = None, steps: int = 4096, seed: int = 0, **overrides: Any) -> Cell:
    algorithm = configure(registry.load("ppo-clip"), overrides, "test")
    return Cell("ppo-clip", algorithm, environment or Environment("CartPole-v1"), steps, seed, "f00")


def test_identity_is_what_decides_the_numbers() -> None:
    document = cell().identity
    assert sorted(document) == ["algorithm", "environment", "fingerprint", "seed", "settings", "steps"]
    assert sorted(document["settings"]) == sorted(fields_of(registry.load("ppo-clip")))


def test_every_field_changes_the_identity() -> None:
    changed = {
        "lr": 0.01, "gamma": 0.9, "clip": 0.3, "target_kl": 0.1, "horizon": 1024, "num_envs": 2, "epochs": 3,
        "minibatches": 4, "hidden": [32], "activation": "relu", "shared_trunk": True, "anneal_lr": False,
    }  # fmt: skip
    ids = {cell(**{name: value}).id for name, value in changed.items()}
    assert len(ids | {cell().id}) == len(changed) + 1


def test_seed_budget_environment_options_and_source_change_the_identity() -> None:
    variants = [
        cell(),
        cell(seed=1),
        cell(steps=8192),
        cell(Environment("Acrobot-v1")),
        cell(Environment("CartPole-v1", {"sutton_barto_reward": True})),
        dataclasses.replace(cell(), fingerprint="f01"),
    ]
    assert len({variant.id for variant in variants}) == len(variants)


def test_names_of_arms_order_and_the_way_of_writing_numbers_do_not() -> None:
    assert dataclasses.replace(cell(), arm="another label").id == cell().id
    assert cell(lr=1, clip=0.1).id == cell(clip="0.1", lr=1.0).id
    options = Environment("Pendulum-v1", {"g": 5, "x": 1.0}), Environment("Pendulum-v1", {"x": 1, "g": 5.0})
    assert cell(options[0]).id == cell(options[1]).id


def test_editing_a_plugin_makes_its_cells_stale(tmp_path: Path) -> None:
    source = (
        "from rlbench import Algorithm\nclass Edited(Algorithm):\n    name = 'edited-{n}'\n"
        "    def surrogate(self, x):\n        return x.ratio * x.advantage{edit}\n"
    )
    prints = []
    for n, edit in enumerate(["", " * 2"]):
        path = tmp_path / f"edited_{n}.py"
        path.write_text(source.format(n="same", edit=edit))
        (cls,) = registry.add_file(path)
        prints.append(registry.fingerprint(cls))
        registry._classes.pop(cls.name)
    assert prints[0] != prints[1]


def test_a_plan_lists_every_run_once(tiny_plan: Callable[..., Plan]) -> None:
    plan = tiny_plan(environments=["CartPole-v1", "Acrobot-v1"], seeds=[3, 5, 8])
    listed = [(one.arm, one.environment.id, one.seed) for one in plan.cells]
    assert len(set(listed)) == len(listed) == 2 * 2 * 3
    assert len({one.id for one in plan.cells}) == len(plan.cells)
    assert [one.cell for one in plan.planned] == [one.id for one in plan.cells]
    document = plan.document()
    assert document["baseline"] == "ppo-clip"
    assert document["steps"] == {"CartPole-v1": 32, "Acrobot-v1": 32}
    assert document["arms"][0]["fields"]["clip"] == 0.2
    assert document["arms"][0]["settings"]["hidden"] == [4]


@pytest.mark.parametrize(("status", "again"), [("finished", False), ("diverged", False), ("failed", True)])
def test_final_runs_are_skipped_and_failed_ones_tried_again(tmp_path: Path, status: Any, again: bool) -> None:
    store, one, other = Store(tmp_path), cell(seed=0), cell(seed=1)
    store.write(one.identity, RunRecord(status, "", 1, empty_episodes(), {"step": np.array([1])}), {})
    left, final = to_do([one, other], store)
    assert left == ([one, other] if again else [other])
    assert final.total() == (0 if again else 1)


@settings(max_examples=30, deadline=None)
@given(
    groups=st.lists(
        st.tuples(st.integers(1, 20), st.sampled_from([1, 4, 10]), st.sampled_from([4096, 40960])),
        min_size=1,
        max_size=5,
        unique_by=lambda group: group[1:],
    ),
    workers=st.integers(1, 8),
)
def test_packs_cover_every_cell_once_and_hold_only_what_may_train_together(
    groups: list[tuple[int, int, int]], workers: int
) -> None:
    cells = [
        cell(steps=steps, seed=seed, epochs=epochs, lr=1e-4 * (1 + seed % 3))
        for size, epochs, steps in groups
        for seed in range(size)
    ]
    packs = make_packs(cells, workers, max_replicas=8)
    assert sorted(one.id for pack in packs for one in pack.cells) == sorted(one.id for one in cells)
    for pack in packs:
        assert 1 <= len(pack.cells) <= 8
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
        (2, 8, [3, 3, 3, 3, 2, 2, 2, 2]),
    ],
)
def test_groups_are_split_only_where_that_keeps_more_workers_busy(groups: int, workers: int, sizes: list[int]) -> None:
    cells = [cell(seed=seed, hidden=[width]) for width in range(1, groups + 1) for seed in range(10)]
    assert [len(pack.cells) for pack in make_packs(cells, workers)] == sizes


def test_runs_that_differ_only_in_hyper_fields_share_a_pack(tiny_plan: Callable[..., Plan]) -> None:
    cells = [cell(lr=lr, clip=clip, seed=seed) for lr in (1e-3, 1e-4) for clip in (0.1, 0.2) for seed in range(5)]
    assert len(make_packs(cells, 1)) == 1
    assert sorted(len(pack.cells) for pack in make_packs(cells, 2)) == [10, 10]


def test_options_and_budgets_split_packs() -> None:
    heavy, light = Environment("Pendulum-v1", {"g": 9.0}), Environment("Pendulum-v1", {"g": 5.0})
    assert len(make_packs([cell(heavy), cell(light), cell(light, steps=8192)], 1)) == 3


def test_ten_thousand_cells_are_packed_quickly() -> None:
    cells = [cell(seed=seed) for seed in range(10)]
    many = [dataclasses.replace(cells[n % 10], seed=n) for n in range(10_000)]
    packs = make_packs(many, 8)
    assert len(packs) >= 10_000 // MAX_REPLICAS
    sizes = [len(pack.cells) for pack in packs]
    assert max(sizes) - min(sizes) <= 1
