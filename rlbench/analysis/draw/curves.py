"""Learning curves: what the runs of each arm had reached after how many environment steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from rlbench.analysis.draw.annotate import add_footer, counted, interval_note, run_counts
from rlbench.analysis.draw.style import ArmStyle, arm_styles, count_steps, drawing, say, wrapped
from rlbench.analysis.scores.milestones import steps_to_threshold
from rlbench.analysis.scores.references import Reference, normalise, possible_range, reference
from rlbench.analysis.stats.estimates import Band, Range
from rlbench.analysis.stats.intervals import curve_band, iqm_band
from rlbench.analysis.stats.statistics import Array
from rlbench.analysis.stats.survival import survival_band
from rlbench.errors import RlbenchError

Line = Literal["mean", "iqm"]
BandOf = Callable[[Sequence[Array], Sequence[Range]], Band]


def plot_learning_curves(
    curves: pd.DataFrame,
    scores: pd.DataFrame,
    environment: str | None = None,
    *,
    arms: Sequence[str] | None = None,
    styles: Mapping[str, ArmStyle] | None = None,
    references: Mapping[str, Reference] | None = None,
    line: Line = "mean",
    simultaneous: bool = False,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean curve of every arm, or its IQM ("iqm"), with the interval over the used runs.

    The band is pointwise, or holds the whole curve of the mean at once if `simultaneous`.

    `curves` and `scores` are the tables of `rlbench.analysis.scores.scores`. With an `environment` the returns are its
    own; without one and with several in the table they are normalised (random policy 0, target 1), averaged over
    the environments, and drawn over the share of the budget. A run that failed or diverged is a thin dotted line
    that ends with a cross where the run stopped; it does not enter the mean.
    """
    names = list(dict.fromkeys(scores["environment"]))
    if environment is None and len(names) == 1:
        environment = names[0]
    arms = list(arms if arms is not None else dict.fromkeys(scores["arm"]))
    styles = styles or arm_styles(arms)
    band = _band_of(line, simultaneous, seed)
    with drawing(ax) as ax:
        runs = scores
        if environment is None:
            bands, left_out, runs = _draw_overall(ax, curves, scores, arms, styles, references, band)
        else:
            bands, left_out = _draw_environment(ax, curves, arms, styles, environment, references, band)
        list_arms(ax, arms, styles, absent="no used run" if environment else "left out")
        add_footer(
            ax,
            interval_note(
                bands,
                f"Line: {'mean' if line == 'mean' else 'IQM'} of the used runs. "
                f"Band, {'for the whole line' if simultaneous else 'at each step by itself'}",
            ),
            left_out,
            run_counts(runs, arms, environment),
        )
    return ax


def _band_of(line: Line, simultaneous: bool, seed: int) -> BandOf:
    """Return the function that makes the band of the curves of some environments, with the ranges of their returns."""
    if line == "iqm" and simultaneous:
        raise RlbenchError("A band for the whole line is made for the mean only; ask for line='mean'.")

    def mean(tasks: Sequence[Array], ranges: Sequence[Range]) -> Band:
        possible = float(np.mean([low for low, _ in ranges])), float(np.mean([high for _, high in ranges]))
        return curve_band(tasks, seed=seed, simultaneous=simultaneous, possible=possible)

    def middle(tasks: Sequence[Array], ranges: Sequence[Range]) -> Band:
        possible = min(low for low, _ in ranges), max(high for _, high in ranges)
        return iqm_band(tasks, seed=seed, possible=possible)

    return mean if line == "mean" else middle


def _draw_environment(
    ax: Axes,
    curves: pd.DataFrame,
    arms: Sequence[str],
    styles: Mapping[str, ArmStyle],
    environment: str,
    references: Mapping[str, Reference] | None,
    band_of: BandOf,
) -> tuple[list[Band], str]:
    bands: list[Band] = []
    possible = possible_range([environment], references)
    shown = curves[curves["environment"] == environment]
    for arm in arms:
        own = shown[shown["arm"] == arm]
        step, used = curve_matrix(own[own["used"].astype(bool)])
        if len(used):
            bands.append(band_of([used], [possible]))
            _draw_band(ax, step, bands[-1], arm, styles[arm])
        step, stopped = curve_matrix(own[~own["used"].astype(bool)])
        for run in stopped:
            draw_stopped(ax, step, run, styles[arm])
    ax.set_title(environment)
    count_steps(ax)
    ax.set_ylabel("episode return")
    if not ax.lines:
        say(ax, "No run has finished an episode here.")
    return bands, ""


def _draw_overall(
    ax: Axes,
    curves: pd.DataFrame,
    scores: pd.DataFrame,
    arms: Sequence[str],
    styles: Mapping[str, ArmStyle],
    references: Mapping[str, Reference] | None,
    band_of: BandOf,
) -> tuple[list[Band], str, pd.DataFrame]:
    """Draw the curves over all environments with a reference; also return who is left out and the runs shown."""
    environments = list(dict.fromkeys(scores["environment"]))
    known = [name for name in environments if reference(name, references) is not None]
    bands: dict[str, Band] = {}
    possible = [possible_range([name], references, normalised=True) for name in known]
    for arm in arms:
        tasks = []
        for name in known:
            own = curves[(curves["arm"] == arm) & (curves["environment"] == name) & curves["used"].astype(bool)]
            tasks.append(normalise(curve_matrix(own)[1], name, references))
        if tasks and all(len(task) for task in tasks):
            bands[arm] = band_of(tasks, possible)
            points = len(bands[arm].point)
            _draw_band(ax, np.arange(1, points + 1) / points, bands[arm], arm, styles[arm])
    ax.set_title("All environments" if len(known) == len(environments) else f"{len(known)} environments")
    ax.set_xlabel("share of the budget")
    ax.set_ylabel("normalised return (0 random, 1 target)")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    if not bands:
        say(ax, "No arm has used runs on every environment with a reference, so there is nothing to average.")
    unknown = [name for name in environments if name not in known]
    left_out = f"Without a reference, so not in the average: {', '.join(unknown)}." if unknown else ""
    return list(bands.values()), left_out, counted(scores, bands, known or environments)


def curve_matrix(curves: pd.DataFrame) -> tuple[Array, Array]:
    """Return the common grid `[points]` and the curves `[runs, points]` of one arm on one environment."""
    table = curves.pivot(index="seed", columns="step", values="return")
    return table.columns.to_numpy(np.float64), table.to_numpy(np.float64)


def _draw_band(ax: Axes, x: Array, band: Band, arm: str, style: ArmStyle) -> None:
    ax.plot(
        x,
        band.point,
        color=style.color,
        linestyle=style.line,
        linewidth=1.9,
        marker=style.marker,
        markersize=5,
        markevery=(len(x) // 8, max(1, len(x) // 4)),
        markeredgecolor="white",
        markeredgewidth=0.6,
        label=arm,
    )
    if np.isfinite(band.low).any():
        ax.fill_between(x, band.low, band.high, color=style.color, alpha=0.15, linewidth=0)


def draw_stopped(ax: Axes, x: Array, values: Array, style: ArmStyle) -> None:
    """Draw a run that failed or diverged, with a cross at its last known point."""
    known = np.flatnonzero(np.isfinite(values))
    if known.size:
        last, width = known[-1], rcParams["lines.linewidth"]
        ax.plot(x[known], values[known], color=style.color, linestyle=":", linewidth=0.6 * width, alpha=0.8)
        ax.plot(x[last], values[last], "x", color=style.color, markeredgewidth=width, gid="stopped")


def list_arms(
    ax: Axes,
    arms: Sequence[str],
    styles: Mapping[str, ArmStyle],
    *,
    absent: str = "no used run",
    position: tuple[float, float] = (1.0, 1.0),
) -> None:
    """List the arms, right of the axes by default; one without a curve too, with `absent` as the reason."""
    drawn = {str(line.get_label()) for line in ax.lines}
    handles = [
        Line2D(
            [],
            [],
            color=styles[arm].color,
            linestyle=styles[arm].line,
            marker=styles[arm].marker,
            markersize=5,
            linewidth=1.9,
            label=wrapped(arm if arm in drawn or not absent else f"{arm} ({absent})"),
        )
        for arm in arms
    ]
    if any(line.get_gid() == "stopped" for line in ax.lines):
        handles.append(
            Line2D([], [], color="#6b6b6b", linestyle=":", marker="x", label="stopped early\n(failed, diverged)")
        )
    ax.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=position,
        handlelength=3.0,
        labelspacing=0.7,
        borderaxespad=0.0,
    )


def plot_reached(
    curves: pd.DataFrame,
    scores: pd.DataFrame,
    environment: str,
    threshold: float = 0.5,
    *,
    arms: Sequence[str] | None = None,
    styles: Mapping[str, ArmStyle] | None = None,
    references: Mapping[str, Reference] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of runs whose curve had reached a normalised return, by environment steps.

    One minus the Kaplan-Meier curve, see `rlbench.analysis.stats.survival`; runs that failed or diverged count as never
    getting there. `curves` and `scores` are the tables of `rlbench.analysis.scores.scores`.
    """
    arms = list(arms if arms is not None else dict.fromkeys(scores["arm"]))
    styles = styles or arm_styles(arms)
    here = curves[curves["environment"] == environment]
    table = steps_to_threshold(here, threshold, references)
    at = np.concatenate([[0.0], np.unique(here["step"].to_numpy(np.float64))])
    bands = []
    with drawing(ax) as ax:
        for arm in arms:
            own = table[table["arm"] == arm]
            if own.empty:
                continue
            band = survival_band(own["steps"], own["reached"], at)
            bands.append(band)
            style = styles[arm]
            reached = 1 - band.point
            ax.step(at, reached, where="post", color=style.color, linestyle=style.line, linewidth=1.9, label=arm)
            # Where all runs are there or none is, the bands of all arms would only cover each other.
            inside = np.isfinite(band.low) & (reached > 0) & (reached < 1)
            low, high = np.where(inside, 1 - band.high, reached), np.where(inside, 1 - band.low, reached)
            ax.fill_between(at, low, high, step="post", color=style.color, alpha=0.13, linewidth=0)
        ax.set_title(environment)
        count_steps(ax)
        ax.set_ylabel(f"share of runs that reached {threshold:g}")
        if bands:
            ax.set_ylim(-0.02, 1.02)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
            list_arms(ax, arms, styles, absent="no run")
        else:
            say(ax, "There are no curves here, or no reference that would make their returns comparable.")
        add_footer(
            ax,
            f"Normalised return of {threshold:g} (0 random, 1 target). Runs that failed or diverged never got there.",
            interval_note(bands, "Band, at each step by itself where some but not all runs are there"),
            run_counts(scores, arms, environment),
        )
    return ax
