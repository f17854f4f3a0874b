"""Ctrl-C on a real process, then the same command again: only the rest is computed, and the table is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from rlbench.store import load_table
from rlbench.study.plan import make_plan
from rlbench.study.run import execute
from rlbench.study.suites import load_experiment
from tests.waiting import HANGS, wait_until

# The first pack ends, and the others only when there is a gate.
EXPERIMENT = """
import time
from pathlib import Path

from rlbench.algorithms.ppo_clip import PPOClip
from rlbench import Arm, Experiment

FIRST, GATE = Path({first!r}), Path({gate!r})

class Gated(PPOClip):
    name = "gated-interrupted"

    def improve(self, problem):
        if not FIRST.exists():
            FIRST.write_text(str(self.hidden))
        while FIRST.read_text() != str(self.hidden) and not GATE.exists():
            time.sleep(0.02)
        return super().improve(problem)

EXPERIMENT = Experiment(
    "four-packs",
    [Arm(Gated, f"width {{width}}", horizon=256, epochs=4, minibatches=8, hidden=[width]) for width in (4, 5, 6, 7)],
    ["CartPole-v1"],
    seeds=2,
    steps=1024,
)
"""


def manifests(results: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in results.glob("store/[0-9a-f]*/manifest.json")}


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_an_interrupted_run_continues_where_it_stopped(tmp_path: Path) -> None:
    file, results, gate = tmp_path / "experiment.py", tmp_path / "results", tmp_path / "gate"
    file.write_text(EXPERIMENT.format(first=str(tmp_path / "first"), gate=str(gate)))
    command = [sys.executable, "-m", "rlbench", "run", str(file), "--results", str(results), "--workers", "1"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background has Ctrl-C ignored, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_until(lambda: len(manifests(results)) == 2, lambda: process.poll() is None)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
        _, errors = process.communicate(timeout=HANGS)
    finally:
        process.kill()
    kept = manifests(results)
    assert process.returncode == 130
    assert len(kept) == 2
    assert errors.splitlines()[-1] == "Interrupted: 2 of 8 runs are stored; the same command continues from there."
    assert "Traceback" not in errors

    gate.touch()
    again = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    assert again.returncode == 0, again.stderr
    assert "2 runs were stored already, 6 trained" in again.stdout
    everything = manifests(results)
    assert len(everything) == 8
    assert {cell: everything[cell] for cell in kept} == kept  # untouched

    plan = make_plan(load_experiment(file))
    execute(plan, tmp_path / "uninterrupted", workers=0, progress=False)
    tables, expected = (load_table(folder, plan.planned) for folder in (results, tmp_path / "uninterrupted"))
    pd.testing.assert_frame_equal(tables.episodes, expected.episodes, check_exact=True)
    pd.testing.assert_frame_equal(tables.updates, expected.updates, check_exact=True)
    timeless = [column for column in tables.runs.columns if column != "seconds"]
    pd.testing.assert_frame_equal(tables.runs[timeless], expected.runs[timeless])
