"""Where a command's output goes, or cannot go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from rlbench.store import Store
from tests.waiting import HANGS

TINY = """
from rlbench import Arm, Experiment
EXPERIMENT = Experiment(
    "tiny", [Arm("ppo-clip", horizon=16, minibatches=1, epochs=1, hidden=[4])], ["CartPole-v1"], seeds=2, steps=64
)
"""


def rlbench(*arguments: str, **streams: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlbench", *arguments]
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run(command, text=True, timeout=HANGS, **given)  # type: ignore[call-overload,no-any-return]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["--help"], ["algorithms"], ["status", "--results", "nowhere"]])
def test_a_full_disk_under_the_output_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        ended = rlbench(*arguments, stdout=full, cwd=tmp_path)
    said = "error: the output cannot be written: No space left on device.\n"
    assert (ended.returncode, ended.stderr) == (1, said)


@pytest.mark.skipif(sys.platform == "win32", reason="closes a pipe of POSIX")
def test_a_pipe_that_nobody_reads_is_one_line() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        ended = rlbench("algorithms", "-v", stdout=pipe)
    assert (ended.returncode, ended.stderr) == (1, "error: the output cannot be written: Broken pipe.\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_runs_are_stored_where_progress_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    with open("/dev/full", "w") as full:
        rlbench("run", "tiny.py", "--workers", "0", stderr=full, cwd=tmp_path)
    assert [one["status"] for one in Store(tmp_path / "results").list().values()] == ["finished"] * 2


AGAIN = """
import atexit, os, runpy, signal, sys
# A second Ctrl-C while Python ends, which runs what was registered first at the very end.
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
from rlbench.cli import main
main.commands["algorithms"].callback = lambda **_: os.kill(os.getpid(), signal.SIGINT)
sys.argv = ["rlbench", "algorithms"]
from rlbench.__main__ import start
start()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_a_second_ctrl_c_says_nothing_more() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", AGAIN],
        capture_output=True,
        text=True,
        timeout=HANGS,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    said = "Interrupted; what is stored stays, the same command continues from there.\n"
    assert (ended.returncode, ended.stderr) == (130, said)
