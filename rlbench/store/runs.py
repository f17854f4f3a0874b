"""Where runs are kept, and the tables that training leaves to the analysis; no torch here.

    results/store/<cell id>/
        manifest.json      the cell's identity document, the outcome, and what produced it
        episodes.parquet   columns: see `rlbench.records`
        updates.parquet

The name of an entry is the hash of its identity document (`rlbench.store.entry.cell_id`). An entry is written under
a temporary name and renamed, so it exists whole or not at all. An entry that does not read as what its name
says is never trusted and never deleted: it counts as missing, `Store.messages` says why, and a new result for
the cell sets it aside.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rlbench.errors import RlbenchError
from rlbench.files import STALE_SECONDS, folder, is_name
from rlbench.records import RunRecord
from rlbench.store.entry import TABLES, cell_id, read_bytes, read_manifest, read_table, write_entry

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

STORE = "store"  # the folder of the entries


class Planned(NamedTuple):
    """One planned run as the tables name it; `cell` is where the store keeps it."""

    cell: str
    arm: str
    algorithm: str
    environment: str
    seed: int
    steps: int
    fingerprint: str = ""


class Tables(NamedTuple):
    """The contract between training and analysis: three tidy tables, joined by `cell`.

    `runs`, one row per planned run: cell, arm, algorithm, environment, seed, steps (the budget), fingerprint,
    status ("finished", "diverged", "failed" or "missing"), reason, steps_done, gradient_steps, samples,
    seconds, commit, dirty, device. `episodes` and `updates`: `cell` and then the columns of `rlbench.records`, in the
    order of `runs`; a column that a run did not record is NaN there.
    """

    runs: pd.DataFrame
    episodes: pd.DataFrame
    updates: pd.DataFrame


class Store:
    """The entries under `root/store`; `messages` says which of them could not be trusted, and why."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.directory = self.root / STORE
        self.messages: list[str] = []

    def manifest(self, cell: str, *, thorough: bool = False) -> dict[str, Any] | None:
        """Return the manifest of a trusted entry, or None; `thorough` also compares the tables' checksums."""
        path = self.directory / cell
        if not is_name(cell) or not os.path.isdir(path):  # a name with a path in it would lead out of the store
            return None
        try:
            manifest = read_manifest(path)
            if thorough:
                for name in TABLES:
                    read_bytes(path, manifest, name)
            return manifest
        except (OSError, ValueError) as problem:
            self._distrust(path, problem)
            return None

    def has(self, cell: str) -> bool:
        """Return whether an intact entry, whatever its outcome, is stored for the cell."""
        return self.manifest(cell, thorough=True) is not None

    def list(self) -> dict[str, dict[str, Any]]:
        """Return the manifest of every trusted entry by cell id, in the order of the ids."""
        if not self.directory.is_dir():
            return {}
        with os.scandir(self.directory) as entries:
            names = sorted(entry.name for entry in entries if "." not in entry.name)
        manifests = ((name, self.manifest(name)) for name in names)
        return {name: manifest for name, manifest in manifests if manifest is not None}

    def read(self, cell: str) -> tuple[dict[str, Any], pa.Table, pa.Table] | None:
        """Return (manifest, episodes, updates) of a trusted entry whose tables are intact, else None."""
        manifest = self.manifest(cell)
        if manifest is None:
            return None
        try:
            episodes, updates = (read_table(self.directory / cell, manifest, name) for name in TABLES)
        except (OSError, ValueError) as problem:
            self._distrust(self.directory / cell, problem)
            return None
        return manifest, episodes, updates

    def write(self, identity: Mapping[str, Any], record: RunRecord, provenance: Mapping[str, Any]) -> str:
        """Store one run, whole or not at all, and return its cell id.

        A failed run is replaced; a finished or diverged one stays, since a cell gives the same numbers again.
        `identity` and `provenance` are JSON documents. Raises RlbenchError where the disk refuses, which
        leaves everything stored before as it was.
        """
        cell = cell_id(identity)
        temporary = self.directory / f".{cell}.{secrets.token_hex(4)}.tmp"
        try:
            folder(temporary, inside=self.root)
            write_entry(temporary, cell, identity, record, provenance)
            self._put(temporary, cell)
        except OSError as problem:
            reason = problem.strerror or str(problem)
            raise RlbenchError(
                f"Cannot write results to {self.directory}: {reason}. What was stored before is kept; "
                "the same command continues from there."
            ) from problem
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return cell

    def sweep(self) -> None:
        """Remove the unfinished temporary entries and files that killed processes left behind."""
        for path in self.directory.glob(".*.tmp"):
            try:
                if time.time() - path.lstat().st_mtime > STALE_SECONDS:
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink()
            except OSError:
                continue  # another process was faster

    def _put(self, temporary: Path, cell: str) -> None:
        """Give a complete entry its name, moving away what stands there."""
        target = self.directory / cell
        if target.exists():
            present = self.manifest(cell, thorough=True)
            if present is not None and present["status"] != "failed":
                return
            if present is None:
                _rename_aside(target)
            else:
                target.rename(temporary.with_name(f"{temporary.name[: -len('.tmp')]}.old.tmp"))
        os.replace(temporary, target)
        _sync(self.directory)
        for replaced in self.directory.glob(f".{cell}.*.old.tmp"):
            shutil.rmtree(replaced, ignore_errors=True)

    def _distrust(self, path: Path, problem: Exception) -> None:
        message = f"Ignored {path}, which counts as missing: {problem}"
        if message not in self.messages:
            self.messages.append(message)


def load_table(results_dir: str | Path, cells: Sequence[Planned]) -> Tables:
    """Return the tables of the planned runs in their order; what is not stored has the status "missing"."""
    import pandas as pd

    store = Store(results_dir)
    rows: list[dict[str, Any]] = []
    parts: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
    read: set[str] = set()
    for planned in cells:
        stored = store.read(planned.cell)
        rows.append(_row(planned, stored[0] if stored else None))
        if stored and planned.cell not in read:
            read.add(planned.cell)
            for name, table in zip(TABLES, stored[1:], strict=True):
                parts[name].append(_with_cell(table, planned.cell))
    runs = pd.DataFrame(rows, columns=list(_row(Planned("", "", "", "", 0, 0), None)))
    return Tables(runs, *(_frame(parts[name], name) for name in TABLES))


def _row(planned: Planned, manifest: dict[str, Any] | None) -> dict[str, Any]:
    """Return one row of `runs`."""
    outcome: dict[str, Any] = manifest["outcome"] if manifest else {"reason": "not run yet", "steps_done": 0}
    provenance: dict[str, Any] = manifest["provenance"] if manifest else {}
    return {
        **planned._asdict(),
        "status": manifest["status"] if manifest else "missing",
        "reason": outcome["reason"],
        "steps_done": int(outcome["steps_done"]),
        "gradient_steps": int(outcome.get("gradient_steps", 0)),
        "samples": int(outcome.get("samples", 0)),
        "seconds": float(outcome.get("seconds", 0.0)),
        "commit": str(provenance.get("commit") or ""),
        "dirty": bool(provenance.get("dirty", False)),
        "device": str(provenance.get("device", "cpu" if manifest else "")),
    }


def _with_cell(table: pa.Table, cell: str) -> pa.Table:
    import pyarrow as pa

    column = pa.DictionaryArray.from_arrays(pa.array([0] * table.num_rows, pa.int32()), [cell])
    return table.add_column(0, "cell", column)


def _frame(parts: list[pa.Table], name: str) -> pd.DataFrame:
    """Return the tables of all runs under each other, `cell` as plain strings, missing columns as NaN."""
    import pandas as pd
    import pyarrow as pa

    if not parts:
        columns = {"cell": "str", "step": "int64"}
        columns |= {"return": "float64", "length": "int64"} if name == "episodes" else {}
        return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in columns.items()})
    frame: pd.DataFrame = pa.concat_tables(parts, promote_options="permissive").to_pandas()
    frame["cell"] = frame["cell"].astype(str)
    return frame


def _sync(directory: Path) -> None:
    """Make a rename durable where the system can open directories."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _rename_aside(path: Path) -> None:
    """Rename an entry that cannot be trusted to `NAME.aside-1`, `-2` ..., for a person to look at."""
    number = 1
    while (aside := path.with_name(f"{path.name}.aside-{number}")).exists():
        number += 1
    path.rename(aside)
