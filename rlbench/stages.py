"""Training seed by seed: stages of runs, and a look after each that says which arms still need runs.

Study and analysis meet here: the study trains what a stage needs and stores it, the analysis looks. Until the claims or
the comparisons are decided it is `rlbench.analysis.judge.verdicts.judge_at` or `rlbench.analysis.stats.sequential` that
looks; a search for good settings keeps the better half. Runs are keyed by their seed, so nothing is trained twice, an
interrupted experiment continues, and a larger one later finds the same runs.

    RESULTS/NAME/stages.json    the design, how often was looked, the decisions, and the runs that were asked for
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

from rlbench.algorithm import settings
from rlbench.analysis.draw.marks import Scored
from rlbench.analysis.judge.estimands import staged_data
from rlbench.analysis.judge.verdicts import judge_at
from rlbench.analysis.stats.sequential import Decision, decide, in_play
from rlbench.claims import Claim, digest
from rlbench.errors import RlbenchError, brief, explained
from rlbench.fields import rounds
from rlbench.files import write
from rlbench.results import STAGES, Results, open_results, read_stages
from rlbench.store.folders import home, write_tuned
from rlbench.study.experiment import Experiment
from rlbench.study.plan import Cell, Plan
from rlbench.study.progress import Summary
from rlbench.study.run import execute

STAGE = 5
METRIC = "auc"
Needed = set[tuple[str, str]]
"""The (environment, arm) that need more runs."""
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

    def look(results: Results, number: int) -> Needed:
        record.update(looked=number, cells=list(results.runs["cell"]))
        if claims:
            outcomes, needed = _judge_claims(claims, results, record, number)
        else:
            stages = [plan.experiment.seeds[low:high] for low, high in pairwise([0, *looks[:number]])]
            decisions = decide(*staged_data(results, stages, METRIC), looks)
            # JSON has no infinity.
            record["decisions"] = [asdict(one) | {"t": one.t if isfinite(one.t) else str(one.t)} for one in decisions]
            outcomes, needed = _outcomes(decisions), in_play(decisions)
        _write(folder, record, results_dir)
        say(f"Look {number} of at most {len(looks)}, after {looks[number - 1]} seeds: {outcomes}.")
        return needed

    results = _in_stages(plan, looks, look, results_dir, ended, options)
    return Results(replace(results.experiment, sequential=record), results.tables)


def _in_stages(
    plan: Plan,
    looks: Sequence[int],
    look: Callable[[Results, int], Needed],
    results_dir: str | Path,
    ended: Callable[[Plan, Summary], None],
    options: Mapping[str, Any],
) -> Results:
    """Train up to each number of seeds what the look before still needs, and return what is stored then."""
    needed = {(cell.environment.label, cell.arm) for cell in plan.cells}
    cells: list[Cell] = []
    for number, (before, until) in enumerate(pairwise([0, *looks]), start=1):
        fresh = set(plan.experiment.seeds[before:until])
        cells += [cell for cell in plan.cells if cell.seed in fresh and (cell.environment.label, cell.arm) in needed]
        part = replace(plan, cells=tuple(cells))
        ended(part, execute(part, results_dir, **options))
        # From the stored scores alone.
        results = open_results(part.document(), part.planned, results_dir, staged=False)
        needed = look(results, number)
        if not needed:
            break
    return results


def search(
    plan: Plan,
    results_dir: str | Path = "results",
    *,
    say: Callable[[str], None] = lambda _: None,
    ended: Callable[[Plan, Summary], None] = lambda *_: None,
    **options: Any,
) -> dict[tuple[str, str], str]:
    """Return the arm of each algorithm in a `rlbench.api.searched` that is best on each environment, by the two.

    Successive halving (K. Jamieson and A. Talwalkar, AISTATS 2016), with seeds for what is spent more of: the half of
    the arms with the higher mean area under the learning curve gets twice as many seeds, until few
    are left (`rlbench.fields.rounds`). A run that failed or diverged has the worst possible score. `say`, `ended` and
    `options` are as in `run_until_decided`.
    """
    looks, best = halvings(plan), dict[tuple[str, str], str]()

    def look(results: Results, number: int) -> Needed:
        scores = results.failures_as_worst(METRIC).scores
        last = scores["seed"] == plan.experiment.seeds[looks[number - 1] - 1]
        means = scores.groupby(["environment", "arm"])[METRIC].mean()
        kept: Needed = set()
        for (environment, algorithm), runs in scores[last].groupby(["environment", "algorithm"], sort=False):
            order = means.loc[str(environment)].reindex(runs["arm"]).sort_values(ascending=False, kind="stable")
            best[str(environment), str(algorithm)] = str(order.index[0])
            kept |= {(str(environment), str(arm)) for arm in order.index[: -(-len(order) // 2)]}
        after = f"Round {number} of {len(looks)}, {looks[number - 1]} seeds"
        if number < len(looks):
            say(f"{after}: {len(kept)} of {int(last.sum())} are kept.")
            return kept
        titles = dict.fromkeys(arm.title for arm in plan.arms)
        pairs = [f"on {place} {best[place, title]}" for place in results.environments for title in titles]
        say(f"{after}: best is {'; '.join(pairs)}.")
        return set()

    _in_stages(plan, looks, look, results_dir, ended, options)
    return best


def keep_found(results: Results, confirmation: Plan, search: Experiment, results_dir: str | Path) -> None:
    """Keep what a search found for `--tuned`, with where it comes from and its scores on fresh seeds."""
    scored = Scored(results, METRIC)
    defaults = {arm.title: arm for arm in reversed(confirmation.arms)}
    for found in {arm.title: arm for arm in confirmation.arms}.values():
        entries = {}
        for place in results.environments:
            arm, usual = found.on(place), defaults[found.title]
            fields = settings(arm.algorithm) if arm.algorithm else {}
            means = {name: scored.mean(one.label, [place]) for name, one in (("found", arm), ("before", usual))}
            entries[place] = {
                "settings": {name: fields[name] for name in arm.given},
                "steps": int(results.runs["steps"][results.runs["environment"] == place].max()),
                "search": search.design,
                "experiment": results.experiment.name,
                "fingerprint": arm.fingerprint,
                "seeds": len(confirmation.experiment.seeds),
                METRIC: {name: [mean.point, mean.low, mean.high] for name, mean in means.items()},
            }
        write_tuned(results_dir, found.title, entries)


def halvings(plan: Plan) -> list[int]:
    """Return the numbers of seeds after each round of a search: its last round has all that are planned."""
    looks = [len(plan.experiment.seeds)]
    for _ in range(rounds(max(Counter(arm.title for arm in plan.arms).values())) - 1):
        looks.insert(0, looks[0] // 2)
    return looks


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
