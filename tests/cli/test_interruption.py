"""Ctrl-C on a real process, then the same command again: only the rest is computed, and the table is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from rlbench.store import load_table
from rlbench.study.files import load_experiment
from rlbench.study.plan import make_plan
from rlbench.study.runner import execute

EXPERIMENT = """
from rlbench import Arm, Experiment

EXPERIMENT = Experiment(
    "four-packs",
    [Arm("ppo-clip", f"width {width}", horizon=256, epochs=4, minibatches=8, hidden=[width]) for width in (4, 5, 6, 7)],
    ["CartPole-v1"],
    seeds=2,
    steps=16_384,  # long enough that the first pack's end is seen well before the last one's
)
"""


def manifests(results: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in results.glob("store/[0-9a-f]*/manifest.json")}


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_an_interrupted_run_continues_where_it_stopped(tmp_path: Path) -> None:
    file, results = tmp_path / "experiment.py", tmp_path / "results"
    file.write_text(EXPERIMENT)
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
        deadline = time.monotonic() + 60
        while not manifests(results) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    kept = manifests(results)
    assert process.returncode == 130
    assert 1 <= len(kept) < 8
    assert errors.splitlines()[-1] == (
        f"Interrupted: {len(kept)} of 8 runs are stored; the same command continues from there."
    )
    assert "Traceback" not in errors

    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr
    assert f"{len(kept)} runs were stored already, {8 - len(kept)} trained" in again.stdout
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
