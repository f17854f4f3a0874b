"""How far training is, in numbers, on the terminal and for other processes; and what became of the runs."""

import contextlib
import math
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlbench.records import IDLE, Progress, RunRecord, clock, idle, idle_updates
from rlbench.study.executors import Event
from rlbench.study.plan import Cell
from rlbench.study.schedule import Pack

_LINE_SECONDS = 15.0  # between two lines where there is no terminal
_WINDOW_SECONDS = 20.0  # over which steps per second are measured


class Meter:
    """Progress in numbers: runs done, share of the work, steps per second, the latest return, what trains now.

    It shows nothing; the two below do. It counts runs, not packs, since a pack may be trained in parts: without runs
    that another process trained meanwhile, or again without a run that failed.
    """

    def __init__(self, packs: Sequence[Pack]) -> None:
        self.runs = sum(len(pack.cells) for pack in packs)
        self.done = 0
        self.latest = ""
        self._training: dict[Pack, Progress] = {}
        self._weight = {cell: pack.cost / len(pack.cells) for pack in packs for cell in pack.cells}
        self._total = sum(pack.cost for pack in packs)
        self._share: dict[Cell, float] = dict.fromkeys(self._weight, 0.0)
        self._given = dict(self._share)  # what an earlier command did, which took this command no time
        self._step: dict[Cell, int] = dict.fromkeys(self._weight, 0)
        self._started = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque([(self._started, 0)])
        self._steps = 0

    @property
    def share(self) -> float:
        """Share of the expected work that is done, 0 to 1."""
        return self._weighted(self._share)

    @property
    def rate(self) -> float:
        """Environment steps per second of late, all runs together."""
        (start, first), (stop, last) = self._seen[0], self._seen[-1]
        return (last - first) / (stop - start) if stop > start else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Time left, judged by the time taken so far; None while nothing is known."""
        elapsed = time.monotonic() - self._started
        here = self.share - self._weighted(self._given)
        if here < 0.01 and elapsed < 60:
            return None
        return elapsed * (1 - self.share) / max(here, 1e-6)

    @property
    def left(self) -> str:
        """`seconds_left` as a clock shows it: `4:05`, or `-`."""
        return clock(self.seconds_left)

    def event(self, event: Event) -> None:
        """Take in and show the progress of a pack, or a line that a worker printed."""
        if event.line:
            self._show_line(event.line)
        if event.pack is None or event.progress is None:
            return
        progress = self._training[event.pack] = event.progress
        for cell in event.pack.cells:
            # A pack that is tried again starts at 0; what it had done does not count twice.
            before = max(self._step[cell], progress.begun)
            self._given[cell] += (before - self._step[cell]) / progress.total
            self._steps += max(progress.step - before, 0)
            self._step[cell] = progress.step
        self._advance(event.pack, progress.step / progress.total)
        if math.isfinite(progress.mean_return):
            self.latest = f"{event.pack.title}: return {progress.mean_return:.4g}"
        self._show_numbers(_LINE_SECONDS)

    def ended(self, pack: Pack) -> None:
        """Take in and show the end of a pack, which may be a part of the pack that made progress."""
        for other in [other for other in self._training if not {*other.cells}.isdisjoint(pack.cells)]:
            del self._training[other]
        self.done += len(pack.cells)
        self._advance(pack, 1.0)
        self._show_numbers(0.0 if self.done == self.runs else _LINE_SECONDS / 5)

    def close(self) -> None:
        """Leave the terminal as it was."""

    def document(self) -> dict[str, Any]:
        """Return runs done and planned, seconds left (None: not known) and each pack that trains, as JSON.

        It may be called from another thread.
        """
        return {
            "done": self.done,
            "runs": self.runs,
            "share": self.share,
            "seconds_left": self.seconds_left,
            "packs": [
                {
                    "title": pack.title,
                    "runs": len(pack.cells),
                    "step": progress.step,
                    "total": progress.total,
                    "mean_return": progress.mean_return if math.isfinite(progress.mean_return) else None,
                }
                for pack, progress in list(self._training.items())
            ],
        }

    def _weighted(self, shares: Mapping[Cell, float]) -> float:
        return sum(self._weight[cell] * share for cell, share in shares.items()) / self._total

    def _advance(self, pack: Pack, share: float) -> None:
        self._share.update(dict.fromkeys(pack.cells, share))
        now = time.monotonic()
        self._seen.append((now, self._steps))
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW_SECONDS:
            self._seen.popleft()

    def _show_line(self, line: str) -> None:
        pass

    def _show_numbers(self, after: float) -> None:
        """Show the numbers; in a log only `after` seconds after the last time."""


class Lines(Meter):
    """For a log file: a line now and then, and what the workers print."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        super().__init__(packs)
        self._last = time.monotonic()

    def _show_line(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a log that cannot be written is no reason to stop training
            print(line, file=sys.stderr, flush=True)

    def _show_numbers(self, after: float) -> None:
        if time.monotonic() - self._last >= after:
            self._last = time.monotonic()
            numbers = f"{self.done}/{self.runs} runs, {self.share:.0%}, {self.rate:,.0f} steps/s"
            self._show_line(f"{numbers}, {self.left} left; {self.latest}")


class Bar(Meter):
    """For a terminal: one bar for everything and, below it, what trains and its latest return."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Columns
        from rich.text import Text

        super().__init__(packs)
        self._bar = Columns(
            TextColumn("{task.fields[runs]} runs"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]} steps/s  {task.fields[left]} left"),
        )
        self._task = self._bar.add_task("", total=1.0, runs=f"0/{self.runs}", rate="-", left="-")
        self._text = Text("starting", style="dim", overflow="ellipsis", no_wrap=True)
        self._live = Live(
            Group(self._bar, self._text), console=Console(stderr=True), refresh_per_second=5, transient=True
        )
        self._live.start()

    def close(self) -> None:
        self._live.stop()

    def _show_line(self, line: str) -> None:
        self._live.console.print(line, markup=False, highlight=False)

    def _show_numbers(self, after: float) -> None:
        runs, rate = f"{self.done}/{self.runs}", f"{self.rate:,.0f}"
        self._bar.update(self._task, completed=self.share, runs=runs, rate=rate, left=self.left)
        self._text.plain = self.latest or "starting"


def display_for(packs: Sequence[Pack], *, show: bool) -> Meter:
    """Return the display that fits: none, a bar where stderr is a terminal, else lines."""
    kind = (Bar if sys.stderr.isatty() else Lines) if show else Meter
    return kind(packs)


_EPISODE_STEPS = 1_000  # a shorter run may well end before its first episode does


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
    diverged: list[tuple[Cell, str, str]] = field(default_factory=list)
    failed: list[tuple[Cell, str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    seconds: float = 0.0

    # By arm and environment: updates with nothing to learn from, all updates, episodes that ended, and long runs.
    _learnt: dict[tuple[str, str], np.ndarray[Any, Any]] = field(default_factory=dict)

    @property
    def idle(self) -> list[str]:
        """Warnings about environments whose episodes never end, and arms that often had nothing to learn from."""
        sums: dict[str, np.ndarray[Any, Any]] = {}
        for (_, label), counts in self._learnt.items():
            sums[label] = sums.get(label, 0) + counts
        endless = [label for label, (_, _, ended, long) in sums.items() if long and not ended]
        return [
            f"{label}: no episode ended in any run, so that there are no returns to compare; give the environment a "
            "time limit, as with max_episode_steps where it is registered, or train for more steps."
            for label in endless
        ] + [
            idle(f"{arm} on {label}", few, many)
            for (arm, label), (few, many, *_) in self._learnt.items()
            if few and few >= IDLE * many and label not in endless
        ]

    @property
    def fine(self) -> bool:
        """Whether every run that was trained finished."""
        return not self.diverged and not self.failed

    def add(self, cell: Cell, record: RunRecord) -> None:
        """Count one trained run."""
        self.trained += 1
        if cell.trains and len(record.updates.get("step", ())):
            few, long = idle_updates(record.updates, record.episodes), cell.steps >= _EPISODE_STEPS
            counts = np.array([few, len(record.updates["step"]), len(record.episodes["step"]), long])
            where = cell.arm, cell.environment.label
            self._learnt[where] = self._learnt.get(where, 0) + counts
        if record.status == "finished":
            self.finished += 1
        else:
            self._unfinished(record.status).append((cell, record.reason, record.detail))

    def add_elsewhere(self, cell: Cell, manifest: dict[str, Any]) -> None:
        """Count a run that another process trained meanwhile."""
        self.elsewhere += 1
        outcome = manifest["outcome"]
        if manifest["status"] != "finished":
            self._unfinished(manifest["status"]).append((cell, outcome["reason"], outcome.get("detail", "")))

    def _unfinished(self, status: str) -> list[tuple[Cell, str, str]]:
        return self.diverged if status == "diverged" else self.failed
