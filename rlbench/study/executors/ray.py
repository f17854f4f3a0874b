"""The executor of a Ray cluster: a pack is a task, and its records come back to whoever stores them.

A task does what a local worker does, with what a local worker gets, and reports to an actor how far it is. Everything
that is wrong with a cluster is said in one sentence before anything trains: that it cannot be reached, that nodes have
other versions than this process, that it lacks GPUs. Ray is imported when a cluster is used, not before.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib.util
import io
import logging
import math
import os
import pickle
import socket
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rlbench.errors import RlbenchError
from rlbench.records import Environment, Progress
from rlbench.study.executors import Attempt, Event, Job, PackResult, Results, train_with_retries
from rlbench.study.executors.local import payload_of
from rlbench.study.executors.worker import answer
from rlbench.study.limits import IMPORTED, SHARE, Limits, overdue, patience, replica_bytes
from rlbench.study.provenance import differences, installed, machine, worker_environment

if TYPE_CHECKING:
    from rlbench.study.plan import Cell
    from rlbench.study.schedule import Pack, Placement

REACH_SECONDS = 30.0  # for a cluster to answer
PROBE_SECONDS = 120.0  # for every node to say what is installed there
REPORT_SECONDS = 1.0  # between two reports of a pack
_REFRESH_SECONDS = 5.0  # how long what is known of the nodes counts
_AHEAD = 0.25  # of the processes: packs that wait on the cluster, so that none idles while a result travels
_LOST_NODES = 10  # that a pack may be on, before it is to blame
_GRAIN = 64 * 2**20  # bytes; requests for memory are multiples of it, since Ray keeps books on each that differs
_STDERR = 2  # the file, since the stream is redirected


class Node(NamedTuple):
    """A node of a cluster; `memory` in bytes."""

    id: str
    name: str
    cpus: float
    gpus: float
    memory: float

    def processes(self, device: str) -> int:
        """Return how many packs may train there at one time."""
        return int(min(self.cpus, self.gpus) if device == "cuda" else self.cpus)


class Ray:
    """The executor that trains packs as Ray tasks; its connection to the cluster is made when it is first needed.

    `address` is that of the head node, "host:port"; None: RAY_ADDRESS, else the cluster that runs on this machine, else
    one that is started here and ends with the connection. At most `at_once` packs are on the cluster at one time, as
    many as keep it busy if None. A connection that the calling process has already is used, and left open.
    """

    def __init__(self, address: str | None = None, at_once: int | None = None) -> None:
        if at_once is not None and at_once < 1:
            raise RlbenchError(f"On a Ray cluster, workers must be at least 1, not {at_once}.")
        self.address, self._limit = address, at_once
        self.device = "cpu"
        self.owned = self._connected = False  # owned: connected here, so that closing ends what still trains
        self._nodes: list[Node] = []
        self._looked = -float("inf")

    def prepare(self) -> None:
        """Connect now, and look at every node; RlbenchError if a cluster cannot be had or a node does not fit."""
        if self._connected:
            return
        ray = _ray()
        if not ray.is_initialized():
            self.owned = True
            _connect(ray, self.address)
        self._connected = True
        if not any(node.cpus >= 1 for node in self.nodes()):
            raise RlbenchError(f"{self._title} has no node with a CPU; add one with `ray start --address ...`.")
        _probe(ray, self.nodes())

    def nodes(self) -> list[Node]:
        """Return the nodes that are alive, as of a few seconds ago."""
        if time.monotonic() - self._looked > _REFRESH_SECONDS:
            self._nodes = [_node(described) for described in _ray().nodes() if described["Alive"]]
            self._looked = time.monotonic()
        return self._nodes

    def place(self, device: str, cells: Sequence[Cell]) -> Placement:
        """Return where packs train for what a user asked for: "cpu" or "cuda", a GPU per pack."""
        from rlbench.study.schedule import Placement

        if not cells:
            return Placement()
        if device not in ("cpu", "cuda"):
            raise RlbenchError(f"On a Ray cluster the device is cpu or cuda, not {device}: Ray chooses the GPU.")
        self.prepare()
        self.device = device
        if device == "cuda" and not any(node.gpus >= 1 for node in self.nodes()):
            raise RlbenchError(f"device=cuda needs a GPU, but no node of {self._title} has one; use cpu.")
        able = [node for node in self.nodes() if node.processes(device)]
        if device == "cpu":
            room = min(node.memory / node.processes(device) for node in able) - IMPORTED
            return Placement("cpu", "cpu", self._limit or self.processes, max(room, 1.0))
        model, room = _look_at_gpu(_ray())
        return Placement("cuda", f"cuda ({model})", self._limit or self.processes, SHARE * room)

    @property
    def processes(self) -> int:
        """How many packs may train at one time."""
        return min(sum(node.processes(self.device) for node in self.nodes()), self._limit or sys.maxsize)

    @property
    def at_once(self) -> int:
        """How many packs should be on the cluster, a few of them waiting; one at least, which waits for a node."""
        return min(self.processes + max(1, round(_AHEAD * self.processes)), self._limit or sys.maxsize)

    def run(self, packs: Iterable[Pack], job: Job) -> Results:
        """Yield packs with their records; RlbenchError for a node that joined with other versions than are here."""
        self.prepare()
        yield from train_with_retries(packs, job, _RemoteTasks(self, job))

    def close(self) -> None:
        """Let go of the cluster, which ends what still trains there; one that was started here ends."""
        if self.owned:
            self.owned = self._connected = False
            _ray().shutdown()

    @property
    def _title(self) -> str:
        return f"the Ray cluster at {self.address}" if self.address else "the Ray cluster"


def _ray() -> Any:
    if importlib.util.find_spec("ray") is None:
        raise RlbenchError("The executor ray needs Ray: pip install 'rlbench[ray]'")
    import ray

    return ray


def _connect(ray: Any, address: str | None) -> None:
    """Connect to a cluster, or start one; RlbenchError with what is wrong where that fails."""
    address = address or os.environ.get("RAY_ADDRESS")
    where = f"There is no Ray cluster to be reached at {address}" if address else "A local Ray cannot be started"
    if address and address.startswith("ray://"):
        raise RlbenchError(f"{address} is for Ray's client; run rlbench on a node of the cluster, with host:port.")
    if address and ":" in address:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, ValueError, OverflowError) as error:
            raise RlbenchError(f"{where}: {error}.") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray prints the last words of a dead raylet to stdout, where they do not belong; the record says what happened.
    with contextlib.suppress(AttributeError):
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    failure: list[BaseException] = []

    def connect() -> None:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
        except BaseException as error:  # Ray also raises SystemExit
            failure.append(error)

    # In a thread, since Ray waits for long where something else listens; but not what is started here: the system
    # ends its processes with the thread that started them.
    if address:
        thread = threading.Thread(target=connect, daemon=True)
        thread.start()
        thread.join(REACH_SECONDS)
        if thread.is_alive():
            raise RlbenchError(f"{where}: no answer within {REACH_SECONDS:.0f} seconds.")
    else:
        connect()
    if failure and isinstance(failure[0], KeyboardInterrupt):
        raise failure[0]
    if failure:
        raise RlbenchError(f"{where}: {' '.join(str(failure[0]).split())}") from failure[0]


def _node(described: dict[str, Any]) -> Node:
    name = f"{described['NodeManagerHostname']} ({described['NodeManagerAddress']})"
    cpus, gpus, memory = (float(described["Resources"].get(key, 0.0)) for key in ("CPU", "GPU", "memory"))
    return Node(described["NodeID"], name, cpus, gpus, memory)


def _probe(ray: Any, nodes: list[Node]) -> None:
    """Ask every node that trains what is installed there; RlbenchError for the first that does not fit."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    probe = ray.remote(num_cpus=0, max_retries=0, runtime_env={"env_vars": worker_environment()})(differences)
    asked = {
        probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(installed()): node
        for node in nodes
        if node.cpus
    }
    until = time.monotonic() + PROBE_SECONDS
    for reference, node in asked.items():
        try:
            sentence = ray.get(reference, timeout=max(until - time.monotonic(), 0.1))
        except ray.exceptions.GetTimeoutError:
            sentence = f"Node {node.name} did not say within {PROBE_SECONDS:.0f} seconds what is installed there."
        except (ray.exceptions.NodeDiedError, ray.exceptions.TaskUnschedulableError):
            continue  # it has gone, or has joined just now; whatever trains there looks once more
        except ray.exceptions.RayError as error:
            sentence = f"Node {node.name} cannot run rlbench: {_last_line(error)}"
        if sentence:
            raise RlbenchError(sentence)


def _last_line(error: BaseException) -> str:
    """Return the last line of what Ray says, which is what went wrong on a node."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _look_at_gpu(ray: Any) -> tuple[str, float]:
    """Return the model of a GPU of the cluster, and its free memory, bytes."""
    look = ray.remote(num_cpus=0, num_gpus=1, runtime_env={"env_vars": worker_environment()})(_gpu)
    try:
        model, free = ray.get(look.remote(), timeout=PROBE_SECONDS)
    except ray.exceptions.RayError as error:
        raise RlbenchError(f"A GPU of the Ray cluster cannot be used: {_last_line(error)}") from None
    return str(model), float(free)


def _gpu() -> tuple[str, int]:
    import torch

    return torch.cuda.get_device_name(), torch.cuda.mem_get_info()[0]


Reports = dict[int, tuple[Progress | None, list[str]]]
"""By the number of a pack: how far it is, if it said so, and the lines that were printed."""


class ProgressActor:
    """An actor that keeps what packs report until it is asked for."""

    def __init__(self) -> None:
        self._reports: Reports = {}

    def report(self, number: int, progress: Progress | None, lines: list[str]) -> None:
        """Keep how far the pack of this number is, and what it printed."""
        _, before = self._reports.get(number, (None, []))
        self._reports[number] = progress, before + lines

    def take(self) -> Reports:
        """Return what was reported since the last time."""
        reports, self._reports = self._reports, {}
        return reports


class _Reporter(io.TextIOBase):
    """What a task reports: signs of life, and as a text stream what a plugin prints; sent once a second.

    After `silence` seconds without a sign of life the process is ended; 0: never.
    """

    def __init__(self, actor: Any, number: int, silence: float) -> None:
        self._actor, self._number, self._silence = actor, number, silence
        self._progress: Progress | None = None
        self._lock = threading.Lock()
        self._rest = ""
        self._lines: list[str] = []
        self._last = -math.inf  # its first report is sent at once
        self._expect_report(started=False)

    def report(self, what: str, progress: Progress | None = None) -> None:
        """Give a sign of life: "alive", or "progress"."""
        self._expect_report(started=True)
        self._progress = progress or self._progress
        if time.monotonic() - self._last > REPORT_SECONDS:
            self._last = time.monotonic()
            with self._lock:
                lines, self._lines = self._lines, []
            self._actor.report.remote(self._number, self._progress, lines)

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            self._lines += lines
        return len(text)

    def end(self) -> list[str]:
        """Return the lines that were not sent; nothing more is expected."""
        faulthandler.cancel_dump_traceback_later()
        return [*self._lines, *([self._rest] if self._rest else [])]

    def _expect_report(self, *, started: bool) -> None:
        # Its thread needs no interpreter, so that it also ends what hangs in compiled code.
        if self._silence:
            seconds = patience(self._silence, started=started)
            faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)


def train_pack(payload: bytes, expected: dict[str, str], actor: Any, number: int, silence: float, shared: str) -> bytes:
    """Return, pickled, the lines left to show and how the pack ended, or why this machine is refused.

    `expected` is what must be installed here. Checkpoints are used where the file `shared` is to be seen, which lies in
    the folder that they belong to.
    """
    if refused := differences(expected):
        return pickle.dumps(([], refused))
    reporter = _Reporter(actor, number, silence)
    with contextlib.redirect_stdout(reporter), contextlib.redirect_stderr(reporter):
        result = answer(payload, reporter.report, checkpoints=Path(shared).is_file())
    for record in result.records or ():
        record.machine = machine()
    return pickle.dumps((reporter.end(), result))


@dataclass(eq=False)
class _RemoteTask:
    """An attempt on its way, the `lost` nodes that it was on before, and when it was last heard of."""

    attempt: Attempt
    limits: Limits
    lost: int = 0
    number: int = 0
    heard: float = field(default_factory=time.monotonic)
    started: bool = False


class _RemoteTasks:
    """The packs that are on the cluster, as many as keep it busy, and what is heard of them.

    A pack whose node is lost is sent again. Ray is not asked to do that: it does not tell a node that vanished, for
    which no pack is to blame, from a pack that ends its process wherever it goes.
    """

    def __init__(self, cluster: Ray, job: Job) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray, self._cluster, self._job = ray, cluster, job
        self._environment = worker_environment()
        gpus = {"num_gpus": 1} if cluster.device == "cuda" else {}
        self._remote = ray.remote(num_cpus=1, max_retries=0, **gpus)(train_pack)
        self._expected = ray.put(installed())
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        actor = ray.remote(num_cpus=0, runtime_env={"env_vars": self._environment})(ProgressActor)
        self._actor = actor.options(scheduling_strategy=here).remote()
        self._reports: Any = self._actor.take.remote()
        self._asked = time.monotonic()
        self._sent = 0
        self._idle = False  # no node is left
        self._tasks: dict[Any, _RemoteTask] = {}
        self._refused: list[tuple[Attempt, PackResult]] = []

    def __len__(self) -> int:
        return len(self._tasks) + len(self._refused)

    @property
    def have_room(self) -> bool:
        return len(self) < self._cluster.at_once

    def start(self, attempt: Attempt) -> None:
        """Send a pack to whichever node has room for it first."""
        needed = _needed(attempt.pack)
        able = [node.memory for node in self._cluster.nodes() if node.processes(self._cluster.device)]
        if able and needed > max(able) > 0:
            reason = f"it needs about {needed / 2**30:.1f} GiB of memory, and no node of the cluster has more than "
            self._refused.append((attempt, PackResult(reason=f"{reason}{max(able) / 2**30:.1f} GiB")))
        else:
            self._send(_RemoteTask(attempt, self._job.limits_of(attempt.pack)))

    def completed(self) -> list[tuple[Attempt, PackResult]]:
        """Wait about a second for packs to end, send those again whose nodes are lost, and return the others."""
        if self._refused:
            completed, self._refused = self._refused, []
            return completed
        idle, self._idle = self._idle, not self._cluster.processes
        if self._idle and not idle:
            self._job.on_event(Event(None, line="No node of the Ray cluster is left to train on; waiting for one."))
        pending = list(self._tasks)
        ready, _ = self._ray.wait(pending, timeout=REPORT_SECONDS, fetch_local=True)
        if ready:  # all of them at once: what is asked of many costs as much as what is asked of one
            ready, _ = self._ray.wait(pending, num_returns=len(pending), timeout=0, fetch_local=True)
        self._take_reports()
        completed = []
        for reference in ready:
            task = self._tasks.pop(reference)
            if (result := self._result(task, reference)) is not None:
                completed.append((task.attempt, result))
        return completed

    def close(self) -> None:
        """Cancel what is still on the cluster, unless that ends with the connection.

        Not by force: Ray may abort the whole process where a task ends at that very moment.
        """
        if not self._cluster.owned:
            for reference in self._tasks:
                self._ray.cancel(reference)
        self._ray.kill(self._actor)

    def _send(self, task: _RemoteTask) -> None:
        self._sent += 1
        task.number = self._sent
        task.heard, task.started = time.monotonic(), False
        environment = self._environment
        if task.attempt.fresh or task.attempt.last:  # Ray keeps processes apart whose environments differ
            environment = environment | {"RLBENCH_TRY": str(self._sent)}
        remote = self._remote.options(
            memory=_needed(task.attempt.pack), name=task.attempt.pack.title, runtime_env={"env_vars": environment}
        )
        payload, shared = payload_of(task.attempt.pack, self._job), str(self._job.shared or "")
        reference = remote.remote(payload, self._expected, self._actor, self._sent, task.limits.silence, shared)
        self._tasks[reference] = task

    def _result(self, task: _RemoteTask, reference: Any) -> PackResult | None:
        """Return how a pack ended; None where it is sent again."""
        exceptions, pack = self._ray.exceptions, task.attempt.pack
        try:
            lines, result = pickle.loads(self._ray.get(reference))
        except (exceptions.NodeDiedError, exceptions.ObjectLostError) as error:
            task.lost += 1
            if task.lost < _LOST_NODES:
                self._send(task)
                return None
            reason = f"{_LOST_NODES} nodes of the cluster that it was on died"
            return PackResult(reason=reason, detail=str(error), lost=task.lost)
        except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError) as error:
            reason = self._cause_of_death(task, error)
            return PackResult(reason=reason, detail=str(error), again=True, lost=task.lost)
        except exceptions.RayError as error:
            reason = f"Ray could not run it: {_last_line(error)}"
            return PackResult(reason=reason, detail=str(error), lost=task.lost)
        for line in lines:
            self._job.on_event(Event(pack, line=line))
        if isinstance(result, str):
            raise RlbenchError(result)
        ended: PackResult = replace(result, lost=task.lost)
        return ended

    def _cause_of_death(self, task: _RemoteTask, error: Exception) -> str:
        if isinstance(error, self._ray.exceptions.OutOfMemoryError):
            return "its worker process on the cluster was ended for want of memory"
        limit = patience(task.limits.silence, started=task.started)
        # Reports are taken once a second, and so may be its last.
        if limit and time.monotonic() - task.heard >= limit - 3 * REPORT_SECONDS:
            return overdue(limit)
        return "its worker process on the cluster ended"

    def _take_reports(self) -> None:
        """Pass on what packs reported of late, if it has come; nothing is lost with it but what is shown."""
        if time.monotonic() - self._asked < REPORT_SECONDS or not self._ray.wait([self._reports], timeout=0)[0]:
            return
        reports: Reports = {}
        with contextlib.suppress(self._ray.exceptions.RayError):
            reports = self._ray.get(self._reports)
        self._reports, self._asked = self._actor.take.remote(), time.monotonic()
        under_way = {task.number: task for task in self._tasks.values()}
        for number, (progress, lines) in reports.items():
            task = under_way.get(number)
            pack = task.attempt.pack if task else None
            if task is not None:
                task.heard, task.started = time.monotonic(), True
            for line in lines:
                self._job.on_event(Event(pack, line=line))
            if pack is not None and progress is not None:
                self._job.on_event(Event(pack, progress))


def _needed(pack: Pack) -> int:
    needed = float(IMPORTED)
    for cell in pack.cells:
        if cell.trains:
            needed += replica_bytes(cell.algorithm, _observations(cell.environment), cell.steps)
    return -(-int(needed) // _GRAIN) * _GRAIN


def _observations(environment: Environment) -> int:
    if environment.label not in _sizes:
        from rlbench.training import envs

        _sizes[environment.label] = envs.look_at(environment).size
    return _sizes[environment.label]


_sizes: dict[str, int] = {}
