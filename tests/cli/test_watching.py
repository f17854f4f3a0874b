"""`rlbench run --tensorboard`: files, suites with measurements, stages; never TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Cli = Callable[..., Result]

pytest.importorskip("tensorboard")

MEASURED = """
from rlbench import Measurement

def measure(environment, seed):
    return {"a": {"x": [seed, seed + 0.5]}}

EXPERIMENT = Measurement("numbers", measure, ["a"], ["chain"], seeds=1, question="What?")
"""


def runs(logs: Path) -> list[str]:
    """Return the runs in a folder as TensorBoard names them."""
    return sorted(str(path.parent.relative_to(logs)) for path in logs.rglob("*tfevents*"))


def test_a_file_and_where_to_look(cli: Cli, experiment: Path, tmp_path: Path) -> None:
    ended = cli("run", experiment, "--workers", 0, "--tensorboard")
    assert ended.exit_code == 0, ended.output
    assert "tensorboard: results/tiny/tensorboard\n" in ended.output
    arms = ("actor-critic", "ppo-clip")
    assert runs(tmp_path / "results/tiny/tensorboard") == [
        f"tiny/{arm}/CartPole-v1/{n}" for arm in arms for n in (0, 1)
    ]


def test_a_suite_with_a_measurement_shares_one_folder(cli: Cli, experiment: Path, tmp_path: Path) -> None:
    suite = tmp_path / "text"
    suite.mkdir()
    experiment.rename(suite / "tiny.py")
    (suite / "numbers.py").write_text(MEASURED)
    ended = cli("run", suite, "--seeds", 1, "--workers", 0, "--tensorboard")
    assert ended.exit_code == 0, ended.output
    logs = tmp_path / "results/text/tensorboard"
    assert runs(logs) == ["numbers/a/chain/0", "tiny/actor-critic/CartPole-v1/0", "tiny/ppo-clip/CartPole-v1/0"]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(logs / "numbers/a/chain/0"))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("update/x")] == [(1, 0.0), (2, 0.5)]


def test_stages_show_what_they_train(cli: Cli, experiment: Path, tmp_path: Path) -> None:
    staged = ("--until-decided", "--stage", 2, "--seeds", 4, "--steps", 64)
    ended = cli("run", experiment, "--workers", 0, "--tensorboard", *staged)
    assert ended.exit_code == 0, ended.output
    stored = [path for path in (tmp_path / "results/store").iterdir() if path.is_dir() and path.name[0] != "."]
    assert len(runs(tmp_path / "results/tiny/tensorboard")) == len(stored) >= 4


def test_tensorflow_is_not_imported_where_it_is_installed(experiment: Path, tmp_path: Path) -> None:
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub/tensorflow.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    path = os.pathsep.join([str(tmp_path / "stub"), str(Path(__file__).parents[2])])
    command = [sys.executable, "-m", "rlbench", "run", str(experiment), "--workers", "0", "--tensorboard"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True)
    assert len(runs(tmp_path / "results/tiny/tensorboard")) == 4
    assert not (tmp_path / "imported").exists()
