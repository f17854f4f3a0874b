"""Leases: who trains what, and who is dead; with real processes that are really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlbench.errors import RlbenchError
from rlbench.store import Store, entry
from rlbench.store import leases as leases_module
from rlbench.store.leases import LATE, Lease, holders
from tests.waiting import HANGS, wait_until

ABOUT: dict[str, Any] = {"experiments": [{"name": "tiny", "suite": ""}]}
CELLS = [f"{number:032x}" for number in range(60)]
TICK = 2.0  # seconds by which a file system's clock may lag behind

PROCESS = """
import sys, time
from rlbench.store import Store
from rlbench.store.leases import Lease
lease = Lease(Store(sys.argv[1]), {"experiments": [{"name": "tiny", "suite": ""}]})
cells = sys.argv[2:]
lease.claim(lambda held: [cell for cell in cells if cell not in held])
print("ready", flush=True)
time.sleep(3600)
"""

RACER = """
import sys
from rlbench.store import Store
from rlbench.store.leases import Lease
lease = Lease(Store(sys.argv[1]), {"experiments": []})
sys.stdin.readline()
for cell in sys.argv[2:]:
    lease.claim(lambda held: () if cell in held else [print(cell, flush=True) or cell])
print("end", flush=True)
sys.stdin.readline()  # what it claimed is free as soon as it ends
"""


def other_process(folder: Path, *cells: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROCESS, str(folder), *cells]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def lease(tmp_path: Path) -> Iterator[Lease]:
    lease = Lease(Store(tmp_path), ABOUT)
    yield lease
    lease.close()


def claimed(lease: Lease, *cells: str) -> list[str]:
    got: list[str] = []

    def choose(held: set[str]) -> list[str]:
        got.extend(cell for cell in cells if cell not in held)
        return got

    lease.claim(choose)
    return got


def test_a_lease_says_who_it_is_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = time.time()
    lease = Lease(Store(tmp_path), ABOUT)
    lease.describe = lambda: {"done": 1, "runs": 4, "share": 0.25, "seconds_left": 3.0}
    assert claimed(lease, CELLS[0]) == [CELLS[0]]
    (one,) = holders(tmp_path)
    assert one.alive
    assert one.age < time.time() - before + TICK
    assert one.document["pid"] == os.getpid()
    assert one.claimed == {CELLS[0]}
    assert (one.document["done"], one.document["runs"], one.document["seconds_left"]) == (1, 4, 3.0)
    assert lease.others() == []
    lease.close()
    assert holders(tmp_path) == []
    assert list((tmp_path / "store" / ".running").iterdir()) == []


def test_a_cell_is_claimed_by_one(tmp_path: Path, lease: Lease) -> None:
    second = Lease(Store(tmp_path), ABOUT)
    try:
        assert claimed(lease, *CELLS[:3]) == CELLS[:3]
        assert claimed(second, *CELLS[:5]) == CELLS[3:5]
        lease.release(CELLS[:2])
        assert claimed(second, *CELLS[:5]) == CELLS[:2] + CELLS[3:5]
        assert len(second.companions()) == 1
    finally:
        second.close()


@pytest.mark.skipif(entry.fcntl is None, reason="needs file locks")
def test_a_killed_process_is_dead_at_once_and_its_claims_are_free(tmp_path: Path, lease: Lease) -> None:
    process = other_process(tmp_path, *CELLS[:2])
    try:
        (other,) = lease.others()
        assert other.claimed == set(CELLS[:2])
        assert f"process {process.pid} on " in other.name
        assert claimed(lease, *CELLS[:3]) == [CELLS[2]]
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    dead = {one.document["pid"]: one.alive for one in holders(tmp_path)}
    assert dead == {os.getpid(): True, process.pid: False}
    assert claimed(lease, *CELLS[:2]) == CELLS[:2]
    assert [one.document["pid"] for one in holders(tmp_path)] == [os.getpid()]  # its files were removed
    assert len(list((tmp_path / "store" / ".running").iterdir())) == 2


def until_end(process: Any) -> Iterator[str]:
    while line := process.stdout.readline():
        if line == "end\n":
            return
        yield line.strip()


@pytest.mark.skipif(entry.fcntl is None, reason="needs file locks")
def test_processes_that_race_for_cells_share_them(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACER, str(tmp_path), *CELLS]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    racers = [subprocess.Popen(command, **pipes) for _ in range(3)]
    wait_until(lambda: len(holders(tmp_path)) == 3, lambda: all(one.poll() is None for one in racers))
    for one in racers:
        one.stdin.write("go\n")
        one.stdin.flush()
    taken = [cell for one in racers for cell in until_end(one)]
    for one in racers:
        one.communicate("done\n", timeout=HANGS)
    assert [one.returncode for one in racers] == [0, 0, 0]
    assert Counter(taken) == Counter(CELLS)


def elsewhere(folder: Path, age: float, **changes: Any) -> Path:
    """Write the lease of a process on another machine, which gave its last sign of life `age` seconds ago."""
    document = {
        "format": 1,
        "host": "far",
        "machine": "another",
        "pid": 17,
        "started": "2026-01-01T00:00:00+00:00",
        "claimed": [CELLS[0]],
        **ABOUT,
        **changes,
    }
    path = folder / "store" / ".running" / "0123456789abcdef.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    past = time.time() - age
    os.utime(path, (past, past))
    return path


@pytest.mark.parametrize(
    ("age", "alive"), [(LATE / 2, True), (LATE + 30, False), (-LATE / 2, True), (-LATE - 30, False), (-1e8, False)]
)
def test_a_process_elsewhere_is_judged_by_its_signs_of_life(
    tmp_path: Path, lease: Lease, age: float, alive: bool
) -> None:
    path = elsewhere(tmp_path, age)
    assert [one.alive for one in holders(tmp_path) if one.document["host"] == "far"] == [alive]
    assert claimed(lease, CELLS[0]) == ([] if alive else [CELLS[0]])
    assert path.exists() == alive


def test_no_clock_keeps_a_dead_process_alive(tmp_path: Path, lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last sign is of a minute that is still to come, since the clock was set back; it gives no more."""
    path = elsewhere(tmp_path, -LATE / 2)
    passed = 0.0
    monkeypatch.setattr(leases_module.time, "monotonic", lambda: passed)
    assert claimed(lease, CELLS[0]) == []
    passed = LATE - 1
    os.utime(path, (time.time() + 90, time.time() + 90))  # it lives, and says so in a minute of its own
    assert claimed(lease, CELLS[0]) == []
    passed += LATE - 1
    assert claimed(lease, CELLS[0]) == []
    passed += 2
    assert claimed(lease, CELLS[0]) == [CELLS[0]]
    assert not path.exists()


def test_signs_of_life_come_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "BEAT", 0.05)
    lease = Lease(Store(tmp_path), ABOUT)
    try:
        (path,) = (tmp_path / "store" / ".running").glob("*.json")
        before = time.time()
        os.utime(path, (0, 0))
        wait_until(lambda: path.stat().st_mtime)
        assert path.stat().st_mtime > before - TICK
    finally:
        lease.close()


def test_where_there_are_no_locks_claims_are_still_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "fcntl", None)
    first, second = Lease(Store(tmp_path), ABOUT), Lease(Store(tmp_path), ABOUT)
    try:
        assert claimed(first, *CELLS[:2]) == CELLS[:2]
        assert claimed(second, *CELLS[:3]) == [CELLS[2]]
        assert all(one.alive for one in holders(tmp_path))
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"format": 1}', json.dumps({"format": 99}), '{"format": 1, "claimed": ["../../etc"]}'],
)
def test_what_is_no_lease_is_passed_over(tmp_path: Path, lease: Lease, text: str) -> None:
    path = tmp_path / "store" / ".running" / "rubbish.json"
    path.write_text(text)
    assert lease.others() == []
    assert claimed(lease, CELLS[0]) == [CELLS[0]]
    assert path.read_text() == text


@pytest.mark.parametrize(
    "changes",
    [{"seconds_left": "soon"}, {"packs": [{}]}, {"experiments": "tiny"}, {"pid": None}, {"claimed": [3]}],
)
def test_a_lease_that_says_nonsense_is_passed_over(tmp_path: Path, changes: dict[str, Any]) -> None:
    elsewhere(tmp_path, 0.0, **changes)
    assert holders(tmp_path) == []


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(RlbenchError, match=r"Cannot write to .*running"):
        Lease(Store(tmp_path), ABOUT)


@pytest.mark.skipif(entry.fcntl is None, reason="needs file locks")
def test_a_lock_that_a_stopped_process_holds_is_waited_for_and_then_passed_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry, "_PATIENCE", 0.1)
    with entry.exclusively(tmp_path / "lock") as held:
        assert held
        with entry.exclusively(tmp_path / "lock") as twice:
            assert not twice
    with entry.exclusively(tmp_path / "lock") as held:
        assert held
