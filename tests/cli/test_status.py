"""`rlbench status`, in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from rlbench.store.runs import Store

Cli = Callable[..., Result]


def test_nothing_was_run(cli: Cli) -> None:
    result = cli("status")
    assert (result.exit_code, result.output) == (0, "No experiment was run in results.\nNothing is running.\n")


def test_a_file_that_was_not_run(cli: Cli, experiment: Path) -> None:
    result = cli("status", experiment)
    assert result.output.splitlines()[0].split() == [
        *("experiment", "planned", "finished", "diverged", "failed", "running", "missing")
    ]
    assert result.output.splitlines()[1].split() == ["tiny", "4", "0", "0", "0", "0", "4"]
    assert not Path("results").exists()  # it only reads


def test_a_part_is_stored(cli: Cli, experiment: Path) -> None:
    assert cli("run", experiment, "--workers", 0, "--seeds", 1).exit_code == 0
    for words in (["status", experiment], ["status", experiment, "--seeds", 2]):
        assert cli(*words).output.splitlines()[1].split() == ["tiny", "4", "2", "0", "0", "0", "2"]
    # What was planned when it ran last is what is known without the file.
    for words in (["status"], ["status", "tiny"]):
        assert cli(*words).output.splitlines()[1].split() == ["tiny", "2", "2", "0", "0", "0", "0"]


def test_what_needs_no_file_needs_no_torch(cli: Cli, experiment: Path) -> None:
    cli("run", experiment, "--workers", 0)
    code = "import rlbench.cli, sys; rlbench.cli.main(['status'], standalone_mode=False); print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-2:] == ["Nothing is running.", "False"]


def test_several_experiments_share_runs(cli: Cli, experiment: Path) -> None:
    Path("other.py").write_text(experiment.read_text().replace('"tiny"', '"other"').replace("seeds=2", "seeds=3"))
    assert cli("run", experiment, "other.py", "--workers", 0).exit_code == 0
    shown = [line.split()[-6] for line in cli("status").output.splitlines()[1:4]]
    assert shown == ["6", "4", "6"]
    assert "all, shared runs once" in cli("status").output


def test_status_changes_nothing(cli: Cli, experiment: Path) -> None:
    cli("run", experiment, "--workers", 0)
    before = {path: path.stat().st_mtime_ns for path in Path("results").rglob("*")}
    assert cli("status", experiment).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in Path("results").rglob("*")} == before


def test_damage_is_said_and_counts_as_missing(cli: Cli, experiment: Path) -> None:
    cli("run", experiment, "--workers", 0)
    cell = next(iter(Store("results").list()))
    (Path("results") / "store" / cell / "manifest.json").write_text("{")
    (Path("results") / "gone").mkdir()
    (Path("results") / "gone" / "experiment.json").write_text("[]")
    result = cli("status")
    assert result.exit_code == 0
    assert f"warning: Ignored results/store/{cell}, which counts as missing" in result.stderr
    assert "gone/experiment.json, which is damaged" in result.stderr
    assert result.stdout.splitlines()[1].split() == ["tiny", "4", "3", "0", "0", "0", "1"]
    assert (Path("results") / "store" / cell).exists()
    document = json.loads(cli("status", "--json").stdout)
    assert document["total"]["missing"] == 1
    assert len(document["messages"]) == 2


def test_a_process_that_ended_without_a_word(cli: Cli, experiment: Path) -> None:
    cli("run", experiment, "--workers", 0, "--seeds", 1)
    (cell, *_) = Store("results").list()
    lease = Path("results") / "store" / ".running" / "0123456789abcdef.json"
    document = {"format": 1, "host": "far", "machine": "m", "pid": 17, "started": "2026-01-01T00:00:00+00:00"}
    document |= {"claimed": [cell], "experiments": [{"name": "tiny", "suite": ""}]}
    lease.write_text(json.dumps(document))
    assert "process 17 on far, since 2026" in cli("status").output
    os.utime(lease, (0, 0))
    said = cli("status", experiment).output
    assert "process 17 on far ended without a word" in said
    assert "what it trained is open again: 1 run." in said
    assert "Nothing is running." in said
    assert lease.exists()
    cli("run", experiment, "--workers", 0)
    assert not lease.exists()


@pytest.mark.parametrize("name", ["tinny", "nothing.py"])
def test_what_does_not_exist_is_one_sentence(cli: Cli, experiment: Path, name: str) -> None:
    cli("run", experiment, "--workers", 0)
    result = cli("status", name)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
