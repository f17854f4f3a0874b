"""Reads a tidy table of runs from a file, and says in a sentence what is wrong with it; see `external`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlbench.errors import RlbenchError, brief
from rlbench.shapes import is_label

KEYS = ("algorithm", "environment", "seed")
_LARGEST = 2**53  # integers up to here survive a spreadsheet
_NEEDED = "It needs the columns algorithm, environment, seed and score, and step too for learning curves"


def read_table(path: Path) -> pd.DataFrame:
    """Return the table in a file, unchecked: Parquet by its ending, otherwise CSV.

    Raises:
        RlbenchError: the file cannot be read, or holds no table.
    """
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        return pd.read_csv(path, skipinitialspace=True, dtype={"seed": str})
    except OSError as problem:
        raise RlbenchError(f"Cannot read {path}: {problem.strerror or problem}.") from problem
    except pd.errors.EmptyDataError as problem:
        raise RlbenchError(f"{path} is empty. {_NEEDED}.") from problem
    except (ValueError, UnicodeError) as problem:  # those of pandas and pyarrow too
        first = (str(problem).splitlines() or [""])[0]
        raise RlbenchError(f"{path} is not a table that can be read: {first}") from problem


def checked(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the columns that count, of the right types and in an order that does not depend on the rows'.

    Raises:
        RlbenchError: what is wrong with the table called `name`.
    """
    table = _columns(table.rename(columns=lambda column: str(column).strip().lower()), name)
    keys = list(table.columns[:-1])
    for column in keys:
        if table[column].isna().any():
            raise RlbenchError(f"{name} has no {column} in row {_row(table[column].isna())}.")
    for column in ("algorithm", "environment"):
        table[column] = _names(table, column, name)
    table["seed"] = _seeds(table["seed"])
    table["score"] = _numbers(table, "score", name)
    if "step" in table:
        table["step"] = _numbers(table, "step", name)
        wrong = ~(np.isfinite(table["step"]) & (table["step"] >= 0))
        if wrong.any():
            raise RlbenchError(f"{name} has a step in row {_row(wrong)} that is negative or infinite.")
    if table.duplicated(keys).any():
        first = table[table.duplicated(keys)].iloc[0]
        what = ", ".join(f"{key} {first[key]:g}" if key == "step" else f"{key} {first[key]}" for key in keys)
        hint = "" if "step" in table else " For learning curves, add a column 'step'."
        raise RlbenchError(f"{name} has more than one row for {what}.{hint}")
    return table.sort_values(keys, ignore_index=True)


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
    """Return a column as names, each a line that can be shown."""
    names = pd.Series([str(value).strip() for value in table[column]], table.index, dtype=str)
    wrong = ~names.map(is_label).astype(bool)
    if wrong.any():
        shown = brief(names[wrong].iloc[0])
        raise RlbenchError(f"{name} has {shown} as {column} in row {_row(wrong)}, which is no line that can be shown.")
    return names


def _numbers(table: pd.DataFrame, column: str, name: str) -> pd.Series[float]:
    """Return a column as numbers, NaN where nothing stands."""
    try:
        numbers = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
    except (OverflowError, TypeError, ValueError) as problem:  # whole numbers of hundreds of digits, lists, dates
        raise RlbenchError(f"{name} has a {column} that is no number, or too large for one.") from problem
    wrong = numbers.isna() & table[column].notna()
    if wrong.any():
        text = brief(table[column][wrong].iloc[0])
        raise RlbenchError(f"{name} has {text} as {column} in row {_row(wrong)}, which is no number.")
    return numbers


def _row(wrong: pd.Series[bool]) -> int:
    """Return the number of the first row that is wrong, as an editor counts lines below a header."""
    return int(np.flatnonzero(wrong.to_numpy())[0]) + 2


def _seeds(seeds: pd.Series[Any]) -> pd.Series[int]:
    """Return seeds as integers: as they are if all are, otherwise their place in alphabetical order."""
    try:
        numbers = pd.to_numeric(seeds, errors="coerce")
    except (OverflowError, TypeError, ValueError):  # whole numbers of hundreds of digits, lists, dates
        numbers = pd.Series(np.nan, seeds.index)
    if numbers.notna().all() and (numbers == np.floor(numbers)).all() and (numbers.abs() < _LARGEST).all():
        return numbers.astype(np.int64)
    names = pd.Series([str(seed).strip() for seed in seeds], seeds.index)
    return names.map({name: place for place, name in enumerate(sorted(names.unique()))}).astype(np.int64)
