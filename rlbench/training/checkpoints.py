"""Checkpoints: a run that was interrupted goes on from its latest one, to the same numbers bit for bit.

    FOLDER/<cell id>.npz    the state of one run between two rollouts, as arrays; `header` is JSON as bytes

One file per run, not per pack, so that runs may go on in another pack than they began in. A file exists whole or not at
all, and nothing in it is executed. It is used only if its checksum holds, and code, packages and processor are those
that wrote it; otherwise the run starts from the beginning, which gives the same numbers and takes longer.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from rlbench import files
from rlbench.training import INTERVAL, processor
from rlbench.training.loop import Loop
from rlbench.training.state import State, UnusableError


@cache
def source() -> str:
    """Return the SHA-256 of rlbench's own source: the names and the content of its files."""
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()


SCHEMA = 1
PACKAGES = ("torch", "numpy", "numba", "gymnasium", "mujoco")
"""What decides a run's numbers, beside rlbench itself; not all of it need be installed."""


class ForeignError(UnusableError):
    """A file is not what its name says: a checkpoint of that run."""


@dataclass(frozen=True)
class Checkpoints:
    """Where the runs `cells` of a pack, by id, have their checkpoints.

    They get the next one at the end of the rollout in which `interval` seconds have passed, or fifty times as long as
    writing one takes; with 0, after every rollout.
    """

    folder: str | Path
    cells: tuple[str, ...] = ()
    interval: float = INTERVAL

    def of(self, cells: Iterable[str]) -> Checkpoints:
        """Return the checkpoints of other runs in the same folder."""
        return Checkpoints(self.folder, tuple(cells), self.interval)

    def step(self, cell: str) -> int:
        """Return the environment steps after which a run goes on: 0 without a checkpoint that can be used."""
        try:
            header = self.header(cell)
        except UnusableError:
            return 0
        return int(header["step"]) if header else 0

    def header(self, cell: str) -> dict[str, Any] | None:
        """Return what a checkpoint says of itself, None if there is none; UnusableError if it cannot be used."""
        if not os.path.lexists(self._file(cell)):
            return None
        return self._opened(cell)[0]

    def read(self, cell: str) -> State:
        """Return the state in the checkpoint of a run; UnusableError where it cannot be trusted."""
        header, state = self._opened(cell)
        if header["sha256"] != _checksum(state):
            raise UnusableError("it is damaged")
        return state

    def write(self, cell: str, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Write the checkpoint of a run, whole or not at all; OSError where the disk refuses."""
        header = {"schema": SCHEMA, "cell": cell, "step": int(state["step"]), "seconds": state["seconds"].item()}
        header |= {"stamp": stamp(), "sha256": _checksum(state)}
        files.write(self._file(cell), files.pack(header, state), inside=Path(self.folder).parent, durable=True)

    def discard(self, cell: str) -> None:
        """Remove the checkpoint of a run that is stored, and what a killed process left of one.

        A file of its name that is no checkpoint of it stays.
        """
        own = [self._file(cell)]
        try:
            self.header(cell)
        except ForeignError:
            own = []
        except UnusableError:
            pass
        for path in (*own, *Path(self.folder).glob(f".{cell}.*.tmp")):
            with contextlib.suppress(OSError):
                path.unlink()

    def sweep(self, stored: Iterable[str]) -> None:
        """Discard the checkpoints of stored runs that a process left which was killed after storing them."""
        with contextlib.suppress(OSError):
            present = {name[: -len(".npz")] for name in os.listdir(self.folder) if name.endswith(".npz")}
            for cell in present & set(stored):
                self.discard(cell)

    def set_aside(self, cell: str) -> None:
        """Rename a file that is no checkpoint of the run to `NAME.aside-1`, `-2` ..., for a person to look at."""
        path = self._file(cell)
        with contextlib.suppress(OSError):
            path.rename(files.numbered(path.with_name(f"{path.name}.aside-")))

    def _opened(self, cell: str) -> tuple[dict[str, Any], State]:
        """Return header and state of a checkpoint of this run that this code wrote on this machine."""
        try:
            header, state = files.unpack(files.read_bytes(self._file(cell)))
            if header["cell"] != cell:
                raise ForeignError("it is one of another run")
            if header["schema"] != SCHEMA:
                raise UnusableError("it is one of another version")
            if header["stamp"] != stamp():
                raise UnusableError("other code, packages or another processor wrote it")
            int(header["step"]), header["sha256"]  # are there
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as problem:
            raise ForeignError("it is no checkpoint, or damaged") from problem
        return header, state

    def _file(self, cell: str) -> Path:
        return Path(self.folder) / f"{cell}.npz"


def version_of(package: str) -> str | None:
    """Return the version of an installed package; None: not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def stamp() -> str:
    """Return the hash of all that must be the same for a run to go on to the same numbers: code, packages, machine."""
    versions = [f"{name} {version_of(name)}" for name in PACKAGES]
    machine = [processor(), platform.machine(), platform.system(), *platform.libc_ver()]
    return hashlib.sha256("\n".join([source(), platform.python_version(), *versions, *machine]).encode()).hexdigest()


@functools.cache
def say_once(sentence: str) -> None:
    """Say on the error stream what does not stop the training, once per process."""
    print(sentence, file=sys.stderr, flush=True)


def _checksum(state: Mapping[str, np.ndarray[Any, Any]]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(state.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


AT_END = 0.1  # share of the interval from which the end of a block is worth a checkpoint
_RARE = 50  # times as long as writing takes is the least interval


class Resumption:
    """The checkpoints of a pack in training; without `checkpoints`, every run starts from the beginning."""

    def __init__(self, checkpoints: Checkpoints | None, replicas: int) -> None:
        self._checkpoints, self._written = checkpoints, time.monotonic()
        self._interval = checkpoints.interval if checkpoints else 0.0
        self.wanted = checkpoints is not None
        self._steps = [0] * replicas  # after which each run goes on
        for replica, cell in enumerate(checkpoints.cells if checkpoints else ()):
            try:
                header = checkpoints.header(cell) if checkpoints else None
                self._steps[replica] = int(header["step"]) if header else 0
            except UnusableError as problem:
                self._refuse(replica, problem)

    def groups(self, replicas: Sequence[int]) -> list[list[int]]:
        """Return the replicas by the step at which they go on: only those that share it can train together."""
        found: dict[int, list[int]] = {}
        for replica in replicas:
            found.setdefault(self._steps[replica], []).append(replica)
        return list(found.values())

    def restore(self, training: Loop, block: Sequence[int]) -> bool:
        """Put a block of one group where its checkpoints are; False if some of it must start from the beginning.

        The training is then of no use, and `groups` tells those apart.
        """
        step = self._steps[block[0]]
        if self._checkpoints is None or not step:
            return True
        for index, replica in enumerate(block):
            try:
                training.restore(index, self._checkpoints.read(self._checkpoints.cells[replica]))
            except (UnusableError, LookupError, TypeError, ValueError, OSError) as problem:
                self._refuse(replica, problem)
        if not all(self._steps[replica] for replica in block):
            return False
        say_once(f"{training.algorithm.name}: {len(block)} of its runs go on at step {step:,} of {training.steps:,}.")
        return True

    def write(self, training: Loop, block: Sequence[int], *, share: float = 1.0) -> None:
        """Write the checkpoints of a block once `share` of the interval has passed since the latest.

        A disk that refuses does not stop the training.
        """
        if self._checkpoints is None or time.monotonic() - self._written < share * self._interval:
            return
        started = time.monotonic()
        try:
            states = [training.state(index) for index in range(len(block))]
            for index, replica in enumerate(block):
                if not training.outcomes[index].again:  # or it would be tried again from its end
                    self._checkpoints.write(self._checkpoints.cells[replica], states[index])
        except UnusableError as problem:
            say_once(f"{training.algorithm.name} trains without checkpoints: {problem}.")
        except OSError as problem:
            reason = problem.strerror or str(problem)
            say_once(f"Cannot write checkpoints to {self._checkpoints.folder}: {reason}. Training goes on without.")
        self._written = time.monotonic()
        if self._checkpoints.interval:
            self._interval = max(self._checkpoints.interval, _RARE * (self._written - started))

    def _refuse(self, replica: int, problem: Exception) -> None:
        """Let a run start from the beginning, and say why; what is no checkpoint of it is not overwritten."""
        self._steps[replica] = 0
        if isinstance(problem, ForeignError) and self._checkpoints:
            self._checkpoints.set_aside(self._checkpoints.cells[replica])
        reason = str(problem) if isinstance(problem, UnusableError) else f"{type(problem).__name__}: {problem}"
        say_once(f"A run starts from the beginning, since its checkpoint cannot be used: {reason}.")
