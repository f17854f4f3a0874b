"""Programs in processes of their own, one thread each, and Stable-Baselines3 among them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cases import ENVIRONMENT, Setting

HERE = Path(__file__).parent
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
PEER_MISSING = (
    "stable_baselines3 is not installed, so nothing is measured side by side; pip install -e '.[peers]' installs it"
)


def has_peer() -> bool:
    """Return whether Stable-Baselines3 can be imported."""
    return importlib.util.find_spec("stable_baselines3") is not None


def start(words: Sequence[str]) -> subprocess.Popen[str]:
    """Start this interpreter with arguments, one thread."""
    return subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD}
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Return what a process printed; RuntimeError if it failed."""
    printed, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
    return printed


def program(name: str, **asked: Any) -> subprocess.Popen[str]:
    """Start one of the programs of this folder."""
    return start([str(HERE / name), json.dumps(asked)])


def answer(process: subprocess.Popen[str]) -> dict[str, float]:
    """Return the JSON object in a program's last line."""
    found: dict[str, float] = json.loads(finish(process).splitlines()[-1])
    return found


@dataclass(frozen=True)
class Peer:
    """Stable-Baselines3 trained `processes` at a time: seconds per step of one process, and its start-up."""

    per_step: float
    startup: float
    processes: int

    def job(self, seeds: int, steps: int) -> float:
        """Return the seconds that `seeds` runs of `steps` would take, started once per process."""
        return self.startup + seeds / self.processes * steps * self.per_step


def train_peer(setting: Setting, steps: int, processes: int, environment: str = ENVIRONMENT) -> Peer:
    """Train one seed in each of `processes` processes at a time."""
    started = time.perf_counter()
    asked = {
        "environment": environment,
        "num_envs": setting.num_envs,
        "horizon": setting.horizon,
        "minibatch": setting.rollout // setting.minibatches,
        "epochs": setting.epochs,
        "steps": steps,
    }
    said = [answer(one) for one in [program("sb3_ppo.py", seed=seed, **asked) for seed in range(processes)]]
    wall = time.perf_counter() - started
    per_step = sum(one["seconds"] / one["steps"] for one in said) / processes
    return Peer(per_step, wall - max(one["seconds"] for one in said), processes)
