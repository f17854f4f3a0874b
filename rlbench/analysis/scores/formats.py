"""Files of runs as other programs write them: what one file, or the files of one run in a folder, say of scores.

* Tables, CSV (commas, semicolons or tabs, decimal commas too, UTF-8 or UTF-16) or Parquet, which the first bytes tell:
  tidy ones; exports of Weights & Biases, long or with a column for each run; CSV downloads of TensorBoard; progress.csv
  and progress.txt of RLlib, Stable-Baselines3, Baselines and Spinning Up; the columns r and l of episodes.
* monitor.csv of Stable-Baselines3 and Baselines; of several copies of an environment, which are one run, the episodes
  are in the order of their time.
* evaluations.npz of Stable-Baselines3; result.json of RLlib and other JSON of records, whole or one in each line; event
  files of TensorBoard.
* Dictionaries of arrays, `[runs, environments]` or `[runs, environments, points]`, as rliable takes them, or of lists
  of scores by environment, in JSON, npz or npy; and the JSON of marl-eval and BenchMARL.

A column is known by its name: of those in `COLUMNS` that a file has, the first counts, unless the user tells another.
Files are regular and have at most 1 GiB, and may be packed by gzip. Nothing in them is executed: of pickled data only
arrays are read.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pickle
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from rlbench.errors import RlbenchError, brief, nearest, shortened

KEYS = ("algorithm", "environment", "seed")
LARGEST_FILE = 2**30  # bytes
COLUMNS: Mapping[str, Sequence[str]] = {
    "algorithm": ("algorithm", "algo", "alg", "agent", "method", "algorithm_name", "algo_name", "exp_name"),
    "environment": ("environment", "env", "env_id", "env_name", "environment_id", "config/env", "task", "game"),
    "seed": ("seed", "config/seed", "random_seed", "run_seed"),
    "run": ("run", "run_name", "name", "run_id", "trial", "trial_id", "id"),
    "step": (
        *("step", "global_step", "env_step", "env_steps", "total_steps", "environment_steps", "num_timesteps"),
        *("num_env_steps_sampled_lifetime", "timesteps_total", "time/total_timesteps", "total_timesteps"),
        *("totalenvinteracts", "total-env-interacts", "timestepssofar", "misc/total_timesteps", "timesteps"),
        *("time steps", "steps", "frames", "frame", "_step", "xs"),
    ),
    "score": (
        *("score", "episodic_return", "charts/episodic_return", "env_runners/episode_return_mean"),
        *("episode_return_mean", "episode_reward_mean", "rollout/ep_rew_mean", "ep_rew_mean", "eprewmean"),
        *("averageepret", "average-episode-return", "episode/r", "episode_return", "episode_reward", "return"),
        *("returns", "mean_return", "average_return", "mean_reward", "average_reward", "avg_reward"),
        *("eval/mean_reward", "reward", "rewards", "value", "ys"),
    ),
}
"""What each column is called by those who write such files, in small letters."""

_LOG = re.compile(  # names that tell nothing of a run
    r"(\d+\.)?(progress|monitor|evaluations|results?|logs?|data|metrics|wandb_export.*)\.\w+|.*tfevents.*",
    re.IGNORECASE,
)
_PARTS = 6  # of a path, the last ones, may be names
_EMPTY = frozenset({"", "nan", "na", "n/a", "#n/a", "<na>", "null", "none"})  # a number that is written so is none
_RANGES = ("__min", "__max", " - step", " - _step")  # companions of columns in an export of Weights & Biases
_STEPS = "the sum of lengths"  # a column that no file has
_PARQUET, _ZIP, _GZIP, _NUMPY = b"PAR1", b"PK\x03\x04", b"\x1f\x8b", b"\x93NUMPY"
_SUMMARY = " Its cells are summaries of runs, with ±; what is compared are the runs themselves."
_NEEDED = "It needs the columns algorithm, environment, seed and score, and step too for learning curves"


@dataclass(frozen=True)
class Source:
    """What was understood of a file, or of the files of one run in a folder.

    `table` has a row for each score, with the line that it stands in as its index, and the columns "score", "step" if
    there are steps, those of "algorithm", "environment" and "seed" that are known, and "run": the path and, where the
    file has a name for the run, that. `columns` says what each is called in the file, `pattern` how "run" was read.
    """

    path: str
    format: str
    table: pd.DataFrame
    columns: Mapping[str, str]
    pattern: str = ""


@dataclass(frozen=True)
class Format:
    """A kind of files: what it is called, and what reads the files of one run, given the columns that were told."""

    name: str
    read: Callable[[Sequence[Path], Mapping[str, str]], Source]


def kind_of(path: Path) -> Format:
    """Return what a file is, by its first bytes and its name."""
    if "tfevents" in path.name:
        return EVENTS
    begins = _content(path, 4096).lstrip()
    if begins.startswith(_NUMPY) or (begins.startswith(_ZIP) and path.suffix.lower() == ".npz"):
        return EVALUATIONS if path.name.endswith("evaluations.npz") else ARRAYS
    if begins.startswith(b"#") and b"{" in begins:
        return MONITOR
    return JSON if begins.startswith((b"{", b"[")) else TABLE


def _text(path: Path) -> str:
    """Return the end of a path, without endings and without what a log itself is called."""
    name = path.name.split(".csv")[0].removesuffix(".monitor") if ".csv" in path.name else path.stem
    parts = path.parent.parts if _LOG.fullmatch(path.name) else (*path.parent.parts, name)
    return "/".join(parts[-_PARTS:])


# Tables


def _table(files: Sequence[Path], told: Mapping[str, str]) -> Source:
    return understood(read_table(files[0]), files[0], told)


def understood(rows: pd.DataFrame, path: Path, told: Mapping[str, str], kind: str = "table") -> Source:
    """Return the rows of a table under the names that columns have here.

    Raises:
        RlbenchError: no scores are found, or two columns of one name.
    """
    present = [str(column) for column in rows.columns]
    lower = [column.strip().lower() for column in present]
    places = {needed: [present.index(one)] for needed, one in told.items() if one in present}
    for needed, usual in COLUMNS.items():
        if needed not in told and (name := next((one for one in usual if one in lower), None)):
            alike = [place for place, one in enumerate(lower) if one == name]
            places[needed] = [place for place in alike if present[place].strip() == name] or alike
    for score, length in (("r", "l"), ("episode/r", "episode/l")):  # of episodes, whose steps are counted up
        if {score, length} <= {*lower} and places.get("score", [lower.index(score)]) == [lower.index(score)]:
            places["score"] = [lower.index(score)]
            if "step" not in places:
                rows = rows.assign(**{_STEPS: numbers(rows.iloc[:, lower.index(length)], length, path.name).cumsum()})
                present, places["step"] = [*present, _STEPS], [len(present)]
    wide = [place for place, one in enumerate(present) if " - " in one and not lower[place].endswith(_RANGES)]
    if "score" not in places and wide:
        return _wide(rows, path, wide, told)
    for one in told.values():
        if one not in present:
            raise RlbenchError(f"{path.name} has no column {one!r}.{nearest(one, present)}")
    if "score" not in places:
        has = shortened(", ".join(present), 400) or "none"
        summaries = rows.head(20).astype(str).map(lambda cell: "±" in cell).any(axis=None)
        how = _SUMMARY if summaries else _how_to_read(lower)
        raise RlbenchError(f"{path.name} has no column 'score'. {_NEEDED}; it has {has}.{how}")
    table = pd.DataFrame(index=rows.index)
    for needed, found in places.items():
        if len(found) > 1:
            raise RlbenchError(f"{path.name} has two columns {needed!r}.")
        cells = rows.iloc[:, found[0]]
        table[needed] = numbers(cells, needed, path.name) if needed in ("step", "score") else texts_of(cells)
    # One row for each run is no curve: what seems to be a step is how long the run was.
    one_each = bool(own := [key for key in (*KEYS, "run") if key in table]) and not table.duplicated(own).any()
    if one_each and "step" in table and "step" not in (*told, *lower):
        table = table.drop(columns="step")
    table["run"] = [f"{_text(path)}/{label}" for label in table["run"]] if "run" in table else _text(path)
    return Source(str(path), kind, table, {needed: present[found[0]] for needed, found in places.items()})


def _wide(rows: pd.DataFrame, path: Path, wide: Sequence[int], told: Mapping[str, str]) -> Source:
    """Return the rows of an export of Weights & Biases, which has a column `RUN - TAG` for each run.

    Its first column is that of the steps.
    """
    pairs = {place: str(rows.columns[place]).rpartition(" - ")[::2] for place in wide}
    tags = list(dict.fromkeys(tag for _, tag in pairs.values()))
    tag = _chosen(tags, told, path, only=True)
    first = str(rows.columns[0]) if 0 not in wide else ""
    if told.get("step", first) not in map(str, rows.columns) or not first:
        raise RlbenchError(f"{path.name} has a column for each run, and none of steps before them.")
    step = numbers(rows[told.get("step", first)], "step", path.name)
    parts = [
        pd.DataFrame(
            {"run": f"{_text(path)}/{run}", "step": step, "score": numbers(rows.iloc[:, place], run, path.name)}
        )
        for place, (run, of) in pairs.items()
        if of == tag
    ]
    table = pd.concat(parts).dropna(subset=["score"])  # a cell is empty where another run has a point
    return Source(str(path), "Weights & Biases export", table, {"run": "the column", "step": first, "score": tag})


def _chosen(tags: Sequence[str], told: Mapping[str, str], path: Path, *, only: bool = False) -> str:
    """Return which of several tags, or names of metrics, is that of the scores; with `only` a single one is."""
    if "score" in told:
        if told["score"] not in tags:
            raise RlbenchError(f"{path.name} has no tag {told['score']!r}.{nearest(told['score'], list(tags))}")
        return told["score"]
    lower = {tag.strip().lower(): tag for tag in reversed(tags)}
    usual = next((one for one in COLUMNS["score"] if one in lower), None)
    if usual is None and not (only and len(tags) == 1):
        some = ", ".join(tags[:6]) + (f" and {len(tags) - 6} more" if len(tags) > 6 else "")
        which = f"the tags {some}; say which is the score, as in --columns score={tags[0]}" if tags else "no scalars"
        raise RlbenchError(f"{path.name} has {which}.")
    return lower[usual] if usual else tags[0]


def _how_to_read(columns: Sequence[str]) -> str:
    """Return what a file with such columns seems to be, and what would help; "" if that is not known."""
    seen = set(columns)
    if len(seen) == 1 and (other := next((sign for sign in "|: " if sign in columns[0]), "")):
        return f" Its columns seem to be separated by {other!r}; commas, semicolons and tabs are read."
    if any(_is_number(column) for column in columns):
        return " Its first line seems to be a run; it must be a header, such as algorithm,environment,seed,score."
    if not seen & {*COLUMNS["algorithm"], *COLUMNS["environment"], *COLUMNS["score"]} and 1 < len(seen) < 10:
        return (
            " It seems to have a column for each algorithm. Give it one row per run, with the columns algorithm, "
            "environment, seed and score."
        )
    return " Where a column has another name, say so, as in --columns score=episodic_return,step=global_step."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# The other kinds


def _monitor(files: Sequence[Path], told: Mapping[str, str]) -> Source:
    """Return the episodes of a run; of several copies of its environment in the order of their time."""
    tables, environment = [], ""
    for file in files:
        first = _content(file).split(b"\n", 1)[0].lstrip(b"# ")
        try:
            header = dict(json.loads(first))
            start = float(header.get("t_start") or 0.0)
        except (ValueError, TypeError, RecursionError) as problem:
            raise RlbenchError(
                f"{file} has a first line that is no JSON object, as that of monitor.csv is."
            ) from problem
        rows = read_table(file)
        if lacking := [column for column in ("r", "l", "t") if column not in rows]:
            raise RlbenchError(f"{file} has no column {lacking[0]!r}, which a monitor.csv has.")
        episodes = pd.DataFrame({column: numbers(rows[column], column, file.name) for column in ("r", "l", "t")})
        episodes["t"] += start
        tables.append(episodes.dropna(subset=["r", "l"]))  # the last line may be half a line
        environment = environment or str(header.get("env_id") or "")
    rows = pd.concat(tables)
    if len(files) > 1:
        rows = rows.sort_values("t", kind="stable")
    table = pd.DataFrame({"step": rows["l"].cumsum(), "score": rows["r"], "run": _text(files[0])})
    if environment not in ("", "None"):
        table["environment"] = environment
    return Source(str(files[0]), "monitor.csv", table, {"step": "the sum of l", "score": "r", "environment": "env_id"})


def _evaluations(files: Sequence[Path], told: Mapping[str, str]) -> Source:
    """Return the mean return of each evaluation."""
    arrays = _archive(files[0])
    try:
        steps, scores = arrays["timesteps"].astype(np.float64), arrays["results"].astype(np.float64)
        table = pd.DataFrame({"step": steps, "score": scores.reshape(len(steps), -1).mean(axis=1)})
    except (KeyError, ValueError, TypeError) as problem:
        has = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise RlbenchError(
            f"{files[0]} needs arrays timesteps [n] and results [n, episodes]; it has {has}."
        ) from problem
    said = {"step": "timesteps", "score": "the mean of results"}
    return Source(str(files[0]), "evaluations.npz", table.assign(run=_text(files[0])), said)


def _json(files: Sequence[Path], told: Mapping[str, str]) -> Source:
    """Return what a JSON document says, or one in each line, of which the last may be cut off."""
    (path,) = files
    try:
        text = _content(path).decode()
        try:
            document = json.loads(text)
        except json.JSONDecodeError:
            lines = text.strip().splitlines()
            document = [json.loads(line) for line in lines[:-1]]
            with contextlib.suppress(json.JSONDecodeError):
                document.append(json.loads(lines[-1]))
            if not document:
                raise
        nested = (
            isinstance(document, dict) and document and all(isinstance(one, dict | list) for one in document.values())
        )
        if nested:
            rows = _of_arrays(document, path, told)
        else:
            records = document if isinstance(document, list) else [document]
            rows = pd.DataFrame([_flat(record) for record in records])
            lists = [name for name in rows if rows[name].map(lambda cell: isinstance(cell, list)).all()]
            if one := [name for name in lists if str(name).lower() in (*COLUMNS["step"], *COLUMNS["score"])]:
                rows = rows.explode(one, ignore_index=True)
    except (ValueError, RecursionError, AttributeError) as problem:
        raise RlbenchError(f"{path} is no JSON of runs: {_first_line(problem)}") from problem
    return understood(rows.set_axis(range(1, len(rows) + 1), axis=0), path, told, "JSON")


def _flat(record: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return a record without records in it: {"a": {"b": 1}} is {"a/b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        flat |= _flat(value, f"{before}{name}/") if isinstance(value, dict) else {f"{before}{name}": value}
    return flat


def _arrays(files: Sequence[Path], told: Mapping[str, str]) -> Source:
    (path,) = files
    held = _archive(path)
    episodes = isinstance(held, dict) and {"r", "l"} <= held.keys()
    rows = pd.DataFrame({name: held[name].ravel() for name in "rl"}) if episodes else _of_arrays(held, path, told)
    return understood(rows.set_axis(range(1, len(rows) + 1), axis=0), path, told, "dictionary of arrays")


_AXES = {
    (0, 1): ("step",),
    (0, 2): ("seed", "environment"),
    (0, 3): ("seed", "environment", "step"),
    (1, 1): ("environment", "seed"),
    (1, 2): ("algorithm", "seed", "environment"),
    (1, 3): ("algorithm", "seed", "environment", "step"),
    (2, 1): ("algorithm", "environment", "seed"),
    (2, 2): ("algorithm", "environment", "seed", "step"),
}
"""What the names above an array and its axes stand for, by how many there are: (names, axes)."""


def _of_arrays(document: Any, path: Path, told: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows of arrays under names, as rliable takes them, or of marl-eval's JSON.

    marl-eval has {environment: {task: {algorithm: {seed: {step: {"step_count": n, metric: [returns]}}}}}}.
    """
    parts = []
    for names, leaf in _leaves(document, ()):
        if isinstance(leaf, dict) or names[4:5] == ("absolute_metrics",):
            if len(names) == 5 and "step_count" in leaf:
                metrics = [name for name, value in leaf.items() if isinstance(value, list)]
                score = np.mean(_floats(leaf[_chosen(metrics, told, path)], path))
                seed = {"algorithm": names[2], "environment": f"{names[0]}/{names[1]}", "seed": names[3]}
                parts.append(pd.DataFrame([seed | {"step": leaf["step_count"], "score": score}]))
            continue
        array = _floats(leaf, path)
        axes = _AXES.get((len(names), array.ndim))
        if axes is None:
            raise RlbenchError(
                f"{path} has an array of {array.ndim} axes below {len(names)} names, which is no array of runs."
            )
        columns: dict[str, Any] = dict(zip(axes, names, strict=False))
        for axis, places in zip(axes[len(names) :], np.indices(array.shape), strict=True):
            width = len(str(array.shape[axes[len(names) :].index(axis)]))
            label = [f"task {place + 1:0{width}d}" for place in range(places.max(initial=-1) + 1)]
            columns[axis] = (
                np.array(label)[places.ravel()] if axis == "environment" else places.ravel() + (axis == "step")
            )
        parts.append(pd.DataFrame(columns | {"score": array.ravel()}))
    if not parts:
        raise RlbenchError(f"{path} has no arrays of runs in it.")
    return pd.concat(parts, ignore_index=True)


def _leaves(document: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give what is below names: arrays, and the records of marl-eval."""
    if isinstance(document, dict) and not any(
        not isinstance(value, dict | list | np.ndarray) for value in document.values()
    ):
        for name, value in document.items():
            yield from _leaves(value, (*names, str(name)))
    else:
        yield names, document


def _floats(values: Any, path: Path) -> Any:
    try:
        return np.asarray(values, np.float64)
    except (ValueError, TypeError) as problem:
        raise RlbenchError(f"{path} has an array that is not of numbers, or not of runs of one length.") from problem


class _OnlyArrays(pickle.Unpickler):
    """Reads pickled arrays and dictionaries of them; nothing else is made, so nothing is executed."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in (
            "ndarray",
            "dtype",
            "scalar",
            "_reconstruct",
        ):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds {module}.{name}, and only arrays are read")


def _archive(path: Path) -> Any:
    """Return the arrays of an npz file by name, or what is in an npy file: an array or a dictionary of arrays."""
    data = _content(path)
    try:
        if data.startswith(_ZIP):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if sum(one.file_size for one in archive.infolist()) > LARGEST_FILE:
                    raise RlbenchError(f"{path} unpacks to more than {LARGEST_FILE / 2**30:g} GiB.")
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        file = io.BytesIO(data)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        if not read(file)[2].hasobject:
            return np.load(io.BytesIO(data), allow_pickle=False)
        held = _OnlyArrays(file).load()
        return held.item() if isinstance(held, np.ndarray) and held.ndim == 0 else held
    except Exception as problem:  # a damaged file may raise anything
        if isinstance(problem, RlbenchError):
            raise
        raise RlbenchError(f"{path} cannot be read: {_first_line(problem)}.") from problem


def _events(files: Sequence[Path], told: Mapping[str, str]) -> Source:
    """Return the points of one tag of TensorBoard's event files of one run."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
    except ImportError as problem:
        raise RlbenchError(f"{files[0]} needs TensorBoard: pip install 'rlbench[tensorboard]'.") from problem
    points: dict[str, list[tuple[int, int, float]]] = {}
    for part, file in enumerate(files):
        for record in _records(_content(file)):
            try:
                event = Event.FromString(record)
            except Exception as problem:  # protobuf's own, of a package that has no types
                raise RlbenchError(f"{file} is no event file of TensorBoard.") from problem
            for value in event.summary.value:
                number = _scalar(value)
                if number is not None:
                    points.setdefault(value.tag, []).append((part, event.step, number))
    tag = _chosen(list(points), told, files[0])
    table = pd.DataFrame(points[tag], columns=["part", "step", "score"]).assign(run=_text(files[0]))
    ends = table.groupby("part")["step"].agg(["min", "max"])
    if (ends["min"].to_numpy()[1:] < ends["max"].to_numpy()[:-1] / 2).any():
        raise RlbenchError(
            f"{files[0].parent} has {len(ends)} event files that begin anew, which are several runs; each needs a "
            "folder of its own."
        )
    said = {"step": "step", "score": tag}
    return Source(str(files[0]), "TensorBoard event file", table.drop(columns="part"), said)


def _scalar(value: Any) -> float | None:
    """Return the number in a value of a summary: as such, which TensorFlow 1 and PyTorch write, or in a tensor."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    tensor = value.tensor
    if not value.HasField("tensor") or tensor.tensor_shape.dim or tensor.dtype not in (1, 2):
        return None
    held = tensor.float_val or tensor.double_val
    if held:
        return float(held[0])
    kind = np.dtype(np.float32 if tensor.dtype == 1 else np.float64)
    return float(np.frombuffer(tensor.tensor_content, kind)[0]) if len(tensor.tensor_content) == kind.itemsize else None


def _records(data: bytes) -> Iterator[bytes]:
    """Give the records of a file of TensorFlow's, whose last one may be cut off: length, checksum, bytes, checksum."""
    place = 0
    while place + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        if place + 12 + length > len(data):
            return
        yield data[place + 12 : place + 12 + length]
        place += 16 + length


MONITOR = Format("monitor.csv", _monitor)
TABLE = Format("table", _table)
JSON = Format("JSON", _json)
EVENTS = Format("TensorBoard event file", _events)
EVALUATIONS = Format("evaluations.npz", _evaluations)
ARRAYS = Format("dictionary of arrays", _arrays)
FORMATS = (MONITOR, TABLE, JSON, EVENTS, EVALUATIONS, ARRAYS)
"""All kinds of files; of several in one folder the first is read."""


# Files and cells


def read_table(path: Path) -> pd.DataFrame:
    """Return the table in a file, unchecked: Parquet if it begins like one, otherwise CSV, every cell as it is written.

    The index holds the lines that rows stand in.

    Raises:
        RlbenchError: it is not a regular file of at most `LARGEST_FILE` bytes, cannot be read, or holds no table.
    """
    data = _content(path)
    try:
        if data.startswith(_PARQUET):
            table = pd.read_parquet(io.BytesIO(data))
            return table.set_axis(range(2, len(table) + 2), axis=0)
        if data.startswith(_ZIP):
            raise RlbenchError(f"{path} is an Excel workbook or an archive, not a table: save or unpack it as CSV.")
        encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
        # A first line that is a comment, as that of monitor.csv, says nothing of the table.
        skipped = 1 if data.startswith(b"#") else 0
        lines = io.TextIOWrapper(io.BytesIO(data), encoding)
        header = [lines.readline() for _ in range(skipped + 1)][-1]
        separator = max(",;\t", key=header.count)
        lines.seek(0)
        # The header is read as a row: pandas renames columns of one name, and shifts rows that are too long.
        rows = pd.read_csv(
            lines,
            sep=separator,
            skiprows=skipped,
            header=None,
            skipinitialspace=True,
            dtype=str,
            keep_default_na=False,
        )
        if separator != ",":  # then commas may be decimal ones
            rows = rows.replace(r"^\s*([-+]?\d+),(\d+)\s*$", r"\1.\2", regex=True)
        rows = rows.set_axis(range(1 + skipped, len(rows) + 1 + skipped), axis=0)
        table = rows.iloc[1:].set_axis(list(rows.iloc[0]), axis=1)
        repeated = (rows.iloc[1:] == rows.iloc[0]).all(axis=1)  # headers of a log that was continued
        return table[~repeated] if len(table.columns) > 1 else table
    except pd.errors.EmptyDataError as problem:
        raise RlbenchError(f"{path} is empty. {_NEEDED}.") from problem
    except (ValueError, OSError) as problem:  # those of pandas and pyarrow too
        raise RlbenchError(f"{path} is not a table that can be read: {_first_line(problem)}") from problem


def _first_line(problem: Exception) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0]


def _content(path: Path, most: int = LARGEST_FILE) -> bytes:
    """Return the first bytes of a regular file, all if it may be read, unpacked if it is packed by gzip."""
    try:
        with _opened(path) as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            data: bytes = (gzip.GzipFile(fileobj=file) if packed else file).read(most + 1)
        if len(data) > LARGEST_FILE:
            raise RlbenchError(f"{path} unpacks to more than {LARGEST_FILE / 2**30:g} GiB.")
        return data[:most]
    except (OSError, EOFError, zlib.error) as problem:
        raise RlbenchError(f"Cannot read {path}: {getattr(problem, 'strerror', None) or problem}.") from problem


def _opened(path: Path) -> IO[bytes]:
    """Open a regular file; a pipe or a device is not waited for."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST_FILE:
        return os.fdopen(handle, "rb")
    os.close(handle)
    if not stat.S_ISREG(status.st_mode):
        raise RlbenchError(f"{path} is no regular file, and a table of runs is read from nothing else.")
    raise RlbenchError(
        f"{path} has {status.st_size / 2**30:.1f} GiB, and a table of runs may have {LARGEST_FILE / 2**30:g}: leave "
        "out columns that are not needed, or points of the curves."
    )


def numbers(cells: pd.Series[Any], column: str, name: str) -> pd.Series[float]:
    """Return the cells of a column as numbers, NaN where nothing stands; RlbenchError where one is no number."""
    if pd.api.types.is_any_real_numeric_dtype(cells):
        return pd.Series(cells.to_numpy(np.float64, na_value=np.nan), cells.index)
    texts = texts_of(cells).str.lower()
    known = texts.mask(texts.isin(_EMPTY), "nan").replace({"true": "1", "false": "0"}).to_numpy(object)
    try:
        return pd.Series(known.astype(np.float64), cells.index)
    except ValueError as problem:
        row = next(row for row, text in enumerate(known) if not _is_number(text))
        raise RlbenchError(
            f"{name} has {brief(cells.iloc[row])} as {column} in row {cells.index[row]}, which is no number."
        ) from problem


def texts_of(cells: pd.Series[Any]) -> pd.Series[str]:
    """Return cells as they are written, empty where there is none."""
    return cells.astype(object).map(str).str.strip().mask(cells.isna(), "")
