"""What docs/policies.md shows: its Python runs as it stands, its commands with a small experiment."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import rlbench
from rlbench.analysis.scores.scores import METRICS
from rlbench.cli import main
from rlbench.records import EVALUATED, OF_EVALUATIONS, PER_RUN

PAGE = (Path(__file__).parents[1] / "docs" / "policies.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("poles")
    experiment = rlbench.Experiment("poles", ["ppo-clip", "reinforce"], ["CartPole-v1"], seeds=2, steps=4096)
    rlbench.run(experiment, folder / "results", workers=0, progress=False)
    return folder


def test_the_python_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S):
        exec(block, names)
    assert isinstance(names["total"], float)
    assert names["total"] > 0
    assert isinstance(names["module"], torch.nn.Module)
    policy = names["policy"]
    assert isinstance(policy, rlbench.Policy)
    assert isinstance(policy(np.zeros(4)), np.int64)


def test_the_commands_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    commands = re.findall(r"^\$ rlbench (.*)$", PAGE, re.M)
    assert [command.split()[0] for command in commands] == ["evaluate", "evaluate", "evaluate", "watch"]
    for command in commands:
        words = shlex.split(command)
        if words[0] == "watch" and importlib.util.find_spec("imageio_ffmpeg") is None:
            continue
        words += ["--episodes", "2" if words[0] == "evaluate" else "1"]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, (command, result.output)


def test_every_score_is_in_the_table() -> None:
    for name in (*METRICS, *EVALUATED, *OF_EVALUATIONS, *(name for name in PER_RUN if name.startswith("eval_"))):
        assert f"`{name.removesuffix('_normalised')}`" in PAGE or name == "score", name
