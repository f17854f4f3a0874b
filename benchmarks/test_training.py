"""Training: steps per second against the size of the pack, and whole jobs beside Stable-Baselines3."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from benchmarks import processes
from benchmarks.cases import (
    ALGORITHMS,
    ENVIRONMENT,
    JOB_SEEDS,
    JOB_STEPS,
    MUJOCO,
    REPLICAS,
    SETTINGS,
    WORKERS,
    fields,
    train,
)
from benchmarks.conftest import Measure
from rlbench import Algorithm, Samples, hyper
from rlbench.functional import clip

STEPS = 4096  # of every replica: two rollouts in (a), eight in (b)
PEER_STEPS = {"a": 4096, "b": 16_384}
SINGLE_STEPS = {"a": 20_480, "b": 51_200}

JOBS = [pytest.param(setting, ENVIRONMENT, id=setting) for setting in SETTINGS]
if find_spec("mujoco"):
    JOBS += [pytest.param("a", name, id=name) for name in MUJOCO]

needs_peer = pytest.mark.skipif(not processes.has_peer(), reason=processes.PEER_MISSING)


class Asymmetric(Algorithm):
    """A third party's surrogate in six lines."""

    name = "asymmetric"
    low: float = hyper(0.2, low=0.0, high=1.0)
    high: float = hyper(0.3, low=0.0)

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Clip with two ranges."""
        clipped = clip(x.ratio, 1 - self.low, 1 + self.high)
        return torch.minimum(x.ratio * x.advantage, clipped * x.advantage)


@pytest.mark.benchmark(group="training")
@pytest.mark.parametrize("replicas", REPLICAS)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pack(measure: Measure, quick: bool, algorithm: str, setting: str, replicas: int) -> None:
    """One pack in one process on one core."""
    steps = 2048 if quick else STEPS
    measure(
        lambda: {"loop": train(algorithm, SETTINGS[setting], replicas, steps)},
        rounds=3 if replicas <= 20 else 2,
        algorithm=algorithm,
        setting=setting,
        replicas=replicas,
        steps=steps,
    )


@pytest.mark.benchmark(group="plugin")
def test_third_party_surrogate(measure: Measure) -> None:
    """A plugin of six lines beside the built-in it resembles, R = 10 in (a)."""
    setting = SETTINGS["a"]
    measure(
        lambda: {"loop": train(Asymmetric, setting, 10, STEPS)},
        rounds=5,
        reference=lambda: train("ppo-clip", setting, 10, STEPS),
        setting="a",
        replicas=10,
        steps=STEPS,
    )


@pytest.mark.benchmark(group="job")
@pytest.mark.parametrize(("setting", "environment"), JOBS)
def test_job(measure: Measure, quick: bool, tmp_path: Path, setting: str, environment: str) -> None:
    """`rlbench.run` from a fresh interpreter, all set-up included, beside Stable-Baselines3 where it is installed.

    Stable-Baselines3 trains two seeds at a time for fewer steps; its time per step is scaled to the job's, its
    start-up counted once per process.
    """
    steps = 8192 if quick else JOB_STEPS
    number = 0

    def job() -> None:
        nonlocal number
        number += 1
        processes.finish(
            processes.program(
                "job.py",
                fields=fields("ppo-clip", SETTINGS[setting]),
                environment=environment,
                seeds=JOB_SEEDS,
                steps=steps,
                workers=WORKERS,
                folder=str(tmp_path / str(number)),
            )
        )

    def peer() -> float:
        asked = SETTINGS[setting], PEER_STEPS[setting], WORKERS, environment
        return processes.train_peer(*asked).job(JOB_SEEDS, steps)

    measure(
        job,
        rounds=3,
        reference=peer if processes.has_peer() else None,
        setting=setting,
        environment=environment,
        replicas=JOB_SEEDS,
        steps=steps,
        peer_steps=PEER_STEPS[setting],
    )


@needs_peer
@pytest.mark.benchmark(group="single")
@pytest.mark.parametrize("setting", SETTINGS)
def test_single_run(measure: Measure, quick: bool, setting: str) -> None:
    """One run on one core beside one of Stable-Baselines3 on one core, start-up left out of both."""
    steps = 4096 if quick else SINGLE_STEPS[setting]
    measure(
        lambda: {"loop": train("ppo-clip", SETTINGS[setting], 1, steps)},
        rounds=3,
        reference=lambda: steps * processes.train_peer(SETTINGS[setting], PEER_STEPS[setting], 1).per_step,
        setting=setting,
        replicas=1,
        steps=steps,
        peer_steps=PEER_STEPS[setting],
    )


@pytest.mark.benchmark(group="memory")
@pytest.mark.parametrize("replicas", [1, 100])
@pytest.mark.parametrize("setting", SETTINGS)
def test_memory(measure: Measure, setting: str, replicas: int) -> None:
    """Peak memory of the process that trains a pack, MiB; the time is beside the point."""

    def work() -> dict[str, float]:
        asked = fields("ppo-clip", SETTINGS[setting])
        steps = 2 * SETTINGS[setting].rollout
        return processes.answer(
            processes.program("memory.py", fields=asked, environment=ENVIRONMENT, replicas=replicas, steps=steps)
        )

    measure(work, rounds=1, setting=setting, replicas=replicas)
