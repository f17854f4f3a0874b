"""Some of the same through real processes: what a shell sees is a status, a line, and no traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fuzz.sandbox import TINY, Sandbox, untouched
from tests.waiting import HANGS

CASES = [
    ["run", "tiny.py", "--set", "ppo-clip.lr=nan"],
    ["run", "tiny.py", "--seeds", "1" + "0" * 30],
    ["run", "tiny.py", "--steps", "9" * 40],
    ["run", "tiny.py", "--first-seed", "-5"],
    ["run", "tiny.py", "--plugin", "../bystander.txt"],
    ["run", "x" * 5000],
    ["run", "stops.py"],
    ["run", "closes.py"],
    ["run", "recurses.py"],
    ["run", "binary.py"],
    ["run", "folder.py"],
    ["run", "\u202e<script>.py"],
    ["run", "tiny.py", "--results", "tiny.py/x"],
    ["report", "../../bystander.txt"],
    ["report", "/etc/passwd"],
    ["report", ".."],
    ["plan", "../precious"],
    ["figures", "../precious"],
    ["agreement", "binary.py", "/dev/zero"],
    ["agreement", "deep.json", "deep.json"],
    ["compare", "--from", "binary.py"],
    ["compare", "--from", "deep.json"],
    ["check", "../x"],
    ["new", "../x"],
]


def test_statuses_and_lines(sandbox: Sandbox, share: float) -> None:
    files = {
        "tiny.py": TINY.encode(),
        "stops.py": b"raise SystemExit(0)\n",
        "closes.py": b"raise GeneratorExit\n",
        "recurses.py": b"def f(): return f()\nf()\n",
        "binary.py": bytes(range(256)),
        "deep.json": b"[" * 200_000,
    }
    for name, content in files.items():
        (sandbox.work / name).write_bytes(content)
    (sandbox.work / "folder.py").mkdir()
    with untouched(sandbox):
        for arguments in CASES[:: round(1 / share)]:
            answer = subprocess.run(
                [sys.executable, "-m", "rlbench", *arguments], capture_output=True, text=True, timeout=HANGS
            )
            said = [line for line in answer.stderr.splitlines() if line]
            assert answer.returncode == 2, (arguments, answer)
            assert "Traceback" not in answer.stderr, (arguments, answer)
            assert [line.startswith("error: ") for line in said] == [True], (arguments, answer)


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_it_is_being_imported(sandbox: Sandbox, signal_name: str) -> None:
    import signal
    import time
    from functools import partial

    for delay in (0.1, 0.2, 0.4):
        process = subprocess.Popen(
            [sys.executable, "-m", "rlbench", "run", "nowhere.py"],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        time.sleep(delay)
        process.send_signal(getattr(signal, signal_name))
        _, errors = process.communicate(timeout=HANGS)
        assert "Traceback" not in errors or ", in start" not in errors
        assert process.returncode in (2, 130, 1, -getattr(signal, signal_name))
