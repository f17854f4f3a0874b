"""`rlbench status` and `--shard`, in this process."""

from __future__ import annotations

import json
import os
import shutil
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
    document |= {"claimed": [cell], "experiments": [{"name": "tiny", "suite": ""}], "shard": "1/2"}
    lease.write_text(json.dumps(document))
    assert "process 17 on far, shard 1/2, since 2026" in cli("status").output
    os.utime(lease, (0, 0))
    said = cli("status", experiment).output
    assert "process 17 on far, shard 1/2 ended without a word" in said
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


def test_shards_say_what_is_missing_and_the_last_one_what_comes_next(cli: Cli, experiment: Path) -> None:
    first = cli("run", experiment, "--workers", 0, "--shard", "1/2").output
    assert "Shard 1/2: 2 of the 4 runs of all shards are stored; missing: 2 of shard 2/2." in first
    assert "Next: " not in first
    assert f"Once they are, too: rlbench report {experiment}" in first
    assert cli("status").output.splitlines()[1].split() == ["tiny", "4", "2", "0", "0", "0", "2"]
    second = cli("run", experiment, "--workers", 0, "--shard", "2/2").output
    assert "Shard 2/2: 4 of the 4 runs of all shards are stored." in second
    assert f"Next: rlbench report {experiment}" in second


def test_shards_of_a_folder(cli: Cli, experiment: Path) -> None:
    Path("suite").mkdir()
    shutil.copy(experiment, "suite/tiny.py")
    said = [cli("run", "suite", "--workers", 0, "--shard", f"{index}/2").output for index in (1, 2)]
    assert "missing: 2 of shard 2/2." in said[0]
    assert "Next: rlbench report suite" in said[1]
    assert cli("status", "suite").output.splitlines()[1].split() == ["suite/tiny", "4", "4", "0", "0", "0", "0"]


@pytest.mark.parametrize("shard", ["0/3", "4/3", "x"])
def test_a_shard_that_does_not_exist_is_one_sentence(cli: Cli, experiment: Path, shard: str) -> None:
    result = cli("run", experiment, "--shard", shard)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"error: --shard {shard} names no part of the runs; it is I/N with I from 1 to N: 2/3 is the second of three."
    ]
    assert not Path("results").exists()


def test_a_shard_cannot_look(cli: Cli, experiment: Path) -> None:
    result = cli("run", experiment, "--shard", "1/2", "--until-decided")
    assert result.exit_code == 2
    assert "--shard does not go with --until-decided" in result.stderr
