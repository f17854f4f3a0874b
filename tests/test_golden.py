"""That golden copies tell what changed: every number, and by its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests import golden

NUMBERS = {"reinforce on CartPole-v1, seed 3": {"updates.kl": "float64 x4 134b7b515cf8b2a5", "steps_done": "1024"}}
TABLE = "arm,environment,mean\ntrpo,CartPole-v1,395.2\nppo-clip,CartPole-v1,399.5\n"
PAGE = '<style>p {}</style><h1>Which <b>one</b>?</h1><table><tr><th>a</th><td>0.5</td></tr></table><img alt="A line.">'


def written(folder: Path, numbers: Any = NUMBERS, table: str = TABLE, page: str = PAGE) -> Path:
    """Write a small golden copy."""
    (folder / "tables").mkdir(parents=True)
    (folder / "trainings.json").write_text(json.dumps(numbers), encoding="utf-8")
    (folder / "tables" / "scores.csv").write_text(table, encoding="utf-8")
    (folder / "report.txt").write_text(golden.words(page), encoding="utf-8")
    return folder


def test_equal_copies_have_no_difference(tmp_path: Path) -> None:
    assert not [*golden.differences(written(tmp_path / "now"), written(tmp_path / "then"))]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"numbers": {"reinforce on CartPole-v1, seed 3": {"updates.kl": "float64 x4 0", "steps_done": "1024"}}},
            "trainings.json: reinforce on CartPole-v1, seed 3 / updates.kl: "
            '"float64 x4 134b7b515cf8b2a5", now "float64 x4 0"',
        ),
        ({"numbers": NUMBERS | {"more": 1}}, "trainings.json: more: is new"),
        ({"numbers": {}}, "trainings.json: reinforce on CartPole-v1, seed 3: is missing"),
        (
            {"table": TABLE.replace("399.5", "399.6")},
            "tables/scores.csv: row 3 (ppo-clip), mean: '399.5', now '399.6'",
        ),
        ({"table": TABLE + "a,b,1\n"}, "tables/scores.csv: line 4: 'a,b,1' is new"),
        ({"page": PAGE.replace("0.5", "0.6")}, "report.txt: line 2: '| a | 0.5', now '| a | 0.6'"),
        ({"page": PAGE.replace("A line.", "")}, "report.txt: line 3: '[A line.]', now '[]'"),
    ],
)
def test_a_change_is_told_by_its_place(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    now, then = written(tmp_path / "now", **changed), written(tmp_path / "then")
    assert [*golden.differences(now, then)] == [said]


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    now, then = written(tmp_path / "now"), written(tmp_path / "then")
    (now / "tables" / "scores.csv").unlink()
    assert [*golden.differences(now, then)] == ["tables/scores.csv: is missing"]


def test_the_smallest_change_of_a_number_changes_its_hash() -> None:
    assert golden.hashed(pd.Series([1.0])) != golden.hashed(pd.Series([1.0 + 2**-52]))


def test_what_differs_from_build_to_build_is_left_out() -> None:
    text = "version 7d45e11baf; registered on 2026-11-25T02:55:38+00:00 with torch 2.13.0+cpu"
    assert golden.masked(text) == "version COMMIT; registered on TIME with torch VERSION"
