"""A place for hostile input: a command line in this process, watched for time, tracebacks and writes outside."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rlbench.cli import main
from tests.waiting import HANGS

CASES = {"experiment files": 600, "options": 500, "results": 900, "tables": 600}
"""How many cases each fuzzer runs at least; together more than two thousand."""

SMALL = "horizon=16, minibatches=1, epochs=1, hidden=[4]"
TINY = f"""
from rlbench import Arm, Claim, Experiment

EXPERIMENT = Experiment(
    "tiny",
    [Arm("ppo-clip", {SMALL}), Arm("actor-critic", {SMALL})],
    ["CartPole-v1"],
    seeds=2,
    steps=64,
    claims=[Claim("PPO is better", ["ppo-clip", "actor-critic"], "greater", "auc")],
)
"""


class Sandbox:
    """A working folder inside a folder whose other content nobody may touch; `cases` counts what was tried."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = root / "parent" / "work"
        self.results = self.work / "results"
        self.work.mkdir(parents=True)
        (root / "precious").mkdir()
        for file in (root / "bystander.txt", root / "parent" / "bystander.txt", root / "precious" / "figure.svg"):
            file.write_text("mine\n")
        self.cases = 0

    def call(self, *arguments: str) -> Result:
        """Run `rlbench ARGUMENTS` and fail unless it worked or said in a line or two what is wrong."""
        self.cases += 1
        with ending(arguments):
            result = CliRunner().invoke(main, list(arguments))
        shown = f"{[one[:200] for one in arguments]}: {result.output[-3000:]!r}"
        assert result.exception is None or isinstance(result.exception, SystemExit), (shown, result.exc_info)
        assert "Traceback" not in result.output, shown
        assert "error: unexpected " not in result.stderr, shown
        if result.exit_code == 2:
            errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1, shown
            assert result.stderr.splitlines()[-1] == errors[0], shown
        return result

    def outside(self) -> dict[str, Any]:
        """Return what there is outside the results folder: kinds, times and contents."""
        return {path: state for path, state in self._states() if not path.startswith(str(self.results))}

    def _states(self) -> Iterator[tuple[str, Any]]:
        for folder, folders, files in os.walk(self.root):
            folders[:] = [one for one in folders if one != "__pycache__"]
            for name in [*folders, *files]:
                path = os.path.join(folder, name)
                kind = os.lstat(path).st_mode
                content = Path(path).read_bytes() if os.path.isfile(path) and not os.path.islink(path) else b""
                yield path, (kind, hashlib.sha256(content).hexdigest())


@contextmanager
def ending(what: object) -> Iterator[None]:
    """Fail if the block hangs; only the main thread can be interrupted so."""

    def late(signum: int, frame: FrameType | None) -> None:
        pytest.fail(f"hangs: {str(what)[:500]}")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, HANGS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def untouched(sandbox: Sandbox) -> Iterator[None]:
    """Fail if the block changes anything outside the results folder."""
    before = sandbox.outside()
    yield
    after = sandbox.outside()
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    assert not changed, f"written outside the results folder: {changed}"
