"""Training seed by seed until the comparisons are decided: stages of runs, and a look after each.

Study and analysis meet here: the study trains what a stage needs and stores it, the analysis looks
(`rlbench.analysis.stats.sequential`) and says which arms still need runs. Runs are keyed by their seed, so nothing is
trained twice, an interrupted experiment continues, and a larger one later finds the same runs.

    RESULTS/NAME/stages.json    the design, how often was looked, the decisions, and the runs that were asked for
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbench.errors import RlbenchError
from rlbench.files import COUNT, LABEL, NAME, TEXT, check, read_json, write
from rlbench.store import Planned, Store, load_table
from rlbench.store.folders import home
from rlbench.study.executors.launcher import launcher_for
from rlbench.study.experiment import Arm, Experiment
from rlbench.study.imports import leave_quickly, uncollected
from rlbench.study.plan import Cell, Plan
from rlbench.study.progress import Summary
from rlbench.study.run import execute
from rlbench.training import INTERVAL

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm
    from rlbench.analysis.scores.results import Results
    from rlbench.analysis.stats.sequential import Decision
    from rlbench.records import Environment
    from rlbench.study.experiment import Measurement


FILE = "stages.json"
STAGE = 5
METRIC = "auc"
_DECISION = {
    "arm": LABEL,
    "baseline": LABEL,
    "environments": [LABEL],
    "outcome": TEXT,
    "look": COUNT,
    "n_arm": COUNT,
    "n_baseline": COUNT,
}
_RECORD = {
    "looks": [COUNT],
    "metric": TEXT,
    "arms": [LABEL],
    "looked": COUNT,
    "decisions": [_DECISION],
    "cells": [NAME],
    "earlier": COUNT,
}


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
    undecided when the seeds are used up is undecided.

    Raises:
        RlbenchError: there is nothing to compare, or fewer seeds than two looks need.
    """
    from rlbench.analysis.stats.sequential import in_play

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
        results, decisions = _look(part, results_dir, looks, number)
        record |= {"looked": number, "decisions": [_row(one) for one in decisions], "cells": [one.id for one in cells]}
        _write(folder, record, results_dir)
        say(_sentence(number, len(looks), until, decisions))
        needed = in_play(decisions)
        if not needed:
            break
    results.experiment["sequential"] = record
    return results


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


def staged(
    results_dir: str | Path, document: Mapping[str, Any], cells: Sequence[Planned]
) -> tuple[dict[str, Any], list[Planned]]:
    """Return an experiment and its planned runs as they were run in stages; unchanged if they were not, or not only.

    Runs that no stage asked for are not missing: their arms were decided. If all of them are stored nevertheless, the
    experiment was run as a whole.
    """
    record = _read(home(results_dir, str(document["name"])))
    asked = set(record.get("cells") or [])
    if not asked or not asked <= {one.cell for one in cells}:
        return dict(document), list(cells)
    store = Store(results_dir)
    if all(store.manifest(one.cell) for one in cells) and len(asked) < len(cells):
        return dict(document), list(cells)
    return {**document, "sequential": record}, [one for one in cells if one.cell in asked]


def _look(part: Plan, results_dir: str | Path, looks: Sequence[int], number: int) -> tuple[Results, list[Decision]]:
    """Return the results so far and the decisions of look `number`, from the stored scores alone."""
    from rlbench.analysis.judge.estimands import sequential_data
    from rlbench.analysis.scores.results import Results
    from rlbench.analysis.stats.sequential import decide
    from rlbench.store.folders import read_register

    register = read_register(home(results_dir, part.experiment.name))
    results = Results({**part.document(), "register": register}, load_table(results_dir, part.planned))
    stages = [part.experiment.seeds[low:high] for low, high in pairwise([0, *looks[:number]])]
    data, hypotheses = sequential_data(results, stages, METRIC)
    return results, decide(data, hypotheses, looks)


def _begin(folder: Path, results_dir: str | Path, design: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a design, written before its runs start.

    It counts the other designs that were looked at before: who changes the looks after a look has no error rate.
    """
    found = _read(folder)
    other = any(found.get(key) != value for key, value in design.items()) and bool(found.get("looked"))
    record = {**design, "looked": 0, "decisions": [], "cells": [], "earlier": int(found.get("earlier", 0)) + other}
    if other or not found.get("looked"):
        _write(folder, record, results_dir)
    return record


def _read(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = read_json(folder / FILE)
        check(record, _RECORD, "it")
        return record
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as problem:
        raise RlbenchError(f"{folder / FILE} cannot be read ({problem}); move it away to begin anew.") from problem


def _write(folder: Path, record: Mapping[str, Any], results_dir: str | Path) -> None:
    path = folder / FILE
    try:
        write(path, json.dumps(record, indent=1) + "\n", inside=results_dir)
    except OSError as problem:
        raise RlbenchError(f"Cannot write {path}: {problem.strerror or problem}.") from problem


def _row(one: Decision) -> dict[str, Any]:
    """Return a decision as JSON."""
    return {
        "arm": one.hypothesis.arm,
        "baseline": one.hypothesis.baseline,
        "environments": list(one.hypothesis.environments),
        "outcome": one.outcome,
        "look": one.look,
        "t": one.t if abs(one.t) < float("inf") else str(one.t),
        "n_arm": one.n_arm,
        "n_baseline": one.n_baseline,
    }


def _sentence(number: int, looks: int, seeds: int, decisions: Sequence[Decision]) -> str:
    """Return what a look decided."""
    several = len({one.hypothesis.environments for one in decisions}) > 1
    places = {one: f" on {one.hypothesis.environments[0]}" if several else "" for one in decisions}
    decided = [f"{one.hypothesis.arm} {one.outcome}{places[one]}" for one in decisions if one.look]
    still = [f"{one.hypothesis.arm}{places[one]}" for one in decisions if not one.look]
    parts = [f"{', '.join(decided)} than {decisions[0].hypothesis.baseline}"] if decided else []
    parts += [f"undecided {', '.join(still)}"] if still else []
    return f"Look {number} of at most {looks}, after {seeds} seeds: {'; '.join(parts)}."


def run(
    experiment: Experiment | Measurement,
    results_dir: str | Path = "results",
    *,
    workers: int | None = None,
    device: str = "cpu",
    progress: bool = True,
    checkpoint_every: float = INTERVAL,
    time_limit: float | None = None,
    executor: str = "local",
    address: str | None = None,
) -> Results:
    """Train what is not stored yet and return everything that is, failed and diverged runs included.

    `workers` is the number of processes: one per CPU if None, 0 to train in this one. `device` is "cpu", "cuda",
    "cuda:N", or "auto" for a GPU where there is one and enough replicas for it. Runs are stored in
    `results_dir` as they end, and those in training saved every `checkpoint_every` seconds, never if 0; the same call
    continues after an interruption. `time_limit`, seconds, is what a step of an environment may take (60 if None, 0:
    for ever); a worker that gives no sign of life for ten times as long is ended. `executor` is "local", or "ray" to
    train on the Ray cluster at `address` (None: RAY_ADDRESS, the one that runs on this machine, or one started for the
    call).
    """
    from rlbench.store import load_table
    from rlbench.store.folders import home, read_register, seems_stored

    with launcher_for(executor, address, workers) as launcher:
        if workers != 0 and not seems_stored(results_dir, experiment.document()):
            launcher.prepare()  # before this process imports anything heavy itself
        leave_quickly()
        with uncollected():
            from rlbench.study.plan import make_plan
            from rlbench.study.run import execute

        plan = make_plan(experiment)
        summary = execute(
            plan,
            results_dir,
            workers=workers,
            device=device,
            progress=progress,
            checkpoint_every=checkpoint_every,
            time_limit=time_limit,
            launcher=launcher,
            meanwhile=import_analysis,
        )
    for message in summary.messages:
        warnings.warn(message, stacklevel=2)
    from rlbench.analysis.scores.results import Results

    register = read_register(home(results_dir, experiment.name))
    return Results({**plan.document(), "register": register}, load_table(results_dir, plan.planned))


def import_analysis() -> None:
    """Import what reading and comparing results needs."""
    with uncollected():
        import rlbench.analysis.scores.results  # noqa: F401


def compare(
    arms: Sequence[Arm | str | type[Algorithm]],
    environments: Sequence[Environment | str],
    seeds: int | Sequence[int] = 10,
    steps: int | Mapping[str, int] = 100_000,
    baseline: str = "",
    **options: Any,
) -> Results:
    """Train algorithms on environments and return the results; the baseline is the last arm if not given.

    `options` are those of `run`.
    """
    return run(comparison(arms, environments, seeds, steps, baseline), **options)


def comparison(
    arms: Sequence[Arm | str | type[Algorithm]],
    environments: Sequence[Environment | str],
    seeds: int | Sequence[int] = 10,
    steps: int | Mapping[str, int] = 100_000,
    baseline: str = "",
) -> Experiment:
    """Return the experiment of `rlbench compare`, named after what it compares."""
    listed = [one if isinstance(one, Arm) else Arm(one) for one in arms]
    labels = [one.label or one.name for one in listed]
    ids = [one if isinstance(one, str) else one.label for one in environments]
    name = "".join(
        character if character.isalnum() or character in "-_." else "_"
        for character in f"compare-{'-'.join(labels)}-on-{'-'.join(ids)}"
    )
    question = f"How do {' and '.join(labels)} compare on {' and '.join(ids)}?"
    return Experiment(name[:120], listed, environments, seeds, steps, baseline or labels[-1], question)
