"""Which runs of a pack go on from a checkpoint, and when the next ones are written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rlbench.training.checkpoints import Checkpoints, ForeignError, say_once
from rlbench.training.loop import Loop
from rlbench.training.state import State, UnusableError

_END = 0.1  # share of the interval from which the end of a block is worth a checkpoint
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

    def restore(self, training: Loop[Any], block: Sequence[int]) -> bool:
        """Put a block of one group where its checkpoints are; False if some of it must start from the beginning.

        The training is then of no use, and `groups` tells those apart.
        """
        step = self._steps[block[0]]
        if self._checkpoints is None or not step:
            return True
        states: list[State] = []
        for index, replica in enumerate(block):
            try:
                states.append(self._checkpoints.read(self._checkpoints.cells[replica]))
                training.restore(index, states[-1])
            except (UnusableError, LookupError, TypeError, ValueError, OSError) as problem:
                self._refuse(replica, problem)
        if not all(self._steps[replica] for replica in block):
            return False
        training.restore_history(states)
        say_once(f"{training.algorithm.name}: {len(block)} of its runs go on at step {step:,} of {training.steps:,}.")
        return True

    def write(self, training: Loop[Any], block: Sequence[int], *, share: float = 1.0) -> None:
        """Write the checkpoints of a block once `share` of the interval has passed since the latest.

        A disk that refuses does not stop the training.
        """
        if self._checkpoints is None or time.monotonic() - self._written < share * self._interval:
            return
        started = time.monotonic()
        try:
            for index, (replica, state) in enumerate(zip(block, training.states(), strict=True)):
                if not training.outcomes[index].again:  # or it would be tried again from its end
                    self._checkpoints.write(self._checkpoints.cells[replica], state)
        except UnusableError as problem:
            say_once(f"{training.algorithm.name} trains without checkpoints: {problem}.")
        except OSError as problem:
            reason = problem.strerror or str(problem)
            say_once(f"Cannot write checkpoints to {self._checkpoints.folder}: {reason}. Training goes on without.")
        self._written = time.monotonic()
        if self._checkpoints.interval:
            self._interval = max(self._checkpoints.interval, _RARE * (self._written - started))

    def write_at_end(self, training: Loop[Any], block: Sequence[int]) -> None:
        """Write the checkpoints of a block that is done, which is not stored before the whole pack is."""
        self.write(training, block, share=_END)

    def _refuse(self, replica: int, problem: Exception) -> None:
        """Let a run start from the beginning, and say why; what is no checkpoint of it is not overwritten."""
        self._steps[replica] = 0
        if isinstance(problem, ForeignError) and self._checkpoints:
            self._checkpoints.set_aside(self._checkpoints.cells[replica])
        reason = str(problem) if isinstance(problem, UnusableError) else f"{type(problem).__name__}: {problem}"
        say_once(f"A run starts from the beginning, since its checkpoint cannot be used: {reason}.")
