"""Several real `rlbench run` on one results folder: no run twice, nothing torn, and killed ones are taken over."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from rlbench.store import Store, entry, load_table
from rlbench.store.leases import holders
from rlbench.study.plan import make_plan
from rlbench.study.run import execute
from rlbench.study.suites import load_experiment
from tests.waiting import HANGS, wait_until

pytestmark = pytest.mark.skipif(entry.fcntl is None, reason="needs file locks")

# Every call notes itself in a file, so that it can be counted how often each run was computed, and ends only when a
# file is there, so that a test can do something meanwhile.
MEASUREMENT = """
import os, time
from rlbench import Measurement

def measure(environment, seed):
    with open({log!r}, "a") as log:
        log.write(f"{{seed}} begun\\n")
    while not os.path.exists({gate!r}):
        time.sleep(0.02)
    with open({log!r}, "a") as log:
        log.write(f"{{seed}} done\\n")
    return {{"a": {{"value": [float(seed)]}}, "b": {{"value": [float(-seed)]}}}}

EXPERIMENT = Measurement("slow", measure, ["a", "b"], ["none"], seeds={seeds})
"""
TRAINING = """
from rlbench import Arm, Experiment

EXPERIMENT = Experiment(
    "packs",
    [Arm("ppo-clip", f"width {width}", horizon=64, epochs=2, minibatches=2, hidden=[width]) for width in (4, 5, 6)],
    ["CartPole-v1"],
    seeds=4,
    steps=2048,
)
"""


def measurement(folder: Path, seeds: int, *, is_open: bool = True) -> tuple[Path, Path]:
    log, file, gate = folder / "log.txt", folder / "slow.py", folder / "gate"
    log.write_text("")
    file.write_text(MEASUREMENT.format(log=str(log), gate=str(gate), seeds=seeds))
    if is_open:
        gate.touch()
    return file, log


def begin(file: Path, results: Path, *more: str, workers: int = 0) -> subprocess.Popen[str]:
    words = ["run", str(file), "--results", str(results), "--workers", str(workers), *more]
    command = [sys.executable, "-m", "rlbench", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return output


def trained(output: str) -> int:
    (line,) = (line for line in output.splitlines() if "stored already" in line)
    return int(line.split(" trained")[0].rsplit(" ", 1)[1])


def at_work(results: Path, processes: Sequence[subprocess.Popen[str]]) -> None:
    """Wait until each process holds claims."""
    wait_until(
        lambda: sum(bool(one.claimed) for one in holders(results)) == len(processes),
        lambda: all(one.poll() is None for one in processes),
    )


def test_three_processes_compute_every_run_once(tmp_path: Path) -> None:
    file, log = measurement(tmp_path, seeds=12, is_open=False)
    processes = [begin(file, tmp_path / "results") for _ in range(3)]
    at_work(tmp_path / "results", processes)
    (tmp_path / "gate").touch()
    outputs = [finish(process) for process in processes]
    once = [f"{seed} {what}" for seed in range(12) for what in ("begun", "done")]
    assert sorted(log.read_text().splitlines()) == sorted(once)
    counts = [trained(output) for output in outputs]
    assert sum(counts) == 24
    for output, count in zip(outputs, counts, strict=True):
        assert f"{24 - count} by other processes meanwhile" in output
    assert all(counts)  # they shared the work
    store = Store(tmp_path / "results")
    assert len(store.list()) == 24
    assert all(store.manifest(cell, thorough=True) for cell in store.list())
    assert store.messages == []
    assert not list(store.directory.glob(".*.tmp"))
    assert holders(tmp_path / "results") == []


def test_what_a_killed_process_had_is_taken_over(tmp_path: Path) -> None:
    file, log = measurement(tmp_path, seeds=6, is_open=False)
    results = tmp_path / "results"
    victim = begin(file, results, workers=1)
    at_work(results, [victim])
    survivor = begin(file, results, workers=1)
    at_work(results, [victim, survivor])
    (lost,) = (one.claimed for one in holders(results) if one.document["pid"] == victim.pid)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    (tmp_path / "gate").touch()
    assert lost
    output = finish(survivor)
    store = Store(results)
    assert len(store.list()) == 12
    assert all(store.manifest(cell, thorough=True) for cell in store.list())
    begun = Counter(line.split()[0] for line in log.read_text().splitlines() if line.endswith("begun"))
    assert begun.keys() == {str(seed) for seed in range(6)}
    assert sum(begun.values()) <= 6 + 1  # at most what the killed one had begun is computed again
    assert trained(output) == 12
    assert holders(results) == []


def test_two_processes_give_the_table_that_one_gives(tmp_path: Path) -> None:
    file = tmp_path / "packs.py"
    file.write_text(TRAINING)
    outputs = [finish(process) for process in [begin(file, tmp_path / "two"), begin(file, tmp_path / "two")]]
    assert sum(map(trained, outputs)) == 12
    plan = make_plan(load_experiment(file))
    execute(plan, tmp_path / "one", workers=0, progress=False)
    two, one = (load_table(tmp_path / name, plan.planned) for name in ("two", "one"))
    pd.testing.assert_frame_equal(two.episodes, one.episodes, check_exact=True)
    pd.testing.assert_frame_equal(two.updates, one.updates, check_exact=True)


def status(results: Path) -> dict[str, object]:
    command = [sys.executable, "-m", "rlbench", "status", "--results", str(results), "--json"]
    document: dict[str, object] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return document


def test_status_from_another_shell_before_during_and_after(tmp_path: Path) -> None:
    file, _ = measurement(tmp_path, seeds=3, is_open=False)
    results = tmp_path / "results"
    assert status(results)["experiments"] == []
    process = begin(file, results)
    at_work(results, [process])
    during = status(results)
    counts = {"planned": 6, "finished": 0, "diverged": 0, "failed": 0, "running": 2, "missing": 4}
    assert during["experiments"] == [{"name": "slow", "suite": "", **counts}]
    (working,) = during["processes"]  # type: ignore[misc]
    assert (working["pid"], working["alive"], working["runs"]) == (process.pid, True, 6)  # type: ignore[index]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed = status(results)
    assert killed["total"]["running"] == 0  # type: ignore[index]
    assert [one["alive"] for one in killed["processes"]] == [False]  # type: ignore[attr-defined]
    (tmp_path / "gate").touch()
    finish(begin(file, results))
    after = status(results)
    assert after["total"] == {"planned": 6, "finished": 6, "diverged": 0, "failed": 0, "running": 0, "missing": 0}
    assert after["processes"] == []
