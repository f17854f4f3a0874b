"""Training seed by seed until the comparisons are decided: stages of runs, and a look after each.

Study and analysis meet here: the study trains what a stage needs and stores it, the analysis looks
(`rlbench.analysis.stats.sequential`) and says which arms still need runs. Runs are keyed by their seed, so nothing is
trained twice, an interrupted experiment continues, and a larger one later finds the same runs.

    RESULTS/NAME/stages.json    the design, how often was looked, the decisions, and the runs that were asked for
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

from rlbench.analysis.judge.estimands import staged_data
from rlbench.analysis.stats.sequential import Decision, decide, in_play
from rlbench.errors import RlbenchError, explained
from rlbench.files import write
from rlbench.results import STAGES, Results, open_results, read_stages
from rlbench.store.folders import home
from rlbench.study.plan import Cell, Plan
from rlbench.study.progress import Summary
from rlbench.study.run import execute

STAGE = 5
METRIC = "auc"


def run_until_decided(
    plan: Plan,
    results_dir: str | Path = "results",
    *,
    stage: int = STAGE,
    say: Callable[[str], None] = lambda _: None,
    ended: Callable[[Plan, Summary], None] = lambda *_: None,
    **options: Any,
) -> Results:
    """Train `stage` seeds at a time, as far as the experiment's seeds go, and stop each arm when it is decided.

    The comparisons are those of every arm with the baseline in the area under the learning curve: over all
    environments where all have references, else on each one. `say` gets a sentence after every look, `ended` the
    summary of every stage's training; `options` are those of `rlbench.study.run.execute_all`. What remains
    open when the seeds are used up is inconclusive.

    Raises:
        RlbenchError: there is nothing to compare, or fewer seeds than two looks need.
    """
    looks = planned_looks(plan, stage)
    folder = home(results_dir, plan.experiment.name)
    record = _begin(folder, results_dir, {"looks": looks, "metric": METRIC, "arms": [arm.label for arm in plan.arms]})
    needed = {(cell.environment.label, cell.arm) for cell in plan.cells}
    cells: list[Cell] = []
    for number, (before, until) in enumerate(pairwise([0, *looks]), start=1):
        fresh = set(plan.experiment.seeds[before:until])
        cells += [cell for cell in plan.cells if cell.seed in fresh and (cell.environment.label, cell.arm) in needed]
        part = replace(plan, cells=tuple(cells))
        ended(part, execute(part, results_dir, **options))
        # From the stored scores alone.
        results = open_results(part.document(), part.planned, results_dir, staged=False)
        stages = [part.experiment.seeds[low:high] for low, high in pairwise([0, *looks[:number]])]
        decisions = decide(*staged_data(results, stages, METRIC), looks)
        # JSON has no infinity.
        rows = [asdict(each) | {"t": each.t if isfinite(each.t) else str(each.t)} for each in decisions]
        record |= {"looked": number, "decisions": rows, "cells": [cell.id for cell in cells]}
        _write(folder, record, results_dir)
        say(_sentence(number, len(looks), until, decisions))
        needed = in_play(decisions)
        if not needed:
            break
    return Results(replace(results.experiment, sequential=record), results.tables)


def planned_looks(plan: Plan, stage: int) -> list[int]:
    """Return the numbers of seeds at every look; RlbenchError where no second look would come."""
    seeds, where = len(plan.experiment.seeds), plan.experiment.where
    if len(plan.arms) < 2:
        raise RlbenchError(f"{where} has one arm, so there is nothing to decide.")
    if stage < 2:
        raise RlbenchError(f"A stage needs at least 2 seeds, not {stage}.")
    if seeds <= stage:
        raise RlbenchError(
            f"{where} has {seeds} seeds at most, and stages of {stage} would look at them once. Give more with "
            "--seeds, or smaller stages."
        )
    return [*range(stage, seeds, stage), seeds]


def _begin(folder: Path, results_dir: str | Path, design: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a design, written before its runs start.

    It counts the other designs that were looked at before: who changes the looks after a look has no error rate.
    """
    found = read_stages(folder)
    other = any(found.get(key) != value for key, value in design.items()) and bool(found.get("looked"))
    record = {**design, "looked": 0, "decisions": [], "cells": [], "earlier": int(found.get("earlier", 0)) + other}
    if other or not found.get("looked"):
        _write(folder, record, results_dir)
    return record


def _write(folder: Path, record: Mapping[str, Any], results_dir: str | Path) -> None:
    path = folder / STAGES
    with explained(f"Cannot write {path}"):
        write(path, json.dumps(record, indent=1) + "\n", inside=results_dir)


def _sentence(number: int, looks: int, seeds: int, decisions: Sequence[Decision]) -> str:
    """Return what a look decided."""
    several = len({decision.environments for decision in decisions}) > 1
    places = {decision: f" on {decision.environments[0]}" if several else "" for decision in decisions}
    decided = [f"{each.arm} {each.outcome}{place}" for each, place in places.items() if each.look]
    still = [f"{each.arm}{place}" for each, place in places.items() if not each.look]
    parts = [f"{', '.join(decided)} than {decisions[0].baseline}"] if decided else []
    parts += [f"inconclusive {', '.join(still)}"] if still else []
    return f"Look {number} of at most {looks}, after {seeds} seeds: {'; '.join(parts)}."
