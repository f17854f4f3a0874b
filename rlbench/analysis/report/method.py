"""What a reader should be warned of, and the facts in the method section of a page.

The words of the method are in the template, `templates/report.html.j2`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlbench.analysis.format import count, form_of, ranges, steps
from rlbench.analysis.judge.compare import ALPHA, interim_warnings, warning
from rlbench.analysis.report.registration import of_experiment
from rlbench.analysis.report.tables import is_measured
from rlbench.analysis.scores.references import reference
from rlbench.analysis.scores.scores import POINTS
from rlbench.analysis.stats.estimates import BAND_REPETITIONS, LEVEL, REPETITIONS
from rlbench.records import IDLE, idle, idle_updates

if TYPE_CHECKING:
    from rlbench.analysis.judge.judged import JudgedResults


FEW_SEEDS = 10


def warnings(results: JudgedResults) -> list[str]:
    """Return what a reader must know before believing the numbers, one sentence each."""
    experiment = results.experiment
    lines = [*_provenance(results.runs), *_idle(results), *_stopped(results.runs), *experiment.notes]
    lines += [warning(one) for one in results.sensitivity if one.changed]
    lines += [*_few_runs(results), *interim_warnings(experiment.sequential)]
    written, early = of_experiment(results)
    if results.claims and not early:
        lines.append(" ".join(written))
    if experiment.source:
        lines += _unequal(results)
    unknown = [name for name in results.environments if reference(name, results.references) is None]
    if unknown and not is_measured(results):
        absent = "reference scores are given" if experiment.source else "reference returns are known"
        lines.append(
            f"No {absent} for {', '.join(unknown)}, so its scores are not normalised and do not "
            "enter any result over all environments."
        )
    return lines


def _provenance(runs: pd.DataFrame) -> list[str]:
    """Say what differs between the runs that must be the same, and what cannot be reproduced."""
    ran, lines = runs[runs["status"] != "missing"], []
    commits, devices = _commits(ran), sorted(set(ran["device"]))
    if len(commits) > 1:
        lines.append(f"The runs come from {len(commits)} different versions of the code: {', '.join(commits)}.")
    if len(devices) > 1:
        lines.append(f"The runs were trained on different devices, which round differently: {', '.join(devices)}.")
    if dirty := int(ran["dirty"].astype(bool).sum()):
        lines.append(f"{dirty} of {len(ran)} runs were made with uncommitted changes to the code.")
    chancy = ran[~ran["reproducible"].astype(bool)] if "reproducible" in ran else ran[:0]  # archives of before
    lines += [
        f"{environment} gave other observations or rewards when it was run again with the same seed and the same "
        "actions. Its runs cannot be reproduced, and may depend on the runs that they trained with."
        for environment in sorted(set(chancy["environment"]))
    ]
    return lines


def _stopped(runs: pd.DataFrame) -> list[str]:
    counts = runs["status"].value_counts()
    parts = [f"{counts[name]} {name}" for name in ("failed", "diverged", "missing") if counts.get(name)]
    if not parts:
        return []
    return [
        f"{', '.join(parts)} of {len(runs)} planned runs. Scores are of the runs that finished; if runs fail because "
        "of the algorithm, its score is biased upwards."
    ]


def _idle(results: JudgedResults) -> list[str]:
    """Say of which arms many updates had nothing to learn from."""
    if not {"kl_max", "ratio_max", "gradient_steps"} <= {*results.updates}:
        return []
    ended = dict(iter(results.episodes.groupby("cell")["step"]))
    counts = {}
    for cell, rows in results.updates.groupby("cell"):
        columns = {str(name): column for name, column in rows.items()}
        counts[cell] = idle_updates(columns, {"step": ended.get(cell, [])}), len(rows)
    lines = []
    for (arm, environment), runs in results.runs.groupby(["arm", "environment"]):
        few, many = (sum(counts.get(cell, (0, 0))[part] for cell in runs["cell"]) for part in (0, 1))
        if few and few >= IDLE * many:
            lines.append(idle(f"{arm} on {environment}", few, many))
    return lines


def _few_runs(results: JudgedResults) -> list[str]:
    """Warn of arms with no used run, and of the smallest number of used runs where it is small."""
    groups = results.scores.groupby(["arm", "environment"], sort=False, as_index=False)["used"].sum()
    used = [(str(arm), str(environment), int(runs)) for arm, environment, runs in groups.to_numpy()]
    if not any(runs for _, _, runs in used):
        return []
    lines = [f"No run of {arm} on {environment} can be used." for arm, environment, runs in used if not runs]
    arm, environment, fewest = min((group for group in used if group[2]), key=lambda group: group[2])
    if fewest < FEW_SEEDS:
        lines.append(
            f"{arm} has only {count(fewest, 'used run')} on {environment}. With fewer than {FEW_SEEDS} "
            "intervals tend to be too narrow, and only large differences can be detected."
        )
    return lines


def _unequal(results: JudgedResults) -> list[str]:
    """Say where arms have no runs, or other numbers of runs: runs made elsewhere were not planned here."""
    counts = results.runs.groupby(["environment", "arm"]).size()
    lines = []
    for environment in results.environments:
        here = {arm: int(counts.get((environment, arm), 0)) for arm in results.arms}
        if absent := [arm for arm, runs in here.items() if not runs]:
            lines.append(f"There is no run of {' and '.join(absent)} on {environment}, so it is not compared there.")
        if len({runs for runs in here.values() if runs}) > 1:
            numbers = ", ".join(f"{arm} {runs}" for arm, runs in here.items() if runs)
            lines.append(f"The numbers of runs on {environment} differ: {numbers}.")
    return lines


def method_facts(results: JudgedResults) -> dict[str, Any]:
    """Return what the method section of an experiment's page has in its sentences, by the names of its template."""
    runs, known = results.runs, [(name, reference(name, results.references)) for name in results.environments]
    budgets = runs.groupby("environment", sort=False)["steps"].first()
    seeds = sorted(set(runs["seed"]))
    return {
        "results": results,
        "measured": is_measured(results),
        "level": f"{LEVEL:.0%}".replace("%", " %"),
        "repetitions": f"{REPETITIONS:,}",
        "band_repetitions": f"{BAND_REPETITIONS:,}",
        "points": POINTS,
        "alpha": ALPHA,
        "commits": _commits(runs),
        "seed_count": len(seeds),
        "seeds": ranges(seeds),
        "budgets": [f"{name}: {int(budgets[name]):,} environment steps per run" for name in results.environments],
        "compared": [_compared(name, results.experiment.compared.get(name)) for name in results.environments],
        "references": [
            f"{name}: {scale.random:g} and {scale.target:g} (target: {scale.source})" for name, scale in known if scale
        ],
        "detectable": _detectable(results),
    }


def _commits(runs: pd.DataFrame) -> list[str]:
    return sorted({str(commit)[:10] for commit in runs["commit"] if commit})


def _compared(name: str, points: npt.NDArray[np.float64] | None) -> str:
    """Return an environment of runs that were made elsewhere, with the points at which their curves are compared."""
    if points is None:
        return name
    return f"{name}: steps {steps(points[0])} to {steps(points[-1])}, at {len(points)} points"


def _detectable(results: JudgedResults) -> list[str]:
    """Return the minimum detectable effect of every comparison, or what a test that cannot decide would need."""
    lines = []
    for one in results.comparisons:
        pair = f"{one.arm} against {one.baseline} on {one.environment}"
        if one.smallest_p >= ALPHA:
            lines.append(f"{pair}: nothing, at least {one.fewest} runs per arm are needed")
        elif np.isfinite(one.detectable):
            form = form_of([one.difference, one.detectable], 2 if one.normalised else 1)
            lines.append(f"{pair}: {one.detectable:{form}}")
    return lines
