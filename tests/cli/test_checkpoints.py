"""kill -9 on real processes at random moments, then the same command: it goes on inside the packs, to the same bits."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from rlbench.store import load_table
from rlbench.study.plan import make_plan
from rlbench.study.run import execute
from rlbench.study.suites import load_experiment
from rlbench.training.checkpoints import Checkpoints
from tests.waiting import HANGS, wait_until

# No run gets further than the share of its budget that stands in a file.
EXPERIMENT = """
import time
from pathlib import Path

from rlbench.algorithms.ppo_adaptive import PPOAdaptive
from rlbench import Arm, Experiment

GATE = Path({gate!r})

class Gated(PPOAdaptive):
    name = "gated-by-share"

    def improve(self, problem):
        while problem.progress > float(GATE.read_text()):
            time.sleep(0.02)
        return super().improve(problem)

SMALL = dict(horizon=64, epochs=4, minibatches=4, hidden=[8])
EXPERIMENT = Experiment(
    "two-packs",
    [Arm(Gated, "adaptive", normalize_observation=True, normalize_reward=True, **SMALL)],
    ["CartPole-v1", "FrozenLake-v1"],
    seeds=2,
    steps=8192,  # too few to be tried out, which would wait for the gate
)
"""
KILLS = 2


def begun(results: Path) -> dict[str, int]:
    """Return the steps in the checkpoints that can be used."""
    checkpoints = Checkpoints(results / "store" / ".checkpoints")
    steps = {path.stem: checkpoints.step(path.stem) for path in Path(checkpoints.folder).glob("*.npz")}
    return {cell: step for cell, step in steps.items() if step}


def kill_after(process: subprocess.Popen[str], results: Path, before: dict[str, int], seconds: float) -> None:
    """Kill the whole group some time after a checkpoint is there that was not before."""
    wait_until(lambda: begun(results) != before, lambda: process.poll() is None)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process group")
def test_a_killed_run_goes_on_inside_its_packs(tmp_path: Path) -> None:
    file, results, gate = tmp_path / "experiment.py", tmp_path / "results", tmp_path / "gate"
    file.write_text(EXPERIMENT.format(gate=str(gate)))
    command = [sys.executable, "-m", "rlbench", "run", str(file), "--results", str(results), "--workers", "2"]
    command += ["--checkpoint-every", "1e-6"]  # after the first rollout, and then as often as writing takes allows
    chance = random.Random()
    seed = chance.randrange(2**32)
    print(f"seed of the moments: {seed}")  # shown where the test fails
    chance.seed(seed)
    for kill in range(KILLS):
        gate.write_text(str((kill + 1) / (KILLS + 1)))
        before = begun(results)
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        kill_after(process, results, before, chance.uniform(0.0, 0.6))
    left = begun(results)
    assert left, "no run was under way when it was killed"

    gate.write_text("1")
    last = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    assert last.returncode == 0, last.stderr
    steps = {int(step.replace(",", "")) for step in re.findall(r"go on at step ([\d,]+) of 8,192", last.stderr)}
    assert steps == set(left.values())
    assert not list((results / "store" / ".checkpoints").iterdir())

    plan = make_plan(load_experiment(file))
    execute(plan, tmp_path / "undisturbed", workers=0, progress=False, checkpoint_every=0)
    assert not (tmp_path / "undisturbed" / "store" / ".checkpoints").exists()
    tables, expected = (load_table(folder, plan.planned) for folder in (results, tmp_path / "undisturbed"))
    assert set(expected.runs["status"]) == {"finished"}
    pd.testing.assert_frame_equal(tables.episodes, expected.episodes, check_exact=True)
    pd.testing.assert_frame_equal(tables.updates, expected.updates, check_exact=True)
    timeless = [column for column in tables.runs.columns if column != "seconds"]
    pd.testing.assert_frame_equal(tables.runs[timeless], expected.runs[timeless])
