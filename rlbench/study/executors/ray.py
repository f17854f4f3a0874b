"""The executor of a Ray cluster: a pack is a task, and its records come back to whoever stores them.

A task does what a local worker does, with what a local worker gets, and reports to an actor how far it is.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import math
import pickle
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbench.errors import RlbenchError
from rlbench.records import Environment, Progress
from rlbench.study.executors import Event, Job, Results
from rlbench.study.executors.cluster import Cluster, last_line
from rlbench.study.executors.local import payload_of, result_of
from rlbench.study.executors.worker import answer
from rlbench.study.limits import IMPORTED, PackLimits, overdue, patience, replica_bytes
from rlbench.study.provenance import differences, installed, machine, worker_environment
from rlbench.study.queue import Attempt, PackResult, RetryQueue

if TYPE_CHECKING:
    from rlbench.study.schedule import Pack

REPORT_SECONDS = 1.0  # between two reports of a pack
_STDERR = 2  # the file, since the stream is redirected

Report = tuple[int, Progress | None, list[str]]
"""The number of a pack, how far it is, if it said so, and the lines that were printed."""


class ProgressActor:
    """An actor that keeps what packs report until it is asked for."""

    def __init__(self) -> None:
        self._progress: dict[int, Progress | None] = {}
        self._lines: dict[int, list[str]] = {}

    def report(self, number: int, progress: Progress | None, lines: list[str]) -> None:
        """Keep how far the pack of this number is, and what it printed."""
        self._progress[number] = progress
        self._lines.setdefault(number, []).extend(lines)

    def take(self) -> list[Report]:
        """Return what was reported since the last time."""
        reports = [(number, progress, self._lines.get(number, [])) for number, progress in self._progress.items()]
        self._progress, self._lines = {}, {}
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
    """Return, pickled, the lines left to show and a worker's last message, or "refused" and a sentence.

    `expected` is what must be installed here. Checkpoints are used where the file `shared` is to be seen, which lies in
    the folder that they belong to.
    """
    if refused := differences(expected):
        return pickle.dumps(([], "refused", refused))
    reporter = _Reporter(actor, number, silence)
    with contextlib.redirect_stdout(reporter), contextlib.redirect_stderr(reporter):
        what, *values = answer(payload, reporter.report, checkpoints=Path(shared).is_file())
    if what == "done":
        values[0] = [replace(record, machine=machine()) for record in values[0]]
    return pickle.dumps((reporter.end(), what, *values))


LOST_NODES = 10  # that a pack may be on, before it is to blame

_GRAIN = 64 * 2**20  # bytes; requests for memory are multiples of it, since Ray keeps books on each that differs


class Ray(Cluster):
    """The executor that trains packs as Ray tasks, as many at once as keep the cluster busy; more as nodes join.

    A pack whose node is lost is sent again. Ray is not asked to do that: it does not tell a node that vanished, for
    which no pack is to blame, from a pack that ends its process wherever it goes.
    """

    def run(self, packs: Iterable[Pack], job: Job) -> Results:
        """Yield packs with their records; RlbenchError for a node that joined with other versions than are here."""
        self.prepare()
        retries = RetryQueue(packs, again=job.again)
        tasks = _RemoteTasks(self, job)
        started = reported = False
        try:
            while True:
                ended: list[tuple[Attempt, PackResult]] = []
                while len(tasks) < self.at_once and (attempt := retries.take()) is not None:
                    if too_large := tasks.too_large(attempt.pack):
                        ended.append((attempt, PackResult(attempt.pack, reason=too_large)))
                        break
                    tasks.send(attempt)
                if not started:
                    started = True
                    job.meanwhile()
                if not tasks and not ended:
                    return
                if not self.processes and not reported:
                    job.on_event(Event(None, line="No node of the Ray cluster is left to train on; waiting for one."))
                reported = not self.processes
                for attempt, result in ended or tasks.completed():
                    yield from retries.resolve(attempt, result)
        finally:
            tasks.close()


@dataclass(eq=False)
class _RemoteTask:
    """An attempt on its way, the `lost` nodes that it was on before, and when it was last heard of."""

    attempt: Attempt
    limits: PackLimits
    lost: int = 0
    number: int = 0
    heard: float = field(default_factory=time.monotonic)
    started: bool = False

    @property
    def pack(self) -> Pack:
        return self.attempt.pack


class _RemoteTasks:
    """The packs that are on the cluster, and what is heard of them."""

    def __init__(self, cluster: Cluster, job: Job) -> None:
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
        self._tasks: dict[Any, _RemoteTask] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def too_large(self, pack: Pack) -> str:
        """Return in one sentence that no node has the memory that a pack needs, or ""."""
        needed, largest = _needed(pack), self._cluster.largest
        if needed <= largest or not largest:
            return ""
        return f"it needs about {needed / 2**30:.1f} GiB of memory, and no node of the cluster has more than " + (
            f"{largest / 2**30:.1f} GiB"
        )

    def send(self, attempt: Attempt) -> None:
        """Send a pack to whichever node has room for it first."""
        self._send(_RemoteTask(attempt, self._job.limits_of(attempt.pack)))

    def completed(self) -> list[tuple[Attempt, PackResult]]:
        """Wait about a second for packs to end, send those again whose nodes are lost, and return the others."""
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
            memory=_needed(task.pack), name=task.pack.title, runtime_env={"env_vars": environment}
        )
        payload, shared = payload_of(task.pack, self._job), str(self._job.shared or "")
        reference = remote.remote(payload, self._expected, self._actor, self._sent, task.limits.silence, shared)
        self._tasks[reference] = task

    def _result(self, task: _RemoteTask, reference: Any) -> PackResult | None:
        """Return how a pack ended; None where it is sent again."""
        exceptions, pack = self._ray.exceptions, task.pack
        try:
            lines, what, *values = pickle.loads(self._ray.get(reference))
        except (exceptions.NodeDiedError, exceptions.ObjectLostError) as error:
            task.lost += 1
            if task.lost < LOST_NODES:
                self._send(task)
                return None
            reason = f"{LOST_NODES} nodes of the cluster that it was on died"
            return PackResult(pack, reason=reason, detail=str(error), lost=task.lost)
        except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError) as error:
            reason = self._cause_of_death(task, error)
            return PackResult(pack, reason=reason, detail=str(error), again=True, lost=task.lost)
        except exceptions.RayError as error:
            reason = f"Ray could not run it: {last_line(error)}"
            return PackResult(pack, reason=reason, detail=str(error), lost=task.lost)
        for line in lines:
            self._job.on_event(Event(pack, line=line))
        if what == "refused":
            raise RlbenchError(values[0])
        return result_of(pack, what, values, task.lost)

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
        reports: list[Report] = []
        with contextlib.suppress(self._ray.exceptions.RayError):
            reports = self._ray.get(self._reports)
        self._reports, self._asked = self._actor.take.remote(), time.monotonic()
        under_way = {task.number: task for task in self._tasks.values()}
        for number, progress, lines in reports:
            task = under_way.get(number)
            pack = task.pack if task else None
            if task is not None:
                task.heard, task.started = time.monotonic(), True
            for line in lines:
                self._job.on_event(Event(pack, line=line))
            if pack is not None and progress is not None:
                self._job.on_event(Event(pack, progress))


def _needed(pack: Pack) -> int:
    """Return the memory that a pack's process may need, bytes."""
    needed = float(IMPORTED)
    for cell in pack.cells:
        if cell.trains:
            needed += replica_bytes(cell.algorithm, _observations(cell.environment), cell.steps)
    return -(-int(needed) // _GRAIN) * _GRAIN


def _observations(environment: Environment) -> int:
    """Return the size of an observation, by making the environment once."""
    if environment.label not in _sizes:
        from rlbench.training import envs

        _sizes[environment.label] = envs.observation_size(environment)
    return _sizes[environment.label]


_sizes: dict[str, int] = {}
