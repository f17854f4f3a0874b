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
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlbench.records import Progress
from rlbench.study.installed import differences
from rlbench.study.limits import patience
from rlbench.study.provenance import machine
from rlbench.study.worker import answer

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
