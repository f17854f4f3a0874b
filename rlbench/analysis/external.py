"""Runs that were trained elsewhere: a tidy table in a file becomes `Results`, with the same statistics and report.

The file (CSV, or Parquet by its ending) has one row per run, with the columns `algorithm`, `environment`, `seed` and
`score`; or, with a column `step` more, one row per point of a run's learning curve. Other columns are ignored, and the
order of the rows changes nothing.

* A score is one number per run, higher is better, in the environment's own units. With curves, a run's scores are
  those of `scores`, each point taken like a return that was seen at that step: the area under the curve, and the mean
  over the last tenth.
* A run without a finite score, and one whose curve ends more than a tenth before the longest one on its environment,
  has failed: it is counted, and shown where it can be, but enters no average.
* Runs of different algorithms are not paired: the numbers of runs may differ, and what a seed is called does not
  matter. Seeds that are not numbers are numbered in alphabetical order.
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

from rlbench.analysis.references import Reference
from rlbench.analysis.results import Results
from rlbench.analysis.scores import WINDOW, with_normalised
from rlbench.analysis.tidy import KEYS, checked, read_table
from rlbench.errors import RlbenchError, nearest
from rlbench.store import Tables


class ExternalCurves(Results):
    """Results of runs made elsewhere, from their learning curves."""

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per run: auc and final, the same normalised, and whether the run is used."""
        return super().scores.drop(columns=["episodes", "carried", "last100", "last100_normalised"])


class ExternalScores(Results):
    """Results of runs of which only one score each is known: there are no learning curves to draw."""

    metrics = ("score",)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per run: score, the same normalised, and whether the run is used."""
        runs, episodes = self.runs, self.episodes.set_index("cell")["return"]
        table = runs[["cell", "arm", "algorithm", "environment", "seed", "steps", "status"]].copy()
        table["used"] = table["status"] == "finished"
        table["score"] = table["cell"].map(episodes).to_numpy(np.float64)
        return with_normalised(table, self.metrics, self.references)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """No learning curves, with their columns."""
        columns = ["arm", "environment", "seed", "step", "return", "observed", "status", "used"]
        return pd.DataFrame({name: [] for name in columns})


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
    no other.

    Raises:
        RlbenchError: no such file, or one that is not a table as the module describes, or an unknown algorithm.
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
    with_curves = "step" in table
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
    kind = ExternalCurves if with_curves else ExternalScores
    return kind(document, tables, references=scales, seed=seed)


def _tables(table: pd.DataFrame) -> Tables:
    """Return the tables of the store with these runs in them."""
    keys = list(KEYS)
    step = table["step"] if "step" in table else pd.Series(1.0, table.index)
    budget = np.maximum(step.groupby(table["environment"]).transform("max"), 1.0)
    known = np.isfinite(table["score"])
    cell = table.groupby(keys).ngroup().map("{:08d}".format)
    every = table[keys].assign(cell=cell, steps=budget, done=step.where(known, 0.0), known=known)
    every["last"] = every.groupby("cell")["done"].transform("max")
    every["whole"] = every.groupby("cell")["known"].transform("all")
    runs = every.drop_duplicates("cell").reset_index(drop=True)
    reasons = [
        "a score is missing or not finite"
        if not whole
        else f"its curve ends at step {last:,.0f} of {steps:,.0f}"
        if last < (1 - WINDOW) * steps
        else ""
        for whole, last, steps in zip(runs["whole"], runs["last"], runs["steps"], strict=True)
    ]
    described = pd.DataFrame(
        {
            "cell": runs["cell"],
            "arm": runs["algorithm"],
            **{key: runs[key] for key in keys},
            "steps": runs["steps"].astype(np.int64),
            "fingerprint": "",
            "status": ["failed" if reason else "finished" for reason in reasons],
            "reason": reasons,
            "steps_done": runs["last"].astype(np.int64),
            **dict.fromkeys(("gradient_steps", "samples"), 0),
            "seconds": 0.0,
            "commit": "",
            "dirty": False,
            "reproducible": True,
            "device": "",
        }
    )
    episodes = pd.DataFrame({"cell": cell, "step": step.astype(np.int64), "return": table["score"], "length": 0})
    return Tables(described, episodes[known].reset_index(drop=True), pd.DataFrame({"cell": [], "step": []}))
