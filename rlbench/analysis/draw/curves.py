"""Learning curves: what the runs of each arm had reached after how many environment steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from rlbench.analysis.draw import frame, marks
from rlbench.analysis.draw.style import ArmStyle, arm_styles
from rlbench.analysis.scores.milestones import steps_to_threshold
from rlbench.analysis.scores.results import Results
from rlbench.analysis.scores.scores import normalise, possible_range, reference
from rlbench.analysis.stats.estimates import Array
from rlbench.analysis.stats.intervals import curve_band, iqm_band
from rlbench.analysis.stats.survival import survival_band
from rlbench.errors import RlbenchError

Line = Literal["mean", "iqm"]


def plot_learning_curves(
    results: Results,
    environment: str | None = None,
    *,
    line: Line = "mean",
    simultaneous: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean curve of every arm, or its IQM ("iqm"), with the confidence band over the used runs.

    The band is pointwise, or holds the whole curve of the mean at once if `simultaneous`.

    With an `environment` the returns are its own. Without one and with several in the results they are normalised
    (random policy 0, target 1), averaged over the environments, and drawn over the share of the budget. A run that
    failed or diverged is a thin dotted line that ends with a cross where the run stopped; it does not enter the mean.
    """
    if line == "iqm" and simultaneous:
        raise RlbenchError("A band for the whole line is made for the mean only; ask for line='mean'.")
    arms, styles = results.arms, arm_styles(results.arms)
    places = list(dict.fromkeys(results.scores["environment"]))
    environment = results.known_environment(environment) or (places[0] if len(places) == 1 else None)
    known = [name for name in places if reference(name, results.references) is not None]
    shown = [environment] if environment else known
    numbers = curve_numbers(results, shown, arms, normalised=environment is None, line=line, simultaneous=simultaneous)
    runs, left_out = results.scores, ""
    with frame.drawing(ax) as ax:
        if environment:
            draw_learning_curves(ax, results, environment, styles, numbers)
            ax.set_title(environment)
        else:
            _draw_overall(ax, numbers, styles)
            ax.set_title("All environments" if known == places else f"{len(known)} environments")
            unknown = ", ".join(name for name in places if name not in known)
            left_out = f"Without a reference, so not in the average: {unknown}." if unknown else ""
            runs = frame.counted(runs, set(numbers.table["line"]), known or places)
        frame.list_arms(ax, styles, absent="no used run" if environment else "left out")
        what = f"Line: {'mean' if line == 'mean' else 'IQM'} of the used runs. Band, "
        what += "for the whole line" if simultaneous else "at each step by itself"
        frame.add_footer(
            ax, frame.interval_note(numbers.estimates, what), left_out, frame.run_counts(runs, arms, environment)
        )
    return ax


def curve_numbers(
    results: Results,
    environments: Sequence[str],
    arms: Sequence[str],
    *,
    normalised: bool = False,
    line: Line = "mean",
    simultaneous: bool = False,
    every: int = 1,
) -> marks.Numbers:
    """Return the learning curve of the used runs of each arm that has some, with its confidence band.

    `normalised` curves are averaged over the environments, against the share of the budget; they are those of the arms
    that have used runs on all of them. Otherwise there is one environment. Of the points, `every` second or third is
    enough for a small chart.
    """
    ranges = np.array([possible_range([name], results.references, normalised=normalised) for name in environments])
    parts = []
    for arm in arms:
        curves = [_curves_of(results, arm, name, every, used=True) for name in environments]
        tasks = [runs for _, runs in curves]
        if not tasks or not all(map(len, tasks)):
            continue
        if normalised:
            tasks = [normalise(task, name, results.references) for name, task in zip(environments, tasks, strict=True)]
        if line == "iqm":
            pooled = float(ranges[:, 0].min()), float(ranges[:, 1].max())
            band = iqm_band(tasks, seed=results.seed, possible=pooled)
        else:
            mean = float(ranges[:, 0].mean()), float(ranges[:, 1].mean())
            band = curve_band(tasks, seed=results.seed, simultaneous=simultaneous, possible=mean)
        points = len(band.point)
        parts.append(marks.band_numbers(arm, np.arange(1, points + 1) / points if normalised else curves[0][0], band))
    return marks.gathered(parts)


def draw_learning_curves(
    ax: Axes,
    results: Results,
    environment: str,
    styles: Mapping[str, ArmStyle],
    numbers: marks.Numbers,
    labels: Mapping[str, str] | None = None,
    *,
    named: bool = False,
    every: int = 1,
) -> None:
    """Draw the curves of an environment, with the runs of the arms in `styles` that failed or diverged."""
    marks.draw_lines(ax, numbers.table, styles, labels, named=named)
    for arm, style in styles.items():
        step, stopped = _curves_of(results, arm, environment, every, used=False)
        for run in stopped:
            marks.draw_stopped(ax, step, run, style)
    frame.count_steps(ax)
    ax.set_ylabel("episode return")
    if not ax.lines:
        frame.write_inside(ax, "No run has finished an episode here.")


def _draw_overall(ax: Axes, numbers: marks.Numbers, styles: Mapping[str, ArmStyle]) -> None:
    marks.draw_lines(ax, numbers.table, styles)
    ax.set_xlabel("share of the budget")
    ax.set_ylabel("normalised return (0 random, 1 target)")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    if not ax.lines:
        frame.write_inside(
            ax, "No arm has used runs on every environment with a reference, so there is nothing to average."
        )


def _curves_of(results: Results, arm: str, environment: str, every: int, *, used: bool) -> tuple[Array, Array]:
    """Return the common grid `[points]` and the curves `[runs, points]` of one arm on one environment."""
    curves = results.curves
    kept = (curves["arm"] == arm) & (curves["environment"] == environment) & (curves["used"].astype(bool) == used)
    table = curves[kept].pivot(index="seed", columns="step", values="return").iloc[:, every - 1 :: every]
    return table.columns.to_numpy(np.float64), table.to_numpy(np.float64)


def plot_reached(
    results: Results, environment: str | None = None, threshold: float = 0.5, *, ax: Axes | None = None
) -> Axes:
    """Draw the share of runs whose curve had reached a normalised return, by environment steps.

    One minus the Kaplan-Meier curve, see `rlbench.analysis.stats.survival`; runs that failed or diverged count as never
    getting there. Without an `environment` it is the first one.
    """
    environment = results.known_environment(environment) or results.environments[0]
    styles = arm_styles(results.arms)
    numbers = _reached_numbers(results, environment, threshold)
    with frame.drawing(ax) as ax:
        marks.draw_lines(ax, numbers.table, styles, steps=True)
        ax.set_title(environment)
        frame.count_steps(ax)
        ax.set_ylabel(f"share of runs that reached {threshold:g}")
        if numbers.estimates:
            frame.show_shares(ax)
            frame.list_arms(ax, styles, absent="no run")
        else:
            frame.write_inside(
                ax, "There are no curves here, or no reference that would make their returns comparable."
            )
        frame.add_footer(
            ax,
            f"Normalised return of {threshold:g} (0 random, 1 target). Runs that failed or diverged never got there.",
            frame.interval_note(
                numbers.estimates, "Band, at each step by itself where some but not all runs are there"
            ),
            frame.run_counts(results.scores, results.arms, environment),
        )
    return ax


def _reached_numbers(results: Results, environment: str, threshold: float) -> marks.Numbers:
    curves = results.curves[results.curves["environment"] == environment]
    table = steps_to_threshold(curves, threshold, results.references)
    at = np.concatenate([[0.0], np.unique(curves["step"].to_numpy(np.float64))])
    parts = []
    for arm in results.arms:
        runs = table[table["arm"] == arm]
        if len(runs):
            waiting = survival_band(runs["steps"], runs["reached"], at)
            there = replace(waiting, point=1 - waiting.point, low=1 - waiting.high, high=1 - waiting.low)
            parts.append(marks.share_numbers(arm, at, there))
    return marks.gathered(parts)
