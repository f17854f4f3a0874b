"""Runs that were trained elsewhere: a tidy table in a file becomes `Results`, with the same statistics and report.

The file (CSV, or Parquet, which its first bytes tell; regular, at most 1 GiB) has one row per run, with the columns
`algorithm`, `environment`, `seed` and `score`; or, with a column `step` more, one row per point of a run's learning
curve. Other columns are ignored, and the order of the rows changes nothing. Names and seeds are taken as they are
written: 007, NA and 1e5 are names, and seeds 1 and 01 two runs.

* A score is one number per run, higher is better, in any unit. It is normalised only by `references` that are given:
  an environment's name does not say that its scores are the returns that rlbench knows references for.
* Steps may be counted in anything, whole or not. Curves are compared over the steps that all runs of an environment
  have, at common points (`grids`), along straight lines: `auc` is the area over the width, `final` the mean over the
  last tenth. Where curves begin or end at different steps, or were written down at different ones, `notes` say so;
  where they have less than a tenth of the longest one in common, nothing is compared.
* A row without a score is no point of a curve, and counted. A run without any score, or with an infinite one, has
  failed. So has a run whose curve does not get past the middle of its algorithm's (from the median of their first
  steps to the median of their last ones, on its environment), or begins only there: it would leave the others little
  to be compared over. A failed run is counted, and shown where it can be, but enters no average.
* Runs of different algorithms are not paired: the numbers of runs may differ, and what a seed is called does not
  matter. Seeds that are not all whole numbers are numbered in their order.
* Two rows for the same run (and step), a missing column, a name, seed or step that is empty: refused, in a sentence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlbench.analysis.digits import steps as shown
from rlbench.analysis.grids import Array, common_points, mean_from, read_at
from rlbench.analysis.references import Reference
from rlbench.analysis.results import Results
from rlbench.analysis.scores import POINTS, WINDOW, with_normalised
from rlbench.analysis.tidy import KEYS, checked, read_table
from rlbench.errors import RlbenchError, nearest
from rlbench.records import cause
from rlbench.store import Tables

SHARED = 0.1  # share of the longest curve that all must have
_ALIKE = 1e-9  # of the longest curve: steps that differ by less do not differ
_RUN = ["cell", "arm", "algorithm", "environment", "seed", "steps", "status"]


class ExternalCurves(Results):
    """Results of runs made elsewhere, from their learning curves."""

    @cached_property
    def points(self) -> dict[str, Array]:
        """The common points of each environment's curves; none where no run is used."""
        found = {}
        for environment in self.environments:
            own = self.runs[(self.runs["environment"] == environment) & (self.runs["status"] == "finished")]
            curves = [self._lines[cell][0] for cell in own["cell"]]
            found[environment] = common_points(curves) if curves else np.empty(0)
        return found

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per run: auc and final, the same normalised, and whether the run is used.

        A failed run has the scores of the part that it has.
        """
        table = self.runs[_RUN].assign(used=self.runs["status"] == "finished")
        rows = [self._score(cell, name) for cell, name in zip(table["cell"], table["environment"], strict=True)]
        table[list(self.metrics)] = np.array(rows, np.float64).reshape(-1, len(self.metrics))
        return with_normalised(table, self.metrics, self.references)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Learning curves at equal distances over the compared steps; NaN where a failed run has none."""
        frames = []
        for run in self.runs.to_dict("records"):
            points = self.points[run["environment"]]
            if not points.size:
                continue
            at = points[0] + (points[-1] - points[0]) * np.arange(1, POINTS + 1) / POINTS
            at[-1] = points[-1]
            value = read_at(at, *self._common(run["cell"], points))
            seen = {"step": at, "return": value, "observed": np.isfinite(value), "status": run["status"]}
            named = {name: run[name] for name in ("arm", "environment", "seed")}
            frames.append(pd.DataFrame(named | seen | {"used": run["status"] == "finished"}))
        return pd.concat(frames, ignore_index=True) if frames else _no_curves()

    @cached_property
    def _lines(self) -> dict[str, tuple[Array, Array]]:
        """Steps and scores of every run that has any, by cell."""
        return {
            str(cell): (own["step"].to_numpy(np.float64), own["return"].to_numpy(np.float64))
            for cell, own in self.episodes.groupby("cell")
        }

    def _common(self, cell: str, points: Array) -> tuple[Array, Array]:
        """Return the common points that a run has, its own ends among them, and its curve there; nothing without."""
        if cell not in self._lines:
            return np.empty(0), np.empty(0)
        steps, values = self._lines[cell]
        low, high = max(points[0], steps[0]), min(points[-1], steps[-1])
        at = np.unique(np.concatenate([[low], points[(points > low) & (points < high)], [high]][: 3 * (low <= high)]))
        return at, read_at(at, steps, values)

    def _score(self, cell: str, environment: str) -> tuple[float, float]:
        """Return auc and final of a run."""
        points = self.points[environment]
        steps, values = self._common(cell, points) if points.size else (points, points)
        if not steps.size:
            return float("nan"), float("nan")
        late = steps[-1] - WINDOW * (points[-1] - points[0])
        return mean_from(steps[0], steps, values), mean_from(max(late, steps[0]), steps, values)


class ExternalScores(Results):
    """Results of runs of which only one score each is known: there are no learning curves to draw."""

    metrics = ("score",)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per run: score, the same normalised, and whether the run is used."""
        runs, episodes = self.runs, self.episodes.set_index("cell")["return"]
        table = runs[_RUN].assign(used=runs["status"] == "finished")
        table["score"] = table["cell"].map(episodes).to_numpy(np.float64)
        return with_normalised(table, self.metrics, self.references)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """No learning curves, with their columns."""
        return _no_curves()


def read_results(
    source: str | Path | pd.DataFrame,
    *,
    algorithms: Sequence[str] = (),
    baseline: str | None = None,
    references: Mapping[str, Reference] | None = None,
    seed: int = 0,
) -> Results:
    """Return the results of the runs in a file, or in a table with the columns of one.

    `algorithms` are those to compare, in that order; all, in alphabetical order, if none is named. The others are
    compared with `baseline`, the last of them if None. A `Reference` named "*" is that of every environment that has
    no other. Of scores that are the returns of environments that rlbench knows, `references` may be
    `rlbench.analysis.references.REFERENCES`.

    Raises:
        RlbenchError: no such file, or one that is not a table as the module describes, an unknown algorithm, or curves
        that have too little in common.
    """
    path = Path("table") if isinstance(source, pd.DataFrame) else Path(source)
    table = checked(source if isinstance(source, pd.DataFrame) else read_table(path), path.name)
    known = sorted(table["algorithm"].unique())
    for name in [*algorithms, *([baseline] if baseline else [])]:
        if name not in known:
            raise RlbenchError(f"There is no algorithm {name!r} in {path.name}.{nearest(name, known)}")
    arms = list(dict.fromkeys(algorithms)) or known
    arms += [baseline] if baseline and baseline not in arms else []
    table = table[table["algorithm"].isin(arms)]
    environments = sorted(table["environment"].unique())
    tables = _tables(table)
    document: dict[str, Any] = {
        "name": path.stem,
        "question": f"How do {' and '.join(arms)} compare on {' and '.join(environments)}?",
        "arms": [{"label": name, "algorithm": name, "settings": {}} for name in arms],
        "environments": [{"id": name, "options": {}} for name in environments],
        "seeds": sorted({int(one) for one in tables.runs["seed"]}),
        "baseline": baseline or (arms[-1] if len(arms) > 1 else None),
        "source": path.name,
        "digest": hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()[:12],
    }
    scales = dict(references or {})
    if "*" in scales:
        scales = dict.fromkeys(environments, scales.pop("*")) | scales
    _check_ranges(table, scales)
    if "step" not in table:
        document["notes"] = _failures(tables.runs)
        return ExternalScores(document, tables, references=scales, seed=seed)
    results = ExternalCurves(document, tables, references=scales, seed=seed)
    empty = int(table["score"].isna().sum())
    counted = [f"{empty:,} of {len(table):,} rows have no score, and are no points of a curve."] if empty else []
    alike = [note for name, points in results.points.items() for note in _compared(name, points, tables)]
    results.experiment["notes"] = [*counted, *_failures(tables.runs), *alike]
    results.experiment["compared"] = {
        name: f"steps {shown(points[0])} to {shown(points[-1])}, at {len(points)} points"
        for name, points in results.points.items()
        if points.size
    }
    return results


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
    failed = runs[runs["status"] == "failed"]
    said = []
    for (environment, arm, why), group in failed.groupby(["environment", "arm", failed["reason"].map(cause)]):
        planned = int(((runs["environment"] == environment) & (runs["arm"] == arm)).sum())
        reason = group["reason"].iloc[0] if group["reason"].nunique() == 1 else why
        counted = f"{len(group)} of {planned} runs of {arm} count{'s' if len(group) == 1 else ''} as failed"
        said.append(f"On {environment}, {counted}: {reason}.")
    return said


def _compared(environment: str, points: Array, tables: Tables) -> list[str]:
    """Say over which steps and at which points curves are compared, where they are not all alike.

    Raises:
        RlbenchError: they have too little in common.
    """
    runs = tables.runs[(tables.runs["environment"] == environment) & (tables.runs["status"] == "finished")]
    if runs.empty:
        return []
    own = tables.episodes[tables.episodes["cell"].isin(runs["cell"])]
    ends = own.groupby("cell")["step"].agg(["min", "max"])
    arms = runs.set_index("cell")["arm"].reindex(ends.index).to_numpy()
    longest = float((ends["max"] - ends["min"]).max())
    different = []
    for column, verb in (("min", "begin"), ("max", "end")):
        at = ends[column].to_numpy(np.float64)
        if np.ptp(at) > _ALIKE * longest:
            low, high = (f"{shown(at[run])} ({arms[run]})" for run in (at.argmin(), at.argmax()))
            different.append(f"{verb} at steps {low} to {high}")
    said = " and ".join(different)
    common = points[-1] - points[0] if points.size > 1 else 0.0
    if common == 0 and longest == 0:
        raise RlbenchError(
            f"The runs on {environment} have a single point each, which is no curve; without the column 'step', their "
            "scores are compared."
        )
    if common < SHARED * longest:
        share = (
            f"only {100 * common / longest:.2g} % of the longest one's steps are" if common else "no range of steps is"
        )
        raise RlbenchError(
            f"On {environment}, the curves {said}: {share} common to all, and comparing them takes {100 * SHARED:g} %."
        )
    notes = []
    if said:
        notes.append(
            f"On {environment}, the curves {said}; they are compared over the steps that all have, {shown(points[0])} "
            f"to {shown(points[-1])}."
        )
    inside = own[(own["step"] >= points[0]) & (own["step"] <= points[-1])].groupby("cell")["step"]
    if any(len(steps) != len(points) or (steps.to_numpy() != points).any() for _, steps in inside):
        low, high = inside.size().min(), inside.size().max()
        counted = f"{low}" if low == high else f"{low} to {high}"
        notes.append(
            f"On {environment}, the curves were written down at different steps, {counted} points each; they are "
            f"compared at {len(points)} common ones, along straight lines."
        )
    return notes


def _no_curves() -> pd.DataFrame:
    columns = ["arm", "environment", "seed", "step", "return", "observed", "status", "used"]
    return pd.DataFrame({name: [] for name in columns})
