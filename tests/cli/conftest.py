"""A command line in this process, in an empty folder, and small experiment files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rlbench.cli import main

Cli = Callable[..., Result]

TINY = "horizon=16, minibatches=1, epochs=1, hidden=[4]"
EXPERIMENT = f"""
from rlbench import Arm, Experiment

EXPERIMENT = Experiment(
    "tiny",
    [Arm("ppo-clip", {TINY}), Arm("actor-critic", {TINY})],
    ["CartPole-v1"],
    seeds=2,
    steps=64,
)
"""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return a function that runs `rlbench ARGUMENTS` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace the report, which takes seconds, and return the list of what it was called with."""
    from rlbench.analysis.report import experiment_page

    calls: list[Any] = []

    def write_report(results: Any, folder: Path, *_: Any) -> Path:
        calls.append((results.tables, results.experiment, folder))
        return folder / "report.html"

    monkeypatch.setattr(experiment_page, "write_report", write_report)
    return calls


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Return a file of two arms, two seeds and 64 steps."""
    path = tmp_path / "tiny.py"
    path.write_text(EXPERIMENT)
    return path
