"""Every table in the report of an experiment; a column that is added here is on the page and in all files."""

import json
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from rlbench.analysis.draw.marks import Scored
from rlbench.analysis.draw.rows import aggregates
from rlbench.analysis.format import NONE, capital, form_of, p_value, ranges, span, text
from rlbench.analysis.judge.compare import to_frame
from rlbench.analysis.judge.verdicts import JudgedResults
from rlbench.analysis.report.claims import claim_row, claimed_text, effect_text, needed_text, part_name, part_row
from rlbench.analysis.report.table import Column, Record, Table, tabulate
from rlbench.analysis.scores import metrics
from rlbench.analysis.scores import scores as scoring
from rlbench.analysis.scores.metrics import axis_label
from rlbench.analysis.scores.scores import ALL, possible_range, reference
from rlbench.analysis.stats import survival
from rlbench.analysis.stats.estimates import interval_name
from rlbench.analysis.stats.intervals import bootstrap, mean_interval
from rlbench.analysis.stats.sweeps import pick_best
from rlbench.claims import FEWEST_PUBLISHED
from rlbench.records import cause

THRESHOLDS = (0.5, 0.9)  # normalised return
_LINES = 12  # of a traceback's end
_PLACE, _ARM = Column("environment", "Environment"), Column("arm", "Arm")
_SCORE = Column("score", "Score", lambda record: axis_label(record["score"]))
_IMPROVEMENT = Column("improvement", "P(run beats baseline)", ".2f")


def all_tables(results: JudgedResults) -> list[Table]:
    """Return every table of a report that has rows, the most important first; the first one always."""
    runs = [run_counts_table(results), failure_causes_table(results), stopped_table(results)]
    if results.measured:
        tables = [numbers_table(results), claims_table(results), *runs]
    else:
        tables = [
            summary_table(results),
            published_table(results),
            aggregate_table(results),
            comparison_table(results),
            claims_table(results),
            search_table(results),
        ]
        tables += [*runs, compute_table(results), settings_table(results), score_table(results)]
        tables += [worst_table(results), steps_table(results), sensitivity_table(results), selection_table(results)]
    return [table for table in tables if len(table.data) or table is tables[0]]


def summary_table(results: JudgedResults) -> Table:
    """Return one row per environment and arm, then all environments together: scores and the comparison."""
    compared = {(one.environment, one.arm): one for one in results.comparisons}
    together = [arm for place, arm in compared if place == ALL]
    pairs = _pairs(results)
    if together:
        pairs += [(ALL, arm) for arm in results.arms if arm in (*together, results.baseline)]
    scored = {name: Scored(results, name) for metric in results.metrics for name in (metric, f"{metric}_normalised")}
    records: list[dict[str, Any]] = []
    for place, arm in pairs:
        runs = results.scores[results.scores["arm"] == arm]
        runs = runs if place == ALL else runs[runs["environment"] == place]
        environments, end = sorted(set(runs["environment"])), "_normalised" if place == ALL else ""
        record = {"environment": place, "arm": arm, "planned": len(runs), "used": int(runs["used"].sum())}
        record |= {metric: scored[f"{metric}{end}"].mean(arm, environments) for metric in results.metrics}
        if comparison := compared.get((place, arm)):
            record |= {key: getattr(comparison, key) for key in ("difference", "improvement", "p_adjusted", "verdict")}
        else:
            record |= {"p_adjusted": np.nan, "verdict": "baseline" if arm == results.baseline else ""}
        records.append(record)
    for place in {record["environment"] for record in records}:
        here = [record for record in records if record["environment"] == place]
        means = [record[metric] for record in here for metric in results.metrics]
        differences = [one.difference for one in results.comparisons if one.environment == place]
        form = form_of(means, 3 if place == ALL else 1, differences)
        for record in here:
            record["form"] = form
    primary = results.metrics[0]
    difference = "AUC" if primary == "auc" else "Score"
    columns = [
        _PLACE,
        _ARM,
        Column("planned"),
        Column("used", "Runs used", _share("used", "planned")),
        *(Column(metric, capital(axis_label(metric)), best="environment") for metric in results.metrics),
    ]
    if compared:
        columns += [Column("difference", f"{difference} difference from baseline", sign="+"), _IMPROVEMENT]
    columns += [Column("p_adjusted"), Column("verdict", "Verdict" if compared else "")]
    intervals = [record[primary] for record in records if record["environment"] != ALL]
    note = (
        f"Mean over the used runs; in brackets its {interval_name(intervals)}. Environments in units of "
        f"{'the score' if primary == 'score' else 'the episode return'}, “{ALL}” normalised (random policy "
        "0, target 1). Bold: the highest mean, whether or not the runs can tell it from the next."
    )
    return tabulate("summary", "Scores and verdicts", records, columns, note)


def published_table(results: JudgedResults) -> Table:
    """Return what a publication reports of the arms beside what came out, on its scale and on that of references.

    On the publication's scale a random policy has 0 on each environment and the best arm's mean 1, as Schulman et al.
    2017 have it (section 6.1). There every arm's score depends on the others; on the fixed scale it does not.
    """
    known = results.experiment.published
    if known is None:
        return tabulate("published", "", [], [])
    scored = {name: Scored(results, name) for name in (known.metric, f"{known.metric}_normalised")}
    arms = [arm for arm in results.arms if arm in known.scores]
    relative = {}  # by environment, an array of runs for each arm
    for place in results.experiment.environments:
        runs, scale = [scored[known.metric].values(arm, place) for arm in arms], reference(place, results.references)
        if scale is None or not all(group.size for group in runs):
            continue
        best = max(group.mean() for group in runs)
        if best > scale.random:
            relative[place] = [(group - scale.random) / (best - scale.random) for group in runs]
    if len(arms) < FEWEST_PUBLISHED or not relative:
        return tabulate("published", "", [], [])
    by_run = [group for groups in relative.values() for group in groups]
    theirs = np.array([known.scores[arm] for arm in arms])

    def rank_correlation(tasks: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        means = np.stack([task.mean(axis=-1) for task in tasks], axis=-1)  # [..., environments * arms]
        ours = rankdata(means.reshape(*means.shape[:-1], len(relative), len(arms)).mean(axis=-2), axis=-1)
        centred, other = ours - ours.mean(axis=-1, keepdims=True), rankdata(theirs) - (len(arms) + 1) / 2
        with np.errstate(invalid="ignore"):
            spread = np.sqrt((centred**2).sum(axis=-1) * (other**2).sum())
            found: np.ndarray[Any, Any] = (centred * other).sum(axis=-1) / spread
        return found

    together = bootstrap(by_run, rank_correlation, seed=results.seed, possible=(-1.0, 1.0))
    paper = [mean_interval([groups[at] for groups in relative.values()], seed=results.seed) for at in range(len(arms))]
    fixed = [scored[f"{known.metric}_normalised"].mean(arm, list(relative)) for arm in arms]
    ranks = rankdata(-theirs), rankdata([-each.point for each in paper])
    rows = zip(arms, theirs, paper, fixed, *ranks, strict=True)
    keys = ("arm", "published", "relative", "fixed", "rank_published", "rank")
    records = [dict(zip(keys, row, strict=True)) | {"form": ".2f"} for row in rows]
    columns = [
        _ARM,
        Column("published", "Published", ".2f"),
        Column("relative", "Here, best arm = 1"),
        Column("fixed", "Here, target = 1"),
        Column("rank_published", "Rank there", "g"),
        Column("rank", "Rank here", "g"),
    ]
    left_out = [place for place in results.experiment.environments if place not in relative]
    note = (
        f"Published: {known.source}. Scores: {axis_label(known.metric)}, the mean over {', '.join(relative)}; a random "
        "policy has 0 on each, and the best arm's mean is 1, or a fixed target is. In brackets the "
        f"{interval_name(paper)}. Spearman's rank correlation of both columns: {text(together, '.2f')}, the interval "
        f"by resampling the {min(group.size for group in by_run)} or more runs of each arm on each environment, and "
        "given the published numbers, of which no error is known."
    )
    if left_out:
        note += (
            " Left out, since not every arm has runs there, no reference is known, or no arm beats a random policy: "
            f"{', '.join(left_out)}."
        )
    return tabulate("published", "Beside what was published", records, columns, note)


def aggregate_table(results: JudgedResults) -> Table:
    """Return IQM and mean of the normalised scores of every arm, for each score."""
    records = []
    for metric in results.metrics:
        estimates = aggregates(results, metric)
        form = form_of([estimate for both in estimates.values() for estimate in both], 3)
        of = {"score": metric, "form": form}
        records += [of | {"arm": arm, "iqm": iqm, "mean": mean} for arm, (iqm, mean) in estimates.items()]
    columns = [_SCORE, _ARM, Column("iqm", "IQM"), Column("mean", "Mean")]
    return tabulate("aggregate", "Normalised scores of all environments", records, columns)


def comparison_table(results: JudgedResults) -> Table:
    """Return every comparison with the baseline in each score, with p-values."""
    comparisons = [*results.comparisons]
    comparisons += [one for metric in results.metrics[1:] for one in results.compare(metric=metric)]
    forms = {
        place: form_of([one.difference for one in comparisons if one.environment == place], 3 if place == ALL else 1)
        for place in {one.environment for one in comparisons}
    }
    records = [vars(one) | {"score": one.metric, "form": forms[one.environment]} for one in comparisons]
    columns = [
        _SCORE,
        _PLACE,
        _ARM,
        Column("difference", "Difference of means", sign="+"),
        _IMPROVEMENT,
        Column("p_value", "p", ".4f"),
        Column("p_adjusted", "p corrected", ".4f"),
        Column("detectable", "Smallest effect detectable with 80 % power"),
        Column("verdict", "Verdict"),
    ]
    note = (
        f"p: permutation test; corrected for the {len(results.comparisons)} comparisons per score. Smallest effect: "
        "the difference of means that this many runs detect with 80 % power."
    )
    title = f"Comparisons with {results.baseline}"
    return tabulate("comparisons", title, records, columns, note, to_frame(comparisons))


def claims_table(results: JudgedResults) -> Table:
    """Return one row per part of every claim, with its numbers."""
    records = [
        vars(part) | {"claim": verdict.claim.statement, "of": verdict.claim, "part": part}
        for verdict in results.verdicts
        for part in verdict.parts
    ]
    columns = [
        Column("claim", "Claim"),
        Column("part", "Part", lambda record: part_name(record["part"])),
        Column("metric", "Metric", lambda record: record["of"].metric),
        Column("n_arm", "Runs", lambda record: " vs ".join(str(n) for n in (record["n_arm"], record["n_other"]) if n)),
        Column("effect", "Effect", lambda record: effect_text(record["of"], record["effect"])),
        Column("claimed", "Claimed", lambda record: claimed_text(record["of"])),
        Column("p", "p corrected", lambda record: p_value(record["p"])),
        Column("verdict", "Verdict"),
        Column("needed", "Runs needed", lambda record: needed_text(record["part"])),
    ]
    note = (
        "Effect: the difference of means, change, mean or share that the claim is about, with its interval at the "
        "claim's level, adjusted for its number of parts. p: H0 is that the claim is false there. Runs needed: per arm "
        "and environment, for 80 % power if effect and spread are as estimated; in brackets the range that follows "
        "from the uncertainty of the spread."
    )
    data = pd.DataFrame([claim_row(verdict) | part_row(part) for verdict in results.verdicts for part in verdict.parts])
    return tabulate("claims", "Claims, part by part", records, columns, note, data)


def numbers_table(results: JudgedResults) -> Table:
    """Return one row per environment, arm and column of a measurement: the mean over seeds of its mean in each."""
    names = [str(name) for name in results.updates if name not in ("cell", "step")]
    values = {name: Scored(results, f"{name}:mean") for name in names}
    records: list[dict[str, Any]] = []
    for environment, arm, name in ((place, arm, name) for place, arm in _pairs(results) for name in names):
        mean = values[name].mean(arm, [environment])
        if mean.n:
            record = {"environment": environment, "arm": arm, "column": name, "seeds": mean.n}
            records.append(record | {"mean": mean})
    columns = [_PLACE, _ARM, Column("column", "Column"), Column("seeds", "Seeds"), Column("mean", "Mean")]
    note = (
        "Mean over the seeds of each seed's mean; in brackets its "
        f"{interval_name([record['mean'] for record in records])}. Seeds without a finite number are left out."
    )
    return tabulate("summary", "What was measured", records, columns, note)


def run_counts_table(results: JudgedResults) -> Table:
    """Return how many runs of each arm and environment were planned, finished, failed and used."""
    data = _ordered(results, scoring.counts(results.scores))
    data.insert(0, "environment", data.pop("environment"))
    columns = [Column(str(name), str(name).capitalize()) for name in data]
    return tabulate("run-counts", "Planned, finished and used runs", data, columns)


def failure_causes_table(results: JudgedResults) -> Table:
    """Return the runs that failed or diverged by cause, arm and environment, with the end of the first traceback.

    `attempts` is how often the runs were started, as `1` or `2 to 4`.
    """
    stopped = results.runs[results.runs["status"].isin(["failed", "diverged"])]
    for name, unknown in (("attempts", 1), ("detail", "")):  # in tables that were made elsewhere
        if name not in stopped:
            stopped = stopped.assign(**{name: unknown})
    stopped = stopped.assign(cause=stopped["reason"].map(cause))
    keys = ["status", "cause", "arm", "environment"]
    records: list[dict[str, str]] = [
        {
            **dict(zip(keys, map(str, key), strict=True)),
            "seeds": ranges(sorted(group["seed"])),
            "attempts": span(group["attempts"]),
            "traceback": "\n".join(group.sort_values("seed")["detail"].iloc[0].rstrip().splitlines()[-_LINES:]),
        }
        for key, group in stopped.groupby(keys)
    ]
    records.sort(key=lambda row: (results.environments.index(row["environment"]), results.arms.index(row["arm"])))
    shown = ("cause", "status", "environment", "arm", "seeds", "attempts")
    return tabulate(
        "causes",
        "Why runs did not finish",
        records,
        [Column(name, name.capitalize()) for name in shown],
        "Attempts: how often a run was started. Runs train together. When a failure ended all of them, parts were "
        "started again until the failing run was isolated, and that run once more where this could help.",
        pd.DataFrame(records, columns=[*keys, "seeds", "attempts", "traceback"]),
    )


def stopped_table(results: JudgedResults) -> Table:
    """Return the runs that failed, diverged or are missing, and why."""
    data = _ordered(results, results.runs[results.runs["status"] != "finished"])
    columns = [
        _PLACE,
        _ARM,
        Column("seed", "Seed"),
        Column("status", "Status"),
        Column("steps_done", "Steps done", lambda record: f"{record['steps_done']:.10g}"),
        Column("reason", "Reason"),
    ]
    data = data[[column.key for column in columns]]
    return tabulate("stopped-runs", "Runs that did not finish", data, columns)


def compute_table(results: JudgedResults) -> Table:
    """Return what a finished run cost: medians over the finished runs."""
    columns = [
        Column("steps_done", "Environment steps", ",.0f"),
        Column("gradient_steps", "Gradient steps", ",.0f"),
        Column("samples", "Samples", ",.0f"),
        Column("seconds", "Seconds", ",.1f"),
    ]
    finished = results.runs[(results.runs["status"] == "finished") & (results.runs["seconds"] > 0)]
    groups = finished.groupby(["arm", "environment"], as_index=False)
    data = _ordered(results, groups[[column.key for column in columns]].median())
    note = (
        "Median over the finished runs. Samples are those that gradients were computed from, each as often as it was "
        "used. Runs train together in batches. Seconds are a run's share of its batch and depend on the machine."
    )
    return tabulate("compute", "What a run cost", data, [_PLACE, _ARM, *columns], note)


def settings_table(results: JudgedResults) -> Table:
    """Return every arm with all its settings: on the page a column per arm, what was given with an asterisk."""
    rows: list[dict[str, Any]] = [
        {"arm": arm.label, "algorithm": arm.algorithm, "setting": name, "value": json.dumps(value)}
        | {"given": name in arm.settings}
        for arm in results.experiment.arms
        for name, value in {**arm.settings, **arm.fields}.items()
    ]
    data = pd.DataFrame(rows, columns=["arm", "algorithm", "setting", "value", "given"])
    values: dict[str, dict[str, str]] = {}
    for row in rows:
        values.setdefault(row["setting"], {})[row["arm"]] = f"{row['value']} *" if row["given"] else row["value"]
    arms = [arm for arm in results.arms if any(arm in known for known in values.values())]
    shown = pd.DataFrame(
        [[setting, *(values[setting].get(arm, NONE) for arm in arms)] for setting in sorted(values)],
        columns=["Setting", *arms],
    )
    return Table("settings", "Settings of every arm", data, shown)


def score_table(results: JudgedResults) -> Table:
    """Return the scores of every single run."""
    data = _ordered(results, results.scores)
    metrics = [metric for metric in scoring.METRICS if metric in data]
    # Runs of one environment share a unit, and all of the scores of a run do.
    forms = {str(place): form_of(runs[metrics].to_numpy(float).ravel()) for place, runs in data.groupby("environment")}
    columns = [Column(name, name) for name in ("environment", "arm", "seed", "status")]
    columns += [Column(name, name) for name in metrics]
    records = data.assign(form=data["environment"].map(forms))
    return tabulate("scores", "Scores of every run", records, columns, data=data)


def worst_table(results: JudgedResults) -> Table:
    """Return the worst runs of every arm, and how often its runs collapse."""
    metric, scores = results.metrics[0], results.scores[results.scores["used"].astype(bool)]
    lost = metrics.collapses(results.curves, results.references)
    flags = dict(list(lost.groupby(["environment", "arm"])["collapsed"]))
    nothing = pd.Series([], dtype=bool)
    forms = {name: form_of(here[metric]) for name, here in scores.groupby("environment")}
    records: list[dict[str, Any]] = []
    for environment, arm in _pairs(results):
        runs = scores[(scores["environment"] == environment) & (scores["arm"] == arm)]
        values, collapsed = runs[metric].to_numpy(np.float64), flags.get((environment, arm), nothing)
        baseline = flags.get((environment, str(results.baseline)), nothing)
        possible = possible_range([environment], results.references)
        bound = survival.tolerance_interval(values, side="low")
        fallen, whole = int(collapsed.sum()), len(collapsed)
        records.append(
            {"environment": environment, "arm": arm, "runs": len(values), "form": forms.get(environment, ".1f")}
            | {"worst": float(values.min()) if len(values) else np.nan}
            | {"cvar": survival.cvar_interval(values, seed=results.seed, possible=possible)}
            | {"tolerance_bound": bound.low, "tolerance_needs": bound.needed, "collapsed": fallen}
            | {"collapse_runs": whole, "collapse": metrics.collapse_estimate(fallen, whole)}
            | {"collapse_p": metrics.collapse_test(collapsed, baseline) if arm != results.baseline else np.nan}
        )
    columns = [
        _PLACE,
        _ARM,
        Column("runs"),
        Column("worst", "Worst run"),
        Column("cvar", "Mean of the worst quarter"),
        Column("tolerance_bound", "90 % of runs score at least", empty="needs {tolerance_needs} runs"),
        Column("tolerance_needs"),
        Column("collapsed", "Collapsed", _share("collapsed", "collapse_runs")),
        Column("collapse_runs"),
        Column("collapse", "Probability of collapse", ".2f"),
        Column("collapse_p", "p against baseline", ".3f"),
    ]
    duration, drop, height = (f"{share * 100:g} %" for share in (metrics.DURATION, metrics.DROP, metrics.HEIGHT))
    worst, shares = ([record[key] for record in records] for key in ("cvar", "collapse"))
    note = (
        f"Brackets: of the worst quarter, {interval_name(worst)}; of a probability, {interval_name(shares)}. The bound "
        "for 90 % of the runs holds with 95 % confidence. A run collapses if its curve lies more than "
        f"{drop} below its earlier peak for {duration} of the training, and that peak was at least {height} of the way "
        "from the random policy to the target. A run that failed or diverged counts as collapsed. p: Boschloo's exact "
        "test, not corrected for the number of comparisons."
    )
    return tabulate("worst-runs", "The worst runs", records, columns, note)


def steps_table(results: JudgedResults) -> Table:
    """Return how many steps arms take to thresholds of their environments; runs that never get there are censored."""
    curves = results.curves
    tables = {one: metrics.steps_to_threshold(curves, one, results.references) for one in THRESHOLDS}
    groups = {
        (*pair, threshold): runs
        for threshold, table in tables.items()
        for pair, runs in table.groupby(["environment", "arm"])
    }
    budgets = curves.groupby("environment")["step"].max()
    records: list[dict[str, Any]] = []
    for environment, arm, threshold in ((*pair, threshold) for pair in _pairs(results) for threshold in THRESHOLDS):
        runs = groups.get((environment, arm, threshold))
        if runs is None:
            continue
        budget, times = float(budgets[environment]), runs["steps"].to_numpy(np.float64)
        reached = runs["reached"].to_numpy(bool)
        mean = survival.restricted_mean_interval(times, reached, budget, seed=results.seed)
        records.append(
            {"environment": environment, "arm": arm, "threshold": threshold, "runs": len(runs), "horizon": budget}
            | {"reached": int(reached.sum()), "median": survival.median_time(times, reached), "mean": mean}
            | {"form": f",{form_of([*times, mean], least=0)}"}
        )
    columns = [
        _PLACE,
        _ARM,
        Column("threshold", "Normalised return", lambda record: f"{record['threshold']:g}"),
        Column("runs"),
        Column("reached", "Runs that reached it", _share("reached", "runs")),
        Column("median", "Median steps", empty="not reached"),
        Column("mean", "Mean steps within the budget"),
        Column("horizon"),
    ]
    note = (
        "Environment steps until a run's curve first reaches a normalised return (random policy 0, target 1). A run "
        "that never does, or that failed or diverged before, is censored: it counts with its whole budget in the mean, "
        f"and above every other run in the median. In brackets the {interval_name([r['mean'] for r in records])}."
    )
    return tabulate("steps-to-threshold", "Steps to a threshold", records, columns, note)


def sensitivity_table(results: JudgedResults) -> Table:
    """Return the comparisons with the runs that finished, and with failures as the worst possible score."""
    records = []
    for one in results.sensitivity:
        before, after = one.finished, one.with_failures
        form = form_of([before.difference, after.difference], 3 if before.normalised else 1)
        records.append(
            {"environment": before.environment, "arm": before.arm, "baseline": before.baseline}
            | {"failed_arm": after.n_arm - before.n_arm, "failed_baseline": after.n_baseline - before.n_baseline}
            | {"difference": before.difference.point, "verdict": before.verdict}
            | {"difference_with_failures": after.difference.point, "verdict_with_failures": after.verdict}
            | {"p_with_failures": after.p_adjusted, "changed": one.changed}
            | {"before": text(before.difference, form, "+"), "after": text(after.difference, form, "+")}
            | {"failed": f"{after.n_arm - before.n_arm}, {after.n_baseline - before.n_baseline}"}
            | {"now": f"{after.verdict}{' (changed)' if one.changed else ''}"}
        )
    columns = [
        _PLACE,
        _ARM,
        Column("baseline"),
        Column("failed_arm", "Failed runs (arm, baseline)", itemgetter("failed")),
        Column("failed_baseline"),
        Column("difference", "Difference, finished runs", itemgetter("before")),
        Column("verdict", "Verdict"),
        Column("difference_with_failures", "Difference with failures", itemgetter("after")),
        Column("verdict_with_failures", "Verdict with failures", itemgetter("now")),
        Column("p_with_failures"),
        Column("changed"),
    ]
    note = (
        "Failed and diverged runs count with the worst possible score: the lowest return of the environment, or the "
        "lowest observed score where that is not known. The truth lies between the two."
    )
    return tabulate("sensitivity", "If failures count as the worst score", records, columns, note)


def selection_table(results: JudgedResults) -> Table:
    """Return, of algorithms with several arms, by how much the best of them looks too good."""
    metric, scores = results.metrics[0], results.scores[results.scores["used"].astype(bool)]
    records = []
    for environment in results.environments:
        for algorithm, runs in scores[scores["environment"] == environment].groupby("algorithm", sort=True):
            sweep = {str(arm): rows[metric].to_numpy(np.float64) for arm, rows in runs.groupby("arm")}
            if len(sweep) < 2 or min(map(len, sweep.values())) < 2:
                continue
            possible = possible_range([environment], results.references)
            best = pick_best(sweep, seed=results.seed, possible=possible)
            form = form_of([best.naive, best.corrected])
            record = vars(best) | {"environment": environment, "algorithm": str(algorithm), "form": form}
            records.append(record | {"naive": best.naive.point, "as_it_looks": text(best.naive, form)})
    columns = [
        _PLACE,
        Column("algorithm", "Algorithm"),
        Column("settings", "Best of", lambda record: f"{record['settings']}: {record['picked']}"),
        Column("picked"),
        Column("naive", "Its mean", itemgetter("as_it_looks")),
        Column("optimism", "Selection bias"),
        Column("corrected", "Corrected mean"),
    ]
    note = (
        "The best of several settings, picked by these runs, has a mean that is biased upwards. The bias is estimated "
        "by bootstrapping the runs and the pick together. Running the picked setting on fresh seeds is better."
    )
    return tabulate("selection", "If the best setting is picked", records, columns, note)


def search_table(results: JudgedResults) -> Table:
    """Return what a search found for each algorithm, with its score in the search and on fresh seeds."""
    search, records, metric = results.searched, list[Record](), results.metrics[0]
    tried = search.failures_as_worst(metric).scores if search else results.scores.iloc[:0]
    scored, pairs = Scored(results, metric), dict.fromkeys(zip(tried["environment"], tried["algorithm"], strict=True))
    order = [*results.environments, *(arm.algorithm for arm in results.experiment.arms)]
    for place, algorithm in sorted(pairs, key=lambda pair: [order.index(name) for name in pair]):
        runs = tried[(tried["environment"] == place) & (tried["algorithm"] == algorithm)]
        last = runs[runs["seed"] == runs["seed"].max()]["arm"]  # those that were left
        means = runs[runs["arm"].isin(last)].groupby("arm")[metric].mean()
        before, *found = [arm.label for arm in results.experiment.arms if arm.algorithm == algorithm]
        after = scored.mean((found or [before])[0], [place])
        record = {"environment": place, "algorithm": algorithm, "tried": runs["arm"].nunique(), "runs": len(runs)}
        record |= {"found": str(means.idxmax()).removeprefix(algorithm).strip() or "its defaults"}
        record |= {"in_search": float(means.max()), "fresh": after, "before": (usual := scored.mean(before, [place]))}
        records.append(record | {"form": form_of([after, usual])})
    columns = [
        _PLACE,
        Column("algorithm", "Algorithm"),
        Column("tried", "Settings tried"),
        Column("runs", "Runs"),
        Column("found", "Best"),
        Column("in_search", "Its score in the search"),
        Column("fresh", "On fresh seeds"),
        Column("before", "The defaults there"),
    ]
    note = (
        "Every algorithm had as many settings and runs. What is best was picked by its score in the search, which is "
        "biased upwards; the runs on fresh seeds took no part in the search."
    )
    return tabulate("search", "What the search found", records, columns, note)


def _share(part: str, whole: str) -> Callable[[Record], str]:
    return lambda record: f"{record[part]} of {record[whole]}" if record[whole] else NONE


def _pairs(results: JudgedResults) -> list[tuple[str, str]]:
    """Return every (environment, arm) with a planned run."""
    planned = set(zip(results.runs["environment"], results.runs["arm"], strict=True))
    return [(env, arm) for env in results.environments for arm in results.arms if (env, arm) in planned]


def _ordered(results: JudgedResults, table: pd.DataFrame) -> pd.DataFrame:
    """Sort rows as the experiment orders environments and arms, then by seed."""
    order: dict[str, Sequence[str]] = {"environment": results.environments, "arm": results.arms}
    by = table.assign(**{key: table[key].map(list(names).index) for key, names in order.items()})
    keys = [*order, *(["seed"] if "seed" in table else [])]
    return table.loc[by.sort_values(keys).index].reset_index(drop=True)
