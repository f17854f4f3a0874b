"""Scores of all environments together, normalised by fixed references: IQM, mean and performance profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from rlbench.analysis.bands import profile_band
from rlbench.analysis.figures.accounts import add_footer, counted, interval_note, run_counts
from rlbench.analysis.figures.rows import ABOVE_LEGEND, draw_estimate, label_width, name_rows, rows_height
from rlbench.analysis.figures.runs import METRIC_NAMES
from rlbench.analysis.figures.style import (
    INK,
    QUIET,
    ArmStyle,
    arm_styles,
    drawing,
    say,
    wrapped,
)
from rlbench.analysis.intervals import Estimate, bootstrap, mean_interval
from rlbench.analysis.references import Reference, possible_range
from rlbench.analysis.statistics import Array, iqm

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
