"""The store: whole entries or none, nothing untrusted is used, nothing stored is lost."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbench.errors import RlbenchError
from rlbench.files import STALE_SECONDS
from rlbench.records import RunRecord, Status, empty_episodes
from rlbench.store import Planned, Store, load_table
from rlbench.store import runs as store_module
from rlbench.store.entry import canonical, cell_id

PROVENANCE = {"commit": "abc", "dirty": True}


def identity(seed: int = 0, **settings: Any) -> dict[str, Any]:
    return {
        "algorithm": "ppo-clip",
        "settings": {"clip": 0.2, "epochs": 4, **settings},
        "fingerprint": "f00",
        "environment": {"id": "CartPole-v1", "options": {}},
        "steps": 1000,
        "seed": seed,
    }


def record(status: Status = "finished", episodes: int = 3, **columns: Any) -> RunRecord:
    updates = {"step": np.array([500, 1000]), "kl": np.array([0.1, 0.2]), **columns}
    table = {
        "step": np.arange(episodes, dtype=np.int64) * 10,
        "return": np.arange(episodes, dtype=np.float64),
        "length": np.full(episodes, 10, np.int64),
    }
    reason = "" if status == "finished" else "a loss became NaN"
    return RunRecord(status, reason, 1000, table, updates, gradient_steps=8, samples=4000, seconds=1.5)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def planned(seed: int, cell: str | None = None) -> Planned:
    name = cell or cell_id(identity(seed))
    return Planned(name, "ppo-clip", "ppo-clip", "CartPole-v1", seed, 1000, "f00")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cell = store.write(identity(), record(), PROVENANCE)
    stored = store.read(cell)
    assert stored is not None
    manifest, episodes, updates = stored
    assert manifest["identity"] == identity()
    assert manifest["provenance"] == PROVENANCE
    assert manifest["outcome"]["gradient_steps"] == 8
    assert episodes.to_pydict() == {"step": [0, 10, 20], "return": [0.0, 1.0, 2.0], "length": [10] * 3}
    assert updates.to_pydict() == {"step": [500, 1000], "kl": [0.1, 0.2]}
    assert sorted(path.name for path in (tmp_path / "store" / cell).iterdir()) == [
        "episodes.parquet",
        "manifest.json",
        "updates.parquet",
    ]
    assert store.manifest(cell, thorough=True)
    assert store.list() == {cell: manifest}
    assert visible(tmp_path / "store") == [cell]


def test_a_failed_run_is_replaced_and_a_final_one_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for status, expected in [("failed", "failed"), ("diverged", "diverged"), ("finished", "diverged")]:
        cell = store.write(identity(), record(status), PROVENANCE)  # type: ignore[arg-type]
        manifest = store.manifest(cell)
        assert manifest is not None
        assert manifest["status"] == expected
    assert visible(tmp_path / "store") == [cell]
    assert not list(store.directory.glob(".*.tmp"))


def test_tables_have_a_row_for_every_planned_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(identity(0), record(beta=np.array([1.0, 2.0])), PROVENANCE)
    store.write(identity(1), record("diverged", episodes=1), PROVENANCE | {"device": "cuda (Model)"})
    tables = load_table(tmp_path, [planned(0), planned(1), planned(2)])
    assert list(tables.runs["status"]) == ["finished", "diverged", "missing"]
    assert list(tables.runs["reason"]) == ["", "a loss became NaN", "not run yet"]
    assert list(tables.runs["steps_done"]) == [1000, 1000, 0]
    assert list(tables.runs["commit"]) == ["abc", "abc", ""]
    assert list(tables.runs["dirty"]) == [True, True, False]
    assert list(tables.runs["device"]) == ["cpu", "cuda (Model)", ""]  # before devices were recorded it was the CPU
    assert list(tables.episodes["cell"]) == [cell_id(identity(0))] * 3 + [cell_id(identity(1))]
    assert list(tables.updates["beta"].isna()) == [False, False, True, True]
    assert list(tables.updates.columns) == ["cell", "step", "kl", "beta"]


def test_tables_of_nothing_have_their_columns(tmp_path: Path) -> None:
    tables = load_table(tmp_path, [planned(0)])
    assert list(tables.runs["status"]) == ["missing"]
    assert list(tables.episodes.columns) == ["cell", "step", "return", "length"]
    assert list(load_table(tmp_path, []).runs.columns) == list(tables.runs.columns)


def test_a_run_without_episodes_stays_in_the_tables(tmp_path: Path) -> None:
    run = record("failed")
    run.episodes = empty_episodes()
    Store(tmp_path).write(identity(), run, PROVENANCE)
    tables = load_table(tmp_path, [planned(0)])
    assert list(tables.runs["status"]) == ["failed"]
    assert len(tables.episodes) == 0


def truncate_table(entry: Path) -> None:
    data = (entry / "episodes.parquet").read_bytes()
    (entry / "episodes.parquet").write_bytes(data[:-5])


def flip_a_byte(entry: Path) -> None:
    data = bytearray((entry / "updates.parquet").read_bytes())
    data[len(data) // 2] ^= 1
    (entry / "updates.parquet").write_bytes(bytes(data))


def edit_the_seed(entry: Path) -> None:
    manifest = json.loads((entry / "manifest.json").read_text())
    manifest["identity"]["seed"] = 17
    (entry / "manifest.json").write_text(json.dumps(manifest))


def edit_the_outcome(entry: Path) -> None:
    manifest = json.loads((entry / "manifest.json").read_text())
    manifest["outcome"]["steps_done"] += 1
    (entry / "manifest.json").write_text(json.dumps(manifest))


def newer_schema(entry: Path) -> None:
    manifest = json.loads((entry / "manifest.json").read_text())
    (entry / "manifest.json").write_text(json.dumps(manifest | {"schema": 99}))


def no_json(entry: Path) -> None:
    (entry / "manifest.json").write_bytes(b"\xff\x00 not json")


def a_list(entry: Path) -> None:
    (entry / "manifest.json").write_text("[1, 2]")


def remove_table(entry: Path) -> None:
    (entry / "updates.parquet").unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate_table, "bytes"),
        (flip_a_byte, "changed or damaged"),
        (edit_the_seed, "identity document"),
        (edit_the_outcome, "manifest.json was changed or damaged"),
        (newer_schema, "schema is 99"),
        (no_json, "not one of rlbench's"),
        (a_list, "not one of rlbench's"),
        (remove_table, "updates.parquet is missing"),
    ],
)
def test_a_damaged_entry_counts_as_missing_and_is_set_aside_by_the_next(tmp_path: Path, damage: Any, said: str) -> None:
    cell = Store(tmp_path).write(identity(), record(), PROVENANCE)
    entry = tmp_path / "store" / cell
    damage(entry)
    left = {path.name: path.read_bytes() for path in entry.iterdir()}
    store = Store(tmp_path)
    assert store.read(cell) is None
    assert load_table(tmp_path, [planned(0)]).runs["status"].tolist() == ["missing"]
    assert len(store.messages) == 1
    assert said in store.messages[0]
    assert cell in store.messages[0]

    store.write(identity(), record(), PROVENANCE)
    assert store.read(cell) is not None
    aside = tmp_path / "store" / ".set-aside" / f"{cell}.1"
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == left
    assert list(store.list()) == [cell]


def test_foreign_entries_are_not_listed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cell = store.write(identity(), record(), PROVENANCE)
    (tmp_path / "store" / "notes").mkdir()
    (tmp_path / "store" / cell.upper()).mkdir()
    for name in ("README.md", ".DS_Store", "costs.json"):
        (tmp_path / "store" / name).write_text("mine")
    os.rename(tmp_path / "store" / cell, tmp_path / "store" / ("0" * 32))
    assert store.list() == store.list() == {}
    foreign, damaged = store.messages
    assert foreign.endswith(f"no runs have such names: {cell.upper()}, README.md, notes")
    assert "identity document" in damaged
    store.sweep()
    assert visible(tmp_path / "store") == sorted(["0" * 32, cell.upper(), "README.md", "costs.json", "notes"])


@pytest.mark.parametrize("name", ["", "..", "../store", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "0" * 32 + "\n"])
def test_what_cannot_be_a_cell_is_not_looked_for(tmp_path: Path, name: str) -> None:
    Store(tmp_path).write(identity(), record(), PROVENANCE)
    store = Store(tmp_path)
    assert store.manifest(name) is None
    assert not store.manifest(name, thorough=True)
    assert store.read(name) is None
    assert list(load_table(tmp_path, [planned(0)._replace(cell=name)]).runs["status"]) == ["missing"]


@pytest.mark.parametrize("what", ["entry", "manifest.json", "updates.parquet"])
def test_links_are_not_trusted(tmp_path: Path, what: str) -> None:
    cell = Store(tmp_path / "other").write(identity(), record(), PROVENANCE)
    entry, target = tmp_path / "store" / cell, tmp_path / "other" / "store" / cell
    if what == "entry":
        entry.parent.mkdir()
        entry.symlink_to(target, target_is_directory=True)
    else:
        Store(tmp_path).write(identity(), record(), PROVENANCE)
        (entry / what).unlink()
        (entry / what).symlink_to(target / what)
    store = Store(tmp_path)
    assert store.list() == {}
    assert len(store.messages) == 1
    assert store.read(cell) is None
    store.write(identity(), record(), PROVENANCE)  # which must not write through the link
    assert store.manifest(cell, thorough=True)
    assert not entry.is_symlink()
    aside = tmp_path / "store" / ".set-aside" / f"{cell}.1"
    assert (aside if what == "entry" else aside / what).is_symlink()
    assert Store(tmp_path / "other").manifest(cell, thorough=True)


def test_what_is_set_aside_again_gets_another_number(tmp_path: Path) -> None:
    cell = Store(tmp_path).write(identity(), record(), PROVENANCE)
    for number in (1, 2, 3):
        (tmp_path / "store" / cell / "manifest.json").write_text(str(number))
        store = Store(tmp_path)
        assert store.list() == {}
        store.set_aside()
        assert (tmp_path / "store" / ".set-aside" / f"{cell}.{number}" / "manifest.json").read_text() == str(number)
        assert [message.partition(" ")[0] for message in store.messages] == ["Set"]
        store.write(identity(), record(), PROVENANCE)


def test_what_another_process_repaired_meanwhile_is_not_set_aside(tmp_path: Path) -> None:
    cell = Store(tmp_path).write(identity(), record(), PROVENANCE)
    (tmp_path / "store" / cell / "manifest.json").write_text("{")
    late = Store(tmp_path)
    assert late.list() == {}
    Store(tmp_path).write(identity(), record(), PROVENANCE)
    late.set_aside()
    assert late.manifest(cell, thorough=True)


def test_a_failed_run_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Store(tmp_path).write(identity(), record("failed"), PROVENANCE)
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target).name == cell:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RlbenchError, match="No space left on device"):
        Store(tmp_path).write(identity(), record(), PROVENANCE)
    monkeypatch.undo()
    manifest = Store(tmp_path).manifest(cell)
    assert manifest is not None
    assert manifest["status"] == "failed"
    assert visible(tmp_path / "store") == [cell]


def test_attempts_are_kept(tmp_path: Path) -> None:
    run = record()
    run.attempts = 3
    manifest = Store(tmp_path).manifest(Store(tmp_path).write(identity(), run, PROVENANCE))
    assert manifest is not None
    assert manifest["outcome"]["attempts"] == 3


@pytest.mark.parametrize("failing", ["write", "rename"])
def test_a_full_disk_is_one_sentence_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    store = Store(tmp_path)
    cell = store.write(identity(0), record(), PROVENANCE)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync" if failing == "write" else "replace", full)
    with pytest.raises(RlbenchError) as caught:
        store.write(identity(1), record(), PROVENANCE)
    assert str(caught.value) == (
        f"Cannot write results to {store.directory}: No space left on device. What was stored before is kept; the same "
        "command continues from there."
    )
    monkeypatch.undo()
    assert list(store.list()) == [cell]
    assert visible(store.directory) == [cell]
    assert not list(store.directory.glob(".*.tmp"))


def test_results_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(RlbenchError, match="Cannot write results to"):
        Store(tmp_path / "results").write(identity(), record(), PROVENANCE)


def test_leftovers_of_killed_processes_are_swept_but_not_those_of_living_ones(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cell = store.write(identity(), record(), PROVENANCE)
    old, new = (store.directory / f".{cell}.{name}.tmp" for name in ("old", "new"))
    old.mkdir()
    new.mkdir()
    file, link, linked = store.directory / ".index.json.old.tmp", store.directory / ".link.old.tmp", tmp_path / "mine"
    file.write_text("unfinished")
    linked.mkdir()
    link.symlink_to(linked, target_is_directory=True)
    long_ago = time.time() - 2 * STALE_SECONDS
    for path in (old, file, link):
        os.utime(path, (long_ago, long_ago), follow_symlinks=False)
    assert list(store.list()) == [cell]
    store.sweep()
    assert list(store.directory.glob(".*.tmp")) == [new]
    assert linked.is_dir()
    assert store.manifest(cell, thorough=True)


def test_listing_reads_manifests_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that ten thousand runs list in about a second: their tables are not opened."""
    store = Store(tmp_path)
    cells = [store.write({**identity(), "seed": seed}, record(), PROVENANCE) for seed in range(20)]

    def refuse(*_: Any) -> bytes:
        raise AssertionError("a table was read")

    monkeypatch.setattr(store_module, "file_bytes", refuse)
    monkeypatch.setattr(store_module, "read_table", refuse)
    with pytest.raises(AssertionError, match="a table was read"):
        store.manifest(cells[0], thorough=True)
    assert sorted(store.list()) == sorted(cells)
    assert store.messages == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5), st.randoms())
def test_identity_ignores_order_and_survives_json(document: dict[str, Any], random: Any) -> None:
    keys = list(document)
    random.shuffle(keys)
    assert cell_id({key: document[key] for key in keys}) == cell_id(document)
    assert cell_id(json.loads(json.dumps(document))) == cell_id(document)


def test_identity_knows_numbers_by_value() -> None:
    assert cell_id({"clip": 1}) == cell_id({"clip": 1.0})
    assert cell_id({"sizes": (64, 64)}) == cell_id({"sizes": [64.0, 64]})
    assert cell_id({"clip": 1}) != cell_id({"clip": True})
    assert cell_id({"clip": 0.1}) != cell_id({"clip": 0.2})
    assert canonical({"a": float("inf")}) == {"a": float("inf")}
