"""Runs that were trained elsewhere: what files say of them becomes `Results`, with the same statistics and report.

Which files are read, and how they name their runs, `formats` and `sources` say. The simplest is a tidy table with one
row per run and the columns `algorithm`, `environment`, `seed` and `score`; or, with a column `step` more, one row per
point of a run's learning curve. Other columns are ignored, and the order of the rows changes nothing. Names and seeds
are taken as they are written: 007, NA and 1e5 are names, and seeds 1 and 01 two runs.

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
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rlbench.analysis.format import steps as shown
from rlbench.analysis.scores.formats import KEYS, Source, texts_of
from rlbench.analysis.scores.results import Document, Results
from rlbench.analysis.scores.scores import ALL, LARGEST, POINTS, WINDOW, Curve, Reference, curve_table, with_normalised
from rlbench.analysis.scores.sources import described, read_frame, read_sources
from rlbench.analysis.stats.estimates import Array
from rlbench.errors import RlbenchError, brief, nearest
from rlbench.files import is_label
from rlbench.records import cause
from rlbench.store import Tables

SHARED = 0.1  # share of the longest curve that all must have
_TELLING = 5  # points that two different runs do not share
_ALIKE = 1e-9  # of the longest curve: steps that differ by less do not differ
_ROUNDING = 1e-9  # of a gap: the same steps in another unit give the same points
_RUN = ["cell", "arm", "algorithm", "environment", "seed", "steps", "status"]
Line = tuple[Array, Array]
"""The steps of a curve, in order, and its values."""


def external_results(
    source: str | Path | Sequence[str | Path] | pd.DataFrame,
    *,
    algorithms: Sequence[str] = (),
    baseline: str | None = None,
    references: Mapping[str, Reference] | None = None,
    columns: Mapping[str, str] | None = None,
    name: str = "",
    environment: str = "",
    seed: int = 0,
) -> Results:
    """Return the results of the runs in files and folders, or in a table with the columns of one.

    `algorithms` are those to compare, in that order; all, in alphabetical order, if none is named. The others are
    compared with `baseline`, the last of them if None. A `Reference` named "*" is that of every environment that has
    no other. Of scores that are the returns of environments that rlbench knows, `references` may be
    `rlbench.analysis.scores.scores.REFERENCES`. `columns`, `name` and `environment` are those of
    `sources.read_sources`.

    Raises:
        RlbenchError: no such file, or one that is not understood, an unknown algorithm, or curves that have too little
        in common.
    """
    files = [source] if isinstance(source, str | Path) else source
    tells = isinstance(files, pd.DataFrame | Sequence) and all(isinstance(one, str | Path) for one in files)
    if not tells and not isinstance(files, pd.DataFrame):
        raise RlbenchError(f"Runs are read from files, folders or a DataFrame, not from {brief(source)}.")
    for one, scale in (references or {}).items():
        if not isinstance(scale, Reference):
            raise RlbenchError(f"The reference of {one} must be a Reference(random, target), not {brief(scale)}.")
    if isinstance(files, pd.DataFrame):
        path, sources, notes = Path("table"), [read_frame(files, columns)], list[str]()
    else:
        path = Path(files[0])
        sources, notes = read_sources(files, columns=columns, name=name, environment=environment)
    notes = [*described(sources), *notes]
    table = checked(sources, notes)
    known = sorted(table["algorithm"].unique())
    if isinstance(algorithms, str):
        raise RlbenchError(f"algorithms must be a list such as [{algorithms!r}], not {algorithms!r}.")
    for one in [*algorithms, *([baseline] if baseline else [])]:
        if one not in known:
            raise RlbenchError(f"There is no algorithm {one!r} in {path.name}.{nearest(one, known)}")
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
        notes += _copies(tables.runs, lines)
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


def checked(sources: Sequence[Source], notes: list[str]) -> pd.DataFrame:
    """Return the rows of all sources, of the right types and in an order that does not depend on the rows'.

    A score that is missing is NaN. Seeds are integers, and stand for what is written: see `_seeds`. `notes` get a
    sentence on what was changed.

    Raises:
        RlbenchError: what is wrong with which file.
    """
    curves = {"step" in source.table for source in sources}
    if len(curves) > 1:
        without, having = (next(s.path for s in sources if ("step" in s.table) is has) for has in (False, True))
        raise RlbenchError(f"{having} has learning curves and {without} only scores; they cannot be compared.")
    keys = [*KEYS, *(["step"] if curves == {True} else [])]
    parts = (source.table[[*keys, "score"]].assign(file=Path(source.path).name) for source in sources)
    table = pd.concat(parts).rename_axis("row").reset_index()
    for column in KEYS:
        table[column] = texts_of(table[column])
        unusable = [one for one in table[column].unique() if not is_label(one)]
        _refuse(table, table[column] == "", f"no {column}")
        shown = brief(min(unusable, default=""))
        _refuse(table, table[column].isin(unusable[:1]), f"{shown} as {column}", ", which is no line that can be shown")
    _refuse(
        table,
        table["environment"] == ALL,
        f"an environment called {ALL!r}",
        ", by which all of them together are meant; rename it",
    )
    table["seed"] = _seeds(table["seed"])
    size = table["score"].abs()
    _refuse(table, np.isfinite(size) & (size > LARGEST), "a score", " that is too large to compute with")
    largest = size[np.isfinite(size)].groupby(table["environment"]).transform("max")
    small = (largest > 0) & (largest < 1 / LARGEST)
    if small.any():
        raise RlbenchError(
            f"{table['file'].iloc[int(np.argmax(small))]} has scores that are all too small to compute with; write "
            "them in another unit."
        )
    if "step" in table:
        wrong = ~((table["step"] >= 0) & (table["step"] <= LARGEST))
        _refuse(table, wrong, "a step", " that is missing, negative or not finite")
        twice = table["score"].notna() & table.duplicated(keys, keep=False)
        if twice.any():
            notes.append(
                f"{twice.sum():,} of {len(table):,} rows share run and step with others: their mean is a point."
            )
            table = table.groupby(keys)["score"].mean().reset_index()
    elif (twice := table.duplicated(keys)).any():
        first = table[twice].iloc[0]
        what = ", ".join(f"{key} {first[key]}" for key in keys)
        raise RlbenchError(
            f"{first['file']} has more than one row for {what}. For learning curves, say which column counts the "
            "steps, as in --columns step=COLUMN."
        )
    return table[[*keys, "score"]].sort_values([*keys, "score"], ignore_index=True)


def _refuse(table: pd.DataFrame, wrong: pd.Series[bool], what: str, why: str = "") -> None:
    """Raise RlbenchError for the first row that is wrong, if there is one."""
    if wrong.any():
        first = table.iloc[int(np.argmax(wrong.to_numpy()))]
        raise RlbenchError(f"{first['file']} has {what} in row {first['row']}{why}.")


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


def _copies(runs: pd.DataFrame, lines: Mapping[str, Line]) -> list[str]:
    """Say which runs of an algorithm are the same in every point, of several that differ: these are no two runs."""
    alike: dict[tuple[str, str, bytes], list[int]] = {}
    for run in runs.to_dict("records"):
        steps, values = lines.get(run["cell"], (np.empty(0), np.empty(0)))
        if steps.size >= _TELLING and np.ptp(values) > 0:
            curve = steps.tobytes() + values.tobytes()
            alike.setdefault((run["environment"], run["algorithm"], curve), []).append(run["seed"])
    return [
        f"On {environment}, the runs of {algorithm} with seeds {', '.join(map(str, seeds))} are equal in every point; "
        "copies of a run are no further runs."
        for (environment, algorithm, _), seeds in alike.items()
        if len(seeds) > 1
    ]


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
