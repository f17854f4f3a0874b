"""Scores of all environments together, normalised by fixed references: IQM, mean and performance profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from rlbench.analysis.draw.annotate import (
    ABOVE_LEGEND,
    add_footer,
    counted,
    draw_estimate,
    interval_note,
    label_width,
    name_rows,
    rows_height,
    run_counts,
)
from rlbench.analysis.draw.dots import METRIC_NAMES
from rlbench.analysis.draw.style import INK, QUIET, ArmStyle, arm_styles, drawing, say, wrapped
from rlbench.analysis.judge.compare import Comparison
from rlbench.analysis.scores.references import Reference, possible_range
from rlbench.analysis.scores.scores import ALL
from rlbench.analysis.stats.estimates import Estimate
from rlbench.analysis.stats.intervals import bootstrap, mean_interval, profile_band
from rlbench.analysis.stats.statistics import Array, iqm

NOTHING = "No arm has used runs on every environment that has a reference, so no score can be averaged over them."


class Normalised(NamedTuple):
    """Scores of all `environments` together: `tasks` holds one array of runs per environment for each arm.

    `left_out` says in words what does not count, and `runs` are the rows of the scores that this is about.
    """

    tasks: dict[str, list[Array]]
    left_out: str
    runs: pd.DataFrame
    environments: list[str]


def normalised(scores: pd.DataFrame, arms: Sequence[str], metric: str = "auc") -> Normalised:
    """Return the normalised scores of the used runs.

    Only environments with a reference count, and only arms that have used runs on all of those: an average
    over other environments would be another quantity.
    """
    column = f"{metric}_normalised"
    used = scores[scores["used"].astype(bool)]
    known = [str(name) for name, group in scores.groupby("environment") if group[column].notna().any()]
    tasks, out = {}, []
    for arm in arms:
        own = used[used["arm"] == arm]
        values = [own.loc[own["environment"] == name, column].to_numpy(np.float64) for name in known]
        if values and all(len(value) for value in values):
            tasks[arm] = values
        elif known:
            out.append(arm)
    sentences = []
    unknown = sorted(set(scores["environment"]) - set(known))
    if unknown and known:
        sentences.append(f"Without a reference, so not counted: {', '.join(unknown)}.")
    if out:
        sentences.append(f"Left out for want of a finished run on every environment: {', '.join(out)}.")
    runs = counted(scores, tasks, known or set(scores["environment"]))
    return Normalised(tasks, " ".join(sentences), runs, known)


def everything(scores: pd.DataFrame) -> str:
    """Return what a figure of all environments is called: with one environment, its name."""
    names = list(dict.fromkeys(scores["environment"]))
    return names[0] if len(names) == 1 else "All environments"


def aggregates(
    scores: pd.DataFrame,
    arms: Sequence[str],
    metric: str = "auc",
    seed: int = 0,
    references: Mapping[str, Reference] | None = None,
) -> dict[str, tuple[Estimate, Estimate]]:
    """Return (IQM, mean) of the normalised scores of each arm that `normalised` keeps."""
    kept = normalised(scores, arms, metric)
    ranges = [possible_range([name], references, normalised=True) for name in kept.environments]
    anywhere = min((low for low, _ in ranges), default=-np.inf), max((high for _, high in ranges), default=np.inf)
    average = possible_range(kept.environments, references, normalised=True)
    return {
        arm: (
            bootstrap(own, iqm, seed=seed, possible=anywhere),
            mean_interval(own, seed=seed, possible=average),
        )
        for arm, own in kept.tasks.items()
    }


def plot_aggregate(
    scores: pd.DataFrame,
    metric: str = "auc",
    *,
    arms: Sequence[str] | None = None,
    styles: Mapping[str, ArmStyle] | None = None,
    references: Mapping[str, Reference] | None = None,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the interquartile mean (filled) and the mean (hollow) of the normalised scores, with intervals."""
    arms = list(arms if arms is not None else dict.fromkeys(scores["arm"]))
    styles = styles or arm_styles(arms)
    estimates = aggregates(scores, arms, metric, seed, references)
    _, left_out, runs, _ = normalised(scores, arms, metric)
    with drawing(ax, height=rows_height(arms, 0.42)) as ax:
        for row, arm in enumerate(arms):
            if arm in estimates:
                middle, mean = estimates[arm]
                draw_estimate(ax, row - 0.14, middle, styles[arm], marker=styles[arm].marker)
                draw_estimate(ax, row + 0.16, mean, styles[arm], marker=styles[arm].marker, hollow=True)
        name_rows(ax, arms)
        ax.set_title(everything(scores), pad=ABOVE_LEGEND)
        ax.set_xlabel(METRIC_NAMES[f"{metric}_normalised"])
        if estimates:
            _legend(ax)
        else:
            say(ax, NOTHING)
        add_footer(
            ax,
            interval_note([one for one, _ in estimates.values()], "IQM (mean of the middle half of the runs) with bar"),
            interval_note([one for _, one in estimates.values()], "Mean with bar"),
            left_out,
            run_counts(runs, arms),
            left=label_width(arms),
        )
    return ax


def plot_profile(
    scores: pd.DataFrame,
    metric: str = "auc",
    *,
    arms: Sequence[str] | None = None,
    styles: Mapping[str, ArmStyle] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the performance profile: the share of runs that score more than each normalised score."""
    arms = list(arms if arms is not None else dict.fromkeys(scores["arm"]))
    styles = styles or arm_styles(arms)
    tasks, left_out, runs, _ = normalised(scores, arms, metric)
    with drawing(ax) as ax:
        thresholds = _thresholds(tasks)
        bands = {arm: profile_band(own, thresholds) for arm, own in tasks.items()}
        for arm, band in bands.items():
            style = styles[arm]
            ax.step(
                thresholds,
                band.point,
                where="post",
                color=style.color,
                linestyle=style.line,
                linewidth=1.9,
                label=wrapped(arm),
            )
            # Where all runs pass or none does, the bands of all arms would only cover each other.
            inside = np.isfinite(band.low) & (band.point > 0) & (band.point < 1)
            low, high = np.where(inside, band.low, band.point), np.where(inside, band.high, band.point)
            ax.fill_between(thresholds, low, high, step="post", color=style.color, alpha=0.13, linewidth=0)
        ax.set_title("Performance profile")
        ax.set_xlabel(METRIC_NAMES[f"{metric}_normalised"])
        ax.set_ylabel("share of runs that score more")
        if tasks:
            ax.set_ylim(-0.02, 1.02)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
            ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=3.0, borderaxespad=0.0)
        else:
            say(ax, NOTHING)
        add_footer(
            ax,
            interval_note(bands.values(), "Band, at each score by itself where some but not all runs pass"),
            left_out,
            run_counts(runs, arms),
        )
    return ax


def _thresholds(tasks: Mapping[str, Sequence[Array]]) -> Array:
    """Return 201 scores that cover all runs with a margin on both sides."""
    pooled = np.concatenate([task for own in tasks.values() for task in own] or [np.array([0.0, 1.0])])
    low, high = float(pooled.min()), float(pooled.max())
    margin = 0.05 * (high - low) or 0.05
    return np.linspace(low - margin, high + margin, 201)


def _legend(ax: Axes) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=INK,
            linewidth=2.6,
            marker="o",
            markersize=6.5,
            label="IQM",
        ),
        Line2D(
            [],
            [],
            color=QUIET,
            linewidth=1.5,
            marker="o",
            markersize=6.5,
            markerfacecolor="white",
            label="mean",
        ),
    ]
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=2,
        borderaxespad=0.2,
        columnspacing=1.2,
    )


NO_COMPARISON = (
    "There is nothing to compare here: it takes a baseline and another arm, and for all environments together "
    "a reference for each."
)


def plot_improvement(
    comparisons: Sequence[Comparison],
    scores: pd.DataFrame,
    environment: str | None = None,
    *,
    styles: Mapping[str, ArmStyle] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the probability that a run of each arm scores higher than one of the baseline, with its interval.

    `comparisons` come from `rlbench.analysis.judge.compare`. Without an `environment`: all of them together.
    """
    chosen = _choose(comparisons, environment)
    label = f"probability that a run scores higher than one of {chosen[0].baseline}" if chosen else ""
    estimates = [one.improvement for one in chosen]
    meaning = "0.5: neither is better. Bar"
    return _plot(chosen, estimates, scores, styles, ax, middle=0.5, meaning=meaning, label=label, limits=(-0.03, 1.03))


def plot_difference(
    comparisons: Sequence[Comparison],
    scores: pd.DataFrame,
    environment: str | None = None,
    *,
    styles: Mapping[str, ArmStyle] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw by how much the mean score of each arm exceeds that of the baseline, with its interval.

    On one `environment` in its own returns; without one, on all of them together, in normalised score.
    """
    chosen = _choose(comparisons, environment)
    unit = "normalised return" if chosen and chosen[0].normalised else "return"
    label = f"difference to {chosen[0].baseline} in {unit}" if chosen else ""
    estimates = [one.difference for one in chosen]
    return _plot(chosen, estimates, scores, styles, ax, middle=0.0, meaning="0: no difference. Bar", label=label)


def _plot(
    chosen: Sequence[Comparison],
    estimates: Sequence[Estimate],
    scores: pd.DataFrame,
    styles: Mapping[str, ArmStyle] | None,
    ax: Axes | None,
    *,
    middle: float,
    meaning: str,
    label: str,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Draw an estimate per comparison in rows, with the value that means no difference in the `middle`."""
    arms = [one.arm for one in chosen]
    with drawing(ax, height=rows_height(arms, 0.36)) as ax:
        _draw_rows(ax, chosen, estimates, scores, styles, middle)
        if chosen:
            if limits is not None:
                ax.set_xlim(limits)
            ax.set_xlabel(label)
        note = interval_note(estimates, meaning)
        add_footer(ax, note, _metric(chosen), _counts(chosen, scores), left=label_width(arms))
    return ax


def _choose(comparisons: Sequence[Comparison], environment: str | None) -> list[Comparison]:
    """Return the comparisons on `environment`; on all together by default, or on the only one there is."""
    present = list(dict.fromkeys(one.environment for one in comparisons))
    if environment is None:
        environment = ALL if ALL in present or len(present) != 1 else present[0]
    return [one for one in comparisons if one.environment == environment]


def _draw_rows(
    ax: Axes,
    chosen: Sequence[Comparison],
    estimates: Sequence[Estimate],
    scores: pd.DataFrame,
    styles: Mapping[str, ArmStyle] | None,
    middle: float,
) -> None:
    if not chosen:
        say(ax, NO_COMPARISON)
        return
    styles = styles or arm_styles(list(dict.fromkeys(scores["arm"])))
    ax.axvline(middle, color=QUIET, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1.5)
    for row, (one, estimate) in enumerate(zip(chosen, estimates, strict=True)):
        if np.isfinite(estimate.point):
            draw_estimate(ax, row, estimate, styles[one.arm], marker=styles[one.arm].marker)
        else:
            ax.annotate("no used run", (0.02, row), xycoords=("axes fraction", "data"), va="center", color=QUIET)
    name_rows(ax, [one.arm for one in chosen])
    environment = chosen[0].environment
    ax.set_title("All environments" if environment == ALL else environment)


def _metric(chosen: Sequence[Comparison]) -> str:
    return f"Score: {METRIC_NAMES[chosen[0].metric]}." if chosen else ""


def _counts(chosen: Sequence[Comparison], scores: pd.DataFrame) -> str:
    if not chosen:
        return run_counts(scores, list(dict.fromkeys(scores["arm"])))
    arms = [*(one.arm for one in chosen), chosen[0].baseline]
    return run_counts(scores, arms, None if chosen[0].environment == ALL else chosen[0].environment)
