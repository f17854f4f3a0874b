"""The kinds of showpieces: from results to the panels, the numbers and the caption of a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from rlbench.analysis.draw import captions
from rlbench.analysis.draw.chosen import Chosen
from rlbench.analysis.draw.curves import curve_matrix, draw_stopped
from rlbench.analysis.draw.diagnostics import QUANTITIES
from rlbench.analysis.draw.frame import Panel, Sheet, in_panels
from rlbench.analysis.draw.scale import short
from rlbench.analysis.draw.scatter import plot_ratio, plot_scatter, ratio_numbers, scatter_numbers
from rlbench.analysis.draw.series import curve_numbers, mark_value, plot_band, shade
from rlbench.analysis.draw.style import ArmStyle, arm_styles, count_steps
from rlbench.analysis.draw.updates import (
    SHARE_COLUMNS,
    plot_quantiles,
    quantile_numbers,
    scale_column,
    training_numbers,
)
from rlbench.analysis.scores.references import reference
from rlbench.suite import Showpiece


def drawn(chosen: Chosen, styles: Mapping[str, ArmStyle], tables: Sequence[pd.DataFrame]) -> dict[str, ArmStyle]:
    """Return the looks of the lines that some panel has, by what they are called in the figure."""
    present = {str(name) for table in tables for name in table["line"]}
    return {chosen.called(name): style for name, style in styles.items() if name in present}


def curves(chosen: Chosen) -> Sheet:
    """Learning curves, a panel per environment."""
    results, arms, styles = chosen.first, chosen.arms, chosen.styles_of_arms()
    numbers = {one: curve_numbers(results, one, arms) for one in chosen.environments}
    estimates = [estimate for one in numbers.values() for estimate in one.estimates]

    def draw(environment: str, ax: Axes, named: bool) -> None:
        plot_band(numbers[environment].table, styles=styles, labels=chosen.piece.labels, named=named, ax=ax)
        curves = results.curves
        stopped = curves[(curves["environment"] == environment) & ~curves["used"].astype(bool)]
        for arm in arms:
            step, runs = curve_matrix(stopped[stopped["arm"] == arm])
            for run in runs:
                draw_stopped(ax, step, run, styles[arm])
        scale = reference(environment, results.references)
        if scale is not None:
            mark_value(ax, scale.target, "", upright=False)
        count_steps(ax)
        ax.set_ylabel("episode return")

    shown = captions.shown_runs(results.scores, arms, chosen.environments)
    failed = shown["status"].isin(["failed", "diverged"]).any()
    dots = " Dotted lines that end with a cross: runs that failed or diverged." if failed else ""
    return Sheet(
        [Panel(chosen.called(one), partial(draw, one)) for one in chosen.environments],
        in_panels({one: table.table for one, table in numbers.items()}),
        "Undiscounted return of the training episodes against environment steps. "
        f"{captions.intervals('Line: mean of the runs. Band, at each step by itself', estimates)} Dashed: the return "
        f"that counts as 1 where scores are normalised.{dots} {captions.accounts(shown, arms)}",
        drawn(chosen, styles, [one.table for one in numbers.values()]),
        notes=f"Mean of {captions.runs_each(shown)} with its {captions.short_interval(estimates)}",
    )


def training(chosen: Chosen) -> Sheet:
    """A column of the updates over training: a panel per environment, or one for all of a single arm."""
    results, arms, piece = chosen.first, chosen.arms, chosen.piece
    column = piece.metric or "clip_fraction"
    tables = {one: training_numbers(results, column, one, arms) for one in chosen.environments}
    styles: Mapping[str, ArmStyle] = chosen.styles_of_arms()
    if len(arms) == 1:
        together = pd.concat([table.assign(line=one) for one, table in tables.items()], ignore_index=True)
        tables, styles = {"": together}, arm_styles(chosen.environments)

    ends = pd.concat(list(tables.values()))[["point", "low", "high"]].to_numpy(np.float64).ravel()
    reached = np.append(ends[np.isfinite(ends)], piece.band or ())
    marked = _marked(piece, column)

    def draw(panel: str, ax: Axes, named: bool) -> None:
        if piece.band:
            shade(ax, piece.band, piece.said if len(tables) == 1 else "")
        plot_band(tables[panel], styles=styles, labels=piece.labels, named=named, ax=ax)
        if piece.mark is not None:
            mark_value(ax, piece.mark, "", upright=False)
        count_steps(ax)
        scale_column(ax, column, reached)

    shown = captions.shown_runs(results.scores, arms, chosen.environments)
    long = QUANTITIES.get(column, "")
    meant = f" ({long})" if long and long != captions.column_name(column) else ""
    of = f" of {chosen.called(arms[0])}" if len(arms) == 1 else ""
    return Sheet(
        [Panel(chosen.called(one), partial(draw, one)) for one in tables],
        in_panels(tables),
        f"{captions.capital(captions.column_name(column))}{meant}{of} over training. Line: median of the runs; band: "
        f"their middle half ({captions.SPREAD}).{marked} {captions.accounts(shown, arms)}",
        drawn(chosen, styles, list(tables.values())),
        shared="y",
        tall=1.15,
        notes=f"Median and middle half of {captions.runs_each(shown)}.{marked}",
    )


def distribution(chosen: Chosen) -> Sheet:
    """Quantiles of a column of the updates: a panel per environment, a row per arm."""
    results, arms, piece = chosen.first, chosen.arms, chosen.piece
    column, styles = piece.metric or "kl", chosen.styles_of_arms()
    tables = {one: quantile_numbers(results, column, one, arms, piece.mark) for one in chosen.environments}

    def draw(environment: str, ax: Axes, named: bool) -> None:
        plot_quantiles(tables[environment], arms, styles=styles, labels=piece.labels, ax=ax)
        if piece.band:
            shade(ax, piece.band, "", upright=True)
        if piece.mark is not None:
            mark_value(ax, piece.mark, "")
        ax.set_xlabel(captions.column_name(column))

    shown = captions.shown_runs(results.scores, arms, chosen.environments)
    marked = _marked(piece, column)
    name = captions.capital(captions.column_name(column))
    return Sheet(
        [Panel(chosen.called(one), partial(draw, one)) for one in chosen.environments],
        in_panels(tables),
        f"{name}, over all updates of the runs: median (dot), middle half (thick), 5 to 95 % (thin), 1 and 99 % "
        f"(ticks); a spread of updates, no confidence interval.{marked} {captions.accounts(shown, arms)}",
        shared="xy",
        tall=max(0.55, (0.75 + 0.17 * len(arms)) / 1.95),
        rows=len(arms),
        notes=f"Median, middle half, 5-95 %, 1 and 99 % of all updates of {captions.runs_each(shown)}.{marked}",
    )


def scatter(chosen: Chosen) -> Sheet:
    """A score against another metric: a panel per environment, a dot per arm."""
    results, arms, piece = chosen.first, chosen.arms, chosen.piece
    metric = piece.metric or "auc_normalised"
    numbers = {one: scatter_numbers(results, metric, piece.against, one, arms) for one in chosen.environments}
    algorithms = dict(zip(results.runs["arm"], results.runs["algorithm"], strict=True))
    looks = arm_styles(list(dict.fromkeys(str(algorithms[arm]) for arm in arms)))
    styles = {arm: looks[str(algorithms[arm])] for arm in arms}
    estimates = [estimate for one in numbers.values() for estimate in one.estimates]

    across = np.concatenate([one.table["x"].to_numpy(np.float64) for one in numbers.values()])

    def draw(environment: str, ax: Axes, named: bool) -> None:
        if piece.band:
            shade(ax, piece.band, "", upright=True)
        if piece.mark is not None:
            mark_value(ax, piece.mark, "")
        plot_scatter(numbers[environment].table, styles=styles, ax=ax)
        ax.set_xlabel(captions.metric_name(piece.against))
        if piece.against.partition(":")[0] in SHARE_COLUMNS:
            ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        elif across.size and 0 < 100 * across.min() <= across.max():
            ax.set_xscale("log")
            powers = bool(across.min() < 1e-3)
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value, powers=powers)))
        ax.set_ylabel(captions.metric_name(metric))

    shown = captions.shown_runs(results.scores, arms, chosen.environments)
    marked = _marked(piece, piece.against.partition(":")[0])
    return Sheet(
        [Panel(chosen.called(one), partial(draw, one)) for one in chosen.environments],
        in_panels({one: table.table for one, table in numbers.items()}),
        f"{captions.metric_sentence(metric)} against {captions.metric_name(piece.against)}, one dot per "
        f"arm. {captions.intervals('Dots: means of the runs. Bars', estimates)}{marked} "
        f"{captions.accounts(shown, arms)}",
        {chosen.called(name): style for name, style in looks.items()} if len(looks) > 1 else {},
        beside=False,
        shared="xy",
        notes=f"Means of {captions.runs_each(shown)} with their {captions.short_interval(estimates)}.{marked}",
    )


def _marked(piece: Showpiece, column: str) -> str:
    """Return the sentence on what is marked or shaded on the axis of a column, with a space before it."""
    if piece.mark is not None:
        what, said = short(piece.mark), f" Dashed: {piece.said}"
    elif piece.band:
        percent = column in SHARE_COLUMNS
        what = " to ".join(short(100 * end if percent else end) for end in piece.band) + " %" * percent
        said = f" Shaded: {piece.said}"
    else:
        return ""
    return f"{said}." if what in piece.said else f"{said} ({what})." if piece.said else f"{said}{what}."


def effective_ratio(piece: Showpiece) -> Sheet:
    """The effective ratio for both signs of the advantage; needs no results."""
    band = piece.band or (0.8, 1.2)
    signs = {"A > 0: raise its probability": 1.0, "A < 0: lower its probability": -1.0}

    def draw(sign: float, ax: Axes, named: bool) -> None:
        plot_ratio(sign, band, ax)

    return Sheet(
        [Panel(name, partial(draw, sign)) for name, sign in signs.items()],
        in_panels({name: ratio_numbers(sign, band) for name, sign in signs.items()}),
        f"Effective ratio min(r A, clip(r) A) / A of the clipped objective, ratios clipped to {short(band[0])} to "
        f"{short(band[1])}, against the ratio r of new to old probability (Schulman et al. 2017, equation 7). Solid: "
        "the gradient of the objective is that of r A; dashed, on grey: it is exactly zero. Dotted: no clipping. The "
        "dot is where every update starts. Mathematics; no runs.",
        tall=1.3,
        notes="Solid: full gradient. Dashed: no gradient. Dotted: without clipping.",
    )
