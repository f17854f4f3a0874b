"""Training seed by seed until the claims or the comparisons are decided: stages of runs, and a look after each.

Study and analysis meet here: the study trains what a stage needs and stores it, the analysis looks
(`rlbench.analysis.judge.verdicts.judge_at` at claims, `rlbench.analysis.stats.sequential` at comparisons) and says
which arms still need runs. Runs are keyed by their seed, so nothing is
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
from rlbench.analysis.judge.verdicts import judge_at
from rlbench.analysis.stats.sequential import Decision, decide, in_play
from rlbench.claims import Claim, digest
from rlbench.errors import RlbenchError, brief, explained
from rlbench.files import write
from rlbench.results import STAGES, Results, open_results, read_stages
from rlbench.store.folders import home
from rlbench.study.plan import Cell, Plan
from rlbench.study.progress import Summary
from rlbench.study.run import execute

STAGE = 5
METRIC = "auc"
_LEAST = 0.001  # of errors that a look may be left with: tests have too few permutations to tell less apart


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

    What is decided are the experiment's claims. Where it makes none, it is the comparisons of every arm with the
    baseline in the area under the learning curve: over all environments where all have references, else on each one.
    `say` gets a sentence after every look, `ended` the
    summary of every stage's training; `options` are those of `rlbench.study.run.execute_all`. What remains
    open when the seeds are used up is inconclusive.

    Raises:
        RlbenchError: there is nothing to compare, or fewer seeds than two looks need.
    """
    looks = planned_looks(plan, stage)
    folder = home(results_dir, plan.experiment.name)
    claims = plan.experiment.claims
    design = {"looks": looks, "metric": METRIC, "arms": [arm.label for arm in plan.arms]}
    record = _begin(folder, results_dir, design | ({"claims": digest(claims)} if claims else {}))
    if claims:
        record["settled"] = {}
    needed = {(cell.environment.label, cell.arm) for cell in plan.cells}
    cells: list[Cell] = []
    for number, (before, until) in enumerate(pairwise([0, *looks]), start=1):
        fresh = set(plan.experiment.seeds[before:until])
        cells += [cell for cell in plan.cells if cell.seed in fresh and (cell.environment.label, cell.arm) in needed]
        part = replace(plan, cells=tuple(cells))
        ended(part, execute(part, results_dir, **options))
        # From the stored scores alone.
        results = open_results(part.document(), part.planned, results_dir, staged=False)
        record |= {"looked": number, "cells": [cell.id for cell in cells]}
        if claims:
            outcomes, needed = _judge_claims(claims, results, record, number)
        else:
            stages = [part.experiment.seeds[low:high] for low, high in pairwise([0, *looks[:number]])]
            decisions = decide(*staged_data(results, stages, METRIC), looks)
            # JSON has no infinity.
            record["decisions"] = [asdict(one) | {"t": one.t if isfinite(one.t) else str(one.t)} for one in decisions]
            outcomes, needed = _outcomes(decisions), in_play(decisions)
        _write(folder, record, results_dir)
        say(f"Look {number} of at most {len(looks)}, after {until} seeds: {outcomes}.")
        if not needed:
            break
    return Results(replace(results.experiment, sequential=record), results.tables)


def planned_looks(plan: Plan, stage: int) -> list[int]:
    """Return the numbers of seeds at every look; RlbenchError where no second look would come."""
    seeds, where = len(plan.experiment.seeds), plan.experiment.where
    if len(plan.arms) < 2 and not plan.experiment.claims:
        raise RlbenchError(f"{where} has one arm, so there is nothing to decide.")
    if stage < 2:
        raise RlbenchError(f"A stage needs at least 2 seeds, not {stage}.")
    if seeds <= stage:
        raise RlbenchError(
            f"{where} has {seeds} seeds at most, and stages of {stage} would look at them once. Give more with "
            "--seeds, or smaller stages."
        )
    looks = [*range(stage, seeds, stage), seeds]
    smallest = min(until - before for before, until in pairwise([0, *looks])) / seeds
    for claim in plan.experiment.claims:
        if (1 - claim.level) * smallest < _LEAST:
            raise RlbenchError(
                f"{where}: {len(looks)} looks leave one of them less than {100 * _LEAST:g} % of errors at the level of "
                f"{claim.id or brief(claim.statement)}; make stages larger, which divide the seeds evenly."
            )
    return looks


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


def _judge_claims(
    claims: Sequence[Claim], results: Results, record: dict[str, Any], number: int
) -> tuple[str, set[tuple[str, str]]]:
    """Judge the claims that are open, note in the record which are settled; return what is said, and what runs on."""
    said, needed = [], set()
    for claim in claims:
        if digest([claim]) in record["settled"]:
            continue
        outcome = judge_at(claim, results, record["looks"], number).verdict
        said.append(f"{claim.id or f'“{claim.statement}”'} {outcome}")
        if outcome == "inconclusive":
            needed |= {(place, arm) for place in claim.environments or results.environments for arm in claim.arms}
        else:
            record["settled"][digest([claim])] = number
    return "; ".join(said), needed


def _outcomes(decisions: Sequence[Decision]) -> str:
    """Say what a look decided on comparisons."""
    several = len({decision.environments for decision in decisions}) > 1
    places = {decision: f" on {decision.environments[0]}" if several else "" for decision in decisions}
    decided = [f"{each.arm} {each.outcome}{place}" for each, place in places.items() if each.look]
    still = [f"{each.arm}{place}" for each, place in places.items() if not each.look]
    parts = [f"{', '.join(decided)} than {decisions[0].baseline}"] if decided else []
    parts += [f"inconclusive {', '.join(still)}"] if still else []
    return "; ".join(parts)
