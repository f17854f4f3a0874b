"""A campaign: the same command again and again on one results folder, killed at random moments, until it ends."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import time
from collections import Counter
from pathlib import Path

from rlbench.store import Tables
from tests.chaos import subject
from tests.chaos.processes import Command, kill, template_of, workers_of
from tests.waiting import HANGS

STARTING, TRAINING, REPORTING = 1.6, 2.5, 3.5  # seconds, about
KILLS = ("parent", "group", "worker", "template", "interrupt", "terminate", "full disk")
OF_RUNS = ("worker", "template", "full disk")
ENDED_BY_DISK = 2


class Campaign:
    """Kills drawn from `seed`; `kills` counts those that hit a living process, by kind.

    `resumed` counts the commands in which runs went on from a checkpoint.
    """

    def __init__(self, folder: Path, suite: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.suite, self.results, self.folder = suite, folder / "results", folder
        self.kills: Counter[str] = Counter()
        self.resumed = 0
        self.deck: list[str] = []
        self.stored: dict[str, str] = {}
        self.commands: list[Command] = []
        self.log: list[str] = [f"campaign of seed {seed}"]

    def run(self, wanted: int, reference: Tables) -> None:
        """Kill at least `wanted` times, let the commands end, and compare with the undisturbed tables."""
        try:
            while self.kills.total() < wanted - 2:
                self._disturb("run")
                if len(subject.finished(self.results)) == len({one.cell for one in subject.planned(self.suite)}):
                    break
            subject.let_age(self.results)
            self._complete("run")  # which clears away what killed ones left
            while self.kills.total() < wanted:
                self._disturb("report")
            subject.let_age(self.results)
            self._complete("report")  # so does this
            self._check(reference)
        except BaseException:
            print("\n".join(self.log))
            raise
        finally:
            for command in self.commands:
                command.end()

    def _disturb(self, what: str) -> None:
        """Start the command, sometimes twice at once, kill something at a random moment, and check what is stored."""
        commands = [self._start(what) for _ in range(2 if what == "run" and self.random.random() < 0.2 else 1)]
        kind = self._drawn(what)
        if kind == "full disk":
            self._fill_the_disk(commands[0])
        else:
            moment = self._await_the_moment(what, commands[0], early=kind not in OF_RUNS)
            self._strike(kind, moment, commands[0])
            if kind in ("worker", "template") and commands[0].running and self.random.random() < 0.5:
                commands[0].wait_while(lambda: True, self.random.uniform(0, 2))
                self._strike("group", "after it", commands[0])
        for command in commands[1:]:
            if command.running and self.random.random() < 0.3:
                self._strike(self.random.choice(("group", "parent")), "beside it", command)
        for command in commands:
            self._ended(command)

    def _drawn(self, what: str) -> str:
        """Draw a kind of kill as from a shuffled deck, so that a few kills are of different kinds."""
        while True:
            if not self.deck:
                self.deck = self.random.sample(KILLS, len(KILLS))
            kind = self.deck.pop()
            if what == "run" or kind not in OF_RUNS:
                return kind

    def _await_the_moment(self, what: str, command: Command, *, early: bool) -> str:
        """Wait until some moment of some phase and return its name; `early` allows those before there are workers."""
        if what == "report":
            command.wait_while(lambda: True, self.random.uniform(0, REPORTING))
            return "reporting"
        moment = self.random.choices(("starting", "training", "storing", "just stored"), (2 * early, 3, 3, 2))[0]
        if moment == "starting":
            command.wait_while(lambda: True, self.random.uniform(0, STARTING))
        elif moment == "training":
            saved = self._saved()
            command.wait_while(lambda: self._saved() == saved, HANGS)
            command.wait_while(lambda: True, self.random.uniform(0, TRAINING))
        else:
            folder, skip = self.results / "store", self.random.randrange(6)
            before = self._names(folder)
            temporary = moment == "storing"

            def waiting() -> bool:
                new = self._names(folder) - before
                return len({one for one in new if one.endswith(".tmp") == temporary}) <= (0 if temporary else skip)

            command.wait_while(lambda: len(self._names(folder) - before) < skip, HANGS)
            command.wait_while(waiting, 2.0, pause=0.0)
        return moment

    def _saved(self) -> set[tuple[str, int]]:
        """Return which runs have a checkpoint, and of when: every pack writes some after its first rollout."""
        with contextlib.suppress(FileNotFoundError):
            return {(one.name, one.stat().st_mtime_ns) for one in os.scandir(self.results / "store" / ".checkpoints")}
        return set()

    def _names(self, folder: Path) -> set[str]:
        try:
            return set(os.listdir(folder))
        except FileNotFoundError:
            return set()

    def _strike(self, kind: str, moment: str, command: Command) -> None:
        """Kill; it counts if there was something to kill."""
        number = {"interrupt": signal.SIGINT, "terminate": signal.SIGTERM}.get(kind, signal.SIGKILL)
        hit = False
        if kind == "worker":
            if workers := workers_of(command):
                hit = kill(self.random.choice(workers).pid, number)
        elif kind == "template":
            template = template_of(command)
            hit = template is not None and kill(template.pid, number)
        elif command.running:
            whole = kind == "group" or (kind == "interrupt" and self.random.random() < 0.7)  # as a terminal does
            if whole:
                os.killpg(command.process.pid, number)
            else:
                os.kill(command.process.pid, number)
            hit = True
        seconds = time.monotonic() - command.started
        self.log.append(f"{kind}, {moment}, after {seconds:.2f} s: {'hit' if hit else 'missed'}")
        self.kills[kind] += hit

    def _fill_the_disk(self, command: Command) -> None:
        """Let no file of the command grow beyond some bytes, which it finds out when it writes."""
        limit = self.random.randrange(100, 12_000)
        resource.prlimit(command.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        status = command.wait(HANGS)
        text = command.text()
        refused = status == ENDED_BY_DISK and "File too large" in text
        assert refused or status in (0, 1), text
        self.log.append(f"full disk at {limit} bytes per file: {'hit' if refused else 'missed'}")
        self.kills["full disk"] += refused

    def _ended(self, command: Command) -> None:
        """Check what a command leaves: no process, no traceback, everything that was stored before, nothing torn."""
        status = command.wait(HANGS)
        assert command.all_gone(), f"orphans: {command.members()}"
        # Python itself says so if it is interrupted before it comes to the first line of rlbench.
        text = command.text()
        self.resumed += "go on at step" in text
        assert "Traceback" not in text or ("KeyboardInterrupt" in text and ", in start" not in text), text
        assert status in (0, 1, ENDED_BY_DISK, 130, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT), command.text()
        stored = subject.finished(self.results)
        assert stored.items() >= self.stored.items(), "a finished run was lost or written again"
        self.stored = stored
        self.commands.remove(command)

    def _complete(self, what: str) -> None:
        """Let the command end; one that was out of luck may leave failed runs, which the next one tries again."""
        for _ in range(2):
            command = self._start(what)
            status = command.wait(HANGS)
            text = command.text()
            self._ended(command)
            if status == 0:
                return
        raise AssertionError(f"undisturbed, the command ends with status {status}: {text}")

    def _start(self, what: str) -> Command:
        said = self.folder / f"said-{len(list(self.folder.glob('said-*')))}"
        self.commands.append(Command(subject.command(what, self.suite, self.results), said))
        return self.commands[-1]

    def _check(self, reference: Tables) -> None:
        """Compare with the undisturbed run, and look for what should not be there."""
        subject.assert_equal(subject.final_tables(self.suite, self.results), reference)
        cells = {one.cell for one in subject.planned(self.suite)}
        assert set(subject.finished(self.results)) == cells
        assert subject.leftovers(self.results) == []
        page = (self.results / subject.NAME / "report.html").read_text(encoding="utf-8")
        assert page.rstrip().endswith("</html>")
