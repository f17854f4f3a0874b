"""Where packs train that go to a Ray cluster: a pack is a task, and its records come back to whoever stores them.

A task runs what a local worker runs, on what a local worker gets. Ray is not asked to try again what broke off: it
does not tell a node that vanished, for which no pack is to blame, from a pack that ends its process wherever it goes.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from rlbench.errors import RlbenchError
from rlbench.records import Environment, Progress, RunRecord
from rlbench.study.cluster import IMPORTED, Cluster, differences, installed, worker_environment
from rlbench.study.executors import OnEvent, Results, Train, failed_records, in_workers, payload_of
from rlbench.study.launcher import Launcher
from rlbench.study.measuring import MeasuredCell
from rlbench.study.memory import replica_bytes
from rlbench.study.packs import Pack, halves
from rlbench.study.pool import Event
from rlbench.study.provenance import machine
from rlbench.study.worker import describe, train_payload

CRASHES = 2  # of a pack's process, before the pack is tried in halves
LOST_NODES = 10  # that a pack may be on, before it is said to fail
HEAR_SECONDS = 1.0  # between two signs of life of a pack

_GRAIN = 64 * 2**20  # bytes; requests for memory are multiples of it, since Ray keeps books on each that differs


def train_with(
    launcher: Launcher | Cluster,
    packs: Iterable[Pack],
    train: Train | None,
    on_event: OnEvent,
    workers: int,
    meanwhile: Callable[[], None] = lambda: None,
) -> Results:
    """Train packs in `workers` processes of this machine, or on the cluster, whichever `launcher` is."""
    if isinstance(launcher, Cluster):
        return in_ray(packs, train, on_event, launcher, meanwhile)
    return in_workers(packs, train, on_event, workers, launcher, meanwhile)


def in_ray(
    packs: Iterable[Pack],
    train: Train | None,
    on_event: OnEvent,
    cluster: Cluster,
    meanwhile: Callable[[], None] = lambda: None,
) -> Results:
    """Train packs as Ray tasks, as many at once as keep the cluster busy; more as nodes join.

    A pack whose node is lost is sent again; one whose process dies too, but then in halves, as is one whose training
    raises: a cell fails alone. `meanwhile` is called once, while the first packs train. Raises RlbenchError for a node
    that joined with other versions than this process has.
    """
    cluster.prepare()
    waiting = iter(packs)
    again: deque[_Flight] = deque()
    flights = _Flights(cluster, train, on_event)
    started = said = False
    try:
        while True:
            failed = []
            for flight in _next(again, waiting, cluster.at_once - len(flights)):
                if too_large := flights.too_large(flight):
                    failed.append((flight.pack, failed_records(flight.pack, too_large, "")))
                else:
                    flights.send(flight)
            if not started:
                started = True
                meanwhile()
            yield from failed
            if not flights:
                if not failed:
                    return
                continue  # all that was taken was too large, and there may be more
            if not cluster.processes and not said:
                on_event(Event(None, line="No node of the Ray cluster is left to train on; waiting for one."))
            said = not cluster.processes
            for flight, answer in flights.landed():
                records, parts = _outcome(flight, answer)
                again.extend(parts)
                if not parts:
                    yield flight.pack, [replace(record, attempts=flight.attempts) for record in records]
    finally:
        flights.close()


@dataclass(frozen=True)
class _Flight:
    """A pack on its way, for the `attempts`-th time, after so many crashes and lost nodes."""

    pack: Pack
    attempts: int = 1
    crashes: int = 0
    lost: int = 0

    def again(self, *, crashes: int = 0, lost: int = 0) -> _Flight:
        return replace(self, attempts=self.attempts + 1, crashes=self.crashes + crashes, lost=self.lost + lost)

    def apart(self) -> list[_Flight]:
        return [_Flight(part, self.attempts + 1) for part in halves(self.pack)]


def _next(again: deque[_Flight], waiting: Iterator[Pack], room: int) -> Iterator[_Flight]:
    """Yield what is to be sent next, at most `room` of it; a pack is taken when it is sent, not before."""
    for _ in range(room):
        if again:
            yield again.popleft()
        elif pack := next(waiting, None):
            yield _Flight(pack)
        else:
            return


def _outcome(flight: _Flight, answer: Any) -> tuple[list[RunRecord], list[_Flight]]:
    """Return the records of a pack that landed, or what is to be sent in its place."""
    import ray

    exceptions = ray.exceptions
    if isinstance(answer, (exceptions.NodeDiedError, exceptions.ObjectLostError)):
        if flight.lost + 1 < LOST_NODES:
            return [], [flight.again(lost=1)]
        return failed_records(flight.pack, f"{LOST_NODES} nodes of the cluster that it was on died", str(answer)), []
    if isinstance(answer, (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError)):
        if flight.crashes + 1 < CRASHES:
            return [], [flight.again(crashes=1)]
        memory = " for want of memory" if isinstance(answer, exceptions.OutOfMemoryError) else ""
        reason, detail = f"its process on the cluster was ended{memory}", str(answer)
    elif isinstance(answer, BaseException):
        reason, detail = f"Ray could not run it: {_last_line(answer)}", str(answer)
    else:
        kind, *content = answer
        if kind == "refused":
            raise RlbenchError(content[0])
        if kind == "done":
            return content[0], []
        reason, detail = content
    parts = flight.apart()
    return ([], parts) if parts else (failed_records(flight.pack, reason, detail), [])


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


class _Flights:
    """The packs that are on the cluster, and what is heard of them."""

    def __init__(self, cluster: Cluster, train: Train | None, on_event: OnEvent) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray, self._cluster, self._train, self._on_event = ray, cluster, train, on_event
        environment = {"env_vars": worker_environment()}
        gpus = {"num_gpus": 1} if cluster.device == "cuda" else {}
        self._task = ray.remote(num_cpus=1, max_retries=0, runtime_env=environment, **gpus)(_train_pack)
        self._expected = ray.put(installed())
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self._ear = ray.remote(num_cpus=0, runtime_env=environment)(_Ear).options(scheduling_strategy=here).remote()
        self._heard: Any = self._ear.take.remote()
        self._asked = time.monotonic()
        self._numbers: dict[int, Pack] = {}
        self._sent = 0
        self._flights: dict[Any, tuple[int, _Flight]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def too_large(self, flight: _Flight) -> str:
        """Return in one sentence that no node has the memory that a pack needs, or ""."""
        needed, largest = _needed(flight.pack), self._cluster.largest
        if needed <= largest or not largest:
            return ""
        return f"it needs about {needed / 2**30:.1f} GiB of memory, and no node of the cluster has more than " + (
            f"{largest / 2**30:.1f} GiB"
        )

    def send(self, flight: _Flight) -> None:
        """Send a pack to whichever node has room for it first."""
        self._sent += 1
        payload = payload_of(flight.pack, self._train)
        task = self._task.options(memory=_needed(flight.pack), name=flight.pack.title)
        self._flights[task.remote(payload, self._expected, self._ear, self._sent)] = (self._sent, flight)
        self._numbers[self._sent] = flight.pack

    def landed(self) -> list[tuple[_Flight, Any]]:
        """Wait about a second for packs to end; return each that did with its answer, or with Ray's exception."""
        pending = list(self._flights)
        ready, _ = self._ray.wait(pending, timeout=HEAR_SECONDS, fetch_local=True)
        if ready:  # all of them at once: what is asked of many costs as much as what is asked of one
            ready, _ = self._ray.wait(pending, num_returns=len(pending), timeout=0, fetch_local=True)
        self._hear()
        landed = []
        for task in ready:
            number, flight = self._flights.pop(task)
            pack = self._numbers.pop(number)
            try:
                lines, *answer = pickle.loads(self._ray.get(task))
            except self._ray.exceptions.RayError as error:
                lines, answer = [], error
            for line in lines:
                self._on_event(Event(pack, line=line))
            landed.append((flight, answer))
        return landed

    def close(self) -> None:
        """Cancel what is still on the cluster, unless that ends with the connection.

        Not by force: Ray may abort the whole process where a task ends at that very moment.
        """
        if not self._cluster.owned:
            for task in self._flights:
                self._ray.cancel(task)
        self._ray.kill(self._ear)

    def _hear(self) -> None:
        """Pass on what packs said of late, if it has come; nothing is lost with it but what is shown."""
        if time.monotonic() - self._asked < HEAR_SECONDS or not self._ray.wait([self._heard], timeout=0)[0]:
            return
        heard: list[tuple[int, Progress | None, list[str]]] = []
        with contextlib.suppress(self._ray.exceptions.RayError):
            heard = self._ray.get(self._heard)
        self._heard, self._asked = self._ear.take.remote(), time.monotonic()
        for number, progress, lines in heard:
            pack = self._numbers.get(number)
            for line in lines:
                self._on_event(Event(pack, line=line))
            if pack is not None and progress is not None:
                self._on_event(Event(pack, progress))


def _needed(pack: Pack) -> int:
    """Return the memory that a pack's process may need, bytes."""
    needed = float(IMPORTED)
    for cell in pack.cells:
        if not isinstance(cell, MeasuredCell):
            needed += replica_bytes(cell.algorithm, _observations(cell.environment), cell.steps)
    return -(-int(needed) // _GRAIN) * _GRAIN


def _observations(environment: Environment) -> int:
    """Return the size of an observation, by making the environment once."""
    if environment.label not in _sizes:
        from rlbench.training import envs

        _sizes[environment.label] = envs.observation_size(environment)
    return _sizes[environment.label]


_sizes: dict[str, int] = {}


class _Ear:
    """An actor that keeps what packs say until it is asked for."""

    def __init__(self) -> None:
        self._progress: dict[int, Progress | None] = {}
        self._lines: dict[int, list[str]] = {}

    def hear(self, number: int, progress: Progress | None, lines: list[str]) -> None:
        self._progress[number] = progress
        self._lines.setdefault(number, []).extend(lines)

    def take(self) -> list[tuple[int, Progress | None, list[str]]]:
        said = [(number, progress, self._lines.get(number, [])) for number, progress in self._progress.items()]
        self._progress, self._lines = {}, {}
        return said


class _Voice(io.TextIOBase):
    """What a task says: its progress, and as a text stream what a plugin prints; sent once a second."""

    def __init__(self, ear: Any, number: int) -> None:
        self._ear, self._number = ear, number
        self._progress: Progress | None = None
        self._lock = threading.Lock()
        self._rest = ""
        self.lines: list[str] = []
        self._last = time.monotonic()

    def progress(self, progress: Progress) -> None:
        self._progress = progress
        if time.monotonic() - self._last > HEAR_SECONDS:
            self._send()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            self.lines += lines
        return len(text)

    def end(self) -> list[str]:
        """Return the lines that were not sent."""
        return [*self.lines, *([self._rest] if self._rest else [])]

    def _send(self) -> None:
        self._last = time.monotonic()
        with self._lock:
            lines, self.lines = self.lines, []
        self._ear.hear.remote(self._number, self._progress, lines)


def _train_pack(payload: bytes, expected: dict[str, str], ear: Any, number: int) -> bytes:
    """Return, pickled, the lines left to show and "done" with records, "error" with what was raised, or "refused"."""
    if refused := differences(expected):
        return pickle.dumps(([], "refused", refused))
    voice = _Voice(ear, number)
    answer: tuple[Any, ...]
    try:
        with contextlib.redirect_stdout(voice), contextlib.redirect_stderr(voice):
            records = train_payload(payload, voice.progress)
        answer = "done", [replace(record, machine=machine()) for record in records]
    except Exception as error:
        answer = "error", describe(error), traceback.format_exc()
    return pickle.dumps((voice.end(), *answer))
