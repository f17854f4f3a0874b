"""Weights & Biases without network and account: what its files hold, read as the log that wandb uploads from."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlbench.records import Progress, RunRecord, empty_episodes
from rlbench.store import Store
from rlbench.study.experiment import Arm
from rlbench.study.plan import Plan, make_plan
from rlbench.study.run import execute
from rlbench.study.schedule import Pack
from rlbench.study.sinks import WandbRuns, places_of
from rlbench.study.suites import load_experiment

pytest.importorskip("wandb")

EXPERIMENT = """
from rlbench import Arm, Experiment

tiny = dict(horizon=16, minibatches=1, epochs=1, hidden=[4])
EXPERIMENT = Experiment("tiny", [Arm("ppo-clip", clip=[0.1, 0.2], **tiny)], ["CartPole-v1"], seeds=2, steps=256)
"""
KEY = "0123456789" * 4
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Listen where wandb would connect to, whichever way; nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


@pytest.fixture
def cli(tmp_path: Path, listener: socket.socket) -> Cli:
    """Return a function that runs `rlbench run tiny.py` in an empty folder, with neither login nor network."""
    (tmp_path / "tiny.py").write_text(EXPERIMENT)
    nowhere = f"http://127.0.0.1:{listener.getsockname()[1]}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    network = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "WANDB_BASE_URL"), nowhere)
    login = {name: str(tmp_path / "home" / name) for name in ("NETRC", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR")}
    root = str(Path(__file__).parents[2])

    def run(*options: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {**kept, **network, **login, "PYTHONPATH": root, **settings}
        command = [sys.executable, "-m", "rlbench", "run", "tiny.py", "--workers", "0", *options]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def records(folder: Path) -> Iterator[Any]:
    """Yield the records of an offline run: protocol buffers in the log format of LevelDB, after wandb's header."""
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("*.wandb")
    data, at, parts = file.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:  # the rest of a block is too short for a header
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield wandb_internal_pb2.Record.FromString(parts)
            parts = b""


def history(folder: Path) -> list[dict[str, Any]]:
    """Return what was logged, row by row."""
    rows = (one.history for one in records(folder) if one.HasField("history"))
    return [
        {item.nested_key[0] if item.nested_key else item.key: json.loads(item.value_json) for item in row.item}
        for row in rows
    ]


def offline(folder: Path) -> dict[str, Path]:
    """Return the folders of offline runs by id."""
    return {path.name.rpartition("-")[2]: path for path in folder.glob("offline-run-*")}


def test_an_offline_run_holds_every_number_and_touches_no_network(
    cli: Cli, tmp_path: Path, listener: socket.socket
) -> None:
    ended = cli("--wandb", WANDB_MODE="offline")
    assert (ended.returncode, "wandb:" in ended.stderr, "warning" in ended.stderr) == (0, False, False), ended
    with pytest.raises(TimeoutError):
        listener.accept()
    assert not (tmp_path / "wandb").exists()
    store, found = Store(tmp_path / "results"), offline(tmp_path / "results/tiny/wandb")
    assert {*found} == {*store.list()}
    assert len(found) == 4
    for cell, folder in found.items():
        manifest, *tables = store.read(cell) or ({}, None, None)
        rows = history(folder)
        for group, table in zip(("train", "update"), tables, strict=True):
            for name in {*table.column_names} - {"step"}:
                logged = [(row["step"], row[f"{group}/{name}"]) for row in rows if f"{group}/{name}" in row]
                np.testing.assert_array_equal(np.array(logged), np.stack([table["step"], table[name]], axis=1))
        (run,) = [one.run for one in records(folder) if one.HasField("run")][:1]
        seed, clip = manifest["identity"]["seed"], manifest["identity"]["settings"]["clip"]
        assert (run.run_id, run.project, run.run_group, run.job_type) == (cell, "tiny", "tiny", f"ppo-clip clip={clip}")
        assert sorted(run.tags) == ["CartPole-v1", f"seed {seed}"]
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert (config["field.clip"], config["seed"], config["status"]) == (clip, seed, "finished")
        (code,) = [one.exit.exit_code for one in records(folder) if one.HasField("exit")]
        assert code == 0


def test_the_same_command_writes_nothing_twice_and_what_is_missing(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "results/tiny/wandb"
    plan = make_plan(load_experiment(tmp_path / "tiny.py"))
    assert execute(plan, tmp_path / "results", workers=0, progress=False).finished == 4
    assert cli("--wandb", WANDB_MODE="offline").returncode == 0  # everything is stored, nothing is shown
    first = offline(folder)
    assert len(first) == 4
    cell = sorted(first)[0]
    (folder / f"complete/{cell}.finished").unlink()  # as if the process had been killed before the end of the run
    kept = next(path for path in first[cell].glob("*.wandb"))
    kept.write_bytes(kept.read_bytes()[:100])
    assert cli("--wandb", WANDB_MODE="offline").returncode == 0
    again = offline(folder)
    assert len(list(folder.glob("offline-run-*"))) == 4
    assert {name: path for name, path in again.items() if name != cell} == {
        name: path for name, path in first.items() if name != cell
    }
    assert len(history(again[cell])) > 16


def test_who_is_not_logged_in_is_told_how_before_anything_trains(cli: Cli, tmp_path: Path) -> None:
    ended = cli("--wandb")
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "error: --wandb: nobody is logged in to Weights & Biases; log in with `wandb login`, set WANDB_API_KEY, or set "
        "WANDB_MODE=offline to write runs that `wandb sync` uploads later."
    ]
    assert not (tmp_path / "results/store").exists()


def test_a_server_that_cannot_be_reached_costs_no_run(cli: Cli, tmp_path: Path) -> None:
    ended = cli("--wandb", WANDB_API_KEY=KEY, WANDB_BASE_URL="http://127.0.0.1:9")
    assert ended.returncode == 0, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("warning:")]
    assert "Weights & Biases was switched off" in line
    assert len(Store(tmp_path / "results").list()) == 4


def test_names_that_wandb_does_not_take_and_packs_that_train(
    tiny_plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    labels = ["a/b:c#?%", "x" * 290]
    arms = [Arm("ppo-clip", label=label, clip=0.1 + i, horizon=16, minibatches=1) for i, label in enumerate(labels)]
    plan = tiny_plan(arms=arms, seeds=1)
    places, pack = places_of([plan], tmp_path), Pack(plan.cells)
    sink = WandbRuns(places, print)
    sink._add_point(pack, Progress(16, 32, 2, 1.5))
    sink._add_point(pack, Progress(32, 32, 2, 2.5))
    for cell, status in zip(plan.cells, ("finished", "failed"), strict=True):
        sink._show(cell, RunRecord(status, "why", 32, empty_episodes(), {}))
        shown = [sink._has(places[cell.id][0], cell, one) for one in ("finished", "failed")]
        assert shown == [status == "finished", status == "failed"]
    sink.close()
    found = offline(tmp_path / "tiny/wandb")
    codes = [[one.exit.exit_code for one in records(found.pop(cell.id)) if one.HasField("exit")] for cell in plan.cells]
    assert codes == [[0], [1]]
    (live,) = found.values()
    assert [(row["step"], row["live/mean_return"]) for row in history(live)] == [(16, 1.5), (32, 2.5)]
