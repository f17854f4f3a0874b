"""Starting workers: forks of a template that are like fresh interpreters, and what becomes of them when one ends."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from rlbench.records import Environment, RunRecord, empty_episodes
from rlbench.study.executors import Job
from rlbench.study.executors import launcher as module
from rlbench.study.executors.launcher import Launcher
from rlbench.study.executors.local import Workers
from rlbench.study.executors.worker import receive, send
from rlbench.study.plan import Cell, ResolvedArm
from rlbench.study.schedule import Pack
from tests.waiting import wait_until

cloudpickle.register_pickle_by_value(sys.modules[__name__])

linux = pytest.mark.skipif(sys.platform != "linux", reason="a template is used on Linux")


class Answers:
    """A worker that answers what expressions are worth there."""

    def __init__(self, launcher: Launcher) -> None:
        self.process = launcher.start()

    def __call__(self, expression: str) -> Any:
        def train(*_: Any, **__: Any) -> list[Any]:
            record = RunRecord("finished", "", 8, empty_episodes(), {})
            record.reason = eval(expression)
            return [record]

        payload = cloudpickle.dumps(((0.0, float("inf")), train, None, Environment("none"), 0, [], {}))
        send(self.process.stdin, payload)
        assert self._said() == ("alive",)
        kind, result = self._said()
        assert kind == "ended"
        return result.records[0].reason

    def _said(self) -> Any:
        message = receive(self.process.stdout)
        assert message is not None
        return pickle.loads(message)

    def end(self) -> int | None:
        """End the process and return its status."""
        self.process.kill()
        status = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()
        return status


@pytest.fixture
def worker(launcher: Launcher) -> Iterator[Callable[[], Answers]]:
    """Return a function that starts a worker of either kind."""
    started: list[Answers] = []

    def start() -> Answers:
        started.append(Answers(launcher))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.mark.parametrize("forking", [pytest.param(True, marks=linux), False])
def test_a_worker_has_the_parents_path_environment_and_folder_of_that_moment(
    forking: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_BEFORE", "1")
    with Launcher(forking=forking) as launcher:
        launcher.prepare()
        (tmp_path / "only_there.py").write_text("VALUE = 7\n")
        monkeypatch.setenv("TEST_AFTER", "2")
        monkeypatch.delenv("TEST_BEFORE")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        ask = Answers(launcher)
        assert ask("__import__('only_there').VALUE") == 7
        assert ask("__import__('sys').path") == [entry or os.getcwd() for entry in sys.path]
        assert ask("__import__('os').getcwd()") == str(tmp_path)
        there = ask("dict(__import__('os').environ)")
        ask.end()
    assert there == {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")}


def test_a_worker_is_ended_and_says_by_what(worker: Callable[[], Answers]) -> None:
    ask = worker()
    assert ask("1 + 1") == 2
    assert ask.end() == -signal.SIGKILL


def test_a_worker_ends_by_itself_where_its_packs_end(worker: Callable[[], Answers]) -> None:
    ask = worker()
    ask("0")
    ask.process.stdin.close()
    assert ask.process.wait() == 0


def test_a_worker_has_one_thread_and_ignores_the_parents_ctrl_c(worker: Callable[[], Answers]) -> None:
    ask = worker()
    assert ask("__import__('torch').get_num_threads()") == 1
    assert ask("__import__('signal').getsignal(2) == __import__('signal').SIG_IGN")
    pools = ask("(__import__('rlbench.training.trainer'), __import__('threadpoolctl').threadpool_info())[1]")
    assert {pool["num_threads"] for pool in pools} == {1}


@linux
def test_a_fork_finds_everything_imported_and_a_fresh_interpreter_is_light() -> None:
    expression = "sorted({name.partition('.')[0] for name in __import__('sys').modules})"
    with Launcher(forking=True) as forking, Launcher(forking=False) as fresh:
        forked, alone = Answers(forking), Answers(fresh)
        assert {"torch", "gymnasium", "numpy", "rlbench"} <= set(forked(expression))
        assert not {"pandas", "matplotlib", "seaborn", "pyarrow", "rich"} & set(forked(expression))
        assert "torch" not in alone(expression)
        assert forked("__import__('os').getppid()") != os.getpid() == alone("__import__('os').getppid()")
        forked.end(), alone.end()


@linux
@pytest.mark.parametrize("draw", ["__import__('numpy').random.random()", "__import__('random').random()"])
def test_forks_share_a_template_but_no_random_numbers(draw: str) -> None:
    with Launcher() as launcher:
        one, other = Answers(launcher), Answers(launcher)
        assert one("__import__('os').getppid()") == other("__import__('os').getppid()")
        assert one(draw) != other(draw)
        one.end(), other.end()


def pack(seed: int) -> Pack:
    """A pack for the trainers below, which use no algorithm."""
    return Pack((Cell(ResolvedArm("arm", "fake"), Environment("none"), 8, seed),))


def note(name: str) -> Path:
    return Path(os.environ["TEST_FOLDER"]) / name


def kill_the_template(_: Any, __: Any, ___: int, seeds: list[int], **____: Any) -> list[RunRecord]:
    """Kill the parent's only child that forked this process, the first time; then wait until both are at it."""
    (seed,) = seeds
    note(f"{seed}-{os.getppid()}").touch()
    if not note("killed").exists():
        while len(list(note("").glob("[0-9]-*"))) < 2:
            time.sleep(0.01)
        if seed == 1:
            note("killed").touch()
            os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(3600)
    return [RunRecord("finished", "", 8, empty_episodes(), {})]


@linux
def test_a_template_that_ends_takes_its_forks_along_and_their_packs_start_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_FOLDER", str(tmp_path))
    with Launcher() as launcher:
        results = list(Workers(2, launcher).run([pack(1), pack(2)], Job(kill_the_template)))
    assert [record.status for _, (record,) in results] == ["finished", "finished"]
    parents = {int(path.name.partition("-")[2]) for path in tmp_path.glob("[0-9]-*")}
    assert os.getpid() in parents
    assert len(parents) == 2


@linux
def test_a_template_with_a_second_thread_is_not_forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def parents(_: Any, __: Any, ___: int, ____: Any, **_____: Any) -> list[RunRecord]:
        return [RunRecord("finished", str(os.getppid()), 8, empty_episodes(), {})]

    with Launcher() as launcher:
        results = list(Workers(2, launcher).run([pack(1), pack(2)], Job(parents)))
    assert [record.reason for _, (record,) in results] == [str(os.getpid())] * 2


def test_a_fork_that_the_system_refuses_leaves_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuses, raising=False)
    read, write = os.pipe()
    assert module._fork(write) is None
    os.close(write)
    with os.fdopen(read) as said:
        assert said.read() == "[Errno 11] Resource temporarily unavailable\n"


SLEEPERS = """
import time
from rlbench.records import Environment
from rlbench.study.executors import Job
from rlbench.study.executors.launcher import Launcher
from rlbench.study.executors.local import Workers
from rlbench.study.plan import Cell, ResolvedArm
from rlbench.study.schedule import Pack

def sleeps(*arguments, on_progress):
    import os
    print(os.getpid(), os.getppid(), flush=True)
    time.sleep(600)

packs = [Pack((Cell(ResolvedArm("arm", "fake"), Environment("none"), 8, seed),)) for seed in (0, 1)]
with Launcher() as launcher:
    list(Workers(2, launcher).run(packs, Job(sleeps, lambda event: print(event.line, flush=True))))
"""


def exists(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@linux
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_where_the_parent_is_killed(kind: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", SLEEPERS], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    processes = {int(word) for _ in range(2) for word in parent.stdout.readline().split()}
    assert len(processes) == 3  # two workers and their template
    assert all(map(exists, processes))
    parent.send_signal(kind)
    parent.communicate()
    wait_until(lambda: not any(map(exists, processes)))


@linux
def test_closing_before_the_template_is_ready_does_not_wait_for_it() -> None:
    launcher = Launcher()
    process = launcher.start()
    process.kill()
    assert process.wait() is None
    launcher.close()
    for stream in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.close()


def test_without_forking_no_template_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_Template", None)
    with Launcher(forking=False) as launcher:
        launcher.prepare()
        ask = Answers(launcher)
        assert ask("1") == 1
        ask.end()
