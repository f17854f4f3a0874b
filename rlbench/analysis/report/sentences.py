"""Sentences on an experiment: what came out, what a reader should be warned of, and the facts of its method section.

The words of the method are in the template, `templates/report.html.j2`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rlbench.analysis.format import count, form_of, listed, number, p_equals, ranges, steps, text, visible
from rlbench.analysis.judge.compare import ALPHA, Comparison, interim_warnings, warning
from rlbench.analysis.judge.verdicts import JudgedResults
from rlbench.analysis.report.claims import change_text, decisive, effect_meaning, effect_text, parts_of_mean, runs_text
from rlbench.analysis.report.entries import of_experiment
from rlbench.analysis.scores.metrics import axis_label, metric_name
from rlbench.analysis.scores.scores import ALL, IDENTICAL, POINTS, normalise, reference
from rlbench.analysis.stats.estimates import (
    BAND_REPETITIONS,
    LEVEL,
    NO_SPREAD,
    REPETITIONS,
    Estimate,
    interval_name,
    nominal,
)
from rlbench.records import IDLE, idle, idle_updates

FEW_SEEDS = 10
_MOST_NAMED = 8


def warnings(results: JudgedResults) -> list[str]:
    """Return what a reader must know before believing the numbers, one sentence each."""
    experiment, counts = results.experiment, results.runs["status"].value_counts()
    lines = [*_provenance(results.runs), *_idle(results)]
    if parts := [f"{counts[name]} {name}" for name in ("failed", "diverged", "missing") if counts.get(name)]:
        lines.append(
            f"{', '.join(parts)} of {len(results.runs)} planned runs. Scores are of the runs that finished; if runs "
            "fail because of the algorithm, its score is biased upwards."
        )
    lines += [*experiment.notes, *(warning(one) for one in results.sensitivity if one.changed)]
    lines += [*_few_runs(results), *interim_warnings(experiment.sequential)]
    written, early = of_experiment(results)
    if results.claims and not early:
        lines.append(" ".join(written))
    if experiment.source:
        lines += _unequal(results)
    return [*lines, *unnormalised(results)]


def unnormalised(results: JudgedResults) -> list[str]:
    """Say which environments are not in a result over all environments, and why."""
    unknown = [name for name in results.environments if reference(name, results.references) is None]
    if not unknown or results.measured:
        return []
    known = "reference scores are given" if results.experiment.source else "reference returns are known"
    all_of_them = f"{len(unknown)} of {len(results.environments)} environments"
    which = listed(unknown) if len(unknown) <= _MOST_NAMED else all_of_them
    return [f"No {known} for {which}: their scores are not normalised and not in any result over all environments."]


def _provenance(runs: pd.DataFrame) -> list[str]:
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


def _idle(results: JudgedResults) -> list[str]:
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
    compared = []  # environments of runs that were made elsewhere, with the points at which their curves are compared
    for name in results.environments:
        points = results.experiment.compared.get(name)
        at = "" if points is None else f": steps {steps(points[0])} to {steps(points[-1])}, at {len(points)} points"
        compared.append(f"{name}{at}")
    detectable = []
    for one in results.comparisons:
        pair = f"{one.arm} against {one.baseline} on {one.environment}"
        if one.smallest_p >= ALPHA:
            detectable.append(f"{pair}: nothing, at least {one.fewest} runs per arm are needed")
        elif np.isfinite(one.detectable):
            form = form_of([one.difference, one.detectable], 2 if one.normalised else 1)
            detectable.append(f"{pair}: {one.detectable:{form}}")
    return {
        "results": results,
        "measured": results.measured,
        "level": f"{LEVEL:.0%}".replace("%", " %"),
        "repetitions": f"{REPETITIONS:,}",
        "band_repetitions": f"{BAND_REPETITIONS:,}",
        "points": POINTS,
        "alpha": ALPHA,
        "commits": _commits(runs),
        "seed_count": len(seeds),
        "nominal": nominal(fewest_used([results])),
        "seeds": ranges(seeds),
        "budgets": [f"{name}: {int(budgets[name]):,} environment steps per run" for name in results.environments],
        "compared": compared,
        "references": [
            f"{name}: {scale.random:g} and {scale.target:g} (target: {scale.source})" for name, scale in known if scale
        ],
        "detectable": detectable,
    }


def fewest_used(members: Iterable[JudgedResults]) -> list[int]:
    """Return the smallest number of used runs that an arm has on an environment, of each experiment that has some."""
    fewest = []
    for results in members:
        used = results.scores[results.scores["used"].astype(bool)].groupby(["arm", "environment"]).size()
        fewest += [int(used.min())] if len(used) else []
    return fewest


def _commits(runs: pd.DataFrame) -> list[str]:
    return sorted({str(commit)[:10] for commit in runs["commit"] if commit})


def sentence(c: Comparison) -> str:
    """Say one comparison in plain English: verdict, size, how often, how sure, and from how many runs."""
    parts = [_verdict(c)]
    scored = not np.isnan(c.difference.point) and (c.verdict == "identical" or min(c.n_arm, c.n_baseline) > 0)
    if scored:
        form = form_of_comparison(c)
        scale = ", normalised to random policy = 0 and target = 1" if c.normalised else ""
        parts.append(
            f"Mean {axis_label(c.metric)}{scale}: {number(c.mean_arm.point, form)} against "
            f"{number(c.mean_baseline.point, form)}, a difference of {number(c.difference.point, form, '+')} "
            f"({_interval(c.difference, form, '+')})."
        )
    if c.verdict != "identical":
        parts += _certainty(c)
    sides = ((c.arm, c.planned_arm, c.n_arm), (c.baseline, c.planned_baseline, c.n_baseline))
    if missing := [f"{planned - n} of {planned} planned runs of {arm}" for arm, planned, n in sides if n < planned]:
        validity = "; the result holds for the others" if min(c.n_arm, c.n_baseline) > 0 else ""
        parts.append(f"Left out: {listed(missing)}, which did not finish or have no score{validity}.")
    return " ".join(parts)


def _verdict(c: Comparison) -> str:
    where = everywhere(c.environments) if c.environment == ALL else f"On {c.environment}"
    refused = f"{where}, {c.arm} cannot be compared with {c.baseline}"
    if min(c.n_arm, c.n_baseline) == 0:
        return f"{refused}: no run of {c.arm if c.n_arm == 0 else c.baseline} can be used."
    if np.isnan(c.p_value):
        return f"{refused}: one of them has an environment without a used run."
    if c.verdict == "inconclusive":
        return (
            f"{where}, the comparison of {c.arm} and {c.baseline} is inconclusive; "
            "this is no evidence that they are equal."
        )
    if c.verdict == "identical":
        return (
            f"{where}, {c.arm} and {c.baseline} are identical: every seed gave exactly the same result with both, so "
            "their difference in settings had no effect."
        )
    return f"{where}, {c.arm} is {c.verdict} than {c.baseline}."


def _certainty(c: Comparison) -> list[str]:
    """Say how often the arm wins, how sure that is, and what so few runs could never decide or what they could."""
    parts = []
    if min(c.n_arm, c.n_baseline) > 0 and not np.isnan(c.improvement.point):
        parts.append(
            f"A run of {c.arm} scores higher than a run of {c.baseline} with probability "
            f"{number(c.improvement.point, '.2f')} ({_interval(c.improvement, '.2f')})."
        )
    if min(c.n_arm, c.n_baseline) > 0 and not np.isnan(c.p_value):
        many = f"; corrected for {c.comparisons} comparisons, {p_equals(c.p_adjusted)}" if c.comparisons > 1 else ""
        parts.append(f"Permutation test on {c.n_arm} and {c.n_baseline} runs: {p_equals(c.p_value)}{many}.")
    if c.difference.method == NO_SPREAD and c.difference.point == 0:
        parts.append("All runs of both have exactly the same score, so this score cannot tell them apart.")
    if c.smallest_p >= ALPHA:
        parts.append(
            f"With so few runs, p cannot fall below {c.smallest_p:.2g}, however large the difference. A test at the "
            f"{ALPHA} level needs at least {c.fewest} runs per arm."
        )
    elif c.verdict == "inconclusive" and c.detectable > 0:
        parts.append(f"The smallest difference detectable with 80 % power is {c.detectable:{form_of_comparison(c)}}.")
    return parts


def everywhere(environments: Sequence[str]) -> str:
    """Return how a sentence over all environments begins."""
    return "Over both environments" if len(environments) == 2 else f"Over all {len(environments)} environments"


def form_of_comparison(c: Comparison) -> str:
    """Return the format of a comparison's scores, in which its interval can be seen."""
    return visible(c.difference, form_of([c.mean_arm, c.mean_baseline], 2 if c.normalised else 1, [c.difference]))


def _interval(estimate: Estimate, form: str, sign: str = "") -> str:
    if np.isnan(estimate.low) or estimate.method == IDENTICAL:
        return estimate.method
    return f"{interval_name([estimate])} {number(estimate.low, form, sign)} to {number(estimate.high, form, sign)}"


def headline(results: JudgedResults) -> dict[str, Any]:
    """Return the opening of the report: the question, a sentence per place (`short`), and what came out for each arm.

    Of an arm: a sentence per place (`lines`), all environments together first (`everywhere`) if compared; and the
    verdict over all environments, or that on which all of them agree, or "mixed".
    """
    opening: dict[str, Any] = {"question": results.experiment.question, "arms": []}
    if results.measured:
        what = "a function computed the numbers for each environment and seed"
        return opening | {"short": [f"Nothing was trained for this: {what}."]}
    if not results.comparisons:
        return opening | {"short": _without_comparison(results)}
    order = [ALL, *results.environments]
    places = {place: [one for one in results.comparisons if one.environment == place] for place in order}
    score = "score" if results.metrics[0] == "score" else "return over training"
    key = f"In brackets: the difference from the mean {score} of {results.baseline}, with its 95 % interval"
    scale = "; over all environments, of normalised scores (random policy 0, target 1)" if places[ALL] else ""
    opening["short"] = [_at(place, compared) for place, compared in places.items() if compared] + [f"{key}{scale}."]
    for arm in results.arms:
        if compared := [comparison for here in places.values() for comparison in here if comparison.arm == arm]:
            together, verdicts = compared[0].environment == ALL, {comparison.verdict for comparison in compared}
            shown = {"arm": arm, "everywhere": together}
            shown["verdict"] = compared[0].verdict if together or len(verdicts) == 1 else "mixed"
            opening["arms"].append(shown | {"lines": [sentence(comparison) for comparison in compared]})
    return opening


def answer(results: JudgedResults) -> dict[str, Any]:
    """Return the first thing that a reader asks: a verdict and a sentence, the number behind it, what would change it.

    That of the first claim, or of the first comparison where nothing is claimed; empty where nothing is compared.
    """
    if results.verdicts:
        verdict, part = results.verdicts[0], decisive(results.verdicts[0])
        return {
            "verdict": verdict.verdict,
            "statement": f"{verdict.claim.statement}.",
            "effect": effect_text(verdict.claim, part.effect),
            "interval": interval_name([part.effect]),
            "meaning": effect_meaning(verdict.claim, part),
            "runs": runs_text([part]),
            "parts": parts_of_mean(results, verdict, part),
            "change": change_text(verdict),
        }
    if not results.comparisons:
        return {}
    first = results.comparisons[0]
    said, limit = sentence(first).split(". ")[0], first.difference
    away = min(abs(limit.low), abs(limit.high))
    change = "The interval reaches 0; more runs would narrow it."
    if limit.low > 0 or limit.high < 0:
        change = f"The interval does not reach 0, but the test does not tell: {p_equals(first.p_adjusted)}."
    if first.smallest_p >= ALPHA:
        change = f"With so few runs p cannot fall below {first.smallest_p:.2g}; {first.fewest} per arm are needed."
    if first.verdict in ("better", "worse"):
        change = f"The verdict would be inconclusive if the interval reached 0; it stays {number(away)} clear of it."
    if first.verdict == "inconclusive" and first.detectable > 0:
        change += f" So many runs find a true difference of {number(first.detectable)} with 80 % power."
    return {
        "verdict": first.verdict,
        "statement": f"{said.rstrip('.')}.",
        "effect": text(limit),
        "interval": interval_name([limit]),
        "meaning": f"difference in {metric_name(first.metric)}, {first.arm} minus {first.baseline}",
        "runs": f"{first.n_arm} and {first.n_baseline}",
        "parts": "",
        "change": [change],
    }


_LEAST = 0.05  # of the way from a random policy to the target, below which a run has learnt nothing


def never_learnt(results: JudgedResults) -> list[str]:
    """Return a sentence for each arm and environment with runs whose learning curve never left a random policy's."""
    curves = results.curves[results.curves["used"].astype(bool)]
    lines = []
    for (environment, arm), table in curves.groupby(["environment", "arm"], sort=False):
        if (scale := reference(str(environment), results.references)) is None:
            continue
        best = table.groupby("seed")["return"].max()
        still = int((normalise(best, str(environment), results.references) < _LEAST).sum())
        if still:
            lines.append(
                f"On {environment}, {still} of {len(best)} runs of {arm} never learnt: their return stayed below "
                f"{number(scale.random + _LEAST * (scale.target - scale.random))}, where random actions have "
                f"{number(scale.random)}."
            )
    return lines


def _at(place: str, comparisons: list[Comparison]) -> str:
    baseline = comparisons[0].baseline
    where = everywhere(comparisons[0].environments) if place == ALL else f"On {place}"
    parts = []
    for verdict in ("better", "worse"):
        arms = [_with_effect(one) for one in comparisons if one.verdict == verdict]
        if arms:
            parts.append(f"{listed(arms)} {'is' if len(arms) == 1 else 'are'} {verdict} than {baseline}")
    if same := [one.arm for one in comparisons if one.verdict == "identical"]:
        parts.append(f"every seed gave exactly the same result with {listed([*same, baseline])}")
    without = [one.arm for one in comparisons if min(one.n_arm, one.n_baseline) == 0]
    if inconclusive := [
        _with_effect(one) for one in comparisons if one.verdict == "inconclusive" and one.arm not in without
    ]:
        parts.append(f"the comparison of {listed(inconclusive)} with {baseline} is inconclusive")
    if without:
        parts.append(f"{listed(without)} cannot be compared, because no finished run can be used")
    return f"{where}, {'; '.join(parts)}."


def _with_effect(one: Comparison) -> str:
    """Return the arm and by how much it scores higher than the baseline."""
    effect = one.difference
    form = visible(effect, form_of([effect], 2 if one.environment == ALL else 1))
    spread = "" if np.isnan(effect.low) else f", {number(effect.low, form)} to {number(effect.high, form)}"
    return f"{one.arm} ({number(effect.point, form, '+' if effect.point > 0 else '')}{spread})"


def _without_comparison(results: JudgedResults) -> list[str]:
    used = results.scores[results.scores["used"].astype(bool)]
    reason = (
        "There is one arm only, so there is nothing to compare it with."
        if len(results.arms) == 1
        else "The experiment names no baseline, so no arm is compared with another."
    )
    if used.empty:
        return ["No run finished, so there is no score to report.", reason]
    primary = results.metrics[0]
    when = "" if primary == "score" else " over training"
    lines = []
    for environment in results.environments:
        here = used[used["environment"] == environment]
        form = form_of(here[list(results.metrics)].to_numpy(np.float64).ravel())
        for arm in results.arms:
            runs = here[here["arm"] == arm]
            if len(runs):
                score, end = number(runs[primary].mean(), form), ""
                if "final" in results.metrics:
                    end = f" and {number(runs['final'].mean(), form)} at its end"
                lines.append(
                    f"On {environment}, {arm} scores {score} on average{when}{end} ({count(len(runs), 'run')})."
                )
    return [*lines, reason]
