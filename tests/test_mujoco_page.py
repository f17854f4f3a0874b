"""What docs/mujoco.md shows: its Python runs as it stands, its commands with fewer steps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

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


def test_every_task_is_named() -> None:
    fast = PAGE.partition("## What is fast")[2]
    assert all(task.__name__ in fast for task in TASKS.values())
