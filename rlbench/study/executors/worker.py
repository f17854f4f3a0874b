"""The program of a worker process: packs come in on stdin, progress and results go out on stdout.

A message is a pickled object behind its length, 8 bytes big-endian. To the worker: the cloudpickle of
(limits, train or None, algorithms, environment, steps, seeds, options by name), limits being (seconds that a call of an
environment may take, bytes). From the worker: ("alive",) and ("progress", Progress) as signs of life, then
("ended", PackResult).
"""

import io
import os
import pickle
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import IO, Any

from rlbench.records import RunRecord
from rlbench.study import limits
from rlbench.study.executors import PackResult
from rlbench.study.process import draw_anew, left_as_found
from rlbench.training.limits import lift_memory_limit, limit_memory, shortage, watching

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment variables of a worker, read when numpy and torch are imported: sums depend on threads."""

_imported = cache(limits.held)  # before the first pack


def send(stream: IO[bytes], message: bytes) -> None:
    """Write one message and flush it."""
    stream.write(struct.pack(">Q", len(message)) + message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Return the next message, or None where the stream ends or breaks off."""
    header = stream.read(8)
    if len(header) < 8:
        return None
    (length,) = struct.unpack(">Q", header)
    message = stream.read(length)
    return message if len(message) == length else None


def describe(error: BaseException) -> str:
    """Return an exception as one line."""
    from rlbench.errors import RlbenchError

    if short := shortage(error):
        return short
    first = (str(error).strip().splitlines() or [""])[0]
    return first if isinstance(error, RlbenchError) else f"{type(error).__name__}: {first}".rstrip(": ")


def main() -> None:
    """Train packs until stdin ends. Ctrl-C is the parent's business, which ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limits.be_ended_first()
    source = sys.stdin.buffer
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what plugins and environments print must not mix with the messages
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # or a worker that is ended takes its last lines along

    def say(*message: Any) -> None:
        try:
            send(sink, pickle.dumps(message))
        except BrokenPipeError:
            os._exit(1)  # the parent is gone, and so is stderr

    while (payload := receive(source)) is not None:
        say("ended", answer(payload, say))


def answer(payload: bytes, report: Callable[..., None], *, checkpoints: bool = True) -> PackResult:
    """Train a pack as it was sent, in this process; `report` gets the signs of life.

    Without `checkpoints` it is trained from the beginning, and none are written.
    """

    def train_it() -> list[RunRecord]:
        (seconds, size), train, *arguments, options = pickle.loads(payload)
        if not checkpoints:
            options.pop("checkpoints", None)
        train = train or trainer()
        draw_anew()
        imported = _imported()
        limits.forget_peak()
        limit_memory(size)
        report("alive")  # all is imported
        records = perform((train, *arguments, options), seconds, report)
        for record in records:
            record.peak_bytes = max(limits.peak() - imported, 0)
        return records

    return attempted(train_it)


def attempted(train: Callable[[], list[RunRecord]]) -> PackResult:
    """Return what `train` returns or, in words, raises."""
    try:
        return PackResult(train())
    except Exception as error:
        reason, again = describe(error), bool(shortage(error))
        if again:
            lift_memory_limit()  # or there is none left to say so
        return PackResult(reason=reason, detail=traceback.format_exc(), again=again)


def perform(task: Sequence[Any], seconds: float, report: Callable[..., None]) -> list[RunRecord]:
    """Return the records of (what trains, algorithms, environment, steps, seeds, options by name).

    This process is left as it was found. The environment is the one that its experiment registered; a call of it may
    take `seconds`. `report` gets signs of life: "alive" now and then while environments return, "progress" and what.
    """
    from rlbench.study.environments import registered

    train, *arguments, options = task
    on_progress = partial(report, "progress")
    with left_as_found(), registered(arguments[1]), watching(seconds, partial(report, "alive")):
        records: list[RunRecord] = (train or trainer())(*arguments, **options, on_progress=on_progress)
        return records


def trainer() -> Callable[..., list[RunRecord]]:
    """Return `rlbench.training.trainer.train`; imported here, since it is heavy and only workers need it."""
    from rlbench.training.trainer import train

    return train
