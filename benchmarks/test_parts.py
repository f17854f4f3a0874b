"""What surrounds training: environments, statistics, the report, start-up."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import rlbench
from benchmarks import processes
from benchmarks.cases import ALGORITHMS, MUJOCO, SETTINGS, fields
from benchmarks.conftest import Measure
from rlbench.analysis.report import experiment_page
from rlbench.analysis.stats import intervals
from rlbench.records import Environment, RunRecord, empty_episodes
from rlbench.store import Store, runs
from rlbench.store.runs import STORE
from rlbench.training import envs
from rlbench.training.envs.gymnasium import make_one


@pytest.mark.benchmark(group="environments")
@pytest.mark.parametrize("copies", [10, 100])
@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1"])
def test_stepping(measure: Measure, quick: bool, name: str, copies: int) -> None:
    """The batched environment beside as many of gymnasium's own in its SyncVectorEnv, the same actions."""
    steps = (10_000 if quick else 50_000) // copies
    batch = envs.make(Environment(name), copies, 1)
    theirs = gymnasium.make_vec(name, num_envs=copies, vectorization_mode="sync")
    theirs.action_space.seed(0)
    actions = [np.asarray(theirs.action_space.sample()) for _ in range(steps)]
    ours = [action.reshape(copies, 1, *action.shape[1:]) for action in actions]

    def reference() -> float:
        theirs.reset(seed=0)
        started = time.perf_counter()
        for action in actions:
            theirs.step(action)
        return time.perf_counter() - started

    def work() -> None:
        for action in ours:
            batch.step(action)

    batch.reset(range(copies))
    measure(work, rounds=5, reference=reference, environment=name, copies=copies, steps=steps)
    theirs.close()


@pytest.mark.skipif(find_spec("mujoco") is None, reason="MuJoCo is not installed")
@pytest.mark.benchmark(group="physics")
@pytest.mark.parametrize("name", MUJOCO)
def test_physics(measure: Measure, quick: bool, name: str) -> None:
    """Ten copies, one core, beside `mj_step` alone in the same states: what no environment can be faster than."""
    import mujoco

    copies, steps = 10, 100 if quick else 1000
    batch = envs.make(Environment(name), copies, 1)
    batch.reset(range(copies))
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (steps, copies, 1, *batch.action.sizes)).astype(np.float32)
    task = make_one(Environment(name)).unwrapped
    model, data = task.model, task.data  # type: ignore[attr-defined]
    which = mujoco.mjtState.mjSTATE_FULLPHYSICS | mujoco.mjtState.mjSTATE_WARMSTART
    size, visited = mujoco.mj_stateSize(model, which), []
    for action in actions:
        visited.append(batch.states[:, 0, :size].copy())  # type: ignore[attr-defined]
        batch.step(action)

    def reference() -> float:
        seconds = 0.0
        for action, states in zip(actions, visited, strict=True):
            for one, state in zip(action[:, 0], states, strict=True):
                mujoco.mj_setState(model, data, state, which)
                data.ctrl[:] = one
                started = time.perf_counter()
                mujoco.mj_step(model, data, nstep=task.frame_skip)  # type: ignore[attr-defined]
                seconds += time.perf_counter() - started
        return seconds

    def work() -> None:
        batch.reset(range(copies))
        for action in actions:
            batch.step(action)

    measure(work, rounds=5, reference=reference, environment=name, copies=copies, steps=steps)


@pytest.mark.benchmark(group="statistics")
def test_bootstrap(measure: Measure, quick: bool) -> None:
    """Stratified bootstrap of the interquartile mean: 5 arms x 3 environments x 10 seeds."""
    repetitions = 2000 if quick else 50_000
    scores = np.random.default_rng(0).normal(size=(5, 3, 10))

    def work() -> None:
        for arm in scores:
            intervals.bootstrap(list(arm), repetitions=repetitions)

    measure(work, rounds=5, repetitions=repetitions, arms=5, environments=3, seeds=10)


@pytest.mark.benchmark(group="report")
def test_report(measure: Measure, quick: bool, tmp_path: Path) -> None:
    """The whole report of 5 arms x 2 environments x 10 seeds = 100 short runs."""
    arms = [rlbench.Arm(name, **fields(name, SETTINGS["b"])) for name in ALGORITHMS]
    seeds = 2 if quick else 10
    experiment = rlbench.Experiment("benchmark", arms, ["CartPole-v1", "Acrobot-v1"], seeds, 8192, "reinforce")
    results = rlbench.run(experiment, tmp_path, progress=False)

    def work() -> None:
        fresh = rlbench.Results(results.experiment, results.tables)
        experiment_page.write_report(fresh, None, tmp_path / "report")

    measure(work, rounds=3, runs=len(results.runs))


@pytest.mark.benchmark(group="store")
@pytest.mark.parametrize("indexed", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("thorough", [False, True], ids=["list", "verify"])
def test_store(measure: Measure, quick: bool, tmp_path: Path, thorough: bool, indexed: bool) -> None:
    """Reading all manifests of a store, and all tables for their checksums, without its index and with it."""
    count = 200 if quick else 10_000
    table = {"step": np.arange(50), "kl": np.linspace(0.0, 1.0, 50)}
    record = RunRecord("finished", "", 1, {**empty_episodes()}, table)
    identity = {"algorithm": "ppo-clip", "settings": {f"field {number}": number / 7 for number in range(25)}}
    cells = [Store(tmp_path).write(identity | {"seed": seed}, record, {}) for seed in range(count)]
    time.sleep(2 * runs._SETTLED_SECONDS)

    def work() -> None:
        if not indexed:
            (tmp_path / STORE / runs.FILE).unlink(missing_ok=True)
        assert len(Store(tmp_path).manifests(cells, thorough=thorough)) == count

    work()
    what = f"{'checksums' if thorough else 'manifests'}, {'with' if indexed else 'without'} the index,"
    measure(work, rounds=5, runs=count, what=what)


@pytest.mark.benchmark(group="start-up")
@pytest.mark.parametrize(
    "words", [["-c", "import rlbench"], ["-m", "rlbench", "--help"]], ids=["import rlbench", "rlbench --help"]
)
def test_start(measure: Measure, words: list[str]) -> None:
    """A fresh interpreter that does this, beside one that does nothing."""

    def reference() -> float:
        started = time.perf_counter()
        processes.finish(processes.start(["-c", "pass"]))
        return time.perf_counter() - started

    def work() -> None:
        processes.finish(processes.start(words))

    measure(work, rounds=15, reference=reference, what=" ".join(words[1:]) if words[0] == "-c" else "rlbench --help")
