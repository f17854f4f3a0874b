"""Reads a tidy table of runs from a file, and says in a sentence what is wrong with it; see `external`."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from rlbench.analysis.compare import ALL
from rlbench.analysis.scores import LARGEST
from rlbench.errors import RlbenchError, brief
from rlbench.shapes import is_label

KEYS = ("algorithm", "environment", "seed")
LARGEST_FILE = 2**30  # bytes
_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_EMPTY = frozenset({"", "nan", "na", "n/a", "#n/a", "<na>", "null", "none"})  # a score that is written so is none
_NEEDED = "It needs the columns algorithm, environment, seed and score, and step too for learning curves"


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
            if begins == _PARQUET:
                return pd.read_parquet(file)
            # The header is read as a row: pandas renames columns of one name, and shifts rows that are too long.
            rows = pd.read_csv(file, header=None, skipinitialspace=True, dtype=str, keep_default_na=False)
            return rows.iloc[1:].set_axis(list(rows.iloc[0]), axis=1)
    except OSError as problem:
        raise RlbenchError(f"Cannot read {path}: {problem.strerror or problem}.") from problem
    except pd.errors.EmptyDataError as problem:
        raise RlbenchError(f"{path} is empty. {_NEEDED}.") from problem
    except (ValueError, UnicodeError) as problem:  # those of pandas and pyarrow too
        first = (str(problem).splitlines() or [""])[0]
        raise RlbenchError(f"{path} is not a table that can be read: {first}") from problem


def checked(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the columns that count, of the right types and in an order that does not depend on the rows'.

    A score that is missing is NaN. Seeds are integers, and stand for what is written: see `_seeds`.

    Raises:
        RlbenchError: what is wrong with the table called `name`.
    """
    table = _columns(table.rename(columns=lambda column: str(column).strip().lower()), name)
    keys = list(table.columns[:-1])
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
    points = table[table["score"].notna()] if "step" in table else table
    if points.duplicated(keys).any():
        first = points[points.duplicated(keys)].iloc[0]
        what = ", ".join(f"{key} {first[key]:.10g}" if key == "step" else f"{key} {first[key]}" for key in keys)
        hint = "" if "step" in table else " For learning curves, add a column 'step'."
        raise RlbenchError(f"{name} has more than one row for {what}.{hint}")
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


def _columns(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the columns that are needed, each of which must be there once."""
    columns = list(table.columns)
    for column in (*KEYS, "score"):
        if column not in columns:
            raise RlbenchError(f"{name} has no column {column!r}. {_NEEDED}; it has {', '.join(columns) or 'none'}.")
    wanted = [*KEYS, *(["step"] if "step" in columns else []), "score"]
    twice = [column for column in wanted if columns.count(column) > 1]
    if twice:
        raise RlbenchError(f"{name} has two columns {twice[0]!r}.")
    if table.empty:
        raise RlbenchError(f"{name} has no rows.")
    return table[wanted].reset_index(drop=True)


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
    known = texts.mask(texts.isin(_EMPTY), "nan").replace({"true": "1", "false": "0"}).to_numpy(object)
    try:
        return pd.Series(known.astype(np.float64), table.index)
    except ValueError:
        row = next(row for row, text in enumerate(known) if not _is_number(text))
    shown = brief(cells.iloc[row])
    raise RlbenchError(f"{name} has {shown} as {column} in row {row + 2}, which is no number.")


def _texts(cells: pd.Series[Any]) -> pd.Series[str]:
    """Return cells as they are written, empty where there is none."""
    return cells.astype(object).map(str).str.strip().mask(cells.isna(), "")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
