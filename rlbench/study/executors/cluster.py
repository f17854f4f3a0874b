"""A Ray cluster to train on: reached or started, and what its nodes have.

Everything that is wrong with a cluster is said in one sentence before anything trains: that it cannot be reached, that
nodes have other versions than this process, that it lacks GPUs. Ray is imported when a cluster is used, not before.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlbench.errors import RlbenchError
from rlbench.study.limits import IMPORTED, SHARE
from rlbench.study.provenance import differences, installed, worker_environment

if TYPE_CHECKING:
    from rlbench.study.plan import Cell
    from rlbench.study.schedule import Placement


REACH_SECONDS = 30.0  # for a cluster to answer
PROBE_SECONDS = 120.0  # for every node to say what is installed there
_REFRESH_SECONDS = 5.0  # how long what is known of the nodes counts
_AHEAD = 0.25  # of the processes: packs that wait on the cluster, so that none idles while a result travels


@dataclass(frozen=True)
class Node:
    """A node of a cluster; `memory` in bytes."""

    id: str
    name: str
    cpus: float
    gpus: float
    memory: float


class Cluster:
    """A connection to a Ray cluster, made when it is first needed; close it to let go of the cluster.

    `address` is that of the head node, "host:port"; None: RAY_ADDRESS, else the cluster that runs on this machine, else
    one that is started here and ends with the connection. At most `at_once` packs are on the cluster at one time, as
    many as keep it busy if None. A connection that the calling process has already is used, and left open.
    """

    def __init__(self, address: str | None = None, at_once: int | None = None) -> None:
        if at_once is not None and at_once < 1:
            raise RlbenchError(f"On a Ray cluster, workers must be at least 1, not {at_once}.")
        self.address, self._limit = address, at_once
        self.device = "cpu"
        self._owned = self._connected = False
        self._nodes: list[Node] = []
        self._looked = -float("inf")

    def prepare(self) -> None:
        """Connect now, and look at every node; RlbenchError if a cluster cannot be had or a node does not fit."""
        if self._connected:
            return
        ray = _ray()
        if not ray.is_initialized():
            self._owned = True
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
        able = [node for node in self.nodes() if self._processes(node)]
        if device == "cpu":
            room = min(node.memory / self._processes(node) for node in able) - IMPORTED
            return Placement("cpu", "cpu", self._limit or self.processes, max(room, 1.0))
        model, room = _look_at_gpu(_ray())
        return Placement("cuda", f"cuda ({model})", self._limit or self.processes, SHARE * room)

    @property
    def processes(self) -> int:
        """How many packs may train at one time."""
        return min(sum(map(self._processes, self.nodes())), self._limit or sys.maxsize)

    @property
    def at_once(self) -> int:
        """How many packs should be on the cluster, a few of them waiting; one at least, which waits for a node."""
        return min(self.processes + max(1, round(_AHEAD * self.processes)), self._limit or sys.maxsize)

    @property
    def largest(self) -> float:
        """The most memory that a node has, bytes."""
        return max((node.memory for node in self.nodes() if self._processes(node)), default=0.0)

    @property
    def owned(self) -> bool:
        """Whether the connection was made here, so that closing it ends what still trains."""
        return self._owned

    def close(self) -> None:
        """Let go of the cluster, which ends what still trains there; one that was started here ends."""
        if self._owned:
            self._owned = self._connected = False
            _ray().shutdown()

    def _processes(self, node: Node) -> int:
        return int(min(node.cpus, node.gpus) if self.device == "cuda" else node.cpus)

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
    resources = described["Resources"]
    name = f"{described['NodeManagerHostname']} ({described['NodeManagerAddress']})"
    cpus, gpus, memory = (float(resources.get(key, 0.0)) for key in ("CPU", "GPU", "memory"))
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
    for answer, node in asked.items():
        try:
            sentence = ray.get(answer, timeout=max(until - time.monotonic(), 0.1))
        except ray.exceptions.GetTimeoutError:
            sentence = f"Node {node.name} did not say within {PROBE_SECONDS:.0f} seconds what is installed there."
        except (ray.exceptions.NodeDiedError, ray.exceptions.TaskUnschedulableError):
            continue  # it has gone, or has joined just now; whatever trains there looks once more
        except ray.exceptions.RayError as error:
            sentence = f"Node {node.name} cannot run rlbench: {last_line(error)}"
        if sentence:
            raise RlbenchError(sentence)


def last_line(error: BaseException) -> str:
    """Return the last line of what Ray says, which is what went wrong on a node."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _look_at_gpu(ray: Any) -> tuple[str, float]:
    """Return the model of a GPU of the cluster, and its free memory, bytes."""
    look = ray.remote(num_cpus=0, num_gpus=1, runtime_env={"env_vars": worker_environment()})(_gpu)
    try:
        model, free = ray.get(look.remote(), timeout=PROBE_SECONDS)
    except ray.exceptions.RayError as error:
        raise RlbenchError(f"A GPU of the Ray cluster cannot be used: {last_line(error)}") from None
    return str(model), float(free)


def _gpu() -> tuple[str, int]:
    import torch

    return torch.cuda.get_device_name(), torch.cuda.mem_get_info()[0]
