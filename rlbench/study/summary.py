"""What one command trained, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rlbench.records import IDLE, RunRecord, idle, idle_updates
from rlbench.study.plan import AnyCell


@dataclass
class Summary:
    """What one call of `execute` did: runs that were stored already, and trained runs by outcome.

    `trained` counts what was trained here, whatever became of it; `diverged` and `failed` hold also those of the
    `elsewhere` runs that other processes trained meanwhile.
    """

    skipped: int = 0
    skipped_diverged: int = 0
    trained: int = 0
    finished: int = 0
    elsewhere: int = 0
    diverged: list[tuple[AnyCell, str, str]] = field(default_factory=list)
    failed: list[tuple[AnyCell, str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    seconds: float = 0.0

    _idle: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def idle(self) -> list[str]:
        """What is to be said of arms that had nothing to learn from in many of their updates."""
        return [idle(where, few, many) for where, (few, many) in self._idle.items() if few and few >= IDLE * many]

    @property
    def fine(self) -> bool:
        """Whether every run that was trained finished."""
        return not self.diverged and not self.failed

    def add(self, cell: AnyCell, record: RunRecord) -> None:
        """Count one trained run."""
        self.trained += 1
        if len(record.updates.get("step", ())):
            where = f"{cell.arm} on {cell.environment.label}"
            before, all_before = self._idle.get(where, (0, 0))
            now = idle_updates(record.updates, record.episodes)
            self._idle[where] = before + now, all_before + len(record.updates["step"])
        if record.status == "finished":
            self.finished += 1
        else:
            self._unfinished(record.status).append((cell, record.reason, record.detail))

    def add_elsewhere(self, cell: AnyCell, manifest: dict[str, Any]) -> None:
        """Count a run that another process trained meanwhile."""
        self.elsewhere += 1
        outcome = manifest["outcome"]
        if manifest["status"] != "finished":
            self._unfinished(manifest["status"]).append((cell, outcome["reason"], outcome.get("detail", "")))

    def _unfinished(self, status: str) -> list[tuple[AnyCell, str, str]]:
        return self.diverged if status == "diverged" else self.failed
