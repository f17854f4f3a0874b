"""Memory: what the system leaves, and an estimate per replica that holds for what is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlbench import registry
from rlbench.algorithm import configure
from rlbench.study import limits

MEASURE = """
import json, sys
from rlbench import registry
from rlbench.algorithm import configure
from rlbench.records import Environment
from rlbench.study import limits
from rlbench.training.trainer import train

name, environment, fields, replicas = json.loads(sys.argv[1])
one = configure(registry.load(name), fields, "test")
train([one], Environment(environment), one.samples_per_update, [0])
before = limits.held()
limits.forget_peak()
train([one] * replicas, Environment(environment), 2 * one.samples_per_update, range(replicas))
print(limits.peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is known on Linux")
@pytest.mark.parametrize(
    ("name", "environment", "observations", "fields"),
    [
        pytest.param("ppo-clip", "CartPole-v1", 4, {"horizon": 2048, "epochs": 2}, marks=pytest.mark.slow),
        ("ppo-clip", "CartPole-v1", 4, {"horizon": 512, "num_envs": 8, "minibatches": 1, "epochs": 1}),
        pytest.param(
            "ppo-clip", "Pendulum-v1", 3, {"horizon": 1024, "hidden": [256, 256], "epochs": 1}, marks=pytest.mark.slow
        ),
        ("trpo", "Acrobot-v1", 6, {"horizon": 1024}),
    ],
)
def test_the_estimate_covers_what_a_pack_takes(
    name: str, environment: str, observations: int, fields: dict[str, Any]
) -> None:
    replicas = 32
    asked = json.dumps([name, environment, fields, replicas])
    command = [sys.executable, "-c", MEASURE, asked]
    taken = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    algorithm = configure(registry.load(name), fields, "test")
    estimate = replicas * limits.replica_bytes(algorithm, observations, 2 * algorithm.samples_per_update)
    assert taken <= estimate
    assert estimate <= 16 * max(taken, 2**25)


def test_a_larger_rollout_network_or_observation_takes_more() -> None:
    def needed(observations: int = 4, steps: int = 100_000, **fields: Any) -> float:
        return limits.replica_bytes(configure(registry.load("ppo-clip"), fields, "test"), observations, steps)

    plain = needed()
    assert needed(horizon=4096) > 1.8 * plain
    assert needed(num_envs=2) > 1.8 * plain
    assert needed(hidden=[256, 256]) > 3 * plain
    assert needed(observations=400) > 2 * plain
    assert needed(steps=10_000_000) > plain


def test_the_room_is_a_share_of_what_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "available", lambda: 8e9)
    assert limits.room(1) == 4e9
    assert limits.room(4) == 1e9


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_CGROUP", tmp_path)
    unlimited = limits.available()
    assert unlimited > 0
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert limits.available() > 3_000
    (tmp_path / "memory.max").write_text("4000\n")
    assert limits.available() == 3_000


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is known on Linux")
def test_the_peak_is_that_since_it_was_forgotten() -> None:
    limits.forget_peak()
    before = limits.peak()
    block = np.ones(2**25)  # 256 MiB
    assert limits.peak() - before > 0.9 * block.nbytes
    assert limits.held() - before > 0.9 * block.nbytes
    del block
    limits.forget_peak()
    assert limits.peak() - before < 2**27


def test_a_worker_may_take_more_than_packs_are_made_for_and_all_together_not_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "available", lambda: 8e9)
    for workers in (1, 4):
        assert 1.5 * limits.room(workers) < limits.most(workers) - 2**28 < 8e9 / workers
    monkeypatch.setattr(limits, "available", lambda: 1e6)
    assert limits.most(4) > 2**28  # what training imports must fit
