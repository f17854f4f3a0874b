"""The index is only a cache: it saves reading, and never says of an entry what its files do not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlbench.records import RunRecord, empty_episodes
from rlbench.store import Store
from rlbench.store import runs as index_module
from rlbench.store import runs as store_module
from rlbench.store.entry import manifest_digest
from rlbench.store.runs import FILE
from tests.waiting import wait_until

SEEDS = 8


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Store a few runs, and let the index be used for that few, as if they were written long ago."""
    monkeypatch.setattr(store_module, "_MANY", 1)
    monkeypatch.setattr(index_module, "_WORTHWHILE", 1)
    monkeypatch.setattr(index_module, "_SETTLED_SECONDS", 0.0)
    record = RunRecord("finished", "", 64, empty_episodes(), {"step": np.array([64])}, policy=bytes(100))
    cells = [Store(tmp_path).write({"algorithm": "a", "seed": seed}, record, {}) for seed in range(SEEDS)]
    newest, clock = max(path.stat().st_ctime_ns for path in (tmp_path / "store").glob("*/*")), tmp_path / "clock"

    def has_ticked() -> bool:
        clock.touch()
        return clock.stat().st_ctime_ns > newest

    wait_until(has_ticked)
    return sorted(cells)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read, seen = store_module.read_manifest, []

    def reading(path: Path, *arguments: Any) -> dict[str, Any]:
        seen.append(path)
        return read(path, *arguments)

    monkeypatch.setattr(store_module, "read_manifest", reading)
    return seen


def test_a_second_reader_opens_no_entry(tmp_path: Path, cells: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count_reads(monkeypatch)
    first = Store(tmp_path).list()
    assert (list(first), len(seen)) == (cells, SEEDS)
    assert Store(tmp_path).list() == first
    assert len(seen) == SEEDS


def test_tables_are_hashed_once(tmp_path: Path, cells: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = store_module.file_bytes, []

    def reading(path: Path, manifest: dict[str, Any], name: str) -> bytes:
        seen.append(path)
        return read(path, manifest, name)

    monkeypatch.setattr(store_module, "file_bytes", reading)
    Store(tmp_path).list()  # which does not look at them, and so must not count as having done so
    assert len(Store(tmp_path).manifests(cells, thorough=True)) == SEEDS
    assert len(seen) == 2 * SEEDS
    assert len(Store(tmp_path).manifests(cells, thorough=True)) == SEEDS
    assert len(Store(tmp_path).list()) == SEEDS
    assert len(seen) == 2 * SEEDS


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("keep_times", [False, True])
@pytest.mark.parametrize("name", ["updates.parquet", "episodes.parquet", "policy.npz"])
def test_a_table_that_changes_afterwards_is_noticed(
    tmp_path: Path, cells: list[str], name: str, keep_times: bool
) -> None:
    assert len(Store(tmp_path).manifests(cells, thorough=True)) == SEEDS
    path = tmp_path / "store" / cells[3] / name
    before = path.stat()
    flip(path)
    if keep_times:  # as a careless copy does
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    store = Store(tmp_path)
    assert sorted(store.manifests(cells, thorough=True)) == [cell for cell in cells if cell != cells[3]]
    assert "changed or damaged" in store.messages[0]


def test_a_replaced_or_removed_entry_is_noticed(tmp_path: Path, cells: list[str]) -> None:
    Store(tmp_path).list()
    path = tmp_path / "store" / cells[0] / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["status"] = "diverged"
    path.write_text(json.dumps(manifest | {"digest": manifest_digest(manifest)}))
    (tmp_path / "store" / cells[1]).rename(tmp_path / "elsewhere")
    (tmp_path / "store" / cells[2] / "updates.parquet").unlink()
    store = Store(tmp_path)
    listed = store.list()
    assert sorted(listed) == [cells[0], *cells[3:]]
    assert listed[cells[0]]["status"] == "diverged"
    assert len(store.messages) == 1


def test_damage_that_a_report_finds_is_not_forgotten_by_the_next_run(tmp_path: Path, cells: list[str]) -> None:
    """Bits may rot without a file's times changing: the index believes the table until somebody reads it."""
    Store(tmp_path).manifests(cells, thorough=True)
    flip(tmp_path / "store" / cells[5] / "updates.parquet")
    data = (tmp_path / "store" / FILE).read_bytes()
    document = json.loads(data.partition(b"\n")[2])
    document["entries"][cells[5]][0] = list(Store(tmp_path).stamp(cells[5]) or ())
    write_index(tmp_path, document)
    assert cells[5] in Store(tmp_path).manifests(cells, thorough=True)
    assert Store(tmp_path).read(cells[5]) is None
    assert cells[5] not in Store(tmp_path).manifests(cells, thorough=True)


def write_index(folder: Path, document: dict[str, Any]) -> None:
    import hashlib

    data = json.dumps(document).encode()
    (folder / "store" / FILE).write_bytes(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)


@pytest.mark.parametrize("damage", [b"", b"rubbish", b"\xff\n{}", None])
def test_a_damaged_index_is_only_a_lost_cache(tmp_path: Path, cells: list[str], damage: bytes | None) -> None:
    expected = Store(tmp_path).list()
    path = tmp_path / "store" / FILE
    if damage is None:
        flip(path)
    else:
        path.write_bytes(damage)
    store = Store(tmp_path)
    assert store.list() == expected
    assert store.messages == []
    assert json.loads(path.read_bytes().partition(b"\n")[2])["entries"].keys() == set(cells)  # and it is written anew


def test_an_index_of_another_version_is_not_used(tmp_path: Path, cells: list[str]) -> None:
    expected = Store(tmp_path).list()
    path = tmp_path / "store" / FILE
    document = json.loads(path.read_bytes().partition(b"\n")[2])
    for known in document["entries"].values():
        known[2]["status"] = "failed"
    write_index(tmp_path, document)
    assert {one["status"] for one in Store(tmp_path).list().values()} == {"failed"}
    write_index(tmp_path, document | {"format": [99, 1]})
    assert Store(tmp_path).list() == expected


def test_what_was_written_a_moment_ago_is_not_kept(
    tmp_path: Path, cells: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a tick of the file system's clock a file may change twice, and its times would not show it."""
    monkeypatch.setattr(index_module, "_SETTLED_SECONDS", 60.0)
    assert list(Store(tmp_path).list()) == cells
    assert not (tmp_path / "store" / FILE).exists()


def test_a_folder_that_cannot_be_written_to_is_read(
    tmp_path: Path, cells: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(index_module, "write", refuse)
    assert list(Store(tmp_path).list()) == cells
