"""The tables of a report on bad runs, on speed, and on what the conclusions depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rlbench.analysis.format import NONE, form_of, number, text
from rlbench.analysis.report.files import Table
from rlbench.analysis.scores import milestones
from rlbench.analysis.scores.references import possible_range
from rlbench.analysis.stats import survival, tails
from rlbench.analysis.stats.coverage import interval_name
from rlbench.analysis.stats.estimates import Estimate
from rlbench.analysis.stats.selection import pick_best

if TYPE_CHECKING:
    from rlbench.analysis.judge.judged import JudgedResults


THRESHOLDS = (0.5, 0.9)  # normalised return


def reliability_tables(results: JudgedResults) -> list[Table]:
    """Return the tables that have something to say."""
    tables = [worst_table(results), steps_table(results), sensitivity_table(results), selection_table(results)]
    return [table for table in tables if len(table.data)]


def worst_table(results: JudgedResults) -> Table:
    """The worst runs of every arm, and how often its runs collapse."""
    metric, scores = results.metrics[0], results.scores
    lost = milestones.collapses(results.curves, results.references)
    flags = dict(list(lost.groupby(["environment", "arm"])["collapsed"]))
    nothing = pd.Series([], dtype=bool)
    data, shown, worst, shares = [], [], [], []
    forms = {name: form_of(here[metric]) for name, here in scores[scores["used"].astype(bool)].groupby("environment")}
    for environment, arm in _pairs(results):
        runs = scores[(scores["environment"] == environment) & (scores["arm"] == arm) & scores["used"].astype(bool)]
        values, own = runs[metric].to_numpy(np.float64), flags.get((environment, arm), nothing)
        possible = possible_range([environment], results.references)
        tail = tails.cvar_interval(values, seed=results.seed, possible=possible)
        bound = tails.tolerance_interval(values, side="low")
        share = milestones.collapse_estimate(int(own.sum()), len(own))
        base = flags.get((environment, str(results.baseline)), nothing)
        p = milestones.collapse_test(own, base) if arm != results.baseline else np.nan
        lowest = float(values.min()) if len(values) else np.nan
        worst.append(tail)
        shares.append(share)
        data.append(
            {"environment": environment, "arm": arm, "runs": len(values), "worst": lowest}
            | {"cvar": tail.point, "cvar_low": tail.low, "cvar_high": tail.high}
            | {"tolerance_bound": bound.low, "tolerance_needs": bound.needed}
            | {"collapsed": int(own.sum()), "collapse_runs": len(own), "collapse": share.point}
            | {"collapse_low": share.low, "collapse_high": share.high, "collapse_p": p}
        )
        form = forms.get(environment, ".1f")
        floor = number(bound.low, form) if np.isfinite(bound.low) else f"needs {bound.needed} runs"
        shown.append(
            {
                "Environment": environment,
                "Arm": arm,
                "Worst run": number(lowest, form),
                "Mean of the worst quarter": text(tail, form),
                "90 % of runs score at least": floor,
                "Collapsed": f"{int(own.sum())} of {len(own)}" if len(own) else NONE,
                "Probability of collapse": text(share, ".2f"),
                "p (baseline)": number(p, ".3f"),
            }
        )
    return Table("worst-runs", "The worst runs", pd.DataFrame(data), pd.DataFrame(shown), _worst_note(worst, shares))


def _worst_note(worst: Sequence[Estimate], shares: Sequence[Estimate]) -> str:
    duration, drop, height = (
        f"{share * 100:g} %" for share in (milestones.DURATION, milestones.DROP, milestones.HEIGHT)
    )
    return (
        f"In brackets of the worst quarter: {interval_name(worst)}; of a probability: {interval_name(shares)}. The "
        f"bound for 90 % of the runs holds with 95 % confidence. A run collapses if for {duration} of the training its "
        f"curve is more than {drop} below the highest that it had reached, and that was {height} of the way from the "
        "random policy to the target; one that failed or diverged counts as collapsed. p: Boschloo's exact test, not "
        "corrected for the number of comparisons."
    )


def steps_table(results: JudgedResults) -> Table:
    """How many steps every arm takes to thresholds of its environment; runs that never get there are censored."""
    data, shown, means = [], [], []
    curves = results.curves
    tables = {one: milestones.steps_to_threshold(curves, one, results.references) for one in THRESHOLDS}
    groups = {one: dict(list(table.groupby(["environment", "arm"]))) for one, table in tables.items()}
    budgets = curves.groupby("environment")["step"].max()
    for environment, arm in _pairs(results):
        for threshold in THRESHOLDS:
            if (environment, arm) not in groups[threshold]:
                continue
            runs, budget = groups[threshold][environment, arm], float(budgets[environment])
            times, reached = runs["steps"].to_numpy(np.float64), runs["reached"].to_numpy(bool)
            mean = survival.restricted_mean_interval(times, reached, budget, seed=results.seed)
            middle = survival.median_time(times, reached)
            form = f",{form_of([*times, mean], least=0)}"
            means.append(mean)
            data.append(
                {"environment": environment, "arm": arm, "threshold": threshold, "runs": len(runs)}
                | {"reached": int(reached.sum()), "median": middle, "mean": mean.point, "mean_low": mean.low}
                | {"mean_high": mean.high, "horizon": budget}
            )
            shown.append(
                {
                    "Environment": environment,
                    "Arm": arm,
                    "Normalised return": f"{threshold:g}",
                    "Reached it": f"{int(reached.sum())} of {len(runs)}",
                    "Median of the steps": number(middle, form) if np.isfinite(middle) else "not reached",
                    "Mean of the steps within the budget": text(mean, form),
                }
            )
    note = (
        "Environment steps until a run's curve is at a normalised return (random policy 0, target 1) for the first "
        "time. A run that never is counts with its whole budget in the mean, and above every other run in the median; "
        f"so does one that failed or diverged before. In brackets the {interval_name(means)}."
    )
    return Table("steps-to-threshold", "Steps to a threshold", pd.DataFrame(data), pd.DataFrame(shown), note)


def _pairs(results: JudgedResults) -> list[tuple[str, str]]:
    planned = set(zip(results.runs["environment"], results.runs["arm"], strict=True))
    return [(env, arm) for env in results.environments for arm in results.arms if (env, arm) in planned]


def sensitivity_table(results: JudgedResults) -> Table:
    """The comparisons with the runs that finished, and with failures as the worst possible score."""
    data, shown = [], []
    for one in results.sensitivity:
        before, after = one.finished, one.with_failures
        form = form_of([before.difference, after.difference], 3 if before.normalised else 1)
        data.append(
            {"environment": before.environment, "arm": before.arm, "baseline": before.baseline}
            | {"failed_arm": after.n_arm - before.n_arm, "failed_baseline": after.n_baseline - before.n_baseline}
            | {"difference": before.difference.point, "verdict": before.verdict}
            | {"difference_with_failures": after.difference.point, "verdict_with_failures": after.verdict}
            | {"p_with_failures": after.p_adjusted, "changed": one.changed}
        )
        shown.append(
            {
                "Environment": before.environment,
                "Arm": before.arm,
                "Failed runs (arm, baseline)": f"{data[-1]['failed_arm']}, {data[-1]['failed_baseline']}",
                "Difference of the finished": text(before.difference, form, sign=True),
                "Verdict": before.verdict,
                "Difference with failures": text(after.difference, form, sign=True),
                "Verdict with failures": after.verdict + (" (changed)" if one.changed else ""),
            }
        )
    note = (
        "Failed and diverged runs with the worst possible score: the lowest return of the environment, or the lowest "
        "seen where that is not known. The truth lies between the two."
    )
    return Table("sensitivity", "If failures count as the worst score", pd.DataFrame(data), pd.DataFrame(shown), note)


def selection_table(results: JudgedResults) -> Table:
    """Of algorithms with several arms: by how much the best of them looks too good."""
    metric, scores = results.metrics[0], results.scores[results.scores["used"].astype(bool)]
    data, shown = [], []
    for environment in results.environments:
        for algorithm, runs in scores[scores["environment"] == environment].groupby("algorithm", sort=True):
            sweep = {str(arm): own[metric].to_numpy(np.float64) for arm, own in runs.groupby("arm")}
            if len(sweep) < 2 or min(map(len, sweep.values())) < 2:
                continue
            possible = possible_range([environment], results.references)
            found = pick_best(sweep, seed=results.seed, possible=possible)
            form = form_of([found.naive, found.corrected])
            data.append(
                {"environment": environment, "algorithm": algorithm, "settings": found.settings}
                | {"picked": found.picked, "naive": found.naive.point, "optimism": found.optimism}
                | {"corrected": found.corrected.point, "corrected_low": found.corrected.low}
                | {"corrected_high": found.corrected.high}
            )
            shown.append(
                {
                    "Environment": environment,
                    "Algorithm": str(algorithm),
                    "Best of": f"{found.settings}: {found.picked}",
                    "As it looks": text(found.naive, form),
                    "Too good by": number(found.optimism, form),
                    "Corrected": text(found.corrected, form),
                }
            )
    note = (
        "Whoever picks the best of several settings by these runs gets a score that is too good; here by how much, "
        "from bootstrapping the runs and the pick together. Running the picked setting on fresh seeds is better."
    )
    return Table("selection", "If the best setting is picked", pd.DataFrame(data), pd.DataFrame(shown), note)
