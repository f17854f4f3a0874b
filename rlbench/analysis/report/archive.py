"""The runs of a suite in a few megabytes: Parquet files that hold what its claims were judged by, and what reads them.

    runs.parquet, planned.parquet    one row per run; which run is which arm and seed of which experiment
    curves.parquet, updates.parquet  learning curves on the common grid; what was recorded at every update
    README.md                        what each file and column is

The same runs give the same bytes. Scores and the metrics of claims have full precision; the two long tables have
`DIGITS` bits, which is some four decimal digits. From these files and the `specification.json` beside them the verdicts
are the same to the last digit. What only the store knows, such as tracebacks, is not known then.
"""

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlbench.analysis.judge.verdicts import JudgedResults
from rlbench.analysis.report.entries import SuiteResults
from rlbench.analysis.report.table import page
from rlbench.analysis.scores.metrics import OF_UPDATES, measure
from rlbench.analysis.scores.results import Document
from rlbench.analysis.scores.scores import traces
from rlbench.errors import RlbenchError
from rlbench.files import ANY, NAME, TEXT, TEXT_OR_NONE, Each, check, read_json, write
from rlbench.records import EVALUATED
from rlbench.store import Tables
from rlbench.store.folders import MEMBERS, read_register

LIMIT = 20_000_000  # bytes of all files together
DIGITS = 12  # bits of the mantissa in the long tables
_UPDATES = [name for name in OF_UPDATES if name not in ("clip_killed", *EVALUATED)]
_RUN = ["arm", "environment", "seed"]
_KEYS = ["cell", "algorithm", "settings", "environment", "seed", "steps", "status", "reason"]
_COST = ["steps_done", "gradient_steps", "samples", "seconds", "commit", "device"]
_SCORES = [f"{name}{end}" for name in ("auc", "final", "last100", "drop") for end in ("", "_normalised")]


class Archive(NamedTuple):
    """The tables; `stride` says that every so manyth update is kept."""

    runs: pd.DataFrame
    planned: pd.DataFrame
    curves: pd.DataFrame
    updates: pd.DataFrame
    stride: int = 1


def write_archive(suite: SuiteResults, folder: Path, limit: int = LIMIT) -> int:
    """Write the files into an existing folder and return their bytes; thins the updates until all fit in `limit`."""
    whole = archive(suite)
    files = {name: _parquet(getattr(whole, name)) for name in ("runs", "planned", "curves", "updates")}
    thinned = whole
    while sum(map(len, files.values())) > limit and len(thinned.updates):
        thinned = thinned._replace(updates=thin(whole.updates, 2 * thinned.stride), stride=2 * thinned.stride)
        files["updates"] = _parquet(thinned.updates)
    for name, data in files.items():
        write(folder / f"{name}.parquet", data, inside=folder)
    known = {*_KEYS, *_COST, *_SCORES, "used"}
    metrics = [name for name in thinned.runs if name not in known]
    readme = page("archive.md.j2", tables=thinned, metrics=metrics, digits=DIGITS)
    write(folder / "README.md", f"{readme}\n", inside=folder)
    return sum(map(len, files.values()))


def archive(suite: SuiteResults) -> Archive:
    """Return the tables of a suite, sorted; rows of `curves` and `updates` name their run by its row in `runs`."""
    frames = [_runs(member) for member in suite.members]
    if not frames:
        raise RlbenchError("There is nothing to archive: the suite has no experiment.")
    runs = pd.concat(frames, ignore_index=True).sort_values("cell", kind="stable")
    runs = runs.groupby("cell", as_index=False, sort=True).first()  # of each column the first that is known
    order = ["environment", "algorithm", "settings", "seed", "cell"]
    runs = runs[runs["status"] != "missing"].sort_values(order, ignore_index=True)
    row = pd.Series(runs.index.to_numpy(np.int32), index=runs["cell"])
    planned = pd.concat(
        [member.runs[[*_RUN, "cell"]].assign(experiment=member.experiment.name) for member in suite.members]
    )
    curves = [
        member.curves.dropna(subset=["return"]).merge(member.scores[[*_RUN, "cell"]], on=_RUN, how="left")
        for member in suite.members
    ]
    claimed = {claim.metric.partition(":")[0] for claim in suite.claims}
    present = {str(name) for member in suite.members for name in member.updates} - {"cell", "step"}
    wanted = {name for name in present if name in claimed or name.startswith("field.")} - {*_UPDATES}
    recorded = [name for name in _UPDATES if name in present] + sorted(wanted)
    return Archive(
        runs,
        planned[["experiment", *_RUN, "cell"]].sort_values(["experiment", *_RUN], ignore_index=True),
        _long(curves, row, ["return"]),
        _long([member.updates for member in suite.members], row, recorded),
    )


def shortened(values: npt.NDArray[np.float32], digits: int = DIGITS) -> npt.NDArray[np.float32]:
    """Return floats rounded to so many bits of their 23; what is not finite stays."""
    cut = np.uint32(23 - digits)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + (np.uint32(1) << (cut - np.uint32(1)))) >> cut) << cut
    return np.where(np.isfinite(values), rounded.view(np.float32), values)


def thin(updates: pd.DataFrame, stride: int) -> pd.DataFrame:
    """Return every so manyth update of each run, counted from its last one."""
    place = updates.groupby("run").cumcount(ascending=False)
    return updates[place % stride == 0].reset_index(drop=True)


def _runs(results: JudgedResults) -> pd.DataFrame:
    # One row per planned run of an experiment, with every metric that a claim of it uses.
    scores = results.scores
    runs = results.runs.drop_duplicates(_RUN)
    table = scores[["cell", *_RUN, "used", *[name for name in _SCORES if name in scores]]]
    extra = [name for name in [*_KEYS, *_COST] if name in runs and name not in table]
    table = table.merge(runs[[*_RUN, *extra]], on=_RUN, how="left")
    arms = results.arm_entries.items()
    settings = {label: json.dumps(arm.fields or arm.settings, sort_keys=True) for label, arm in arms}
    table["settings"] = table["arm"].map(settings).fillna("{}")
    for metric in dict.fromkeys(claim.metric for claim in results.claims):
        if metric in table:
            continue
        try:
            table[metric] = measure(results, metric)["value"].to_numpy(np.float64)
        except RlbenchError:  # no run that recorded it is stored
            table[metric] = np.nan
    named = [name for name in [*_KEYS, "used", *_SCORES, *_COST] if name in table]
    return table[[*named, *[name for name in table if name not in named and name != "arm"]]]


def _long(frames: Sequence[pd.DataFrame], row: pd.Series, columns: Sequence[str]) -> pd.DataFrame:
    # One long table of all runs: run, step and the columns, shortened; each run once.
    seen = np.zeros(len(row), bool)
    parts = []
    for frame in frames:
        part = frame.reindex(columns=["step", *columns]).astype(np.float64)
        part.insert(0, "run", frame["cell"].map(row).to_numpy(np.float64))
        part = part.dropna(subset=["run"]).astype({"run": np.int64})
        part = part[~seen[part["run"]]]
        seen[part["run"]] = True
        parts.append(part.drop_duplicates(["run", "step"]))  # two arms of one experiment can share a run
    filled = [part for part in parts if len(part)] or parts[:1]
    whole = pd.concat(filled, ignore_index=True).sort_values(["run", "step"], kind="stable", ignore_index=True)
    data: dict[str, Any] = {"run": whole["run"].to_numpy(np.int32), "step": whole["step"].to_numpy(np.int32)}
    data |= {name: shortened(whole[name].to_numpy(np.float32)) for name in columns}
    return pd.DataFrame(data)


def _parquet(frame: pd.DataFrame) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    others = [field.name for field in table.schema if field.name not in floats]
    buffer = io.BytesIO()
    how: dict[str, Any] = {"compression": "zstd", "compression_level": 9, "write_statistics": False}
    pq.write_table(table, buffer, use_dictionary=others, use_byte_stream_split=floats, **how)
    return buffer.getvalue()


_SPECIFICATION = {
    "experiments": [{"name": NAME, "arms": [Each(ANY)], "environments": [Each(ANY)], "claims?": [Each(ANY)]}]
}


def is_archived(folder: Path) -> bool:
    """Return whether a folder holds a report with its runs."""
    return (folder / "specification.json").is_file() and (folder / "runs" / "planned.parquet").is_file()


def read_archive(folder: Path) -> list[JudgedResults]:
    """Return the experiments of the report in `folder` as they were asked for then, with the registers beside it.

    Raises:
        RlbenchError: a file is damaged or missing.
    """
    try:
        document = read_json(folder / "specification.json")
        check(document, _SPECIFICATION, "it")
        names = ("runs", "planned", "curves", "updates")
        tables = {name: pd.read_parquet(folder / "runs" / f"{name}.parquet") for name in names}
        return [_member(experiment, tables, folder) for experiment in document["experiments"]]
    except (OSError, ValueError, KeyError) as problem:  # pyarrow's own errors are both
        raise RlbenchError(f"The archived report in {folder} is damaged: {problem}.") from problem


def _member(experiment: dict[str, Any], tables: Mapping[str, pd.DataFrame], folder: Path) -> JudgedResults:
    planned = tables["planned"]
    mine = planned[planned["experiment"] == experiment["name"]].drop(columns="experiment")
    runs = mine.merge(tables["runs"].drop(columns=["environment", "seed"]), on="cell", how="left")
    runs = runs.fillna({"status": "missing", "reason": "not run yet", "used": False}).astype({"used": bool})
    cells = tables["runs"]["cell"]
    numbers = cells.index[cells.isin(runs["cell"])]
    curves, updates = (
        table[table["run"].isin(numbers)].assign(cell=table["run"].map(cells)).drop(columns="run")
        for table in (tables["curves"], tables["updates"])
    )
    curves = curves.merge(runs[["cell", *_RUN, "status", "used"]], on="cell")
    columns = {"cell": "str", "step": "int64", "return": "float64", "length": "int64"}
    episodes = pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in columns.items()})
    results = JudgedResults(
        Document.read(experiment, register=read_register(folder / MEMBERS / str(experiment["name"]))),
        Tables(runs, episodes, updates),
        scores=runs.sort_values(["environment", "arm", "seed"], ignore_index=True),
        curves=curves,
    )
    results.traces = traces(results.tables._replace(episodes=curves))
    return results


class Agreement(NamedTuple):
    """Claims that are decided in the first report: how many there are, and how many are the same in the second.

    `differing` holds (id, statement, first verdict, second verdict), and `absent` the ids that the second lacks.
    """

    decided: int
    same: int
    differing: list[tuple[str, str, str, str]]
    absent: list[str]


def read_verdicts(path: str | Path) -> list[dict[str, Any]]:
    """Return the claims of a `verdicts.json`, or of the one in a folder; RlbenchError where it is none."""
    file = Path(path) / "verdicts.json" if os.path.isdir(path) else Path(path)
    try:
        document = read_json(file)
        check(document, {"claims": [{"id": TEXT_OR_NONE, "statement": TEXT, "verdict": TEXT}]}, "it")
        claims: list[dict[str, Any]] = document["claims"]
        return claims
    except OSError as problem:
        why = f"{problem.strerror or problem}; `rlbench report DIR` writes it, for a folder of experiments with claims"
        raise RlbenchError(f"Cannot read {file}: {why}.") from problem
    except ValueError as problem:
        raise RlbenchError(f"{file} is not a verdicts.json that `rlbench report` wrote.") from problem


def agreement(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> Agreement:
    """Compare two lists of claims, which are the same if id and statement are."""
    others = {(claim["id"], claim["statement"]): str(claim["verdict"]) for claim in second}
    decided = [claim for claim in first if claim["verdict"] in ("supported", "refuted")]
    differing, absent = [], []
    for claim in decided:
        verdict = others.get((claim["id"], claim["statement"]))
        if verdict is None:
            absent.append(str(claim["id"] or claim["statement"]))
        elif verdict != claim["verdict"]:
            differing.append((str(claim["id"]), str(claim["statement"]), str(claim["verdict"]), verdict))
    return Agreement(len(decided), len(decided) - len(absent) - len(differing), differing, absent)
