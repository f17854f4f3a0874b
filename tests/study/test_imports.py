"""Searching for garbage: not while much is imported, and not on leaving; and nothing is lost by that."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rlbench
from rlbench.study import process
from rlbench.study.process import uncollected

LEAVE = """
import sys
from rlbench.study.process import leave_quickly

class Log:
    text = open(sys.argv[1] + "/text", "w")
    buffered = open(sys.argv[1] + "/buffered", "wb")
    closed = open(sys.argv[1] + "/closed", "w")

Log.text.write("never closed")
Log.buffered.write(b"nor this")
Log.closed.close()
leave_quickly()
leave_quickly()
"""


@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_collected_meanwhile_and_then_as_before(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        during = []
        with contextlib.suppress(ImportError), uncollected():
            during.append(gc.isenabled())
            raise ImportError
        assert during == [False]
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_leaving_quickly_writes_what_is_left_in_open_files(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", LEAVE, str(tmp_path)], check=True, capture_output=True)
    assert done.stderr == b""
    assert (tmp_path / "text").read_text() == "never closed"
    assert (tmp_path / "buffered").read_text() == "nor this"


def test_leaving_quickly_searches_nothing(tmp_path: Path) -> None:
    program = (
        "import atexit, gc, sys\n"
        "def late(frozen=gc.get_freeze_count): sys.stdout.write(str(frozen() > 1000))\n"
        "atexit.register(late)\n"  # registered first, so run last
        "from rlbench.study.process import leave_quickly\n"
        "leave_quickly()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "True"


def test_whether_the_loops_are_compiled_is_seen_from_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.warm_up()
    assert not process.has_to_compile()
    source = tmp_path / "functional" / "networks.py"
    source.parent.mkdir()
    source.write_text("")
    monkeypatch.setattr(rlbench, "__file__", str(tmp_path / "__init__.py"))
    assert process.has_to_compile()
    kept = source.parent / "__pycache__" / f"networks.forward-1.py{sys.version_info.major}{sys.version_info.minor}.nbi"
    kept.parent.mkdir()
    kept.write_text("")
    assert not process.has_to_compile()
    os.utime(source, (kept.stat().st_mtime + 9,) * 2)  # edited since
    assert process.has_to_compile()
