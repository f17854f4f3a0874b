"""Runs that were trained elsewhere: a tidy table in a file becomes `Results`, with the same statistics and report.

The file (CSV, with commas, semicolons or tabs, in UTF-8 or UTF-16; or Parquet, which its first bytes tell; regular, at
most 1 GiB) has one row per run, with the columns
`algorithm`, `environment`, `seed` and `score`; or, with a column `step` more, one row per point of a run's learning
curve. Other columns are ignored, and the order of the rows changes nothing. Names and seeds are taken as they are
written: 007, NA and 1e5 are names, and seeds 1 and 01 two runs.

* A score is one number per run, higher is better, in any unit. It is normalised only by `references` that are given:
  an environment's name does not say that its scores are the returns that rlbench knows references for.
* Steps may be counted in anything, whole or not. Curves are compared over the steps that all runs of an environment
  have, along straight lines: `auc` is the area over the width, `final` the mean over the last tenth. Taken as it is,
  the same curve has a smaller area the less often it was written down; so all curves are read at common points. Between
  a common point and the next every curve has a point, and no curve is read inside a wider gap between two of its
  points. Where curves begin or end at different steps, or were written down at different ones, `notes` say so; where
  they have less than a tenth of the longest one in common, nothing is compared.
* A row without a score is no point of a curve, and counted. A run without any score, or with an infinite one, has
  failed. So has a run whose curve does not get past the middle of its algorithm's (from the median of their first
  steps to the median of their last ones, on its environment), or begins only there: it would leave the others little
  to be compared over. A failed run is counted, and shown where it can be, but enters no average.
* Runs of different algorithms are not paired: the numbers of runs may differ, and what a seed is called does not
  matter. Seeds that are not all whole numbers are numbered in their order.
* Several rows of one run and step, as of copies of an environment whose episodes end together, are one point, their
  mean. Two rows for the same run without steps, a missing column, a name, seed or step that is empty: refused, in a
  sentence.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from rlbench.analysis.format import steps as shown
from rlbench.analysis.scores.results import Document, Results
from rlbench.analysis.scores.scores import ALL, LARGEST, POINTS, WINDOW, Curve, Reference, curve_table, with_normalised
from rlbench.analysis.stats.estimates import Array
from rlbench.errors import RlbenchError, brief, nearest
from rlbench.files import is_label
from rlbench.records import cause
from rlbench.store import Tables

KEYS = ("algorithm", "environment", "seed")
LARGEST_FILE = 2**30  # bytes
SHARED = 0.1  # share of the longest curve that all must have
_ALIKE = 1e-9  # of the longest curve: steps that differ by less do not differ
_ROUNDING = 1e-9  # of a gap: the same steps in another unit give the same points
_PARQUET = b"PAR1"
_ZIP = b"PK\x03\x04"
_GZIP = b"\x1f\x8b"
_EMPTY = frozenset({"", "nan", "na", "n/a", "#n/a", "<na>", "null", "none"})  # a score that is written so is none
_NEEDED = "It needs the columns algorithm, environment, seed and score, and step too for learning curves"
_RUN = ["cell", "arm", "algorithm", "environment", "seed", "steps", "status"]
Line = tuple[Array, Array]
"""The steps of a curve, in order, and its values."""


def external_results(
    source: str | Path | pd.DataFrame,
    *,
    algorithms: Sequence[str] = (),
    baseline: str | None = None,
    references: Mapping[str, Reference] | None = None,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Results:
    """Return the results of the runs in a file, or in a table with the columns of one.

    `algorithms` are those to compare, in that order; all, in alphabetical order, if none is named. The others are
    compared with `baseline`, the last of them if None. A `Reference` named "*" is that of every environment that has
    no other. Of scores that are the returns of environments that rlbench knows, `references` may be
    `rlbench.analysis.scores.scores.REFERENCES`. `columns` says which column of the file stands for one that is needed,
    as {"score": "episodic_return"}.

    Raises:
        RlbenchError: no such file, or one that is not a table as the module describes, an unknown algorithm, or curves
        that have too little in common.
    """
    if not isinstance(source, str | Path | pd.DataFrame):
        raise RlbenchError(f"Runs are read from a file or a DataFrame, not from {brief(source)}.")
    for name, scale in (references or {}).items():
        if not isinstance(scale, Reference):
            raise RlbenchError(f"The reference of {name} must be a Reference(random, target), not {brief(scale)}.")
    path = Path("table") if isinstance(source, pd.DataFrame) else Path(source)
    notes: list[str] = []
    table = source if isinstance(source, pd.DataFrame) else read_table(path)
    table = checked(_renamed(table, columns or {}, path.name), path.name, notes)
    known = sorted(table["algorithm"].unique())
    if isinstance(algorithms, str):
        raise RlbenchError(f"algorithms must be a list such as [{algorithms!r}], not {algorithms!r}.")
    for name in [*algorithms, *([baseline] if baseline else [])]:
        if name not in known:
            raise RlbenchError(f"There is no algorithm {name!r} in {path.name}.{nearest(name, known)}")
    arms = list(dict.fromkeys(algorithms)) or known
    arms += [baseline] if baseline and baseline not in arms else []
    table = table[table["algorithm"].isin(arms)]
    environments = sorted(table["environment"].unique())
    tables = _tables(table)
    scales = dict(references or {})
    if "*" in scales:
        scales = dict.fromkeys(environments, scales.pop("*")) | scales
    _check_ranges(table, scales)
    notes, compared = _failures(tables.runs) + notes, dict[str, Array]()
    metrics: tuple[str, ...] = ("auc", "final") if "step" in table else ("score",)
    curves = curve_table([])
    scores = tables.runs[_RUN].assign(used=tables.runs["status"] == "finished")
    if "step" in table:
        if empty := int(table["score"].isna().sum()):
            notes.insert(0, f"{empty:,} of {len(table):,} rows have no score, and are no points of a curve.")
        lines = _lines(tables.episodes)
        for environment in environments:
            runs = scores[(scores["environment"] == environment) & scores["used"]]
            steps = [lines[cell][0] for cell in runs["cell"]]
            compared[environment], more = _common_steps(environment, list(runs["arm"]), steps)
            notes += more
        scores[list(metrics)], curves = _read(tables.runs, lines, compared)
    else:
        scores["score"] = tables.runs["cell"].map(tables.episodes.set_index("cell")["return"]).astype(np.float64)
    scores = with_normalised(scores, metrics, scales)
    document = Document.read(
        {
            "name": path.stem,
            "question": f"How do {' and '.join(arms)} compare on {' and '.join(environments)}?",
            "arms": [{"label": name, "algorithm": name, "settings": {}} for name in arms],
            "environments": [{"id": name, "options": {}} for name in environments],
            "seeds": sorted({int(seed) for seed in tables.runs["seed"]}),
            "baseline": baseline or (arms[-1] if len(arms) > 1 else None),
        },
        source=path.name,
        digest=hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()[:12],
        notes=notes,
        compared={name: at for name, at in compared.items() if at.size},
    )
    return Results(document, tables, references=scales, seed=seed, metrics=metrics, scores=scores, curves=curves)


def _check_ranges(table: pd.DataFrame, references: Mapping[str, Reference]) -> None:
    """Raise RlbenchError for scores that cannot be those that their reference is of."""
    for environment, scores in table["score"].groupby(table["environment"]):
        scale = references.get(str(environment))
        known = scores[np.isfinite(scores)]
        if scale and ((known < scale.low) | (known > scale.high)).any():
            raise RlbenchError(
                f"Scores on {environment} are {shown(known.min())} to {shown(known.max())}, and the reference given "
                f"is of scores from {shown(scale.low)} to {shown(scale.high)}."
            )


def _tables(table: pd.DataFrame) -> Tables:
    """Return the tables of the store with these runs in them, `steps_done` the last step of a run's curve."""
    keys = list(KEYS)
    rows = table.assign(cell=table.groupby(keys).ngroup().map("{:08d}".format))
    rows["step"] = table.get("step", 0.0)
    points = rows[np.isfinite(rows["score"])]
    infinite = set(rows.loc[np.isinf(rows["score"]), "cell"])
    runs = rows.drop_duplicates("cell")[["cell", *keys]].reset_index(drop=True)
    runs = runs.join(points.groupby("cell")["step"].agg(["min", "max"]), on="cell")
    reasons = [
        _reason(cell in infinite, first, last, middle)
        for cell, first, last, middle in zip(runs["cell"], runs["min"], runs["max"], _middles(runs), strict=True)
    ]
    described = pd.DataFrame(
        {
            "cell": runs["cell"],
            "arm": runs["algorithm"],
            **{key: runs[key] for key in keys},
            "steps": runs.groupby("environment")["max"].transform("max").fillna(0.0),
            "fingerprint": "",
            "status": ["failed" if reason else "finished" for reason in reasons],
            "reason": reasons,
            "steps_done": runs["max"].fillna(0.0),
            **dict.fromkeys(("gradient_steps", "samples"), 0),
            "seconds": 0.0,
            "commit": "",
            "dirty": False,
            "reproducible": True,
            "device": "",
        }
    )
    episodes = points[["cell", "step"]].assign(**{"return": points["score"], "length": 0}).reset_index(drop=True)
    return Tables(described, episodes, pd.DataFrame({"cell": [], "step": []}))


def _middles(runs: pd.DataFrame) -> pd.Series[float]:
    """Return the middle of the curves of each run's algorithm on its environment; NaN where they are single points.

    Of an even number of runs the median is the one that makes curves shorter.
    """
    group = runs.groupby(["algorithm", "environment"])
    first = group["min"].transform("quantile", 0.5, interpolation="higher")
    last = group["max"].transform("quantile", 0.5, interpolation="lower")
    return (first + (last - first) / 2).where(first < last)


def _reason(infinite: bool, first: float, last: float, middle: float) -> str:
    """Return why a run has failed, empty if it has not; `middle` is that of its algorithm's curves."""
    if infinite:
        return "infinite score"
    if np.isnan(last):
        return "no score"
    if last <= middle:
        return f"curve ends at step {shown(last)}, not past the middle of its algorithm's curves, {shown(middle)}"
    if first >= middle:
        return f"curve begins at step {shown(first)}, not before the middle of its algorithm's curves, {shown(middle)}"
    return ""


def _failures(runs: pd.DataFrame) -> list[str]:
    """Say which runs count as failed, and why."""
    failed, notes = runs[runs["status"] == "failed"], []
    for (environment, arm, why), group in failed.groupby(["environment", "arm", failed["reason"].map(cause)]):
        planned = int(((runs["environment"] == environment) & (runs["arm"] == arm)).sum())
        reason = group["reason"].iloc[0] if group["reason"].nunique() == 1 else why
        counted = f"{len(group)} of {planned} runs of {arm} count{'s' if len(group) == 1 else ''} as failed"
        notes.append(f"On {environment}, {counted}: {reason}.")
    return notes


def read_table(path: Path) -> pd.DataFrame:
    """Return the table in a file, unchecked: Parquet if it begins like one, otherwise CSV, every cell as it is written.

    Raises:
        RlbenchError: it is not a regular file of at most `LARGEST_FILE` bytes, cannot be read, or holds no table.
    """
    try:
        with _opened(path) as file:
            begins = file.read(4)
            file.seek(0)
            if begins.startswith(_GZIP):
                raise RlbenchError(f"{path} is compressed: unpack it first.")
            if begins.startswith(_ZIP):
                raise RlbenchError(f"{path} is an Excel workbook or an archive, not a table: save or unpack it as CSV.")
            if begins == _PARQUET:
                return pd.read_parquet(file)
            encoding = "utf-16" if begins.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
            # A first line that is a comment, as that of monitor.csv, says nothing of the table.
            skipped = 1 if begins.startswith(b"#") else 0
            lines = io.TextIOWrapper(file, encoding)
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
            return rows.iloc[1:].set_axis(list(rows.iloc[0]), axis=1)
    except OSError as problem:
        raise RlbenchError(f"Cannot read {path}: {problem.strerror or problem}.") from problem
    except pd.errors.EmptyDataError as problem:
        raise RlbenchError(f"{path} is empty. {_NEEDED}.") from problem
    except (ValueError, UnicodeError) as problem:  # those of pandas and pyarrow too
        first = (str(problem).splitlines() or [""])[0]
        raise RlbenchError(f"{path} is not a table that can be read: {first}") from problem


def _renamed(table: pd.DataFrame, columns: Mapping[str, str], name: str) -> pd.DataFrame:
    present = [str(column) for column in table.columns]
    for needed, given in columns.items():
        if needed not in (*KEYS, "step", "score"):
            raise RlbenchError(
                f"--columns gives {brief(needed)} a column, which is none of {', '.join(KEYS)}, step, score."
            )
        if given not in present:
            raise RlbenchError(f"{name} has no column {given!r}.{nearest(given, present)}")
    return table.rename(columns={given: needed for needed, given in columns.items()})


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _how_to_read(columns: Sequence[str]) -> str:
    """Return what a file with such columns seems to be, and how it becomes a table of runs; "" if that is not known."""
    seen = set(columns)
    melt = "Give it one row per run and step, with the columns algorithm, environment, seed, step and score"
    if any(column.endswith("__min") for column in columns):
        return f" It looks like an export of Weights & Biases, with a column for each run. {melt} (pandas: melt)."
    if {"wall time", "step", "value"} <= seen:
        return f" It looks like one run from TensorBoard, whose score is its value. {melt}, all runs in one file."
    if {"r", "l", "t"} <= seen:
        return (
            " It looks like a monitor.csv of Stable-Baselines3: r is the score of an episode, and the sum of l so far "
            f"its step. {melt}, all runs in one file."
        )
    if len(seen) == 1 and (other := next((sign for sign in "|: " if sign in columns[0]), "")):
        return f" Its columns seem to be separated by {other!r}; commas, semicolons and tabs are read."
    if any(_is_number(column) for column in columns):
        return " Its first line seems to be a run; it must be a header, such as algorithm,environment,seed,score."
    if not seen & {"algorithm", "environment", "score"} and len(seen) > 1:
        return f" It seems to have a column for each algorithm. {melt.replace(' and step', '').replace(', step', '')}."
    return " Where a column has another name, say so, as in --columns score=episodic_return,step=global_step."


def checked(table: pd.DataFrame, name: str, notes: list[str]) -> pd.DataFrame:
    """Return the columns that count, of the right types and in an order that does not depend on the rows'.

    A score that is missing is NaN. Seeds are integers, and stand for what is written: see `_seeds`. `notes` get a
    sentence on what was changed.

    Raises:
        RlbenchError: what is wrong with the table called `name`.
    """
    columns = [str(column).strip().lower() for column in table.columns]
    for column in (*KEYS, "score"):
        if column not in columns:
            has = ", ".join(str(column) for column in table.columns) or "none"
            raise RlbenchError(f"{name} has no column {column!r}. {_NEEDED}; it has {has}.{_how_to_read(columns)}")
    keys = [*KEYS, *(["step"] if "step" in columns else [])]
    for column in (*keys, "score"):
        if columns.count(column) > 1:
            raise RlbenchError(f"{name} has two columns {column!r}.")
    if table.empty:
        raise RlbenchError(f"{name} has no rows.")
    table = table.set_axis(columns, axis=1)[[*keys, "score"]].reset_index(drop=True)
    for column in KEYS:
        table[column] = _names(table, column, name)
    if (table["environment"] == ALL).any():
        raise RlbenchError(
            f"{name} has an environment called {ALL!r}, by which all of them together are meant; rename it."
        )
    table["seed"] = _seeds(table["seed"])
    table["score"] = _numbers(table, "score", name)
    size = table["score"].abs()
    wrong = np.isfinite(size) & (size > LARGEST)
    if wrong.any():
        raise RlbenchError(f"{name} has a score in row {_row(wrong)} that is too large to compute with.")
    largest = size[np.isfinite(size)].groupby(table["environment"]).transform("max")
    if ((largest > 0) & (largest < 1 / LARGEST)).any():
        raise RlbenchError(f"{name} has scores that are all too small to compute with; write them in another unit.")
    if "step" in table:
        table["step"] = _numbers(table, "step", name)
        wrong = ~((table["step"] >= 0) & (table["step"] <= LARGEST))
        if wrong.any():
            raise RlbenchError(f"{name} has a step in row {_row(wrong)} that is missing, negative or not finite.")
    twice = table["score"].notna() & table.duplicated(keys, keep=False)
    if "step" in table:
        if twice.any():
            notes.append(
                f"{twice.sum():,} of {len(table):,} rows share run and step with others: their mean is a point."
            )
            table = table.groupby(keys)["score"].mean().reset_index()
    elif table.duplicated(keys).any():
        first = table[table.duplicated(keys)].iloc[0]
        what = ", ".join(f"{key} {first[key]}" for key in keys)
        raise RlbenchError(f"{name} has more than one row for {what}. For learning curves, add a column 'step'.")
    return table.sort_values([*keys, "score"], ignore_index=True)


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


def _names(table: pd.DataFrame, column: str, name: str) -> pd.Series[str]:
    """Return a column as names, each a line that can be shown, just as they are written."""
    names = _texts(table[column])
    if (names == "").any():
        raise RlbenchError(f"{name} has no {column} in row {_row(names == '')}.")
    wrong = ~names.isin([one for one in names.unique() if is_label(one)])
    if wrong.any():
        shown = brief(names[wrong].iloc[0])
        raise RlbenchError(f"{name} has {shown} as {column} in row {_row(wrong)}, which is no line that can be shown.")
    return names


def _numbers(table: pd.DataFrame, column: str, name: str) -> pd.Series[float]:
    """Return a column as numbers, NaN where nothing stands."""
    cells = table[column]
    if pd.api.types.is_any_real_numeric_dtype(cells):
        return pd.Series(cells.to_numpy(np.float64, na_value=np.nan), table.index)
    texts = _texts(cells).str.lower()
    known = texts.mask(texts.isin(_EMPTY), "nan").replace({"true": "1", "false": "0"})
    numbers = np.empty(len(known))
    for row, text in enumerate(known):
        try:
            numbers[row] = float(text)
        except ValueError as problem:
            cell = brief(cells.iloc[row])
            raise RlbenchError(f"{name} has {cell} as {column} in row {row + 2}, which is no number.") from problem
    return pd.Series(numbers, table.index)


def _texts(cells: pd.Series[Any]) -> pd.Series[str]:
    """Return cells as they are written, empty where there is none."""
    return cells.astype(object).map(str).str.strip().mask(cells.isna(), "")


def _row(wrong: pd.Series[bool]) -> int:
    """Return the number of the first row that is wrong, as an editor counts lines below a header."""
    return int(np.flatnonzero(wrong.to_numpy())[0]) + 2


def _seeds(names: pd.Series[str]) -> pd.Series[int]:
    """Return seeds as integers: the ones that are written, or the places of what is written in its order.

    Whatever is written differently is another run: 1, 01 and 1.0 are three.
    """
    known = {name: _number(name) for name in names.unique()}
    if all(isinstance(number, int) and name == str(number) for name, number in known.items()):
        return names.map(known).astype(np.int64)
    ordered = sorted(known, key=lambda name: (np.inf if (number := known[name]) is None else number, name))
    return names.map({name: place for place, name in enumerate(ordered)}).astype(np.int64)


def _number(name: str) -> int | float | None:
    """Return the number that a text is, whole where it has at most 64 bits; None for any other text."""
    try:
        whole = int(name)
        if -(2**63) <= whole < 2**63:
            return whole
    except ValueError:
        pass
    try:
        number = float(name)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def common_points(curves: Sequence[Array]) -> Array:
    """Return the common points of curves, each given by its steps in order: `[points]`, from where all have begun.

    The first is the latest first step and the last one the earliest last step; each one between is the first step of
    any curve that will do. Fewer than two where the curves have no range in common.
    """
    lines = [list(one) for one in {tuple(steps.tolist()) for steps in curves}]  # equal ones once
    steps = sorted({step for line in lines for step in line})
    at, end = max(line[0] for line in lines), min(line[-1] for line in lines)
    points = [at] if at <= end else []
    while points and at < end:
        start, at = at, max(line[bisect_right(line, at)] for line in lines)
        while at < end and (wanted := max(_readable(line, start, at) for line in lines)) > at:
            at = steps[bisect_left(steps, wanted)]
        at = min(at, end)
        points.append(at)
    return np.array(points, np.float64)


def _readable(line: Sequence[float], start: float, at: float) -> float:
    """Return the step from which on a curve can be read, `at` the earliest, after a point at `start`."""
    above = bisect_left(line, at)
    if line[above] == at:
        return at
    gap = (1 - _ROUNDING) * (line[above] - line[above - 1])
    return max(at, min(start + gap, line[above]))


def read_at(points: Array, steps: Array, values: Array) -> Array:
    """Return a curve at `points`; NaN outside its own steps, both in order."""
    if not steps.size:
        return np.full(points.shape, np.nan)
    return np.asarray(np.interp(points, steps, values, left=np.nan, right=np.nan))


def mean_from(low: float, steps: Array, values: Array) -> float:
    """Return the mean of a curve from the step `low` on: the area below it over its width; NaN without a width."""
    if not low < steps[-1]:
        return float("nan")
    at = np.concatenate([[low], steps[steps > low]])
    return float(np.trapezoid(np.interp(at, steps, values), at) / (at[-1] - low))


def _lines(points: pd.DataFrame) -> dict[str, Line]:
    """Return the steps and the values of every curve, by cell."""
    steps, values = (points[name].to_numpy(np.float64) for name in ("step", "return"))
    return {str(cell): (steps[rows], values[rows]) for cell, rows in points.groupby("cell").indices.items()}


def _common_steps(environment: str, arms: Sequence[str], curves: Sequence[Array]) -> tuple[Array, list[str]]:
    """Return the points at which the finished curves of an environment are compared, and notes on what is not alike.

    `arms` and `curves` hold the arm and the steps of every run.

    Raises:
        RlbenchError: they have too little in common.
    """
    if not curves:
        return np.empty(0), []
    points, different = common_points(curves), []
    longest = max(float(steps[-1] - steps[0]) for steps in curves)
    for place, verb in ((0, "begin"), (-1, "end")):
        ends = np.array([steps[place] for steps in curves])
        if np.ptp(ends) > _ALIKE * longest:
            low, high = (f"{shown(ends[at])} ({arms[at]})" for at in map(int, (ends.argmin(), ends.argmax())))
            different.append(f"{verb} at steps {low} to {high}")
    how = f"On {environment}, the curves {' and '.join(different)}"
    common = points[-1] - points[0] if points.size > 1 else 0.0
    if common == 0 and longest == 0:
        raise RlbenchError(
            f"The runs on {environment} have a single point each, which is no curve; without the column 'step', "
            "their scores are compared."
        )
    if common < SHARED * longest:
        percent = f"only {100 * common / longest:.2g} % of the longest one's steps are"
        shared = percent if common else "no range of steps is"
        raise RlbenchError(f"{how}: {shared} common to all, and comparing them takes {100 * SHARED:g} %.")
    notes = []
    if different:
        over = f"{shown(points[0])} to {shown(points[-1])}"
        notes.append(f"{how}; they are compared over the steps that all have, {over}.")
    inside = [steps[(steps >= points[0]) & (steps <= points[-1])] for steps in curves]
    if not all(np.array_equal(steps, points) for steps in inside if steps.size):
        low, high = (end(steps.size for steps in inside if steps.size) for end in (min, max))
        notes.append(
            f"On {environment}, the curves were written down at different steps, "
            f"{low if low == high else f'{low} to {high}'} points each; they are compared at {len(points)} common "
            "ones, along straight lines."
        )
    return points, notes


def _read(runs: pd.DataFrame, lines: Mapping[str, Line], compared: Mapping[str, Array]) -> tuple[Array, pd.DataFrame]:
    """Return auc and final of every run, `[runs, 2]`, and the curves at equal distances over the compared steps.

    A failed run has the scores and the points of what it has, and NaN elsewhere.
    """
    scores = np.full((len(runs), 2), np.nan)
    parts: list[Curve] = []
    for row, run in enumerate(runs.to_dict("records")):
        points = compared[run["environment"]]
        if not points.size:
            continue
        steps, values = _at_common(points, lines.get(run["cell"]))
        width = points[-1] - points[0]
        if steps.size:
            late = max(steps[-1] - WINDOW * width, steps[0])
            scores[row] = mean_from(steps[0], steps, values), mean_from(late, steps, values)
        at = points[0] + width * np.arange(1, POINTS + 1) / POINTS
        at[-1] = points[-1]
        value = read_at(at, steps, values)
        parts.append((run, at, value, np.isfinite(value), run["status"] == "finished"))
    return scores, curve_table(parts)


def _at_common(points: Array, line: Line | None) -> Line:
    """Return the common points that a run has, its first and last among them, and its curve there; or nothing."""
    if line is None or max(points[0], line[0][0]) > min(points[-1], line[0][-1]):
        return np.empty(0), np.empty(0)
    low, high = max(points[0], line[0][0]), min(points[-1], line[0][-1])
    at = np.unique([low, *points[(points > low) & (points < high)], high])
    return at, read_at(at, *line)
