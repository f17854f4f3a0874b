"""Charts with a row per arm: scores of every run, aggregates, differences to the baseline; and the profile."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rlbench.analysis.draw import frame, marks
from rlbench.analysis.draw.style import INK, QUIET, ArmStyle, styles_of
from rlbench.analysis.judge.compare import Comparison
from rlbench.analysis.judge.verdicts import JudgedResults
from rlbench.analysis.scores.metrics import axis_label
from rlbench.analysis.scores.results import Results
from rlbench.analysis.scores.scores import ALL, possible_range
from rlbench.analysis.stats.estimates import Array, Estimate, iqm
from rlbench.analysis.stats.intervals import bootstrap, mean_interval, profile_band

_NOTHING = "No arm has used runs on every environment that has a reference, so no score can be averaged over them."


@frame.adjustable
def plot_scores(
    results: Results, environment: str | None = None, metric: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw every run as a dot, one row per arm, and below the dots the mean of the used runs with its interval.

    Without an `environment` and with several in the results, the dots are the normalised scores of all of them.
    A run that failed or diverged is a cross at what it had reached when it stopped; it does not enter the mean.
    """
    places, arms, metric = results.environments, results.arms, metric or results.metrics[0]
    environment = results.known_environment(environment) or (places[0] if len(places) == 1 else None)
    column = metric if environment else f"{metric}_normalised"
    scores, styles = results.scores, styles_of(results)
    shown, scored = [environment] if environment else places, marks.Scored(results, column)
    means: list[Estimate] = []
    stopped = False
    with frame.drawing(ax, frame.rows_height(arms, 0.48)) as ax:
        for row, arm in enumerate(arms):
            runs = scores[(scores["arm"] == arm) & scores["environment"].isin(shown) & scores[column].notna()]
            runs = runs.sort_values(["environment", "seed"])
            used, value = runs["used"].to_numpy(bool), runs[column].to_numpy(np.float64)
            mean = scored.mean(arm, sorted(set(runs["environment"][used]))) if used.any() else None
            marks.draw_runs(ax, row, value, used, mean, styles[arm]._replace(marker="d"))
            means += [mean] if mean else []
            stopped |= not used.all()
        frame.name_rows(ax, arms)
        ax.set_title(environment or "All environments", pad=frame.ABOVE_LEGEND)
        ax.set_xlabel(axis_label(column))
        names = {"one run": "o", "mean": "d", "stopped early": "x"} if stopped else {"one run": "o", "mean": "d"}
        handles = frame.line_handles({name: ArmStyle(INK, marker, ()) for name, marker in names.items()})
        for handle in (handles[0], *handles[2:]):
            handle.set(linestyle="none", markeredgecolor=INK, alpha=0.7)
        if means or stopped:
            frame.list_marks(ax, handles)
        else:
            frame.write_inside(ax, "No run has a score here.")
        frame.add_footer(ax, frame.interval_note(means, "Bar"), frame.run_counts(scores, arms, environment), rows=arms)
    return ax


class Normalised(NamedTuple):
    """Scores of all `environments` together: `tasks` holds one array of runs per environment for each arm.

    `left_out` says in words what does not count, and `runs` are the rows of the scores that this is about.
    """

    tasks: dict[str, list[Array]]
    left_out: str
    runs: pd.DataFrame
    environments: list[str]


def _normalised(results: Results, metric: str) -> Normalised:
    # Only environments with a reference count, and only arms that have used runs on all of those: an average over
    # other environments would be another quantity.
    scores, column = results.scores, f"{metric}_normalised"
    known = [str(name) for name, group in scores.groupby("environment") if group[column].notna().any()]
    grouped = marks.Scored(results, column).table.groupby(["arm", "environment"])["value"]
    values = {pair: runs.to_numpy(np.float64) for pair, runs in grouped}
    complete = [arm for arm in results.arms if known and all((arm, name) in values for name in known)]
    sentences = []
    unknown = sorted(set(scores["environment"]) - set(known))
    if unknown and known:
        sentences.append(f"Without a reference, so not counted: {', '.join(unknown)}.")
    if known and len(complete) < len(results.arms):
        out = ", ".join(arm for arm in results.arms if arm not in complete)
        sentences.append(f"Left out for want of a finished run on every environment: {out}.")
    runs = frame.counted(scores, complete, known or set(scores["environment"]))
    tasks = {arm: [values[arm, name] for name in known] for arm in complete}
    return Normalised(tasks, " ".join(sentences), runs, known)


def aggregates(results: Results, metric: str) -> dict[str, tuple[Estimate, Estimate]]:
    """Return (IQM, mean) of the normalised scores of each arm that has used runs on every environment."""
    kept = _normalised(results, metric)
    ranges = [possible_range([name], results.references, normalised=True) for name in kept.environments]
    anywhere = min((low for low, _ in ranges), default=-np.inf), max((high for _, high in ranges), default=np.inf)
    average = possible_range(kept.environments, results.references, normalised=True)
    return {
        arm: (
            bootstrap(scores, iqm, seed=results.seed, possible=anywhere),
            mean_interval(scores, seed=results.seed, possible=average),
        )
        for arm, scores in kept.tasks.items()
    }


@frame.adjustable
def plot_aggregate(results: Results, metric: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the interquartile mean (filled) and the mean (hollow) of the normalised scores, with intervals."""
    metric, arms, styles = metric or results.metrics[0], results.arms, styles_of(results)
    estimates = aggregates(results, metric)
    _, left_out, runs, _ = _normalised(results, metric)
    with frame.drawing(ax, frame.rows_height(arms, 0.42)) as ax:
        for row, arm in enumerate(arms):
            if arm in estimates:
                middle, mean = estimates[arm]
                marks.draw_estimate(ax, row - 0.14, middle, styles[arm])
                marks.draw_estimate(ax, row + 0.16, mean, styles[arm], hollow=True)
        frame.name_rows(ax, arms)
        places = results.environments
        ax.set_title(places[0] if len(places) == 1 else "All environments", pad=frame.ABOVE_LEGEND)
        ax.set_xlabel(axis_label(f"{metric}_normalised"))
        if estimates:
            filled, hollow = frame.line_handles({"IQM": ArmStyle(INK, "o", ()), "mean": ArmStyle(QUIET, "o", ())})
            hollow.set(markerfacecolor="white", markeredgecolor=QUIET, markeredgewidth=1.5)
            frame.list_marks(ax, [filled, hollow])
        else:
            frame.write_inside(ax, _NOTHING)
        middles, means = ([both[k] for both in estimates.values()] for k in (0, 1))
        notes = (
            frame.interval_note(middles, "IQM (mean of the middle half of the runs) with bar"),
            frame.interval_note(means, "Mean with bar"),
        )
        frame.add_footer(ax, *notes, left_out, frame.run_counts(runs, arms), rows=arms)
    return ax


def profile_numbers(results: Results, metric: str, arms: Sequence[str]) -> marks.Numbers:
    """Return the share of runs of each arm that score more than each normalised score, as lines of steps."""
    tasks = {arm: scores for arm, scores in _normalised(results, metric).tasks.items() if arm in arms}
    pooled = np.concatenate([task for scores in tasks.values() for task in scores] or [np.array([0.0, 1.0])])
    low, high = float(pooled.min()), float(pooled.max())
    margin = 0.05 * (high - low) or 0.05
    at = np.linspace(low - margin, high + margin, 201)
    return marks.gathered(
        [marks.band_numbers(arm, at, profile_band(scores, at), shares=True) for arm, scores in tasks.items()]
    )


@frame.adjustable
def plot_profile(results: Results, metric: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the performance profile: the share of runs that score more than each normalised score."""
    metric, styles = metric or results.metrics[0], styles_of(results)
    tasks, left_out, runs, _ = _normalised(results, metric)
    numbers = profile_numbers(results, metric, results.arms)
    with frame.drawing(ax) as ax:
        marks.draw_lines(ax, numbers.table, styles, steps=True)
        ax.set_title("Performance profile")
        ax.set_xlabel(axis_label(f"{metric}_normalised"))
        ax.set_ylabel("share of runs that score more")
        if tasks:
            frame.show_shares(ax)
            frame.list_arms(ax, {arm: styles[arm] for arm in tasks})
        else:
            frame.write_inside(ax, _NOTHING)
        what = "Band, at each score by itself where some but not all runs pass"
        note = frame.interval_note(numbers.estimates, what)
        frame.add_footer(ax, note, left_out, frame.run_counts(runs, results.arms))
    return ax


@frame.adjustable
def plot_improvement(
    results: JudgedResults, environment: str | None = None, metric: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw the probability that a run of each arm scores higher than one of the baseline, with its interval.

    Without an `environment`: all of them together.
    """
    chosen = _comparisons(results, environment, metric)
    label = f"probability that a run scores higher than one of {chosen[0].baseline}" if chosen else ""
    estimates = [comparison.improvement for comparison in chosen]
    ax = _plot(results, chosen, estimates, 0.5, "0.5: neither is better. Bar", label, ax)
    if chosen:
        ax.set_xlim(-0.03, 1.03)
    return ax


@frame.adjustable
def plot_difference(
    results: JudgedResults, environment: str | None = None, metric: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw by how much the mean score of each arm exceeds that of the baseline, with its interval.

    On one `environment` in its own returns; without one, on all of them together, in normalised score.
    """
    chosen = _comparisons(results, environment, metric)
    unit = "normalised return" if chosen and chosen[0].normalised else "return"
    label = f"difference to {chosen[0].baseline} in {unit}" if chosen else ""
    estimates = [comparison.difference for comparison in chosen]
    return _plot(results, chosen, estimates, 0.0, "0: no difference. Bar", label, ax)


def _comparisons(results: JudgedResults, environment: str | None, metric: str | None) -> list[Comparison]:
    # Those on `environment`; on all together by default, or on the only one there is.
    comparisons = results.comparisons if metric in (None, results.metrics[0]) else results.compare(metric=metric)
    present = list(dict.fromkeys(comparison.environment for comparison in comparisons))
    if results.known_environment(environment) is None:
        environment = ALL if ALL in present or len(present) != 1 else present[0]
    return [comparison for comparison in comparisons if comparison.environment == environment]


def _plot(
    results: JudgedResults,
    chosen: Sequence[Comparison],
    estimates: Sequence[Estimate],
    neutral: float,
    meaning: str,
    label: str,
    ax: Axes | None,
) -> Axes:
    # An estimate per comparison in rows; the `neutral` value means no difference.
    arms, styles, shown, place = [comparison.arm for comparison in chosen], styles_of(results), results.arms, None
    metric = ""
    with frame.drawing(ax, frame.rows_height(arms, 0.36)) as ax:
        if chosen:
            marks.mark_value(ax, neutral)
            marks.draw_rows(ax, arms, estimates, [styles[arm] for arm in arms])
            ax.set_xlabel(label)
            place = None if chosen[0].environment == ALL else chosen[0].environment
            ax.set_title(place or "All environments")
            shown = [arm for arm in (*arms, chosen[0].baseline) if arm in results.arms]
            metric = f"Score: {axis_label(chosen[0].metric)}."
        else:
            why = "it takes a baseline and another arm, and for all environments together a reference for each."
            frame.write_inside(ax, f"There is nothing to compare here: {why}")
        counts = frame.run_counts(results.scores, shown, place)
        frame.add_footer(ax, frame.interval_note(estimates, meaning), metric, counts, rows=arms)
    return ax
