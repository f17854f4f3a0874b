"""What each arm did over training: its learning curves, the share of its runs that had got somewhere, its updates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rlbench.analysis.draw import axes, frame, marks
from rlbench.analysis.draw.style import ArmStyle, styles_of
from rlbench.analysis.scores.metrics import axis_label, steps_to_threshold
from rlbench.analysis.scores.results import COSTS, ActionMap, Results
from rlbench.analysis.scores.scores import normalise, possible_range, reference
from rlbench.analysis.stats.estimates import Array
from rlbench.analysis.stats.intervals import curve_band, iqm_band
from rlbench.analysis.stats.survival import survival_band
from rlbench.errors import RlbenchError, nearest

Line = Literal["mean", "iqm"]
Kind = Literal["training", "deterministic", "sampled"]
"""Of curves: of the episodes of the training, or of evaluations with the most likely or with sampled actions."""
QUANTITIES = ("kl", "clip_fraction", "entropy", "explained_variance", "grad_norm")
RULE = "Line: median of the used runs; band: their middle half (a spread, no confidence interval)."
BINS = 50  # points of a curve; updates that fall into one are averaged per run


@frame.adjustable
def plot_learning_curves(
    results: Results,
    environment: str | None = None,
    *,
    line: Line = "mean",
    simultaneous: bool = False,
    kind: Kind = "training",
    against: str = "steps",
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean curve of every arm, or its IQM ("iqm"), with the confidence band over the used runs.

    The band is pointwise, or holds the whole curve of the mean at once if `simultaneous`. Of another `kind` than
    "training" the curves are those of evaluations, on one environment. There they may also stand `against`
    "gradient_steps" or "seconds", which grow evenly with the steps of an arm's runs (`Results.rate`).

    With an `environment` the returns are its own. Without one and with several in the results they are normalised
    (random policy 0, target 1), averaged over the environments, and drawn over the share of the budget. A run that
    failed or diverged is a thin dotted line that ends with a cross where the run stopped; it does not enter the mean.
    """
    if line not in get_args(Line):
        raise RlbenchError(f"line must be mean or iqm, not {line!r}.")
    if line == "iqm" and simultaneous:
        raise RlbenchError("A band for the whole line is made for the mean only; ask for line='mean'.")
    if kind not in get_args(Kind):
        raise RlbenchError(f"kind must be training, deterministic or sampled, not {kind!r}.")
    if kind != "training" and not results.is_evaluated:
        raise RlbenchError("These policies were not evaluated on their way; evaluate_every asks for that.")
    arms, styles = results.arms, styles_of(results)
    places = list(dict.fromkeys(results.scores["environment"]))
    environment = results.known_environment(environment) or (places[0] if len(places) == 1 else None)
    if environment is None and (kind != "training" or against != "steps"):
        raise RlbenchError("Evaluations, and curves against other costs than steps, are of one environment; name it.")
    known = [name for name in places if reference(name, results.references) is not None]
    shown = [environment] if environment else known
    how: dict[str, Any] = {"kind": kind, "against": against}
    numbers = curve_numbers(
        results, shown, arms, normalised=environment is None, line=line, simultaneous=simultaneous, **how
    )
    runs, left_out = results.scores, ""
    with frame.drawing(ax) as ax:
        if environment:
            draw_learning_curves(ax, results, environment, styles, numbers, **how)
            ax.set_title(environment)
            if kind != "training":
                ax.set_ylabel(f"return of evaluations ({kind})")
        else:
            marks.draw_lines(ax, numbers.table, styles)
            ax.set_xlabel("share of the budget")
            ax.set_ylabel("normalised return (0 random, 1 target)")
            ax.xaxis.set_major_formatter(PercentFormatter(1.0))
            if not ax.lines:
                why = "No arm has used runs on every environment with a reference, so there is nothing to average."
                frame.write_inside(ax, why)
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
    kind: Kind = "training",
    against: str = "steps",
) -> marks.Numbers:
    """Return the learning curve of the used runs of each arm that has some, with its confidence band.

    `normalised` curves are averaged over the environments, against the share of the budget; they are those of the arms
    that have used runs on all of them. Otherwise there is one environment. Of the points, `every` second or third is
    enough for a small chart.
    """
    ranges = np.array([possible_range([name], results.references, normalised=normalised) for name in environments])
    parts = []
    for arm in arms:
        curves = [_curves_of(results, arm, name, every, kind, used=True) for name in environments]
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
        if normalised:
            x = np.arange(1, points + 1) / points
        else:
            x = curves[0][0] * results.rate(against, environments[0], arm)
        parts.append(marks.band_numbers(arm, x, band))
    return marks.gathered(parts)


def draw_learning_curves(
    ax: Axes,
    results: Results,
    environment: str,
    styles: Mapping[str, ArmStyle],
    numbers: marks.Numbers,
    *,
    named: Callable[[str], str] | None = None,
    every: int = 1,
    kind: Kind = "training",
    against: str = "steps",
) -> None:
    """Draw the curves of an environment, with the runs of the arms in `styles` that failed or diverged."""
    marks.draw_lines(ax, numbers.table, styles, named=named)
    for arm, style in styles.items():
        step, stopped = _curves_of(results, arm, environment, every, kind, used=False)
        for run in stopped:
            marks.draw_stopped(ax, step * results.rate(against, environment, arm), run, style)
    frame.count_steps(ax, COSTS[against])
    ax.set_ylabel("episode return")
    if not ax.lines:
        frame.write_inside(ax, "No run has finished an episode here.")


def _curves_of(
    results: Results, arm: str, environment: str, every: int, kind: Kind, *, used: bool
) -> tuple[Array, Array]:
    # The common grid [points] and the curves [runs, points] of one arm on one environment.
    curves = results.curves if kind == "training" else results.evaluations(kind)
    kept = (curves["arm"] == arm) & (curves["environment"] == environment) & (curves["used"].astype(bool) == used)
    table = curves[kept].pivot(index="seed", columns="step", values="return").iloc[:, every - 1 :: every]
    return table.columns.to_numpy(np.float64), table.to_numpy(np.float64)


@frame.adjustable
def plot_reached(
    results: Results, environment: str | None = None, threshold: float = 0.5, *, ax: Axes | None = None
) -> Axes:
    """Draw the share of runs whose curve had reached a normalised return, by environment steps.

    One minus the Kaplan-Meier curve, see `rlbench.analysis.stats.survival`; runs that failed or diverged count as never
    getting there. Without an `environment` it is the first one.
    """
    environment = results.known_environment(environment) or results.environments[0]
    styles = styles_of(results)
    curves = results.curves[results.curves["environment"] == environment]
    table = steps_to_threshold(curves, threshold, results.references)
    at = np.concatenate([[0.0], np.unique(curves["step"].to_numpy(np.float64))])
    parts = []
    for arm in results.arms:
        runs = table[table["arm"] == arm]
        if len(runs):
            waiting = survival_band(runs["steps"], runs["reached"], at)
            there = replace(waiting, point=1 - waiting.point, low=1 - waiting.high, high=1 - waiting.low)
            parts.append(marks.band_numbers(arm, at, there, shares=True))
    numbers = marks.gathered(parts)
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


# What policies do


def plot_action_map(found: ActionMap, arm: str, quantity: str = "action", *, ax: Axes | None = None) -> Axes:
    """Draw the action of a policy, or the value that it expects, over the variables of a map."""
    with frame.drawing(ax) as ax:
        draw_action_map(ax, found, arm, quantity)
        ax.set_title(f"{arm}: {found.action if quantity == 'action' else quantity}")
    return ax


def draw_action_map(ax: Axes, found: ActionMap, arm: str, quantity: str) -> None:
    """Draw one map: colours over two variables with their scale beside them, a line over one."""
    table = found.table[found.table["arm"] == arm]
    ax.set_xlabel(found.names[0])
    if len(found.names) == 1:
        ax.plot(table["x"], table[quantity])
        ax.set_ylabel(found.action if quantity == "action" else quantity)
        return
    wide = table.pivot(index="y", columns="x", values=quantity)
    low, high = (found.limits or (None, None)) if quantity == "action" else (None, None)
    colors = "PuOr" if quantity == "action" else "cividis"
    mesh = ax.pcolormesh(
        wide.columns, wide.index, wide, cmap=colors, vmin=low, vmax=high, shading="nearest", rasterized=True
    )
    ax.set_ylabel(found.names[1])
    ax.grid(False)
    bottom, top = mesh.get_clim()
    room = 0.1 * (top - bottom)  # near the ends stand titles and the ticks of the axes
    ticks = [tick for tick in MaxNLocator(4).tick_values(bottom, top) if bottom + room < tick < top - room]
    ax.figure.colorbar(mesh, ax=ax, ticks=ticks)


# Columns of the updates


@frame.adjustable
def plot_diagnostics(
    results: Results,
    environment: str | None = None,
    quantity: str = "kl",
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw one column of `updates` over training: median and quartiles over the used runs of each arm.

    Without an `environment` it is the first one; the title names it. An arm that does not record the quantity has no
    line. A run that failed or diverged is a thin dotted line that ends with a cross.

    Raises:
        RlbenchError: no run records a column of that name.
    """
    environment = results.known_environment(environment) or results.environments[0]
    if quantity not in QUANTITIES:
        check_column(results, quantity)
    styles = styles_of(results)
    runs = _binned(results, quantity, environment)
    table = _medians(runs, results.arms)
    stopped = runs[~runs["used"].astype(bool)]
    with frame.drawing(ax) as ax:
        marks.draw_lines(ax, table, styles)
        for _, run in stopped.groupby("cell"):
            style = styles[str(run["arm"].iloc[0])]
            marks.draw_stopped(ax, run["x"].to_numpy(np.float64), run["value"].to_numpy(np.float64), style)
        ends = table[["point", "low", "high"]].to_numpy(np.float64).ravel()
        axes.scale_column(ax, quantity, np.concatenate([ends, stopped["value"].to_numpy(np.float64)]))
        ax.set_title(environment)
        frame.count_steps(ax)
        ax.set_ylabel(axis_label(quantity))
        if runs.empty:
            frame.write_inside(ax, "No run recorded this.")
        frame.list_arms(ax, styles, absent="not recorded")
        frame.add_footer(ax, RULE, frame.run_counts(results.scores, results.arms, environment))
    return ax


def training_numbers(results: Results, column: str, environment: str, arms: Sequence[str]) -> marks.Numbers:
    """Return median (point) and quartiles (low, high) over the used runs of each arm, over training.

    A spread of runs, not a confidence interval. The budget is cut into parts, in which a run counts with its mean.
    """
    check_column(results, column)
    return marks.Numbers(_medians(_binned(results, column, environment), arms), [])


def _binned(results: Results, quantity: str, environment: str) -> pd.DataFrame:
    # The mean of the quantity per run and bin of the budget: arm, cell, used, x (steps), value.
    columns = ["cell", "arm", "steps", "used"]
    if quantity not in results.updates.columns:
        return pd.DataFrame(columns=[*columns, "x", "value"])
    scores = results.scores[results.scores["environment"] == environment]
    table = results.updates[["cell", "step", quantity]].merge(scores[columns], on="cell")
    table = table[np.isfinite(table[quantity].to_numpy(np.float64))]
    position = np.ceil(table["step"] / table["steps"] * BINS).clip(1, BINS)
    table = table.assign(x=position * table["steps"] / BINS).rename(columns={quantity: "value"})
    binned: pd.DataFrame = table.groupby(["arm", "cell", "used", "x"], as_index=False)["value"].mean()
    return binned


def _medians(binned: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    rows = []
    for arm in arms:
        used = binned[(binned["arm"] == arm) & binned["used"].astype(bool)]
        for x, values in used.groupby("x")["value"]:
            rows.append((arm, float(str(x)), *np.quantile(values.to_numpy(), [0.5, 0.25, 0.75])))
    return pd.DataFrame(rows, columns=marks.COLUMNS)


def quantile_numbers(
    results: Results, column: str, environment: str, arms: Sequence[str], beyond: float | None = None
) -> marks.Numbers:
    """Return quantiles of the column over all updates of the used runs of each arm.

    Columns: line, updates (their number), q0.01 ... q0.99, and `beyond`, the share of updates above that number.
    """
    check_column(results, column)
    scores = results.scores
    cells = scores[(scores["environment"] == environment) & scores["used"].astype(bool)][["cell", "arm"]]
    table = results.updates[["cell", column]].merge(cells, on="cell").dropna(subset=[column])
    rows = []
    for arm in arms:
        values = table.loc[table["arm"] == arm, column].to_numpy(np.float64)
        if values.size:
            share = float(np.mean(values > beyond)) if beyond is not None else np.nan
            rows.append((arm, values.size, *np.quantile(values, marks.SHARES), share))
    return marks.Numbers(pd.DataFrame(rows, columns=["line", "updates", *marks.QUANTILES, "beyond"]), [])


def check_column(results: Results, column: str) -> None:
    """Raise RlbenchError if no run records a column."""
    known = [str(name) for name in results.updates.columns if name not in ("cell", "step")]
    if column not in known:
        raise RlbenchError(f"No run records {column!r}.{nearest(column, known)}")
