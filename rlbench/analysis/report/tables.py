"""The tables of a report: what they hold, how they are shown, and how they are written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rlbench.analysis.draw.rows import aggregates
from rlbench.analysis.format import NONE, form_of, number, text
from rlbench.analysis.judge.compare import Comparison, to_frame
from rlbench.analysis.report.files import Table
from rlbench.analysis.report.method import ranges
from rlbench.analysis.scores import scores as scoring
from rlbench.analysis.scores.references import possible_range
from rlbench.analysis.scores.scores import ALL
from rlbench.analysis.stats.coverage import interval_name
from rlbench.analysis.stats.estimates import Estimate
from rlbench.analysis.stats.intervals import mean_interval
from rlbench.records import cause

if TYPE_CHECKING:
    from rlbench.analysis.judge.judged import JudgedResults


COLUMNS = {"auc": "Over training (AUC)", "final": "Final", "score": "Score"}


def summary_table(results: JudgedResults) -> Table:
    """One row per environment and arm, then all environments together: scores and the comparison."""
    comparisons = {(one.environment, one.arm): one for one in results.comparisons}
    difference = "AUC" if results.metrics[0] == "auc" else "Score"
    rows = {(environment, arm): _row(results, environment, arm) for environment, arm in _rows(results, comparisons)}
    forms = {
        place: form_of(
            [mean for (at, _), (_, means) in rows.items() if at == place for mean in means.values()],
            3 if place == ALL else 1,
            [one.difference for one in results.comparisons if one.environment == place],
        )
        for place, _ in rows
    }
    data, shown, intervals = [], [], []
    for (environment, arm), (runs, means) in rows.items():
        intervals += [] if environment == ALL else [means[results.metrics[0]]]
        used, planned = int(runs["used"].sum()), len(runs)
        one, form = comparisons.get((environment, arm)), forms[environment]
        verdict = one.verdict if one else ("baseline" if arm == results.baseline else "")
        data.append(
            {"environment": environment, "arm": arm, "planned": planned, "used": used}
            | {key: value for metric, mean in means.items() for key, value in _columns(metric, mean).items()}
            | (_columns("difference", one.difference) | _columns("improvement", one.improvement) if one else {})
            | {"p_adjusted": one.p_adjusted if one else np.nan, "verdict": verdict}
        )
        shown.append(
            {
                "Environment": environment,
                "Arm": arm,
                "Runs used": f"{used} of {planned}",
            }
            | {COLUMNS[metric]: text(mean, form) for metric, mean in means.items()}
            | (
                {
                    f"{difference} more than baseline": text(one.difference, form, sign=True) if one else NONE,
                    "P(run beats baseline)": text(one.improvement, ".2f") if one else NONE,
                    "Verdict": verdict,
                }
                if comparisons
                else {}
            )
        )
    return Table(
        "summary",
        "Scores and verdicts",
        pd.DataFrame(data),
        pd.DataFrame(shown),
        f"Mean over the used runs; in brackets its {interval_name(intervals)}. Environments in units of "
        f"{'the score' if results.metrics[0] == 'score' else 'the episode return'}, “{ALL}” normalised (random policy "
        "0, target 1).",
    )


def aggregate_table(results: JudgedResults) -> Table:
    """IQM and mean of the normalised scores of every arm, for both scores."""
    data, shown = [], []
    for metric in results.metrics:
        name = COLUMNS[metric].lower().replace("auc", "AUC")
        found = aggregates(results, metric)
        form = form_of([one for both in found.values() for one in both], 3)
        for arm, (middle, mean) in found.items():
            data.append({"score": metric, "arm": arm} | _columns("iqm", middle) | _columns("mean", mean))
            shown.append({"Score": name, "Arm": arm, "IQM": text(middle, form), "Mean": text(mean, form)})
    return Table("aggregate", "Normalised scores of all environments", pd.DataFrame(data), pd.DataFrame(shown))


def comparison_table(results: JudgedResults) -> Table:
    """Every comparison with the baseline in both scores, with p-values."""
    others = [one for metric in results.metrics[1:] for one in results.compare(metric=metric)]
    comparisons = [*results.comparisons, *others]
    forms = {
        place: form_of([one.difference for one in comparisons if one.environment == place], 3 if place == ALL else 1)
        for place in {one.environment for one in comparisons}
    }
    shown = [
        {
            "Score": COLUMNS[one.metric].lower().replace("auc", "AUC"),
            "Environment": one.environment,
            "Arm": one.arm,
            "Difference of means": text(one.difference, forms[one.environment], sign=True),
            "P(run beats baseline)": text(one.improvement, ".2f"),
            "p": number(one.p_value, ".4f"),
            "p corrected": number(one.p_adjusted, ".4f"),
            "Found with 80 %": number(one.detectable, forms[one.environment]),
            "Verdict": one.verdict,
        }
        for one in comparisons
    ]
    note = (
        f"p by permutation, corrected for the {len(results.comparisons)} comparisons in each score. In the last column "
        "but one, the difference that so many runs would find with a probability of 80 %."
    )
    return Table(
        "comparisons",
        f"Comparisons with {results.baseline}",
        to_frame(comparisons) if comparisons else pd.DataFrame(),
        pd.DataFrame(shown),
        note,
    )


def accounts_table(results: JudgedResults) -> Table:
    """How many runs of each arm and environment were planned, finished, failed and used."""
    data = _ordered(results, scoring.counts(results.scores))
    data.insert(0, "environment", data.pop("environment"))
    shown = data.rename(columns=str.capitalize).astype(str)
    return Table("run-counts", "Planned, finished and used runs", data, shown)


def stopped_table(results: JudgedResults) -> Table:
    """The runs that failed, diverged or are missing, and why."""
    runs = results.runs[results.runs["status"] != "finished"]
    data = _ordered(results, runs)[["environment", "arm", "seed", "status", "steps_done", "reason"]]
    shown = data.assign(steps_done=[f"{steps:.10g}" for steps in data["steps_done"]])
    shown = shown.rename(columns=lambda name: str(name).replace("_", " ").capitalize()).astype(str)
    return Table("stopped-runs", "Runs that did not finish", data, shown)


def compute_table(results: JudgedResults) -> Table:
    """What a finished run cost: medians over the finished runs."""
    columns = ["steps_done", "gradient_steps", "samples", "seconds"]
    finished = results.runs[(results.runs["status"] == "finished") & (results.runs["seconds"] > 0)]
    data = _ordered(results, finished.groupby(["arm", "environment"], as_index=False)[columns].median())
    names = ("Environment steps", "Gradient steps", "Samples", "Seconds")
    shown = pd.DataFrame(
        {"Environment": data["environment"], "Arm": data["arm"]}
        | {
            name: [f"{value:,.1f}" if column == "seconds" else f"{value:,.0f}" for value in data[column]]
            for column, name in zip(columns, names, strict=True)
        }
    )
    return Table(
        "compute",
        "What a run cost",
        data,
        shown,
        "Median over the finished runs. Samples are those that gradients were computed from, each as often as it was "
        "used. Runs train together in batches; seconds are a run's share of its batch and depend on the machine.",
    )


def arms_table(results: JudgedResults) -> Table:
    """Every arm with all its settings, one row per setting: those given first, marked."""
    rows = []
    for arm in results.experiment.arms:
        for name, value in {**arm.settings, **arm.fields}.items():
            rows.append(
                {
                    "arm": arm.label,
                    "algorithm": arm.algorithm,
                    "setting": name,
                    "value": json.dumps(value),
                    "given": name in arm.settings,
                }
            )
    data = pd.DataFrame(rows, columns=["arm", "algorithm", "setting", "value", "given"])
    return Table("settings", "Settings of every arm", data, _settings_side_by_side(results.arms, data))


def score_table(results: JudgedResults) -> Table:
    """The scores of every single run."""
    data = _ordered(results, results.scores)
    metrics = [metric for metric in scoring.METRICS if metric in data]
    shown = data[["environment", "arm", "seed", "status", *metrics]].astype(object)
    # Runs of one environment share a unit, and all of the scores of a run do.
    for _, rows in data.groupby("environment"):
        form = form_of(rows[metrics].to_numpy(np.float64).ravel())
        for metric in metrics:
            shown.loc[rows.index, metric] = [number(value, form) for value in rows[metric]]
    return Table("scores", "Scores of every run", data, shown.astype(str))


def _rows(results: JudgedResults, comparisons: Mapping[tuple[str, str], Comparison]) -> list[tuple[str, str]]:
    """Return the (environment, arm) of the summary; all environments together only if they were compared."""
    planned = set(zip(results.runs["environment"], results.runs["arm"], strict=True))
    rows = [(env, arm) for env in results.environments for arm in results.arms if (env, arm) in planned]
    together = {arm for environment, arm in comparisons if environment == ALL}
    if together:
        rows += [(ALL, arm) for arm in results.arms if arm in together or arm == results.baseline]
    return rows


def _row(results: JudgedResults, environment: str, arm: str) -> tuple[pd.DataFrame, dict[str, Estimate]]:
    """Return the runs of a row of the summary, and their mean scores."""
    everywhere = environment == ALL
    runs = results.scores[results.scores["arm"] == arm]
    runs = runs if everywhere else runs[runs["environment"] == environment]
    return runs, {metric: _mean(results, runs, metric, everywhere) for metric in results.metrics}


def _mean(results: JudgedResults, runs: pd.DataFrame, metric: str, everywhere: bool) -> Estimate:
    """Return the mean score of the used runs, over environments the mean of their means."""
    column = f"{metric}_normalised" if everywhere else metric
    used = runs[column].where(runs["used"].astype(bool))
    names = list(dict.fromkeys(runs["environment"]))
    return mean_interval(
        [group.dropna().to_numpy(np.float64) for _, group in used.groupby(runs["environment"])],
        seed=results.seed,
        possible=possible_range(names, results.references, normalised=everywhere),
    )


def _columns(name: str, estimate: Estimate) -> dict[str, Any]:
    return {name: estimate.point, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _ordered(results: JudgedResults, table: pd.DataFrame) -> pd.DataFrame:
    """Sort rows as the experiment orders environments and arms, then by seed."""
    keys = [
        table["environment"].map(results.environments.index),
        table["arm"].map(results.arms.index),
    ]
    by = pd.DataFrame({"environment": keys[0], "arm": keys[1]}, index=table.index)
    if "seed" in table:
        by["seed"] = table["seed"]
    return table.loc[by.sort_values(list(by.columns)).index].reset_index(drop=True)


def _settings_side_by_side(arms: Sequence[str], data: pd.DataFrame) -> pd.DataFrame:
    """Return one row per setting and one column per arm; what the experiment set is marked with an asterisk."""
    if data.empty:
        return pd.DataFrame()
    value = data["value"].where(~data["given"], data["value"] + " *")
    wide = data.assign(value=value).pivot(index="setting", columns="arm", values="value").fillna(NONE)
    columns = [arm for arm in arms if arm in wide.columns]
    return wide[columns].rename_axis(None, axis=1).reset_index().rename(columns={"setting": "Setting"})


_KEYS = ["status", "cause", "arm", "environment"]
_LINES = 12  # of a traceback's end


def causes_table(results: JudgedResults) -> Table:
    """The runs that failed or diverged by cause, arm and environment, with the end of the first one's traceback.

    `attempts` is how often the runs were started, as `1` or `2 to 4`.
    """
    stopped = results.runs[results.runs["status"].isin(["failed", "diverged"])]
    for name, unknown in (("attempts", 1), ("detail", "")):  # in tables that were made elsewhere
        if name not in stopped:
            stopped = stopped.assign(**{name: unknown})
    stopped = stopped.assign(cause=stopped["reason"].map(cause))
    rows: list[dict[str, str]] = [
        {
            **dict(zip(_KEYS, map(str, key), strict=True)),
            "seeds": ranges(sorted(group["seed"])),
            "attempts": _span(group["attempts"].astype(int)),
            "traceback": _end(group.sort_values("seed")["detail"].iloc[0]),
        }
        for key, group in stopped.groupby(_KEYS)
    ]
    rows.sort(key=lambda row: (results.environments.index(row["environment"]), results.arms.index(row["arm"])))
    data = pd.DataFrame(rows, columns=[*_KEYS, "seeds", "attempts", "traceback"])
    shown = data[["cause", "status", "environment", "arm", "seeds", "attempts"]].rename(columns=str.capitalize)
    return Table(
        "causes",
        "Why runs did not finish",
        data,
        shown.astype(str),
        "Attempts is how often a run was started. Runs train together; when something ended all of them, parts were "
        "tried again until what was wrong was alone, and what was alone once more where that could help.",
    )


def _span(attempts: pd.Series[int]) -> str:
    low, high = attempts.min(), attempts.max()
    return str(low) if low == high else f"{low} to {high}"


def _end(traceback: str) -> str:
    return "\n".join(traceback.rstrip().splitlines()[-_LINES:])
