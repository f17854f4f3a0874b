"""Results on disk: every run whole or not at all, readable without rlbench (Parquet and JSON).

Here are the tables that training leaves to the analysis, read from the entries of the store; no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rlbench.store.entry import TABLES
from rlbench.store.runs import Store

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Planned", "Store", "Tables", "load_table"]

# The outcome of a run that was not started, which also stands for what earlier versions did not write.
_OUTCOME: dict[str, Any] = {
    "reason": "not run yet",
    "detail": "",
    **dict.fromkeys(("attempts", "steps_done", "gradient_steps", "samples"), 0),
    "seconds": 0.0,
}


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
    status ("finished", "diverged", "failed" or "missing"), reason, detail (a traceback, or nothing), attempts (how
    often it was started), steps_done, gradient_steps, samples, seconds, commit, dirty, reproducible (False where its
    environment turned out not to repeat itself), device. `episodes` and
    `updates`: `cell` and then the columns of `rlbench.records`, in the order of `runs`; a column that a run did not
    record is NaN there.
    """

    runs: pd.DataFrame
    episodes: pd.DataFrame
    updates: pd.DataFrame


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
    manifest = manifest or {"status": "missing", "outcome": {}, "provenance": {"device": ""}}
    provenance: dict[str, Any] = manifest["provenance"]
    return {
        **planned._asdict(),
        "status": manifest["status"],
        **{name: type(missing)(manifest["outcome"].get(name, missing)) for name, missing in _OUTCOME.items()},
        "commit": provenance.get("commit") or "",
        "dirty": provenance.get("dirty", False),
        "reproducible": provenance.get("reproducible", True),
        "device": provenance.get("device", "cpu"),
    }


def _with_cell(table: pa.Table, cell: str) -> pa.Table:
    import pyarrow as pa

    column = pa.DictionaryArray.from_arrays(pa.array([0] * table.num_rows, pa.int32()), [cell])
    return table.add_column(0, "cell", column)


def _frame(parts: list[pa.Table], name: str) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    if not parts:
        columns = {"cell": "str", "step": "int64"}
        columns |= {"return": "float64", "length": "int64"} if name == "episodes" else {}
        return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in columns.items()})
    frame: pd.DataFrame = pa.concat_tables(parts, promote_options="permissive").to_pandas()
    frame["cell"] = frame["cell"].astype(str)
    return frame
