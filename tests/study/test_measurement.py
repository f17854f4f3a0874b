"""Measurements: what they accept, what is stored of them, and what becomes of functions that go wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from rlbench import Claim, Environment, Measurement, run
from rlbench.errors import RlbenchError
from rlbench.store import Store, load_table
from rlbench.study.executors.launcher import Launcher
from rlbench.study.executors.local import Workers
from rlbench.study.plan import call_measure, make_plan
from rlbench.study.progress import Summary
from rlbench.study.run import execute
from rlbench.study.schedule import make_packs
from rlbench.study.suites import override
from rlbench.userfiles import import_file

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def measure(environment: Environment, seed: int) -> dict[str, dict[str, Any]]:
    """Two columns of unlike lengths, and one without a value."""
    rng = np.random.default_rng(seed)
    return {
        "low": {"noise": rng.normal(0, 1, 4), "count": 3},
        "high": {"noise": (rng.normal(5, 1, 2)).tolist(), "count": float("nan")},
    }


def measurement(function: Any = measure, **changes: Any) -> Measurement:
    values = {"arms": ["low", "high"], "environments": ["chain", "ring"], "seeds": 3} | changes
    return Measurement("noise", function, **values)


def go(one: Measurement, folder: Path) -> Summary:
    return execute(make_plan(one), folder, workers=0, progress=False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": []}, "arms is empty"),
        ({"arms": ["low", 3]}, "arms must be labels, and 3 is not one"),
        ({"arms": ["low", "low"]}, "two arms are called 'low'"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"function": 3}, "measure must be a function, not 3"),
        ({"claims": [Claim("x", ["low", "hgh"], "greater", "noise:mean")]}, "no arm 'hgh'. Did you mean 'high'"),
        ({"claims": [Claim("x", ["low", "high"], "greater")]}, "there is no 'auc_normalised'; name a column with"),
    ],
)
def test_what_cannot_be_measured_is_said(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RlbenchError) as caught:
        measurement(**changes)
    assert str(caught.value).startswith("Measurement 'noise'")
    assert said in str(caught.value)


def test_a_function_that_holds_variables_is_refused() -> None:
    factor = 2.0

    def scaled(environment: Environment, seed: int) -> Any:
        return {"low": {"x": factor}, "high": {"x": 1.0}}

    with pytest.raises(RlbenchError, match=r"hold no variables of a function around it \(factor\)"):
        measurement(scaled)


def test_numbers_go_through_the_store_to_the_verdict(tmp_path: Path) -> None:
    claims = [
        Claim("higher", ["high", "low"], "greater", "noise:mean", 1.0),
        Claim("three", ["low"], "within", "count:last", 0.5, bound=3.0),
    ]
    results = run(measurement(seeds=8, claims=claims), tmp_path, workers=0, progress=False)
    assert set(results.runs["status"]) == {"finished"}
    assert set(results.runs["algorithm"]) == {"measurement"}
    assert results.scores["used"].all()
    assert [verdict.verdict for verdict in results.verdicts] == ["supported", "supported"]
    assert results.comparisons == []
    assert "noise" in results._repr_html_()
    (entry,) = results.experiment.register
    assert (entry["stored"], entry["planned"]) == (0, 32)
    json.dumps(results.experiment.json)


def test_a_sequence_is_a_row_per_number(tmp_path: Path) -> None:
    one = measurement()
    assert go(one, tmp_path).finished == 12
    tables = load_table(tmp_path, make_plan(one).planned)
    assert tables.episodes.empty
    cell = tables.runs.query("arm == 'low' and environment == 'ring' and seed == 1")["cell"].item()
    own = tables.updates[tables.updates["cell"] == cell]
    assert own["step"].tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(own["noise"], np.random.default_rng(1).normal(0, 1, 4))
    np.testing.assert_array_equal(own["count"], [3, np.nan, np.nan, np.nan])


def test_a_second_call_measures_nothing_and_more_seeds_only_the_new_ones(tmp_path: Path) -> None:
    go(measurement(), tmp_path)
    assert (go(measurement(), tmp_path).skipped, go(measurement(), tmp_path).trained) == (12, 0)
    more = go(measurement(seeds=4), tmp_path)
    assert (more.skipped, more.trained) == (12, 4)


def test_one_call_gives_all_arms_of_an_environment_and_a_seed() -> None:
    packs = make_packs(make_plan(measurement()).cells, 1)
    assert [[(cell.arm, cell.environment.label, cell.seed) for cell in pack.cells] for pack in packs[:2]] == [
        [("low", "chain", 0), ("high", "chain", 0)],
        [("low", "chain", 1), ("high", "chain", 1)],
    ]
    assert len(packs) == 6


def answering(answer: Any) -> Callable[..., Any]:
    return partial(call_measure, lambda environment, seed: answer, ("low", "high"), None)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([1, 2], r"must return the columns of every arm by its label, not \[1, 2\]"),
        ({"low": {"x": 1}, "other": {"x": 1}}, "numbers of 'other', which is no arm: low, high"),
    ],
)
def test_an_answer_that_is_no_measurement_fails_all_its_arms(answer: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        answering(answer)(["low"], Environment("chain"), 1, [0])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (None, "given by the names of columns, not as None"),
        ({}, "given by the names of columns"),
        ({"x": "1.0"}, "x must be a number or a list of numbers, not '1.0'"),
        ({"x": [1.0, None]}, "x must be a number or a list of numbers"),
        ({"x": [[1.0], [2.0, 3.0]]}, "x must be a number or a list of numbers"),
        ({"x": np.zeros((2, 2))}, "x must be a number or a list of numbers"),
        ({"step": 1.0}, "a column's name is a word other than cell and step, not 'step'"),
        ({"two words": 1.0}, "not 'two words'"),
        ({3: 1.0}, "not 3"),
    ],
)
def test_an_arm_without_proper_numbers_has_failed_alone(columns: Any, said: str) -> None:
    low, high = answering({"low": columns, "high": {"x": 1}})(["low", "high"], Environment("chain"), 1, [0])
    assert (low.status, high.status) == ("failed", "finished")
    assert said in low.reason
    assert "low" in low.reason


def test_a_missing_arm_has_failed_and_infinity_is_a_number() -> None:
    low, high = answering({"low": {"x": float("inf"), "n": np.int64(2)}})(["low", "high"], Environment("chain"), 1, [0])
    assert (high.status, high.reason) == ("failed", "measure returned nothing for 'high'")
    assert low.updates["x"].tolist() == [np.inf]
    assert low.updates["n"].dtype == np.float64


def breaks(environment: Environment, seed: int) -> dict[str, dict[str, float]]:
    if seed == 1:
        raise ArithmeticError("no such number")
    return {"low": {"x": 1.0}, "high": {"x": 2.0}}


def test_a_function_that_raises_is_a_recorded_failure_of_its_arms(tmp_path: Path) -> None:
    one = measurement(breaks, environments=["chain"])
    summary = go(one, tmp_path)
    assert [(cell.arm, cell.seed, reason) for cell, reason, _ in summary.failed] == [
        ("low", 1, "ArithmeticError: no such number"),
        ("high", 1, "ArithmeticError: no such number"),
    ]
    assert summary.finished == 4
    assert "breaks" in summary.failed[0][2]
    assert go(one, tmp_path).trained == 2  # tried again


def test_an_identity_follows_the_source_and_nothing_else(tmp_path: Path) -> None:
    def ids(helper: str, claims: str = "") -> list[str]:
        (tmp_path / "numbers_here.py").write_text(helper)
        text = "from numbers_here import VALUE\ndef measure(e, s):\n    return {'a': {'x': VALUE}}\n"
        (tmp_path / "function_here.py").write_text(text)
        text = f"from rlbench import *\nfrom function_here import measure\n{claims}\n"
        (tmp_path / "main.py").write_text(f"{text}EXPERIMENT = Measurement('m', measure, ['a'], ['chain'], seeds=2)\n")
        plan = make_plan(import_file(tmp_path / "main.py", "test").EXPERIMENT)
        return [cell.id for cell in plan.cells]

    first = ids("VALUE = 1\n")
    assert len(set(first)) == 2
    assert ids("VALUE = 1\n", "# another remark") == first
    assert ids("VALUE = 2\n") != first


def test_seeds_can_be_overridden_and_nothing_else() -> None:
    assert override(measurement(), seeds=[7, 8]).seeds == (7, 8)
    assert override(measurement()) == measurement()
    with pytest.raises(RlbenchError, match="trains nothing, so its arms have no fields"):
        override(measurement(), ["low.lr=1"])
    with pytest.raises(RlbenchError, match="trains nothing, so it has no budget"):
        override(measurement(), steps=10)


def test_workers_measure_the_same(tmp_path: Path, launcher: Launcher) -> None:
    one = measurement(seeds=2)
    go(one, tmp_path / "here")
    there = execute(make_plan(one), tmp_path / "there", progress=False, executor=Workers(1, launcher))
    assert there.finished == 8
    for cell in make_plan(one).cells:
        here, other = (Store(tmp_path / name).read(cell.id) for name in ("here", "there"))
        assert here is not None
        assert other is not None
        pd.testing.assert_frame_equal(here[2].to_pandas(), other[2].to_pandas())
