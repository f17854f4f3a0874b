"""Faults in one run of a pack: the others end with the numbers they would have had, and the cause is recorded."""

from __future__ import annotations

import ctypes
import functools
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from rlbench import Algorithm, Environment, hyper, static
from rlbench.algorithm import configure
from rlbench.records import Progress, RunRecord, empty_episodes
from rlbench.study.executors import Job, Results
from rlbench.study.executors.launcher import Launcher
from rlbench.study.executors.local import InProcess, Workers
from rlbench.study.limits import Limits
from rlbench.study.plan import Cell, trained_arm
from rlbench.study.schedule import Pack
from rlbench.training.checkpoints import Checkpoints
from rlbench.training.envs import copy_seeds
from rlbench.training.limits import Hanging, caller, watching

cloudpickle.register_pickle_by_value(sys.modules[__name__])

FAULTY = "rlbench-faults/Faulty-v0"
HORIZON, STEPS, AT = 16, 80, 37  # the fault comes in the third of five rollouts
SEEDS = (3, 4, 5, 6, 7)
GUILTY = 5
ROOM = 2.0**29
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux")


class Faulty(gymnasium.Env[Any, Any]):
    """A random walk whose copy of one seed does something bad in its own step `AT`."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, how: str = "", flag: str = "") -> None:
        self.how, self.flag, self.total, self.guilty = how, flag, 0, False
        self.cursed = copy_seeds(GUILTY, 1)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.guilty = seed in self.cursed
        self.place, self.time = self.np_random.normal(), 0
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        self.total += 1
        self.time += 1
        self.place += 0.2 * self.np_random.normal() + 0.1 * (int(action) - 0.5)
        observation, reward = self._observe(), 1.0 - self.place**2
        if self.guilty and self.total == AT:
            if self.how == "nan reward":
                reward = float("nan")
            elif self.how == "nan observation":
                observation = observation * np.float32(np.nan)
            elif self.how and not (self.flag and Path(self.flag).exists()):
                if self.flag:
                    Path(self.flag).touch()
                FAULTS[self.how]()
        return observation, reward, abs(self.place) > 2, self.time >= 11, {}

    def _observe(self) -> Any:
        return np.array([self.place, self.time / 10], np.float32)


def raises() -> None:
    raise RuntimeError("the motor is on fire")


def sleeps() -> None:
    time.sleep(3600)


def loops() -> None:
    while True:
        try:
            time.sleep(0.01)
        except Exception:  # as environments do
            continue


def hangs_in_c() -> None:
    """Wait in C where no signal is delivered: nothing in this process can end that."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    select.select([], [], [], 3600)


def allocates() -> None:
    held = []
    while True:
        held.append(np.ones(2**22))


def exits() -> None:
    os._exit(7)


def crashes() -> None:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    ctypes.string_at(0)


FAULTS: dict[str, Callable[[], None]] = {
    "raises": raises, "sleeps": sleeps, "loops": loops, "hangs in c": hangs_in_c, "allocates": allocates,
    "exits": exits, "crashes": crashes,
}  # fmt: skip


class Plugin(Algorithm):
    """A plugin that does something bad in its second update for one value of a hyper-parameter."""

    name = "faulty-plugin"
    fault: float = hyper(0.0)
    how: str = static("")
    horizon: int = static(HORIZON)
    minibatches: int = static(1)
    epochs: int = static(1)
    hidden: tuple[int, ...] = static((4,))

    def surrogate(self, x: Any) -> Any:
        return x.ratio * x.advantage

    def adapt(self, stats: Any) -> Any:
        if np.any(np.asarray(stats.progress) > 0.3) and np.any(np.asarray(self.fault) == 1.0):
            FAULTS[self.how]() if self.how in FAULTS else spend(self.how)
        return self


def spend(how: str) -> None:
    """Ask torch for more than there is, or never end without a call that could be watched."""
    if how == "torch":
        import torch

        torch.ones(2**31)
    while True:
        pass


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    gymnasium.register(FAULTY, entry_point=Faulty)
    yield
    del gymnasium.registry[FAULTY]


def pack(environment: Environment, how: str = "", faults: tuple[float, ...] = (0.0,) * len(SEEDS)) -> Pack:
    """Five runs that train together."""
    algorithms = [configure(Plugin, {"how": how, "fault": fault}, "test") for fault in faults]
    return Pack(
        tuple(
            Cell(trained_arm(algorithm, fingerprint=""), environment, STEPS, seed)
            for algorithm, seed in zip(algorithms, SEEDS, strict=True)
        )
    )


def by_seed(results: Results) -> dict[int, RunRecord]:
    found: dict[int, RunRecord] = {}
    for done, records in results:
        for cell, record in zip(done.cells, records, strict=True):
            assert cell.seed not in found
            found[cell.seed] = record
    assert sorted(found) == list(SEEDS)
    return found


@functools.cache
def undisturbed(how: str = "") -> dict[int, RunRecord]:
    """The same runs, of which none does anything bad; all of them differ."""
    found = by_seed(InProcess().run([pack(Environment(FAULTY), how)], Job()))
    assert all(record.status == "finished" for record in found.values())
    assert len({record.updates["kl"].tobytes() for record in found.values()}) == len(SEEDS)
    return found


def check(found: dict[int, RunRecord], expected: dict[int, RunRecord], reason: str) -> RunRecord:
    """Assert that every run but the guilty one is what it would have been, to the bit; return the guilty one's."""
    for seed in SEEDS:
        if seed == GUILTY:
            continue
        one, other = found[seed], expected[seed]
        assert (one.status, one.reason, one.steps, one.gradient_steps, one.samples) == (
            "finished", "", STEPS, other.gradient_steps, other.samples,
        )  # fmt: skip
        for left, right in ((one.episodes, other.episodes), (one.updates, other.updates)):
            assert list(left) == list(right)
            for name in left:
                assert len(left[name])
                assert left[name].tobytes() == right[name].tobytes(), name
    guilty = found[GUILTY]
    assert guilty.status == "failed"
    assert reason in guilty.reason
    return guilty


def train(launcher: Launcher, packs: list[Pack], seconds: float = 0.0, memory: float = ROOM) -> dict[int, RunRecord]:
    return by_seed(Workers(2, launcher).run(packs, Job(limits=Limits(seconds, memory))))


@pytest.fixture(scope="module")
def forks(registered: None) -> Iterator[Launcher]:
    """Fork workers that find every loop compiled: compiling is silent for longer than their limits here."""
    undisturbed()
    with Launcher() as launcher:
        yield launcher


@pytest.mark.parametrize(
    ("how", "reason", "attempts"),
    [
        ("raises", "the environment raised RuntimeError: the motor is on fire", 1),
        ("nan reward", "the environment returned NaN or infinity before step 48", 1),
        ("nan observation", "the environment returned NaN or infinity before step 48", 1),
        ("sleeps", "the environment did not return within 0.6 s", 2),
        ("loops", "the environment did not return within 0.6 s", 2),
        pytest.param("allocates", "ran out of memory (limit 512 MiB)", 2, marks=LINUX),
    ],
)
def test_a_fault_that_its_replica_notices_ends_only_that(how: str, reason: str, attempts: int, forks: Launcher) -> None:
    seconds = 0.6 if "0.6 s" in reason else 0.0
    guilty = check(train(forks, [pack(Environment(FAULTY, {"how": how}))], seconds), undisturbed(), reason)
    assert guilty.steps == 48
    assert len(guilty.updates["step"]) == 2  # what happened before is kept
    assert guilty.attempts == attempts
    assert ("Traceback" in guilty.detail) == ("nan" not in how)


@pytest.mark.parametrize(
    ("how", "reason", "seconds"),
    [
        ("exits", "its worker process ended with status 7", 0.0),
        ("crashes", "its worker process was ended by SIGSEGV", 0.0),
        ("hangs in c", "its worker process gave no sign of life for", 0.4),
    ],
)
def test_a_fault_that_takes_its_process_along_is_looked_for_by_halves(
    how: str, reason: str, seconds: float, forks: Launcher
) -> None:
    guilty = check(train(forks, [pack(Environment(FAULTY, {"how": how}))], seconds), undisturbed(), reason)
    # In all five, in the first three, alone as the third or after one more division, and once more alone.
    assert guilty.attempts == 4
    assert guilty.updates == {}


@pytest.mark.parametrize(
    ("how", "reason", "seconds", "attempts"),
    [
        ("raises", "RuntimeError: the motor is on fire", 0.0, 3),
        ("exits", "its worker process ended with status 7", 0.0, 4),
        ("loop", "its worker process gave no sign of life for", 0.4, 4),
        pytest.param("allocates", "ran out of memory (limit 512 MiB)", 0.0, 4, marks=LINUX),
        pytest.param("torch", "ran out of memory (limit 512 MiB)", 0.0, 4, marks=LINUX),
    ],
)
def test_a_plugin_that_fails_for_one_value_fails_only_there(
    how: str, reason: str, seconds: float, attempts: int, forks: Launcher
) -> None:
    faults = tuple(float(seed == GUILTY) for seed in SEEDS)
    guilty = check(train(forks, [pack(Environment(FAULTY), how, faults)], seconds), undisturbed(how), reason)
    assert guilty.attempts == attempts


def test_a_fault_that_does_not_come_again_fails_nothing(tmp_path: Path, forks: Launcher) -> None:
    for how, seconds in (("exits", 0.0), ("sleeps", 0.6)):
        options = {"how": how, "flag": str(tmp_path / how)}
        found = train(forks, [pack(Environment(FAULTY, options))], seconds)
        assert {record.status for record in found.values()} == {"finished"}
        assert found[GUILTY].attempts == 2
        assert found[GUILTY].updates["kl"].tobytes() == undisturbed()[GUILTY].updates["kl"].tobytes()


def test_a_run_that_is_tried_again_goes_on_from_before_its_fault(tmp_path: Path, forks: Launcher) -> None:
    options = {"how": "sleeps", "flag": str(tmp_path / "flag")}
    kept = Checkpoints(tmp_path / "checkpoints", (), 0.0)
    packs = [pack(Environment(FAULTY, options))]
    found = by_seed(Workers(1, forks).run(packs, Job(checkpoints=kept, limits=Limits(0.6))))
    assert found[GUILTY].attempts == 2
    for seed, expected in undisturbed().items():
        assert found[seed].status == "finished"
        for name, column in expected.updates.items():
            assert found[seed].updates[name].tobytes() == column.tobytes(), name


def test_a_pack_of_which_every_run_fails_starts_at_most_twice_as_often_as_it_has_runs() -> None:
    starts: list[list[int]] = []

    def fails(_: Any, environment: Environment, steps: int, seeds: list[int], **__: Any) -> list[RunRecord]:
        starts.append(seeds)
        raise ValueError("always")

    found = by_seed(InProcess().run([pack(Environment(FAULTY))], Job(fails)))
    assert {record.reason for record in found.values()} == {"ValueError: always"}
    assert len(starts) == 2 * len(SEEDS) - 1


def test_in_this_process_a_plugin_that_raises_and_an_environment_that_hangs_end_only_their_run() -> None:
    faults = tuple(float(seed == GUILTY) for seed in SEEDS)
    before = signal.getsignal(signal.SIGALRM)
    found = by_seed(InProcess().run([pack(Environment(FAULTY), "raises", faults)], Job()))
    assert check(found, undisturbed("raises"), "the motor is on fire").attempts == 3
    found = by_seed(InProcess().run([pack(Environment(FAULTY, {"how": "sleeps"}))], Job(limits=Limits(0.6))))
    assert check(found, undisturbed(), "did not return within 0.6 s").attempts == 2
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def slow_train(_: Any, environment: Environment, steps: int, seeds: list[int], *, on_progress: Any) -> list[RunRecord]:
    """Take twice the limit, with signs of life all the while."""
    for step in range(24):
        time.sleep(0.25)
        on_progress(Progress(step, 24, len(seeds), 0.0))
    return [RunRecord("finished", "", steps, empty_episodes(), {}) for _ in seeds]


def test_a_pack_that_is_slow_but_alive_is_left_alone(forks: Launcher) -> None:
    results = Workers(1, forks).run([pack(Environment(FAULTY))], Job(slow_train, limits=Limits(0.3)))
    assert {record.attempts for record in by_seed(results).values()} == {1}


def hoarding_train(*arguments: Any, on_progress: Any) -> list[RunRecord]:
    """For the guilty seed, fill the process beyond its death; for the others, need a little."""
    seeds = arguments[3]
    if GUILTY in seeds:
        hoard = sys.modules["rlbench"].__dict__.setdefault("hoard", [])
        while True:
            hoard.append(bytearray(2**24))
    needed = np.ones(2**24)
    return [RunRecord("finished", "", 8, empty_episodes(), {"sum": needed[:1]}) for _ in seeds]


@LINUX
def test_a_worker_that_is_full_trains_nothing_more(forks: Launcher) -> None:
    packs = [Pack((cell,)) for cell in pack(Environment(FAULTY)).cells]
    packs.sort(key=lambda one: one.cells[0].seed != GUILTY)
    results = Workers(1, forks).run(packs, Job(hoarding_train, limits=Limits(0, ROOM)))
    found = by_seed(results)
    assert {seed for seed, record in found.items() if record.status == "failed"} == {GUILTY}
    assert {record.attempts for seed, record in found.items() if seed != GUILTY} == {1}
    assert found[GUILTY].reason == "ran out of memory (limit 512 MiB)"


def sacrifice(*_: Any, on_progress: Any) -> list[RunRecord]:
    score = int(Path("/proc/self/oom_score_adj").read_text())
    return [RunRecord("finished", "", 8, empty_episodes(), {"score": np.array([score])}) for _ in SEEDS]


@LINUX
def test_the_system_ends_a_worker_before_its_parent(launcher: Launcher) -> None:
    results = Workers(1, launcher).run([pack(Environment(FAULTY))], Job(sacrifice))
    (score,) = by_seed(results)[GUILTY].updates["score"]
    assert score > int(Path("/proc/self/oom_score_adj").read_text())


def test_a_call_that_returns_in_time_is_not_ended_however_many_there_are() -> None:
    said: list[None] = []
    with watching(0.4, lambda: said.append(None)):
        call = caller()
        for _ in range(12):
            call(time.sleep, 0.1)
        with pytest.raises(Hanging, match=r"did not return within 0\.4 s"):
            call(time.sleep, 60)
        call(time.sleep, 0.01)
    assert len(said) >= 4


def test_on_another_thread_and_beside_another_timer_nothing_is_watched() -> None:
    callers: list[Any] = []
    with watching(5.0):
        thread = threading.Thread(target=lambda: callers.append(caller()))
        thread.start()
        thread.join()
        timer = signal.getitimer(signal.ITIMER_REAL)
        with watching(1.0):
            assert signal.getitimer(signal.ITIMER_REAL)[1] == timer[1]
        assert caller() is not callers[0]
    assert caller() is callers[0]
