"""What runs on the nodes of a Ray cluster: a pack as a task, and where it says how far it is.

A task does what a local worker does, with what a local worker gets.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import math
import pickle
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rlbench.errors import RlbenchError
from rlbench.records import Environment, Progress
from rlbench.study.executors.cluster import Cluster, last_line
from rlbench.study.executors.local import NO_LIMITS, Event, OnEvent, Results, Train, payload_of
from rlbench.study.executors.worker import answer
from rlbench.study.measuring import MeasuredCell
from rlbench.study.memory import IMPORTED, replica_bytes
from rlbench.study.provenance import differences, installed, machine, worker_environment
from rlbench.study.queue import Agenda, Ended, Try
from rlbench.study.schedule import Limits, Pack, PackLimits, overdue, patience
from rlbench.training.checkpoints import Checkpoints

HEAR_SECONDS = 1.0  # between two signs of life of a pack
_STDERR = 2  # the file, since the stream is redirected

Said = tuple[int, Progress | None, list[str]]
"""The number of a pack, how far it is, if it said so, and the lines that were printed."""


class Ear:
    """An actor that keeps what packs say until it is asked for."""

    def __init__(self) -> None:
        self._progress: dict[int, Progress | None] = {}
        self._lines: dict[int, list[str]] = {}

    def hear(self, number: int, progress: Progress | None, lines: list[str]) -> None:
        """Keep what the pack of this number said."""
        self._progress[number] = progress
        self._lines.setdefault(number, []).extend(lines)

    def take(self) -> list[Said]:
        """Return what was heard since the last time."""
        said = [(number, progress, self._lines.get(number, [])) for number, progress in self._progress.items()]
        self._progress, self._lines = {}, {}
        return said


class _Voice(io.TextIOBase):
    """What a task says: signs of life, and as a text stream what a plugin prints; sent once a second.

    After `silence` seconds without a sign of life the process is ended; 0: never.
    """

    def __init__(self, ear: Any, number: int, silence: float) -> None:
        self._ear, self._number, self._silence = ear, number, silence
        self._progress: Progress | None = None
        self._lock = threading.Lock()
        self._rest = ""
        self._lines: list[str] = []
        self._last = -math.inf  # its first sign is sent at once
        self._expect_a_sign(started=False)

    def say(self, what: str, progress: Progress | None = None) -> None:
        """Give a sign of life: "alive", or "progress"."""
        self._expect_a_sign(started=True)
        self._progress = progress or self._progress
        if time.monotonic() - self._last > HEAR_SECONDS:
            self._last = time.monotonic()
            with self._lock:
                lines, self._lines = self._lines, []
            self._ear.hear.remote(self._number, self._progress, lines)

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            self._lines += lines
        return len(text)

    def end(self) -> list[str]:
        """Return the lines that were not sent; nothing more is expected."""
        faulthandler.cancel_dump_traceback_later()
        return [*self._lines, *([self._rest] if self._rest else [])]

    def _expect_a_sign(self, *, started: bool) -> None:
        # Its thread needs no interpreter, so that it also ends what hangs in compiled code.
        if self._silence:
            seconds = patience(self._silence, started=started)
            faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)


def train_pack(payload: bytes, expected: dict[str, str], ear: Any, number: int, silence: float, shared: str) -> bytes:
    """Return, pickled, the lines left to show and a worker's last message, or "refused" and a sentence.

    `expected` is what must be installed here. Checkpoints are used where the file `shared` is to be seen, which lies in
    the folder that they belong to.
    """
    if refused := differences(expected):
        return pickle.dumps(([], "refused", refused))
    voice = _Voice(ear, number, silence)
    with contextlib.redirect_stdout(voice), contextlib.redirect_stderr(voice):
        kind, *content = answer(payload, voice.say, checkpoints=Path(shared).is_file())
    if kind == "done":
        content[0] = [replace(record, machine=machine()) for record in content[0]]
    return pickle.dumps((voice.end(), kind, *content))


# Where packs train that go to a Ray cluster: a pack is a task, and its records come back to whoever stores them.
#
# Ray is not asked to try again what broke off: it does not tell a node that vanished, for which no pack is to blame,
# from a pack that ends its process wherever it goes.

LOST_NODES = 10  # that a pack may be on, before it is to blame

_GRAIN = 64 * 2**20  # bytes; requests for memory are multiples of it, since Ray keeps books on each that differs


def in_ray(
    packs: Iterable[Pack],
    train: Train | None,
    on_event: OnEvent,
    cluster: Cluster,
    meanwhile: Callable[[], None] = lambda: None,
    checkpoints: Checkpoints | None = None,
    *,
    limits: Limits = NO_LIMITS,
    shared: Path | None = None,
    again: bool = True,
) -> Results:
    """Train packs as Ray tasks, as many at once as keep the cluster busy; more as nodes join.

    A pack whose node is lost is sent again; what failed is tried again, if `again`, as `retries` says. `meanwhile` is
    called once, while the first packs train. Nodes that see the file `shared` are taken to see the folder of the
    checkpoints, whose path must be absolute; None: no node does. Raises RlbenchError for a node that joined with other
    versions than this process has.
    """
    cluster.prepare()
    agenda = Agenda(packs, again=again)
    flights = _Flights(cluster, train, on_event, checkpoints, limits, shared)
    started = said = False
    try:
        while True:
            ended = []
            while len(flights) < cluster.at_once and (tried := agenda.take()) is not None:
                if too_large := flights.too_large(tried.pack):
                    ended.append((tried, Ended(tried.pack, reason=too_large)))
                    break
                flights.send(tried)
            if not started:
                started = True
                meanwhile()
            if not flights and not ended:
                return
            if not cluster.processes and not said:
                on_event(Event(None, line="No node of the Ray cluster is left to train on; waiting for one."))
            said = not cluster.processes
            for tried, one in ended or flights.landed():
                settled = agenda.settle(tried, one)
                if settled is not None:
                    yield settled
    finally:
        flights.close()


@dataclass(eq=False)
class _Flight:
    """A try on its way, the `lost` nodes that it was on before, and when it was last heard of."""

    tried: Try
    limits: PackLimits
    lost: int = 0
    number: int = 0
    heard: float = field(default_factory=time.monotonic)
    started: bool = False


class _Flights:
    """The packs that are on the cluster, and what is heard of them."""

    def __init__(
        self,
        cluster: Cluster,
        train: Train | None,
        on_event: OnEvent,
        checkpoints: Checkpoints | None,
        limits: Limits,
        shared: Path | None,
    ) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray, self._cluster, self._on_event = ray, cluster, on_event
        self._train, self._checkpoints, self._limits, self._shared = train, checkpoints, limits, str(shared or "")
        self._environment = worker_environment()
        gpus = {"num_gpus": 1} if cluster.device == "cuda" else {}
        self._task = ray.remote(num_cpus=1, max_retries=0, **gpus)(train_pack)
        self._expected = ray.put(installed())
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        ear = ray.remote(num_cpus=0, runtime_env={"env_vars": self._environment})(Ear)
        self._ear = ear.options(scheduling_strategy=here).remote()
        self._heard: Any = self._ear.take.remote()
        self._asked = time.monotonic()
        self._sent = 0
        self._flights: dict[Any, _Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def too_large(self, pack: Pack) -> str:
        """Return in one sentence that no node has the memory that a pack needs, or ""."""
        needed, largest = _needed(pack), self._cluster.largest
        if needed <= largest or not largest:
            return ""
        return f"it needs about {needed / 2**30:.1f} GiB of memory, and no node of the cluster has more than " + (
            f"{largest / 2**30:.1f} GiB"
        )

    def send(self, tried: Try) -> None:
        """Send a pack to whichever node has room for it first."""
        self._send(_Flight(tried, self._limits.of(tried.pack)))

    def landed(self) -> list[tuple[Try, Ended]]:
        """Wait about a second for packs to end, send those again whose nodes are lost, and return the others."""
        pending = list(self._flights)
        ready, _ = self._ray.wait(pending, timeout=HEAR_SECONDS, fetch_local=True)
        if ready:  # all of them at once: what is asked of many costs as much as what is asked of one
            ready, _ = self._ray.wait(pending, num_returns=len(pending), timeout=0, fetch_local=True)
        self._hear()
        landed = []
        for task in ready:
            flight = self._flights.pop(task)
            if (ended := self._ended(flight, task)) is not None:
                landed.append((flight.tried, ended))
        return landed

    def close(self) -> None:
        """Cancel what is still on the cluster, unless that ends with the connection.

        Not by force: Ray may abort the whole process where a task ends at that very moment.
        """
        if not self._cluster.owned:
            for task in self._flights:
                self._ray.cancel(task)
        self._ray.kill(self._ear)

    def _send(self, flight: _Flight) -> None:
        self._sent += 1
        flight.number = self._sent
        flight.heard, flight.started = time.monotonic(), False
        pack = flight.tried.pack
        environment = self._environment
        if flight.tried.fresh or flight.tried.last:  # Ray keeps processes apart whose environments differ
            environment = environment | {"RLBENCH_TRY": str(self._sent)}
        task = self._task.options(memory=_needed(pack), name=pack.title, runtime_env={"env_vars": environment})
        payload = payload_of(pack, self._train, self._checkpoints, flight.limits)
        sent = task.remote(payload, self._expected, self._ear, self._sent, flight.limits.silence, self._shared)
        self._flights[sent] = flight

    def _ended(self, flight: _Flight, task: Any) -> Ended | None:
        """Return how a pack ended; None where it is sent again."""
        exceptions, pack = self._ray.exceptions, flight.tried.pack
        try:
            lines, kind, *content = pickle.loads(self._ray.get(task))
        except (exceptions.NodeDiedError, exceptions.ObjectLostError) as error:
            flight.lost += 1
            if flight.lost < LOST_NODES:
                self._send(flight)
                return None
            reason = f"{LOST_NODES} nodes of the cluster that it was on died"
            return Ended(pack, reason=reason, detail=str(error), lost=flight.lost)
        except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError) as error:
            reason = self._cause_of_death(flight, error)
            return Ended(pack, reason=reason, detail=str(error), again=True, lost=flight.lost)
        except exceptions.RayError as error:
            return Ended(pack, reason=f"Ray could not run it: {last_line(error)}", detail=str(error), lost=flight.lost)
        for line in lines:
            self._on_event(Event(pack, line=line))
        if kind == "refused":
            raise RlbenchError(content[0])
        if kind == "done":
            return Ended(pack, content[0], lost=flight.lost)
        reason, detail, again = content
        return Ended(pack, reason=reason, detail=detail, again=again, lost=flight.lost)

    def _cause_of_death(self, flight: _Flight, error: Exception) -> str:
        if isinstance(error, self._ray.exceptions.OutOfMemoryError):
            return "its worker process on the cluster was ended for want of memory"
        limit = patience(flight.limits.silence, started=flight.started)
        # Signs of life are heard once a second, and so may be its last.
        if limit and time.monotonic() - flight.heard >= limit - 3 * HEAR_SECONDS:
            return overdue(limit)
        return "its worker process on the cluster ended"

    def _hear(self) -> None:
        """Pass on what packs said of late, if it has come; nothing is lost with it but what is shown."""
        if time.monotonic() - self._asked < HEAR_SECONDS or not self._ray.wait([self._heard], timeout=0)[0]:
            return
        heard: list[Said] = []
        with contextlib.suppress(self._ray.exceptions.RayError):
            heard = self._ray.get(self._heard)
        self._heard, self._asked = self._ear.take.remote(), time.monotonic()
        under_way = {flight.number: flight for flight in self._flights.values()}
        for number, progress, lines in heard:
            flight = under_way.get(number)
            pack = None
            if flight is not None:
                pack, flight.heard, flight.started = flight.tried.pack, time.monotonic(), True
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
