"""Measure what the driver of a Ray run does per pack and per cell, on a real Ray of two processes on this machine."""

from __future__ import annotations

import copy
import logging
import pickle
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import cloudpickle
import numpy as np

from benchmarks.fleet import Driver, simulate
from rlbench import Arm, Experiment
from rlbench.records import RunRecord, empty_episodes
from rlbench.store import Store
from rlbench.store.leases import Lease
from rlbench.study.executors import Attempt, Job
from rlbench.study.executors import ray as executor
from rlbench.study.executors.ray import Ray
from rlbench.study.plan import Cell, make_plan, to_do
from rlbench.study.provenance import provenance
from rlbench.study.schedule import Pack

SIZES = (1, 10, 50)
PENDING = (50, 250, 1000)
CLAIMED = (10, 1000, 10_000)
STEPS = 100_000
ROUNDS = 5


def measure(folder: Path, *, quick: bool = False) -> dict[str, Any]:
    """Return `driver`, seconds of its steps, and beside it what `benchmarks.scaling` needs and says.

    `start` is after how many seconds a new worker can train, `stored_bytes` the size of a stored run, `check` compares
    the simulation with packs that really were on the cluster. What the driver computes is its main thread's processor
    time, so that other processes do not count; waiting for the disk or for a worker to start is taken at its quickest.
    """
    import ray

    records = _records(2048 if quick else STEPS)
    kept = folder / "records.pickle"
    kept.write_bytes(pickle.dumps(records))
    cells = make_plan(_experiment(seeds=200, steps=STEPS)).cells
    packs = {size: [Pack((cell,) * size) for cell in cells[: 5 if quick else 40]] for size in SIZES}
    store, size = _store(folder, cells, records, 5 if quick else 100)
    planning = _planning(folder, 100 if quick else 2000)
    # Not any other cluster that may run on this machine.
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        cluster = Ray()
        cluster.prepare()
        cloudpickle.register_pickle_by_value(sys.modules[__name__])
        send, land = _send_and_land(cluster, packs, str(kept))
        looks = {count: _look(cluster, cells[0], count) for count in (PENDING[:2] if quick else PENDING)}
        look_pending, look = np.polyfit([*looks], [*looks.values()], 1)
        looking = max(float(look), 0.0), max(float(look_pending), 0.0)
        driver = Driver(planning, *looking, *_claim(folder, CLAIMED[:2] if quick else CLAIMED), *send, *land, store)
        check = _check(cluster, cells, driver)
    finally:
        ray.shutdown()
    return {"driver": asdict(driver), "start": _start(1 if quick else 5), "stored_bytes": size, "check": check}


def _experiment(seeds: int, steps: int) -> Experiment:
    return Experiment("driver", [Arm("ppo-clip")], ["CartPole-v1"], seeds, steps)


def _records(steps: int) -> list[RunRecord]:
    """Return copies of a real run's record, as many as the largest pack needs."""
    from rlbench.training.trainer import train

    (cell,) = make_plan(_experiment(1, steps - steps % 2048)).cells
    (record,) = train([cell.algorithm], cell.environment, cell.steps, [0], on_progress=lambda _: None)
    return [copy.deepcopy(record) for _ in range(max(SIZES))]


def _send_and_land(cluster: Ray, packs: dict[int, list[Pack]], kept: str) -> tuple[list[float], list[float]]:
    """Return (seconds per pack, and more per cell) of sending packs, and of taking what came back."""
    import ray

    send: dict[int, list[float]] = {size: [] for size in packs}
    land: dict[int, list[float]] = {size: [] for size in packs}
    for size in [max(packs), *[*packs] * ROUNDS]:  # the first of all, which also loads, is dropped below
        tasks = _tasks(cluster, _Kept(kept))
        each = [_timed(lambda to=tasks, pack=pack: to.start(Attempt(pack))) for pack in packs[size]]
        pending = list(tasks._tasks)
        ray.wait(pending, num_returns=len(pending))
        seconds = 0.0
        while len(tasks):
            seconds += _timed(tasks.completed)
        tasks.close()
        send[size].append(median(each))
        land[size].append(seconds / len(each))
    del send[max(packs)][0], land[max(packs)][0]
    return _line(send), _line(land)


def _tasks(cluster: Ray, train: Any) -> Any:
    return executor._RemoteTasks(cluster, Job(train))


def _claim(folder: Path, counts: Sequence[int]) -> list[float]:
    """Return (seconds per pack, and more per cell that is claimed) of claiming ten cells and letting go of them."""
    store = Store(folder / "claims")
    lease = Lease(store, {"experiments": [{"name": "driver", "suite": ""}]})
    taken: dict[int, float] = {}
    try:
        for count in counts:
            lease.claim(lambda held, to=count: (secrets.token_hex(8) for _ in range(to)))
            seconds = []
            for _ in range(20):
                ten = [secrets.token_hex(8) for _ in range(10)]
                claimed = _timed(lambda names=ten: lease.claim(lambda held: names))
                seconds.append(claimed + _timed(lambda names=ten: lease.release(names)))
            taken[sum(counts[: counts.index(count) + 1])] = median(seconds)
    finally:
        lease.close()
    slope, constant = np.polyfit([*taken], [*taken.values()], 1)
    return [max(float(constant), 0.0), max(float(slope), 0.0)]


def _look(cluster: Ray, cell: Cell, count: int) -> float:
    """Return the seconds of looking at the cluster while `count` packs are on it, of which none ends."""
    import ray

    tasks = _tasks(cluster, _endless)
    for _ in range(count):
        tasks.start(Attempt(Pack((cell,))))
    pending = list(tasks._tasks)
    seconds = median(_timed(lambda: ray.wait(pending, num_returns=len(pending), timeout=0)) for _ in range(15))
    tasks.close()
    return 2 * seconds  # for the first that ended, and for all others


def _store(folder: Path, cells: Sequence[Cell], records: list[RunRecord], count: int) -> tuple[float, int]:
    """Return (seconds of storing a run, flushed to the disk; its bytes)."""
    store, made_by = Store(folder / "results"), provenance(1)
    computed, waited = [], []
    for cell in cells[:count]:
        before = time.perf_counter(), time.thread_time()
        store.write(cell.identity, records[0], made_by)
        computed.append(time.thread_time() - before[1])
        waited.append(time.perf_counter() - before[0] - computed[-1])
    stored = sum(file.stat().st_size for file in (folder / "results").rglob("*") if file.is_file())
    return median(computed) + float(np.quantile(waited, 0.1)), stored // count


def _check(cluster: Ray, cells: Sequence[Cell], driver: Driver) -> dict[str, float]:
    """Return how long packs that only sleep really take on two processes, by the executor and in the simulation."""
    packs, nap = [Pack((cell,)) for cell in cells[:60]], 0.25
    taken = []
    for ones in (packs[:4], packs):  # first so that the workers are there
        before = time.perf_counter()
        for _ in cluster.run(ones, Job(_Nap(nap))):
            pass
        taken.append(time.perf_counter() - before)
    unstored = replace(driver, plan_cell=0.0, store_cell=0.0)
    return {"real": taken[1], "simulated": simulate(len(packs), 1, 2, lambda _: nap, unstored).makespan}


def _planning(folder: Path, seeds: int) -> float:
    """Return the seconds per cell of planning runs, and of finding that none is stored."""
    return _timed(lambda: to_do(make_plan(_experiment(seeds, STEPS)).cells, Store(folder / "empty"))) / seeds


def _start(times: int) -> float:
    """Return the seconds after which a new worker process can train."""
    code = "from rlbench.study.executors.worker import trainer; trainer(); import gymnasium"
    taken = []
    for _ in range(times):
        before = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        taken.append(time.perf_counter() - before)
    return min(taken)


class _Nap:
    """Trains nothing: sleeps and fails, which is quick to send."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, *arguments: Any, on_progress: Any) -> list[RunRecord]:
        time.sleep(self.seconds)
        return [RunRecord("failed", "", 0, empty_episodes(), {}) for _ in arguments[-1]]


class _Kept:
    """Trains nothing: returns the records in a file."""

    def __init__(self, file: str) -> None:
        self.file = file

    def __call__(self, *arguments: Any, on_progress: Any) -> list[RunRecord]:
        records: list[RunRecord] = pickle.loads(Path(self.file).read_bytes())
        return records[: len(arguments[-1])]


def _endless(*_: Any, **__: Any) -> list[RunRecord]:
    time.sleep(3600)
    return []


def _timed(call: Callable[[], object]) -> float:
    before = time.thread_time()
    call()
    return time.thread_time() - before


def _line(seconds: dict[int, list[float]]) -> list[float]:
    """Return (constant, slope) of the least seconds by replicas; none below zero, which is noise."""
    least = [min(ones) for ones in seconds.values()]
    slope, constant = np.polyfit([*seconds], least, 1, w=1 / np.array(least))
    return [max(float(constant), 0.0), max(float(slope), 0.0)]
