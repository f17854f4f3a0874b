"""What is disturbed: a small suite that really trains, and how its results compare with those of an undisturbed run."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from rlbench.store import Planned, Store, Tables, load_table
from rlbench.study.plan import make_plan
from rlbench.study.suites import load_suite
from tests.waiting import HANGS

TRAINING = """
from rlbench import Arm, Claim, Experiment

SMALL = {"horizon": 32, "hidden": [8]}
EXPERIMENT = Experiment(
    "training",
    [
        Arm("reinforce", **SMALL),
        Arm("ppo-clip", epochs=2, minibatches=2, **SMALL),
        Arm("ppo-clip", "wide", epochs=2, minibatches=2, horizon=32, hidden=[9]),
        Arm("trpo", **SMALL),
    ],
    ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"],  # two that are trained as arrays, and one of Gymnasium's
    seeds=3,
    steps=STEPS,
    evaluate_every=STEPS // 4,
    evaluation_episodes=2,
    claims=[Claim("PPO learns more than REINFORCE", ["ppo-clip", "reinforce"], "greater", "auc")],
)
"""
COUNTING = """
import numpy as np
from rlbench import Measurement

def measure(environment, seed):
    values = np.random.default_rng(seed).normal(size=(2, 5))
    return {"even": {"value": values[0]}, "odd": {"value": values[1]}}

EXPERIMENT = Measurement("counting", measure, ["even", "odd"], ["CartPole-v1"], seeds=4)
"""
NAME = "disturbed"
OF_TIME_AND_PLACE = {"seconds", "commit", "dirty", "device", "attempts"}
"""Columns of the runs that may differ between two trainings of the same cell."""


def write_suite(folder: Path, steps: int) -> Path:
    """Write the suite, whose runs take so many steps each, and return its folder."""
    suite = folder / NAME
    suite.mkdir()
    (suite / "training.py").write_text(TRAINING.replace("STEPS", str(steps)))
    (suite / "counting.py").write_text(COUNTING)
    return suite


def command(what: str, suite: Path, results: Path) -> list[str]:
    """Return the command line of `rlbench WHAT` on the suite."""
    # As often as what writing takes allows: every rollout is a few milliseconds here.
    options = ["--workers", "2", "--checkpoint-every", "0.01", "--keep-policies", "every"] if what == "run" else []
    return [sys.executable, "-m", "rlbench", what, str(suite), "--results", str(results), *options]


def planned(suite: Path) -> list[Planned]:
    """Return every planned run of the suite."""
    return [one for experiment in load_suite(suite).experiments for one in make_plan(experiment).planned]


def final_tables(suite: Path, results: Path) -> Tables:
    """Return what was stored, without what depends on time and place, and with the SHA-256 of every policy."""
    tables, store = load_table(results, planned(suite)), Store(results)
    policies = [hashlib.sha256(store.policy(cell) or b"").hexdigest() for cell in tables.runs["cell"]]
    runs = tables.runs.drop(columns=OF_TIME_AND_PLACE & set(tables.runs))
    return tables._replace(runs=runs.assign(policy=policies))


def undisturbed(suite: Path, results: Path) -> Tables:
    """Run the suite once without any disturbance and return its tables."""
    subprocess.run(command("run", suite, results), check=True, capture_output=True, timeout=HANGS)
    tables = final_tables(suite, results)
    assert set(tables.runs["status"]) == {"finished"}
    trained = tables.runs[tables.runs["algorithm"] != "measurement"]
    assert trained["policy"].nunique() == len(trained)
    return tables


def assert_equal(found: Tables, expected: Tables) -> None:
    """Fail unless the tables are the same, bit for bit."""
    for name in Tables._fields:
        pd.testing.assert_frame_equal(getattr(found, name), getattr(expected, name), check_exact=True, obj=name)


def finished(results: Path) -> dict[str, str]:
    """Return the SHA-256 of the manifest of every finished run; fail if an entry that has its name is torn."""
    store = Store(results)
    folder = results / "store"
    names = (
        sorted(one.name for one in folder.iterdir() if re.fullmatch("[0-9a-f]{32}", one.name))
        if folder.is_dir()
        else []
    )
    found = {}
    for name in names:
        manifest = store.manifest(name, thorough=True)
        # A failed run is replaced by moving it away first; in between, its name is free for a moment.
        if manifest is None and not (folder / name).exists():
            continue
        assert manifest is not None, f"a torn entry: {store.messages}"
        if manifest["status"] == "finished":
            found[name] = hashlib.sha256((folder / name / "manifest.json").read_bytes()).hexdigest()
    return found


def leftovers(results: Path) -> list[str]:
    """Return what is in the results folder and should not be, once the temporary files of the killed have aged."""
    found = [one for one in results.rglob("*") if re.search(r"\.tmp|aside|(?<!^policy)\.npz", one.name)]
    return sorted(str(one.relative_to(results)) for one in found)


def let_age(results: Path) -> None:
    """Make everything temporary look as if the process that wrote it had died two hours ago."""
    long_ago = time.time() - 7200
    for one in results.rglob("*.tmp"):
        os.utime(one, (long_ago, long_ago))
