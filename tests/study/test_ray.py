"""Packs on a real Ray cluster of three nodes: the same numbers as here, and what is lost with a node or a pack."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import rlbench
from rlbench import registry
from rlbench.errors import RlbenchError
from rlbench.records import Environment, Progress, RunRecord, empty_episodes
from rlbench.store import Store
from rlbench.study.executors import Event, Job, executor_for
from rlbench.study.executors import ray as in_tasks
from rlbench.study.executors.local import InProcess
from rlbench.study.executors.ray import Node, Ray
from rlbench.study.experiment import Arm, Experiment
from rlbench.study.limits import Limits
from rlbench.study.plan import Plan, make_plan
from rlbench.study.provenance import differences, installed
from rlbench.study.schedule import Pack
from rlbench.training.checkpoints import Checkpoints
from rlbench.training.trainer import train
from tests.waiting import HANGS, wait_until

ray = pytest.importorskip("ray")

# A node cannot import a test module by name; what stands here travels whole, as a notebook's functions do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

TINY: dict[str, Any] = {"horizon": 16, "minibatches": 1, "epochs": 1, "hidden": [4]}
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000}
PLUGIN = """
from rlbench import Algorithm, hyper, static

class Squared(Algorithm):
    name = "squared"
    sharpness: float = hyper(2.0, low=0.0)
    horizon: int = static(16)
    minibatches: int = static(1)

    def surrogate(self, x):
        return x.ratio * x.advantage - self.sharpness * (x.ratio - 1) ** 2
"""
EXPERIMENT = """
from rlbench import Arm, Experiment
TINY = dict(horizon=16, minibatches=1, epochs=1, hidden=[4])
EXPERIMENT = Experiment("far", [Arm("squared"), Arm("ppo-clip", **TINY)], ["CartPole-v1"], seeds={seeds}, steps={steps})
"""


class Machines:
    """The nodes of a test's cluster: one that stays, with the address, and two that can be killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as Nodes

        self._nodes = Nodes()
        self._add(num_gpus=1, include_dashboard=False)
        self.address: str = self._nodes.address
        self._others = [self._add(), self._add()]

    def kill_one(self) -> None:
        self._nodes.remove_node(self._others.pop(), allow_graceful=False)

    def replace(self) -> None:
        while len(self._others) < 2:
            self._others.append(self._add())

    def close(self) -> None:
        self._nodes.shutdown()

    def _add(self, **options: Any) -> Any:
        """Add a node; Ray gives it half a minute to start, which a busy machine may not do at once."""
        for _ in range(3):
            try:
                return self._nodes.add_node(**NODE, **options)
            except Exception as error:
                if "timed out during startup" not in str(error):
                    raise
        return self._nodes.add_node(**NODE, **options)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    made = Machines()
    yield made
    made.close()


@pytest.fixture(scope="module")
def connection(machines: Machines) -> Iterator[None]:
    """Connect once for all tests below that need no connection of their own: Ray starts workers for each."""
    with contextlib.closing(Ray(machines.address)) as connected:
        connected.prepare()
        yield


@pytest.fixture
def cluster(machines: Machines, connection: None) -> Ray:
    return Ray(machines.address)


def quiet(event: Event) -> None:
    """Show nothing."""


def packs_of(plan: Plan, size: int = 1) -> list[Pack]:
    arms: dict[str, list[Any]] = {}
    for cell in plan.cells:
        arms.setdefault(cell.arm, []).append(cell)
    return [Pack(tuple(cells[at : at + size])) for cells in arms.values() for at in range(0, len(cells), size)]


def numbers(results: Any) -> dict[str, tuple[str, dict[str, bytes]]]:
    return {
        cell.id: (one.status, {name: column.tobytes() for name, column in (one.episodes | one.updates).items()})
        for done, records in results
        for cell, one in zip(done.cells, records, strict=True)
    }


def outcome(results: Any) -> dict[int, RunRecord]:
    return {cell.seed: one for done, records in results for cell, one in zip(done.cells, records, strict=True)}


def after_the_kill(*arguments: Any, folder: Path, **options: Any) -> list[RunRecord]:
    """Say in `folder` on which node this is, and train once a node was killed."""
    (folder / ray.get_runtime_context().get_node_id()).touch()
    until = time.monotonic() + HANGS
    while not (folder / "killed").exists() and time.monotonic() < until:
        time.sleep(0.05)
    return train(*arguments, **options)


def fake_train(
    _: Any, environment: Environment, steps: int, seeds: list[int], *, on_progress: Any, heard: Path | None = None
) -> list[RunRecord]:
    """Seed 3 kills its process, seed 5 raises, seed 1 prints and goes on until it was `heard`."""
    if 3 in seeds:
        os.kill(os.getpid(), signal.SIGKILL)
    if 5 in seeds:
        raise ValueError("five is right out\nand more")
    if 1 in seeds and heard is not None:
        print("hello from one")
        until = time.monotonic() + HANGS
        while time.monotonic() < until and not heard.exists():
            time.sleep(0.1)
            on_progress(Progress(16, 32, len(seeds), 1.0))
    node = ray.get_runtime_context().get_node_id()
    threads = os.environ["OMP_NUM_THREADS"]
    return [RunRecord("finished", "", 32, empty_episodes(), {}, detail=f"{node} {threads}") for _ in seeds]


def test_the_table_is_that_of_local_runs(machines: Machines, tmp_path: Path) -> None:
    plugin = tmp_path / "squared.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    experiment = Experiment(
        "near", [Arm("ppo-clip", **TINY), *registry.add_file(plugin)], ["CartPole-v1", "Acrobot-v1"], seeds=3, steps=96
    )
    far = rlbench.run(experiment, tmp_path / "far", executor="ray", address=machines.address, progress=False)
    rlbench.run(experiment, tmp_path / "near", workers=0, progress=False)
    assert (far.runs["status"] == "finished").sum() == 12
    ids = [cell.id for cell in make_plan(experiment).cells]
    for cell in ids:
        for name in ("episodes.parquet", "updates.parquet"):
            one, other = (next((tmp_path / where).rglob(f"*{cell}*/{name}")).read_bytes() for where in ("far", "near"))
            assert one == other, name
    manifest = Store(tmp_path / "far").manifest(ids[0])
    assert manifest is not None
    assert manifest["provenance"]["machine"]["processor"]
    assert not ray.is_initialized()


def test_what_is_asked_for_wrongly_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not ray.is_initialized()
    with pytest.raises(RlbenchError, match="workers must be at least 1, not 0"):
        executor_for("ray", workers=0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(RlbenchError, match=f"There is no Ray cluster to be reached at {address}: .*refused"):
            Ray(address).prepare()
    for address, message in (("ray://x:1", "on a node of the cluster"), ("x:port", "no Ray cluster .* at x:port")):
        with pytest.raises(RlbenchError, match=message):
            Ray(address).prepare()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RlbenchError, match=r"needs Ray: pip install 'rlbench\[ray\]'"):
        Ray().prepare()


def test_something_else_that_listens_is_not_waited_for() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        code = (
            "from rlbench.study.executors import ray\nray.REACH_SECONDS = 2.0\n"
            f"try: ray.Ray('127.0.0.1:{other.getsockname()[1]}').prepare()\n"
            "except ray.RlbenchError as error: print(error)\n"
            "import os, sys; sys.stdout.flush(); os._exit(0)"
        )
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS).stdout
    assert said.strip().endswith("no answer within 2 seconds.")


def test_halves_cover_a_pack(tiny_plan: Callable[..., Plan]) -> None:
    (pack,) = packs_of(tiny_plan(arms=[Arm("ppo-clip", **TINY)], seeds=5), 5)
    assert [len(part.cells) for part in pack.halves()] == [3, 2]
    assert tuple(cell for part in pack.halves() for cell in part.cells) == pack.cells
    assert Pack(pack.cells[:1]).halves() == []


def command(tmp_path: Path, machines: Machines, seeds: int, steps: int) -> list[str]:
    (tmp_path / "far.py").write_text(EXPERIMENT.format(seeds=seeds, steps=steps), encoding="utf-8")
    begun = f'        open({str(tmp_path / "begun")!r}, "w").close()\n        return'
    (tmp_path / "squared.py").write_text(PLUGIN.replace("        return", begun), encoding="utf-8")
    far = ["--executor", "ray", "--address", machines.address]
    return [sys.executable, "-m", "rlbench", "run", "far.py", "--plugin", "squared.py", "--results", "results", *far]


def test_the_command_line_trains_there_and_continues_after_ctrl_c(machines: Machines, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(rlbench.__file__).parents[1])}
    options: dict[str, Any] = {"cwd": tmp_path, "env": environment, "text": True}
    first = subprocess.Popen(
        command(tmp_path, machines, 2, 10**8),
        **options,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Whoever runs the tests in the background has Ctrl-C ignored, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_until((tmp_path / "begun").exists, lambda: first.poll() is None)
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=HANGS)
    finally:
        first.kill()
    assert first.returncode == 130, said
    assert "Interrupted: 0 of 4 runs are stored; the same command continues from there." in said
    assert "Traceback" not in said
    done = subprocess.run(command(tmp_path, machines, 3, 64), **options, capture_output=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    assert "6 trained" in done.stdout
    assert "raylet" not in done.stdout + done.stderr
    assert len(list((tmp_path / "results").rglob("manifest.json"))) == 6


def test_a_node_killed_in_mid_run_changes_nothing(
    machines: Machines, cluster: Ray, tiny_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = tiny_plan(seeds=4, steps=96)
    results = []

    def kill_one() -> None:
        try:
            wait_until(lambda: len(list(tmp_path.iterdir())) == 3)
            machines.kill_one()
        finally:
            (tmp_path / "killed").touch()

    killer = threading.Thread(target=kill_one)
    try:
        train_then = partial(after_the_kill, folder=tmp_path)
        for pack, records in cluster.run(packs_of(plan), Job(train_then, meanwhile=killer.start)):
            results.append((pack, records))
    finally:
        killer.join()
        machines.replace()
    assert numbers(results) == numbers(InProcess().run(packs_of(plan), Job(train)))
    assert max(one.attempts for _, records in results for one in records) == 2  # a pack was on the one that was killed


def test_a_replica_that_raises_or_ends_its_process_fails_alone(
    cluster: Ray, tiny_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    heard, events = tmp_path / "heard", list[Event]()

    def listen(event: Event) -> None:
        events.append(event)
        if event.progress:
            heard.touch()

    plan = tiny_plan(arms=[Arm("ppo-clip", **TINY)], seeds=8)
    results = outcome(cluster.run(packs_of(plan, 4), Job(partial(fake_train, heard=heard), listen)))
    assert {seed: one.status for seed, one in results.items()} == {
        seed: "failed" if seed in (3, 5) else "finished" for seed in range(8)
    }
    assert results[3].reason == "its worker process on the cluster ended"
    assert results[5].reason == "ValueError: five is right out"
    assert "Traceback" in results[5].detail
    assert results[3].attempts == 4  # of four, of two, and alone, twice
    assert results[5].attempts == 3
    assert all(one.detail.endswith(" 1") for seed, one in results.items() if seed not in (3, 5))
    assert "hello from one" in [event.line for event in events]
    assert any(event.progress == Progress(16, 32, 2, 1.0) for event in events)


def spoil(
    _: Any, environment: Environment, steps: int, seeds: list[int], *, on_progress: Any, how: str
) -> list[RunRecord]:
    """Seed 3 takes all memory, or hangs where no interpreter notices."""
    if 3 in seeds:
        on_progress(Progress(16, 32, len(seeds), 1.0))
        held = [np.ones(2**22)]
        while how == "memory":
            held.append(np.ones(2**22))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        ctypes.PyDLL(None).sleep(3600)  # holds the interpreter's lock, and no signal ends it
    return [RunRecord("finished", "", 32, empty_episodes(), {}) for _ in seeds]


@pytest.mark.parametrize(
    ("how", "limits", "reason"),
    [
        ("memory", Limits(memory=2.0**29), "ran out of memory (limit 512 MiB)"),
        ("time", Limits(0.8), "its worker process gave no sign of life for 8 s and was ended"),
    ],
)
def test_a_replica_that_takes_too_much_fails_alone(
    cluster: Ray,
    tiny_plan: Callable[..., Plan],
    how: str,
    limits: Limits,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_tasks, "REPORT_SECONDS", 2.7)  # however late its last sign of life is heard
    plan = tiny_plan(arms=[Arm("ppo-clip", **TINY)], seeds=[2, 3])
    results = outcome(cluster.run(packs_of(plan, 2), Job(partial(spoil, how=how), limits=limits)))
    assert (results[2].status, results[2].attempts) == ("finished", 2)
    assert (results[3].status, results[3].reason) == ("failed", reason)
    assert results[3].attempts == 3  # with the other, and alone, twice


@pytest.mark.parametrize("seen", [True, False])
def test_checkpoints_are_used_where_the_folder_is_seen(
    cluster: Ray, tiny_plan: Callable[..., Plan], tmp_path: Path, seen: bool
) -> None:
    plan = tiny_plan(arms=[Arm("ppo-clip", **TINY)], seeds=2, steps=96)
    checkpoints = Checkpoints(tmp_path / "checkpoints", (), 0)

    def interrupt(event: Event) -> None:
        if event.progress and event.progress.step == 48:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(InProcess().run(packs_of(plan, 2), Job(None, interrupt, checkpoints=checkpoints)))
    for cell in plan.cells:
        assert checkpoints.step(cell.id) == 32
        # A run that goes on from here has taken that long.
        checkpoints.write(cell.id, {**checkpoints.read(cell.id), "seconds": np.array(1e6)})
    mark = tmp_path / "mark"
    if seen:
        mark.touch()
    results = list(cluster.run(packs_of(plan, 2), Job(checkpoints=checkpoints, shared=mark)))
    assert [one.seconds >= 1e6 for _, records in results for one in records] == [seen] * 2
    assert numbers(results) == numbers(InProcess().run(packs_of(plan), Job()))


def test_packs_are_taken_as_there_is_room(cluster: Ray, tiny_plan: Callable[..., Plan]) -> None:
    taken: list[Pack] = []

    def packs(given: Sequence[Pack]) -> Iterator[Pack]:
        for pack in given:
            taken.append(pack)
            yield pack

    results = cluster.run(packs(packs_of(tiny_plan(seeds=6))), Job(fake_train_all))
    next(results)
    assert len(taken) <= cluster.at_once == 4
    results.close()


def fake_train_all(_: Any, environment: Environment, steps: int, seeds: list[int], **__: Any) -> list[RunRecord]:
    return [RunRecord("finished", "", 32, empty_episodes(), {}) for _ in seeds]


def test_a_pack_for_a_gpu_goes_where_one_is(cluster: Ray, tiny_plan: Callable[..., Plan]) -> None:
    cluster.prepare()
    cluster.device = "cuda"
    head = next(node.id for node in cluster.nodes() if node.gpus)
    plan = tiny_plan(arms=[Arm("ppo-clip", **TINY)], seeds=[0, 2, 4, 6, 7])
    results = outcome(cluster.run(packs_of(plan), Job(fake_train)))
    assert {one.detail.split()[0] for one in results.values()} == {head}
    assert cluster.processes == 1


def test_what_the_cluster_cannot_do_is_said(
    cluster: Ray, tiny_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = tiny_plan().cells
    with pytest.raises(RlbenchError, match="the device is cpu or cuda, not cuda:1"):
        cluster.place("cuda:1", cells)
    cluster.prepare()
    monkeypatch.setattr(cluster, "nodes", lambda: [Node("x", "x", cpus=1.0, gpus=0.0, memory=2.0**30)])
    with pytest.raises(RlbenchError, match="device=cuda needs a GPU, but no node"):
        cluster.place("cuda", cells)
    cluster.device = "cpu"
    large = Experiment("large", [Arm("ppo-clip", horizon=2**20, hidden=[64])], ["CartPole-v1"], seeds=5, steps=2**20)
    first: list[str] = []
    found = cluster.run(packs_of(make_plan(large)), Job(fake_train, meanwhile=lambda: first.append("meanwhile")))
    results = outcome((first.append("result"), one)[1] for one in found)
    assert first[:2] == ["meanwhile", "result"]
    assert [one.status for one in results.values()] == ["failed"] * 5  # more than are on the cluster at once
    assert results[0].reason.endswith("no node of the cluster has more than 1.0 GiB")


def test_a_node_with_other_versions_is_refused(
    machines: Machines, connection: None, tiny_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, torch = installed() | {"torch": "1.0"}, re.escape(installed()["torch"])
    with contextlib.closing(Ray(machines.address)) as cluster:
        monkeypatch.setattr(in_tasks, "installed", lambda: other)
        with pytest.raises(RlbenchError, match=rf"^Node .* has torch {torch} instead of 1\.0; install"):
            cluster.prepare()
    monkeypatch.undo()
    monkeypatch.setattr(in_tasks, "installed", lambda: other)  # as of a node that joins later
    with (
        contextlib.closing(Ray(machines.address)) as cluster,
        pytest.raises(RlbenchError, match=r"torch .* instead of 1\.0"),
    ):
        list(cluster.run(packs_of(tiny_plan()), Job(train)))
    assert differences(installed()) == ""
