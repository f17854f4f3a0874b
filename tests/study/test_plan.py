"""Cells and their identity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlbench import registry
from rlbench.algorithm import configure
from rlbench.fields import fields_of
from rlbench.records import Environment, RunRecord, empty_episodes
from rlbench.store import Store
from rlbench.study.experiment import Arm, Experiment
from rlbench.study.plan import Cell, Plan, make_plan, to_do, trained_arm


def cell(
    environment: Environment | None = None,
    steps: int = 4096,
    seed: int = 0,
    label: str = "",
    fingerprint: str = "f00",
    **overrides: Any,
) -> Cell:
    arm = trained_arm(configure(registry.load("ppo-clip"), overrides, "test"), label, fingerprint=fingerprint)
    return Cell(arm, environment or Environment("CartPole-v1"), steps, seed)


def test_identity_is_what_decides_the_numbers() -> None:
    document = cell().identity
    assert sorted(document) == ["algorithm", "environment", "fingerprint", "seed", "settings", "steps"]
    fields = fields_of(registry.load("ppo-clip"))
    assert sorted(document["settings"]) == sorted(name for name, field in fields.items() if not field.late)


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
        cell(fingerprint="f01"),
    ]
    assert len({variant.id for variant in variants}) == len(variants)


def test_names_of_arms_order_and_the_way_of_writing_numbers_do_not() -> None:
    assert cell(label="another label").id == cell().id
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


def test_a_late_field_may_be_given_its_default() -> None:
    plan = make_plan(Experiment("e", [Arm("ppo-clip", squash=[False, True])], ["Pendulum-v1"], seeds=1, steps=2048))
    plain, squashed = plan.arms
    assert [arm.document()["settings"] for arm in plan.arms] == [{"squash": False}, {"squash": True}]
    assert plain.document()["fields"]["squash"] is False
    assert (squashed.identity["settings"].keys() - plain.identity["settings"].keys()) == {"squash"}
