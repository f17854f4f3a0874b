"""How the numbers of a report came about, in plain words, and what a reader should be warned of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbench.analysis.format import form_of, steps
from rlbench.analysis.judge.compare import ALPHA, interim_warnings, warning
from rlbench.analysis.report.registration import of_experiment
from rlbench.analysis.scores.references import reference
from rlbench.analysis.scores.scores import POINTS
from rlbench.analysis.stats.estimates import BAND_REPETITIONS, LEVEL, REPETITIONS
from rlbench.records import IDLE, MEASURED, idle, idle_updates

if TYPE_CHECKING:
    from rlbench.analysis.judge.judged import JudgedResults


FEW_SEEDS = 10


@dataclass(frozen=True)
class Method:
    """The paragraphs of the method section, as (term, text) pairs, in two groups."""

    what: list[tuple[str, str]]
    how: list[tuple[str, str]]


def describe(results: JudgedResults) -> Method:
    """Return the method section of the report of `results`."""
    return Method(_what(results), _how(results))


def warnings(results: JudgedResults) -> list[str]:
    """Return what a reader must know before believing the numbers, one sentence each."""
    runs, said = results.runs, []
    ran = runs[runs["status"] != "missing"]
    commits = sorted({str(commit)[:10] for commit in ran["commit"] if commit})
    if len(commits) > 1:
        said.append(f"The runs come from {len(commits)} different versions of the code: {', '.join(commits)}.")
    devices = sorted(set(ran["device"]))
    if len(devices) > 1:
        said.append(f"The runs were trained on different devices, which round differently: {', '.join(devices)}.")
    dirty = int(ran["dirty"].astype(bool).sum())
    if dirty:
        said.append(f"{dirty} of {len(ran)} runs were made with uncommitted changes to the code.")
    chancy = ran[~ran["reproducible"].astype(bool)] if "reproducible" in ran else ran[:0]  # archives of before
    for environment in sorted(set(chancy["environment"])):
        said.append(
            f"{environment} gave other observations or rewards when it was stepped again with the same seed and the "
            "same actions: its runs cannot be reproduced, and may depend on what they trained with."
        )
    said += _idle(results)
    counts = runs["status"].value_counts()
    stopped = {name: int(counts.get(name, 0)) for name in ("failed", "diverged", "missing")}
    if any(stopped.values()):
        parts = ", ".join(f"{number} {name}" for name, number in stopped.items() if number)
        said.append(
            f"{parts} of {len(runs)} planned runs. Scores are of the runs that finished; where runs fail for reasons "
            "that have to do with the algorithm, its score is too good."
        )
    said += results.experiment.notes
    said += [warning(one) for one in results.sensitivity if one.changed]
    said += _few_runs(results)
    said += interim_warnings(results.experiment.sequential)
    written, early = of_experiment(results)
    if results.claims and not early:
        said.append(" ".join(written))
    if results.experiment.source:
        said += _unequal(results)
    unknown = [name for name in results.environments if reference(name, results.references) is None]
    if unknown and not (runs["algorithm"] == MEASURED).all():
        absent = "reference scores are given" if results.experiment.source else "reference returns are known"
        said.append(
            f"No {absent} for {', '.join(unknown)}, so its scores are not normalised and do not "
            "enter anything said of all environments together."
        )
    return said


def _idle(results: JudgedResults) -> list[str]:
    """Say of which arms many updates had nothing to learn from."""
    if not {"kl_max", "ratio_max", "gradient_steps"} <= {*results.updates}:
        return []
    ended = dict(iter(results.episodes.groupby("cell")["step"]))
    counts = {
        cell: (
            idle_updates({str(name): column for name, column in rows.items()}, {"step": ended.get(cell, [])}),
            len(rows),
        )
        for cell, rows in results.updates.groupby("cell")
    }
    said = []
    for (arm, environment), runs in results.runs.groupby(["arm", "environment"]):
        few, many = (sum(counts.get(cell, (0, 0))[part] for cell in runs["cell"]) for part in (0, 1))
        if few and few >= IDLE * many:
            said.append(idle(f"{arm} on {environment}", few, many))
    return said


def _few_runs(results: JudgedResults) -> list[str]:
    """Warn of arms with no used run, and of the smallest number of used runs where it is small."""
    groups = results.scores.groupby(["arm", "environment"], sort=False, as_index=False)["used"].sum()
    used = [(str(arm), str(environment), int(count)) for arm, environment, count in groups.to_numpy()]
    some = [one for one in used if one[2] > 0]
    if not some:
        return []
    said = [f"No run of {arm} on {environment} can be used." for arm, environment, count in used if count == 0]
    arm, environment, count = min(some, key=lambda one: one[2])
    if count < FEW_SEEDS:
        said.append(
            f"{arm} has only {count} used run{'s' if count > 1 else ''} on {environment}. With fewer than {FEW_SEEDS} "
            "the intervals tend to be too narrow, and only large differences can be found."
        )
    return said


def _unequal(results: JudgedResults) -> list[str]:
    """Say where arms have no runs, or other numbers of runs: runs made elsewhere were not planned here."""
    counts = results.runs.groupby(["environment", "arm"]).size()
    said = []
    for environment in results.environments:
        here = {arm: int(counts.get((environment, arm), 0)) for arm in results.arms}
        absent = [arm for arm, count in here.items() if not count]
        if absent:
            said.append(f"There is no run of {' and '.join(absent)} on {environment}, so it is not compared there.")
        present = {arm: count for arm, count in here.items() if count}
        if len(set(present.values())) > 1:
            listed = ", ".join(f"{arm} {count}" for arm, count in present.items())
            said.append(f"The numbers of runs on {environment} differ: {listed}.")
    return said


def _what(results: JudgedResults) -> list[tuple[str, str]]:
    runs = results.runs
    seeds = sorted(set(runs["seed"]))
    if source := results.experiment.source:
        said = [
            (
                "Where the runs come from",
                f"The file {source}, whose runs hash to {results.experiment.digest}. rlbench did not train them "
                "and takes their scores as they are.",
            ),
            ("Arms", f"{', '.join(results.arms)}."),
            ("Environments", "; ".join(_compared(results))),
        ]
    else:
        steps = runs.groupby("environment", sort=False)["steps"].first()
        budgets = "; ".join(f"{name}: {int(steps[name]):,} environment steps per run" for name in results.environments)
        said = [
            ("Arms", f"{', '.join(results.arms)}. All their settings are in the table below."),
            (
                "Environments and budgets",
                f"{budgets}. The budget is the same for every arm; steps of parallel copies are counted together.",
            ),
            (
                "Seeds",
                f"{len(seeds)} per arm and environment ({ranges(seeds)}). A run is one training with one seed, and "
                "runs, not episodes, are what all statistics count.",
            ),
        ]
    if results.baseline:
        said.append(("Baseline", f"{results.baseline}: every other arm is compared with it."))
    return said + code(results)


def _compared(results: JudgedResults) -> list[str]:
    """Return the environments of runs that were made elsewhere, with the points at which their curves are compared."""
    points = results.experiment.compared
    return [
        f"{name}: steps {steps(points[name][0])} to {steps(points[name][-1])}, at {len(points[name])} points"
        if name in points
        else name
        for name in results.environments
    ]


def code(results: JudgedResults) -> list[tuple[str, str]]:
    """Say which version of the code made the runs, where that is known."""
    commits = sorted({str(commit)[:10] for commit in results.runs["commit"] if commit})
    return [("Code", f"version {', '.join(commits)}.")] if commits else []


def _how(results: JudgedResults) -> list[tuple[str, str]]:
    level = f"{LEVEL:.0%}".replace("%", " %")
    return [
        *_scores(results),
        ("Normalised score", _references(results)),
        (
            "Which runs count",
            f"{_which(results)} Failed, diverged and missing runs are counted on every "
            "figure and listed under Runs, and their scores enter no average.",
        ),
        (
            "How much the intervals hold",
            "Each kind of interval was tried on simulated experiments whose truth is known, with 3 to 20 runs and five "
            "kinds of scores. One that held the truth in fewer than 93 of 100 of some kind is called nominal, and "
            "beside it stands what it held. No interval leaves the range of possible scores where that is known.",
        ),
        interval_of_a_mean(level),
        (
            "Interval of the IQM",
            f"{level}, percentile bootstrap with {REPETITIONS:,} repetitions, runs drawn within their environment, its "
            "tails moved out for few runs. The IQM is the mean of the middle half of the runs.",
        ),
        (
            "Probability of improvement",
            "The share of pairs (a run of the arm, a run of the baseline) that the arm wins, a tie counted half, "
            f"averaged over environments; {level} interval from the variance of these shares from run to run.",
        ),
        ("Performance profile", f"The share of runs above a score; {level} interval after Wilson at each score."),
        (
            "Verdict",
            f"“better” or “worse” if a permutation test gives p < {ALPHA} after correction for all "
            f"{len(results.comparisons)} comparisons of this report's primary score, and the interval of the "
            "difference lies on the same side of 0. Everything else is “undecided”, which is not the same as equal, "
            "but for runs that are “identical”: seed by seed the same to the bit, so that the difference is exactly 0. "
            "The statistic is Welch's t; runs are permuted within their environment among all arms that are compared, "
            "and corrected by the step-down of the largest t (Westfall and Young).",
        ),
        ("What so many runs can find", _detectable(results)),
        *claim_method(results),
        ("Random numbers", f"All resampling is drawn from seed {results.seed}; the same runs give the same report."),
    ]


def interval_of_a_mean(level: str) -> tuple[str, str]:
    """Say what the interval of a mean is."""
    return (
        "Interval of a mean or a difference of means",
        f"{level}, by the bootstrap-t, at no end narrower than Student's or Welch's t: whole runs are drawn with "
        f"replacement within their environment, {REPETITIONS:,} times ({BAND_REPETITIONS:,} times for each curve). "
        "With fewer than five runs it is that t alone, with one run there is no interval. If the experiment were "
        f"repeated with fresh seeds many times, about {level} of such intervals would hold the true mean.",
    )


def claim_method(results: JudgedResults) -> list[tuple[str, str]]:
    """Say how claims are judged, if there are any."""
    if not results.claims:
        return []
    return [
        (
            "Claim",
            "Each part of a claim (a pair of arms on an environment) is supported if the interval of its effect lies "
            "wholly on the side of the claim, beyond the smallest effect of interest, and refuted if it lies wholly "
            "where the claim cannot be true; a permutation test, corrected for the parts of the claim, must agree. "
            "Everything else is inconclusive, or undecidable where there is nothing to compare although the runs were "
            "made. A claim is supported if all its parts are, refuted if one is. Claims are "
            "not corrected for each other.",
        )
    ]


def _detectable(results: JudgedResults) -> str:
    """Say the minimum detectable effect of every comparison, or what a test that cannot decide would need."""
    said = []
    for one in results.comparisons:
        pair = f"{one.arm} against {one.baseline} on {one.environment}"
        if one.smallest_p >= ALPHA:
            said.append(f"{pair}: nothing, at least {one.fewest} runs per arm are needed")
        elif np.isfinite(one.detectable):
            form = form_of([one.difference, one.detectable], 2 if one.normalised else 1)
            said.append(f"{pair}: {one.detectable:{form}}")
    lead = (
        "The smallest true difference of means that a test at this level would find with a probability of 80 %, if "
        "runs are as spread as these"
    )
    return f"{lead}. {'; '.join(said)}." if said else "Nothing is compared, or no arm has two runs."


def _scores(results: JudgedResults) -> list[tuple[str, str]]:
    """Return what the scores of a run are."""
    if results.metrics[0] == "score":
        return [("Score", "One number per run, higher is better, as it stands in the file.")]
    if results.experiment.source:
        return [
            (
                "Learning curve",
                "Straight lines between the points of a run, over the steps that all runs on its environment have. All "
                "are read at the same points, which lie as far apart as the points of any run there: so a curve that "
                "was written down often and the same one written down seldom agree.",
            ),
            ("Score over training (AUC)", "The primary score of a run: the area under that curve over its width."),
            ("Final score", "The mean of that curve over the last tenth of its width."),
        ]
    value = "mean return of the episodes that ended"
    return [
        (
            "Learning curve",
            f"At {POINTS} equally spaced steps, the {value} in the last tenth of the budget before. Returns are "
            "undiscounted sums of the environment's own rewards, collected while the policy explores. Before the first "
            "episode has ended, its return is carried back.",
        ),
        ("Score over training (AUC)", "The primary score of a run: the mean of its learning curve."),
        ("Final score", f"The {value} in the last tenth of the budget."),
    ]


def _which(results: JudgedResults) -> str:
    """Return which runs are used."""
    if not results.experiment.source:
        return "Finished runs with at least one ended episode."
    if results.metrics[0] == "score":
        return "Runs with a finite score; the others have failed."
    return (
        "Runs with a curve. One without any score, or with an infinite one, has failed; so has one whose curve ends "
        "before it is past the middle of its algorithm's curves, or begins only there."
    )


def _references(results: JudgedResults) -> str:
    known = [(name, reference(name, results.references)) for name in results.environments]
    points = "; ".join(
        f"{name}: {scale.random:g} and {scale.target:g} (target: {scale.source})"
        for name, scale in known
        if scale is not None
    )
    text = "0 is the mean return of uniformly random actions, 1 a fixed target of the environment"
    return f"{text}. {points}." if points else f"{text}; there is none for the environments here."


def ranges(seeds: list[Any]) -> str:
    """Return seeds as text, runs of consecutive ones shortened: 0 to 9, 20."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and int(seed) == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], int(seed)]
        else:
            parts.append([int(seed)])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
