"""What docs/mujoco.md shows: its Python runs as it stands, its commands with fewer steps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import rlbench
from rlbench.cli import main
from rlbench.training.envs.mujoco import TASKS

pytest.importorskip("mujoco")
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "mujoco.md").read_text(encoding="utf-8")


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S):
        exec(block, names)
    results = names["results"]
    assert isinstance(results, rlbench.Results)
    assert (results.runs["status"] == "finished").all()
    assert list(results.environments) == ["Swimmer-v5", "Hopper-v5(healthy_reward=0.5)"]


def test_the_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    commands = re.findall(r"^\$ (.*)$", PAGE, re.M)
    assert commands.count("make table1") == 1
    assert len(commands) == 5
    for command in commands:
        words = shlex.split(command)
        if words[0] == "make":
            continue
        words += ["--steps", "2048", "--seeds", "1"]
        result = CliRunner().invoke(main, [*words[1:], *(["--workers", "0"] if words[1] == "run" else [])])
        assert result.exit_code == 0, (command, result.output)


def test_the_table_is_that_of_the_published_report() -> None:
    """Means of three runs, with the smallest and the largest; and what is said of the worst setting."""
    tables = ROOT / "results" / "ppo_table1" / "tables"
    scores = pd.read_csv(tables / "scores.csv")
    rows = [line.strip("| \n").split(" | ") for line in PAGE.splitlines() if re.match(r"\| \w+-v5 \|", line)]
    arms = ["no clipping or penalty", "clipping, eps = 0.2", "TRPO", "REINFORCE"]
    assert sorted(row[0] for row in rows) == sorted(scores["environment"].unique())
    for environment, *cells, _ in rows:
        for arm, cell in zip(arms, cells, strict=True):
            own = scores[(scores["arm"] == arm) & (scores["environment"] == environment)]["last100"]
            assert len(own) == 3
            assert cell == f"{own.mean():,.0f} ({own.min():,.0f} to {own.max():,.0f})"
    published = pd.read_csv(tables / "published.csv").set_index("arm")
    worst, others = published.loc[arms[0]], published.drop(index=arms[0])
    said = " ".join(PAGE.split())
    assert f"{worst['fixed']:.2f} [{worst['fixed_low']:.2f}, {worst['fixed_high']:.2f}] on the fixed scale" in said
    assert f"where the others have {others['fixed'].min():.2f} to {others['fixed'].max():.2f}" in said
    compared = pd.read_csv(tables / "comparisons.csv").query("environment == 'all environments' and metric == 'final'")
    chances = compared[compared["arm"].isin(others.index)]["improvement"]
    assert f"probability of {chances.min():.2f} to {chances.max():.2f}" in said


def test_every_task_is_named() -> None:
    fast = PAGE.partition("## What is fast")[2]
    assert all(task.__name__ in fast for task in TASKS.values())
