"""Runs in files and folders, each with its names: algorithm, environment and seed.

What a file does not say of a run's names, `config.json`, `params.json` or `args.json` beside it says, or the name that
the run has in the file, or the path: by a pattern such as `{algorithm}/{environment}_{seed}`, the one that is given, or
the first of `PATTERNS` that fits all files of a kind.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from rlbench.analysis.format import steps as shown
from rlbench.analysis.scores.formats import COLUMNS, EVENTS, FORMATS, KEYS, MONITOR, Format, Source, kind_of, understood
from rlbench.errors import RlbenchError, brief
from rlbench.files import read_json

PATTERNS = (
    "{environment}__{algorithm}__{seed}__*",
    "{environment}__{algorithm}__{seed}",
    "{algorithm}_{environment}_?????_{seed}*",
    "{algorithm}_{environment}_{seed}_*",
    "{algorithm}/{environment}_{seed}",
    "{algorithm}/{environment}/{seed}",
    "{environment}/{algorithm}/{seed}",
    "{algorithm}_{environment}_{seed}",
    "{environment}_{algorithm}_{seed}",
    "{environment}/{algorithm}_{seed}",
    "{environment}_*/{algorithm}_{seed}",
    "run-{algorithm}_{seed}-tag-*",
    "{algorithm}/{seed}",
    "{algorithm}_{seed}",
    "{algorithm}-{seed}",
    "{algorithm}",
)
"""How paths and names of runs end, as is usual: the first two are CleanRL's; then come RLlib's and rl-zoo's."""

_USUAL = {
    "algorithm": r"(?P<algorithm>[^/]*?[A-Za-z][^/]*?)",
    "environment": r"(?P<environment>[A-Za-z][^/_]*-v\d+)",  # an id of Gymnasium's
    "seed": r"(?:seed|run|trial|s|r)?[_=-]?(?P<seed>\d+)",
}
_FREE = {"algorithm": r"(?P<algorithm>[^/]+?)", "environment": r"(?P<environment>[^/]+)"}
_SUFFIXES = (".csv", ".tsv", ".parquet", ".npz", ".npy", ".json", ".jsonl", ".gz")  # of files that are looked at
_COMPANIONS = ("params.json", "config.json", "args.json")
_COPY = re.compile(r"(\d+\.)?monitor\.csv")
_READ = (
    "tables (CSV, Parquet), monitor.csv, evaluations.npz, progress.csv, result.json, TensorBoard's event files and CSV "
    "downloads, exports of Weights & Biases, and dictionaries of arrays (JSON, npz, npy)"
)


def read_sources(
    paths: Sequence[str | Path], *, columns: Mapping[str, str] | None = None, name: str = "", environment: str = ""
) -> tuple[list[Source], list[str]]:
    """Return what is understood of files and folders, and sentences on what is left out.

    `columns` says which column (or tag) stands for one that is needed, `name` is the pattern of paths, and
    `environment` that of all runs of which nothing else says it.

    Raises:
        RlbenchError: a file that cannot be read or understood, a folder without any, runs without a name, or two of
        one name.
    """
    told = _told(columns)
    fields = re.findall(r"\{(.*?)\}", name)
    if name and (not fields or {*fields} - {*KEYS} or len({*fields}) < len(fields)):
        raise RlbenchError(
            "--name takes a pattern of paths with {algorithm}, {environment} and {seed}, each at most once, and * for "
            f"anything, as '{{algorithm}}/{{environment}}_{{seed}}'; not {brief(name)}."
        )
    sources, left = list[Source](), list[str]()
    for path in map(Path, paths):
        found = _searched(path, told, left) if path.is_dir() else [_read(kind_of(path), [path], told)]
        found = [_beside(source) for source in found]
        for kind in dict.fromkeys(source.format for source in found):
            alike = [source for source in found if source.format == kind]
            sources += _named(alike, name, environment, path.name.split(".")[0] if len(paths) > 1 else "")
    _check_distinct(sources)
    return sources, left


def read_frame(table: pd.DataFrame, columns: Mapping[str, str] | None = None) -> Source:
    """Return what is understood of a table in memory, as of one in a file."""
    if table.empty:
        raise RlbenchError("table has no rows.")
    rows = table.set_axis(range(2, len(table) + 2), axis=0)
    return _named([understood(rows, Path("table"), _told(columns))], "", "", "")[0]


def _told(columns: Mapping[str, str] | None) -> Mapping[str, str]:
    for needed in columns or {}:
        if needed not in (*KEYS, "step", "score"):
            known = ", ".join((*KEYS, "step", "score"))
            raise RlbenchError(f"--columns gives {brief(needed)} a column, which is none of {known}.")
    return columns or {}


def _searched(root: Path, told: Mapping[str, str], left: list[str]) -> list[Source]:
    """Return the sources in a folder, in the order of their paths; `left` gets a sentence on files left out.

    Where files of several kinds lie in one folder they tell of the same runs, and those of the first kind count.
    """
    found, problems = list[Source](), list[str]()
    for folder, inside, names in os.walk(root):
        inside.sort()
        kinds: dict[str, list[Path]] = {kind.name: [] for kind in FORMATS}
        for file in (Path(folder, name) for name in sorted(names) if _may_tell(name)):
            try:
                kinds[kind_of(file).name].append(file)
            except RlbenchError as problem:
                problems.append(str(problem))
        here = list[Source]()
        for kind in FORMATS:
            for run in [] if here else _by_run(kind, kinds[kind.name]):
                try:
                    here.append(_read(kind, run, told))
                except RlbenchError as problem:
                    problems.append(str(problem))
        found += here
    if not found:
        raise RlbenchError(f"{root} has no file of runs in it. {[*problems, f'What is read: {_READ}.'][0]}")
    if problems:
        count = "1 file is" if len(problems) == 1 else f"{len(problems):,} files are"
        left.append(f"In {root}, {count} left out: {problems[0]}")
    return found


def _read(kind: Format, files: Sequence[Path], told: Mapping[str, str]) -> Source:
    source = kind.read(files, told)
    if source.table.empty:
        raise RlbenchError(f"{source.path} has no rows.")
    return source


def _may_tell(name: str) -> bool:
    known = name == "progress.txt" or "tfevents" in name or Path(name).suffix.lower() in _SUFFIXES
    return known and name not in _COMPANIONS


def _by_run(kind: Format, files: Sequence[Path]) -> list[list[Path]]:
    """Return the files of a folder by run: the copies of an environment are one, and so are the parts of a log."""
    together = [file for file in files if kind is EVENTS or (kind is MONITOR and _COPY.fullmatch(file.name))]
    return [*([together] if together else []), *([file] for file in files if file not in together)]


def _beside(source: Source) -> Source:
    """Return a source with the names that a description of its run, beside it, has: RLlib's and Spinning Up's."""
    table = source.table.copy(deep=False)
    for file in (Path(source.path).parent / name for name in _COMPANIONS):
        try:
            document = read_json(file)
        except (OSError, ValueError):
            continue
        described = document if isinstance(document, dict) else {}
        for key in [key for key in KEYS if key not in table]:
            named = [described.get(one) for one in (*(["algo"] if key == "algorithm" else []), *COLUMNS[key])]
            if text := next((str(one) for one in named if isinstance(one, str | int)), ""):
                table[key] = text
    return replace(source, table=table)


def _named(sources: Sequence[Source], given: str, environment: str, root: str) -> list[Source]:
    """Return sources of one kind with what the names of their runs say.

    One pattern fits all of them: the one that is `given`, or the first that is usual and says what is missing. `root`,
    if not empty, is the algorithm where nothing else says it.
    """
    runs = list(dict.fromkeys(run for source in sources for run in source.table["run"].unique()))
    wanted = {key for source in sources for key in KEYS if key not in source.table}
    patterns = (
        [given]
        if given
        else [
            pattern
            for need in (wanted, wanted - {"environment"})
            for pattern in PATTERNS
            if need and all(f"{{{key}}}" in pattern for key in need)
        ]
    )
    used, names = "", dict[str, dict[str, str]]()
    for pattern in patterns:
        found = {run: _search(pattern, run, usual=not given) for run in runs}
        unfit = [run for run, groups in found.items() if groups is None]
        if unfit and given:
            raise RlbenchError(f"--name {given} does not fit {unfit[0]!r}; * is anything within a part of a path.")
        if unfit or (not given and _calls_environments(found, sources)):
            continue
        used, names = pattern, {run: groups for run, groups in found.items() if groups}
        break
    named = []
    for source in sources:
        table = source.table.copy(deep=False)
        for key in [key for key in KEYS if f"{{{key}}}" in used and (given or key not in table)]:
            table[key] = table["run"].map({run: groups[key] for run, groups in names.items()})
        for key, value in (("environment", environment), ("algorithm", root)):
            if value and key not in table:
                table[key] = value
            if key not in table:
                raise RlbenchError(_nameless(source, key))
        if "seed" not in table:
            table["seed"] = _told_apart(source, table)
        named.append(replace(source, table=table, pattern=used))
    return named


def _calls_environments(names: Mapping[str, dict[str, str] | None], sources: Sequence[Source]) -> bool:
    """Return whether what a pattern takes for an algorithm is the name of an environment, as in hopper/hopper-0."""
    known = {str(one).lower() for source in sources for one in source.table.get("environment", pd.Series()).unique()}
    known |= {groups.get("environment", "").lower() for groups in names.values() if groups}
    called = {groups["algorithm"].lower() for groups in names.values() if groups and "algorithm" in groups}
    return any(one.startswith(name) for one in known for name in called)


def _search(pattern: str, text: str, *, usual: bool) -> dict[str, str] | None:
    """Return what a pattern reads from the last parts of a path that it fits, or None.

    A usual pattern has to fit the end, and reads environments and seeds only where they look like some.
    """
    parts, length = text.split("/"), pattern.count("/") + 1
    for end in range(len(parts), len(parts) - 1 if usual else length - 1, -1):
        for expression in _expressions(pattern, usual) if end >= length else ():
            if found := expression.fullmatch("/".join(parts[end - length : end])):
                return found.groupdict()
    return None


@cache
def _expressions(pattern: str, usual: bool) -> list[re.Pattern[str]]:
    """Return the regular expressions of a pattern, in the order in which they are tried."""
    free = [_FREE | {"seed": rf"(?P<seed>{seed})"} for seed in (r"\d+", "[^/]+")]  # a seed is a number if it can be
    ways = [_USUAL | (_FREE if "__" in pattern else {})] if usual else free
    parts = re.split(r"(\{\w+\}|\*|\?)", pattern)
    anything = {"*": "[^/]*", "?": "[^/]"}
    return [
        re.compile("".join(anything.get(one) or way.get(one[1:-1]) or re.escape(one) for one in parts)) for way in ways
    ]


def _told_apart(source: Source, table: pd.DataFrame) -> Any:
    """Return names of runs that have no seed: their own, or in a list of scores the lines.

    Raises:
        RlbenchError: a table of curves does not tell its runs apart.
    """
    if "algorithm" in source.columns:
        keys = ["algorithm", "environment", "run"]
        if "step" not in table and table.duplicated(keys).any():
            return table.index.map(str)
        if "step" in table and (repeated := table.duplicated([*keys, "step"])).any():
            first = table[repeated].iloc[0]
            raise RlbenchError(
                f"{source.path} has several rows for {first['algorithm']} on {first['environment']} at step "
                f"{first['step']:g}, and no column that tells runs apart; name one, as in --columns seed=COLUMN."
            )
    return table["run"]


def _nameless(source: Source, key: str) -> str:
    otherwise = "--env ID" if key == "environment" else "a folder of each algorithm, as in --from ppo a2c"
    return (
        f"{source.path} does not say the {key} of its runs. Say which column does, as in --columns {key}=COLUMN, or "
        f"which part of the path, as in --name '{{algorithm}}/{{environment}}_{{seed}}/*', or give {otherwise}."
    )


def _check_distinct(sources: Sequence[Source]) -> None:
    """Raise RlbenchError if two files tell of runs of one name: which is meant is not known."""
    known: dict[tuple[str, ...], str] = {}
    for source in sources:
        for run in source.table[[*KEYS]].drop_duplicates().astype(str).itertuples(index=False, name=None):
            if other := known.get(run):
                raise RlbenchError(
                    f"{other} and {source.path} both have the run {run[0]} on {run[1]} with seed {run[2]}. Leave one "
                    "out, or tell them apart by --name."
                )
            known[run] = source.path


def described(sources: Sequence[Source]) -> list[str]:
    """Say how sources were understood, of all that were alike in a sentence; nothing of tidy tables."""
    alike: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        other = [f"{key} is {name!r}" for key, name in source.columns.items() if name.strip().lower() != key]
        alike.setdefault(
            (source.format, ", ".join([*other, *([f"names by {source.pattern}"] if source.pattern else [])])), []
        ).append(source)
    return [
        f"{len(group):,} {'file' if len(group) == 1 else 'files'} ({kind}): {how}."
        for (kind, how), group in alike.items()
        if how
    ]


def overview(sources: Sequence[Source]) -> list[list[str]]:
    """Return what is understood of each run, as texts: path, names, number of rows, first to last step, scores."""
    rows = []
    for source in sources:
        for names, run in source.table.groupby([*KEYS], sort=False):
            ends = [
                f"{shown(run[name].min())} to {shown(run[name].max())}" for name in ("step", "score") if name in run
            ]
            rows.append([source.path, *map(str, names), f"{len(run):,}", *([] if "step" in run else ["-"]), *ends])
    return rows
