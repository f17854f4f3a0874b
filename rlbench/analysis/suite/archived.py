"""The experiments of a suite from its published report alone, where the store that it was made from is not at hand.

`runs/` (`archive`) holds every number that a claim was judged by, in full precision, and `specification.json` what was
asked; so the verdicts are the same to the last digit. Learning curves are rounded as they are stored there, which no
figure shows. What only the store knows, such as tracebacks, is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rlbench.analysis.identity import traces
from rlbench.analysis.results import Results
from rlbench.errors import RlbenchError
from rlbench.files import read_json
from rlbench.shapes import ANY, NAME, Each, check
from rlbench.store import Tables
from rlbench.store.registration import read_register
from rlbench.store.specification import MEMBERS

_SPECIFICATION = {
    "experiments": [{"name": NAME, "arms": [Each(ANY)], "environments": [Each(ANY)], "claims?": [Each(ANY)]}]
}
_KEYS = ["arm", "environment", "seed"]


class ArchivedResults(Results):
    """The results of an experiment whose scores, metrics and curves are read instead of computed from episodes."""

    def __init__(self, experiment: Mapping[str, Any], tables: Tables, curves: pd.DataFrame) -> None:
        super().__init__(experiment, tables)
        self.__dict__["scores"] = tables.runs.sort_values(["environment", "arm", "seed"], ignore_index=True)
        self.__dict__["curves"] = curves
        self.__dict__["traces"] = traces(tables._replace(episodes=curves))  # cached properties, all three


def is_archived(folder: Path) -> bool:
    """Return whether a folder holds a report with its runs."""
    return (folder / "specification.json").is_file() and (folder / "runs" / "planned.parquet").is_file()


def read_archive(folder: Path) -> list[Results]:
    """Return the experiments of the report in `folder` as they were asked for then, with the registers beside it.

    Raises:
        RlbenchError: a file is damaged or missing.
    """
    try:
        document = read_json(folder / "specification.json")
        check(document, _SPECIFICATION, "it")
        tables = {name: pd.read_parquet(folder / "runs" / f"{name}.parquet") for name in ("runs", "planned", "curves")}
        tables["updates"] = pd.read_parquet(folder / "runs" / "updates.parquet")
        return [_member(experiment, tables, folder) for experiment in document["experiments"]]
    except (OSError, ValueError, KeyError) as problem:  # pyarrow's own errors are both
        raise RlbenchError(f"The archived report in {folder} is damaged: {problem}.") from problem


def _member(experiment: dict[str, Any], tables: Mapping[str, pd.DataFrame], folder: Path) -> Results:
    """Return the results of one experiment."""
    planned = tables["planned"]
    own = planned[planned["experiment"] == experiment["name"]].drop(columns="experiment")
    runs = own.merge(tables["runs"].drop(columns=["environment", "seed"]), on="cell", how="left")
    runs = runs.fillna({"status": "missing", "reason": "not run yet", "used": False}).astype({"used": bool})
    place = pd.Series(tables["runs"].index, index=tables["runs"]["cell"])

    def rows(name: str) -> pd.DataFrame:
        """Return the rows of this experiment's cells."""
        table = tables[name][tables[name]["run"].isin(place.reindex(runs["cell"].unique()))]
        return table.assign(cell=table["run"].map(tables["runs"]["cell"])).drop(columns="run")

    curves = rows("curves").merge(runs[["cell", *_KEYS, "status", "used"]], on="cell")
    register = read_register(folder / MEMBERS / str(experiment["name"]))
    columns = {"cell": "str", "step": "int64", "return": "float64", "length": "int64"}
    episodes = pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in columns.items()})
    return ArchivedResults(experiment | {"register": register}, Tables(runs, episodes, rows("updates")), curves)
