"""Trials: which kinds are tried out before packing, and what is learnt from that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rlbench import registry
from rlbench.algorithm import configure
from rlbench.records import Environment
from rlbench.study import run
from rlbench.study.executors.launcher import Launcher
from rlbench.study.plan import Cell, Plan
from rlbench.study.schedule import Costs
from rlbench.study.trials import SIZES, try_out, worth_trying

TINY: dict[str, Any] = {"horizon": 16, "minibatches": 1, "epochs": 1, "hidden": [4]}
LONG = 16 * 200


def cells(seeds: int = 1, steps: int = LONG, environment: str = "CartPole-v1", **fields: Any) -> list[Cell]:
    algorithm = configure(registry.load("ppo-clip"), {**TINY, **fields}, "test")
    return [Cell("a", algorithm, Environment(environment), steps, seed, "f00") for seed in range(seeds)]


def test_a_single_kind_is_tried_out_only_where_its_packs_may_become_large() -> None:
    assert worth_trying(cells(seeds=16), 2, Costs()) == []
    (tried,) = worth_trying(many := cells(seeds=17), 2, Costs())
    assert tried is many[0]


def test_of_several_kinds_the_long_ones_are_tried_out_once_each() -> None:
    long, wide, other = cells(seeds=3), cells(seeds=2, hidden=[5]), cells(environment="Acrobot-v1", steps=2 * LONG)
    short = cells(seeds=3, steps=LONG - 16, hidden=[6])
    again = cells(steps=3 * LONG)  # the kind of the first, with another budget
    tried = worth_trying([*long, *wide, *short, *other, *again], 2, Costs())
    assert {Costs().kind(cell) for cell in tried} == {Costs().kind(group[0]) for group in (long, wide, other)}
    assert len(tried) == 3


def test_what_was_measured_is_not_tried_out_again() -> None:
    costs = Costs()
    costs.note(cells()[0], 4, 1e-4, 0)
    tried = worth_trying([*cells(seeds=20), *cells(hidden=[5])], 2, costs)
    assert [cell.algorithm.hidden for cell in tried] == [(5,)]


def test_a_trial_gives_the_costs_at_two_sizes_and_what_fails_is_left_out() -> None:
    costs, good, bad = Costs(), cells()[0], cells(environment="NoSuchThing-v1")[0]
    with Launcher() as launcher:
        try_out([good, bad], 2, launcher, costs)
    assert costs.measured(good)
    assert not costs.measured(bad)
    assert sorted(map(int, costs._known[costs.kind(good)])) == sorted(SIZES)
    assert costs.of(good).each > 0


def test_a_run_that_needs_no_trial_makes_none(
    tiny_plan: Callable[..., Plan], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []
    monkeypatch.setattr(run, "try_out", lambda cells, *_: tried.extend(cells))
    run.execute(tiny_plan(seeds=1), tmp_path, workers=1, progress=False)
    assert tried == []


def test_what_training_took_is_kept_for_the_next_time(tiny_plan: Callable[..., Plan], tmp_path: Any) -> None:
    plan = tiny_plan(seeds=1, steps=160)
    run.execute(plan, tmp_path, workers=1, progress=False)
    costs = Costs(tmp_path / "store")
    assert all(costs.measured(cell) for cell in plan.cells)
