"""Paper figures: what a figure that a suite declares (`rlbench.Showpiece`) consists of, drawing and writing it.

A kind of figure is a function from the resolved declaration to its specification, and an entry in `KINDS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlbench.analysis.draw.curves import curve_numbers, draw_learning_curves
from rlbench.analysis.draw.dots import METRIC_NAMES
from rlbench.analysis.draw.files import write_figure
from rlbench.analysis.draw.frame import (
    NoRoom,
    count_steps,
    draw_panels,
    interval_note,
    letters,
    new_figure,
    run_counts,
    settle,
    write_inside,
)
from rlbench.analysis.draw.marks import (
    MEAN,
    MEAN_STYLE,
    Numbers,
    Scored,
    draw_lines,
    draw_points,
    gathered,
    mark_value,
    shade,
)
from rlbench.analysis.draw.scatter import CLIP_RANGE, draw_ratio, draw_scatter, ratio_numbers, scatter_numbers
from rlbench.analysis.draw.style import ArmStyle, Style, arm_styles, styled, styles_like
from rlbench.analysis.draw.sweep import FEWEST, Sweep, field_name, find_sweeps, multiples, scale_of, sweep_numbers
from rlbench.analysis.draw.updates import (
    QUANTITIES,
    SHARE_COLUMNS,
    draw_quantiles,
    quantile_numbers,
    scale_axis,
    scale_column,
    short,
    training_numbers,
)
from rlbench.analysis.format import csv_text
from rlbench.analysis.scores.references import reference
from rlbench.analysis.scores.results import Results
from rlbench.analysis.stats.coverage import interval_name
from rlbench.analysis.stats.estimates import Band, Estimate
from rlbench.analysis.stats.statistics import Array
from rlbench.errors import RlbenchError, nearest
from rlbench.files import write
from rlbench.records import MEASURED
from rlbench.suite import Showpiece, Suite

_SPREAD = "a spread of the runs, no confidence interval"
_BRIEF = {
    "auc_normalised": "normalised AUC",
    "final_normalised": "normalised final return",
    "auc": "AUC, episode return",
    "final": "final return",
}


@dataclass(frozen=True)
class FigureSpec:
    """A figure before it has a size.

    tables   the numbers that are drawn in every panel, by its name; `titles` are what panels are called, if otherwise
    draw     draws the panel of a name on axes, with names beside its lines or not
    notes    what must be known to read the figure, on a slide in small letters below it
    lines    what is drawn in every panel, by the name it has there; empty: lines need no names
    joined   whether they are lines, with ends that names can stand beside; otherwise markers, which are listed
    shared   the axes on which all panels have the same range: "", "x", "y" or "xy"
    tall     height of a row of panels, relative to the usual one
    rows     number of named rows of every panel, which then stand side by side; 0: no charts with rows
    """

    tables: Mapping[str, pd.DataFrame]
    draw: Callable[[str, Axes, bool], None]
    caption: str
    notes: str
    titles: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, ArmStyle] = field(default_factory=dict)
    joined: bool = True
    shared: str = ""
    tall: float = 1.0
    rows: int = 0

    @property
    def numbers(self) -> pd.DataFrame:
        """The tables of all panels as one, with the column `panel` first."""
        frames = [table.assign(panel=name) for name, table in self.tables.items()]
        whole = pd.concat([one for one in frames if len(one)] or frames, ignore_index=True)
        return whole[["panel", *(name for name in whole.columns if name != "panel")]]

    def compose(self, style: Style, title: str) -> Figure:
        """Return the figure, laid out and with its positions fixed; within `styled`.

        Raises:
            NoRoom: the names and ticks leave no room for the panels.
        """
        panels = len(self.tables)
        columns = self._columns(style)
        rows = math.ceil(panels / columns)
        height = style.slide or style.height * rows * self.tall * (1.18 if panels == 1 else 1.0)
        texts = (title, self.notes) if style.titled else ("", "")
        figure = new_figure(style.wide if panels > 1 else style.narrow, height, *texts)
        drawn = [(self.titles.get(name, name), partial(self.draw, name)) for name in self.tables]
        draw_panels(figure, drawn, columns, self.lines, beside=self.joined, joined=self.joined, shared=self.shared)
        settle(figure)
        return figure

    def _columns(self, style: Style) -> int:
        """Return how many panels stand side by side; charts with rows below each other only where these have room."""
        panels = len(self.tables)
        usual = {1: 1, 2: 2, 3: 3, 4: 2}.get(panels, 3 if panels <= 6 else 4)
        needed = 1.25 * self.rows * letters("ytick.labelsize") / 72.0 * math.ceil(panels / usual)
        return usual if not self.rows or (style.slide and needed <= 0.7 * style.slide) else min(panels, 4)


@dataclass(frozen=True, eq=False)
class Resolved:
    """A declared figure with the results that it is drawn from, at least one."""

    piece: Showpiece
    results: tuple[Results, ...]

    @property
    def first(self) -> Results:
        """The results of the first of its experiments."""
        return self.results[0]

    @property
    def where(self) -> str:
        """How messages refer to it."""
        return f"Figure {self.piece.name!r}"

    @cached_property
    def arms(self) -> list[str]:
        """The arms of the first experiment, in the order in which they are drawn.

        Raises:
            RlbenchError: there is no such arm.
        """
        return self._listed("arm", self.piece.arms, self.first.arms)

    @cached_property
    def environments(self) -> list[str]:
        """The environments, which all of the experiments have.

        Raises:
            RlbenchError: there is no such environment.
        """
        common = [one for one in self.first.environments if all(one in other.environments for other in self.results)]
        return self._listed("environment", self.piece.environments, common)

    @cached_property
    def averaged(self) -> list[str]:
        """The environments that a mean of normalised scores is taken over: those with a reference."""
        return [one for one in self.environments if reference(one, self.first.references) is not None]

    @cached_property
    def sweeps(self) -> dict[str, tuple[Results, Sweep]]:
        """The sweeps of the fields, with their results; of all fields with enough values, if none is named.

        By the names of their lines: that of the variant, with the field where it has several.

        Raises:
            RlbenchError: nothing is swept.
        """
        wanted = self.piece.swept
        found = [
            (results, sweep)
            for results in self.results
            for sweep in find_sweeps(results.arm_entries.values(), self.piece.arms, wanted)
            if wanted or len(sweep.values) >= FEWEST
        ]
        if not found:
            what = " or ".join(wanted) or "field"
            raise RlbenchError(f"{self.where}: no arms of {self._names} differ in one {what} alone.")
        names = [sweep.name for _, sweep in found]
        named: dict[str, tuple[Results, Sweep]] = {}
        for results, sweep in found:
            name = sweep.name if names.count(sweep.name) == 1 else f"{sweep.name}: {sweep.field}"
            while name in named:
                name += "'"
            named[name] = (results, sweep)
        return named

    @cached_property
    def styles(self) -> dict[str, ArmStyle]:
        """The styles of the arms; the first of a built-in algorithm looks like that algorithm."""
        algorithms = dict(zip(self.first.runs["arm"], self.first.runs["algorithm"], strict=True))
        return styles_like({arm: str(algorithms.get(arm, arm)) for arm in self.arms})

    @property
    def titles(self) -> dict[str, str]:
        """What the panels of the environments are called."""
        return {name: self.called(name) for name in self.environments}

    def called(self, name: str) -> str:
        """Return what an arm, a variant or an environment is called in the figure."""
        mean = f"mean of {len(self.averaged)}" if name == MEAN else name
        return self.piece.labels.get(name, mean)

    def lines(self, styles: Mapping[str, ArmStyle], tables: Iterable[pd.DataFrame]) -> dict[str, ArmStyle]:
        """Return the styles of the lines that some panel has, by what they are called in the figure."""
        present = {str(name) for table in tables for name in table["line"]}
        return {self.called(name): style for name, style in styles.items() if name in present}

    @property
    def runs(self) -> pd.DataFrame:
        """The rows of the scores that the figure is about."""
        return _runs_of(self.first, self.arms, self.environments)

    def mark(self, ax: Axes, *, upright: bool, label: bool = False) -> None:
        """Shade the range and mark the number that the declaration names on an axis."""
        if self.piece.band:
            shade(ax, self.piece.band, self.piece.said if label else "", upright=upright)
        if self.piece.mark is not None:
            mark_value(ax, self.piece.mark, upright=upright)

    def marked(self, column: str) -> str:
        """Return the sentence on what is marked or shaded on the axis of a column, with a space before it."""
        piece = self.piece
        if piece.mark is not None:
            what, sentence = short(piece.mark), f" Dashed: {piece.said}"
        elif piece.band:
            percent = column in SHARE_COLUMNS
            what = " to ".join(short(100 * end if percent else end) for end in piece.band) + " %" * percent
            sentence = f" Shaded: {piece.said}"
        else:
            return ""
        return f"{sentence}." if what in piece.said else f"{sentence} ({what})." if piece.said else f"{sentence}{what}."

    def _listed(self, what: str, wanted: Sequence[str], known: Sequence[str]) -> list[str]:
        for name in wanted:
            if name not in known:
                raise RlbenchError(f"{self.where}: {self._names} has no {what} {name!r}.{nearest(name, list(known))}")
        return list(wanted) or list(known)

    @property
    def _names(self) -> str:
        return " and ".join(f"experiment {one.experiment.name!r}" for one in self.results)


# What a caption says


def _runs_of(results: Results, arms: Sequence[str], environments: Sequence[str]) -> pd.DataFrame:
    scores = results.scores
    return scores[scores["arm"].isin(list(arms)) & scores["environment"].isin(list(environments))]


def _each(runs: pd.DataFrame) -> str:
    """Return how many runs a point rests on: `20 runs`, or `18 to 20 runs`."""
    used = runs.assign(used=runs["used"].astype(bool)).groupby(["environment", "arm"])["used"].sum()
    low, high = (int(used.min()), int(used.max())) if len(used) else (0, 0)
    return f"{low} run{'s' * (low != 1)}" if low == high else f"{low} to {high} runs"


def _accounts(runs: pd.DataFrame, arms: Sequence[str]) -> str:
    """Return the sentences on the runs: how many a point rests on, their budget, and how many were planned."""
    steps = sorted(set(runs["steps"]))
    budget = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    present = [arm for arm in arms if arm in set(runs["arm"])]
    trained = "" if (runs["algorithm"] == MEASURED).all() else f", {budget} environment steps each"
    return f"n = {_each(runs)} per arm and environment{trained}. {run_counts(runs, present)}"


def _means(runs: pd.DataFrame, estimates: Sequence[Estimate | Band], what: str = "Means", their: str = "their") -> str:
    """Return what the means and intervals are, in a few words for a slide."""
    return f"{what} of {_each(runs)} with {their} {interval_name(estimates).partition(',')[0]}"


def column_name(column: str) -> str:
    """Return what a column of the updates is called on an axis."""
    return "clip fraction" if column == "clip_fraction" else QUANTITIES.get(column, column.replace("_", " "))


def metric_name(metric: str) -> str:
    """Return what a metric is called on an axis."""
    column, _, reduction = metric.partition(":")
    return _BRIEF.get(metric) or f"{reduction} {column_name(column)}".strip()


def _sentence(metric: str) -> str:
    """Return what a metric is, to begin a sentence."""
    return _capital(METRIC_NAMES.get(metric, metric_name(metric)))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# The kinds of figures


def curves(spec: Resolved) -> FigureSpec:
    """Learning curves, a panel per environment."""
    results, arms, styles = spec.first, spec.arms, spec.styles
    numbers = {one: curve_numbers(results, [one], arms) for one in spec.environments}
    tables, estimates = _parts(numbers)

    def draw(environment: str, ax: Axes, named: bool) -> None:
        labels = spec.piece.labels
        draw_learning_curves(ax, results, environment, styles, numbers[environment], labels, named=named)
        scale = reference(environment, results.references)
        if scale is not None:
            mark_value(ax, scale.target, upright=False)

    failed = spec.runs["status"].isin(["failed", "diverged"]).any()
    dots = " Dotted lines that end with a cross: runs that failed or diverged." if failed else ""
    return FigureSpec(
        tables,
        draw,
        "Undiscounted return of the training episodes against environment steps. "
        f"{interval_note(estimates, 'Line: mean of the runs. Band, at each step by itself')} Dashed: target return "
        f"(normalised score 1).{dots} {_accounts(spec.runs, arms)}",
        _means(spec.runs, estimates, "Mean", "its"),
        spec.titles,
        spec.lines(styles, tables.values()),
    )


def training(spec: Resolved) -> FigureSpec:
    """A column of the updates over training: a panel per environment, or one for all of a single arm."""
    results, arms, piece = spec.first, spec.arms, spec.piece
    column = piece.metric or "clip_fraction"
    tables = {one: training_numbers(results, column, one, arms) for one in spec.environments}
    styles: Mapping[str, ArmStyle] = spec.styles
    if len(arms) == 1:
        together = pd.concat([table.assign(line=one) for one, table in tables.items()], ignore_index=True)
        tables, styles = {"": together}, arm_styles(spec.environments)
    ends = pd.concat(list(tables.values()))[["point", "low", "high"]].to_numpy(np.float64).ravel()
    reached = np.append(ends, piece.band or ())

    def draw(panel: str, ax: Axes, named: bool) -> None:
        spec.mark(ax, upright=False, label=len(tables) == 1)
        draw_lines(ax, tables[panel], styles, piece.labels, named=named)
        count_steps(ax)
        ax.set_ylabel(column_name(column))
        scale_column(ax, column, reached)

    marked, long = spec.marked(column), QUANTITIES.get(column, "")
    meant = f" ({long})" if long and long != column_name(column) else ""
    of = f" of {spec.called(arms[0])}" if len(arms) == 1 else ""
    return FigureSpec(
        tables,
        draw,
        f"{_capital(column_name(column))}{meant}{of} over training. Line: median of the runs; band: "
        f"their middle half ({_SPREAD}).{marked} {_accounts(spec.runs, arms)}",
        f"Median and middle half of {_each(spec.runs)}.{marked}",
        spec.titles,
        spec.lines(styles, tables.values()),
        shared="y",
        tall=1.15,
    )


def distribution(spec: Resolved) -> FigureSpec:
    """Quantiles of a column of the updates: a panel per environment, a row per arm."""
    results, arms, piece = spec.first, spec.arms, spec.piece
    column = piece.metric or "kl"
    tables = {one: quantile_numbers(results, column, one, arms, piece.mark) for one in spec.environments}

    def draw(environment: str, ax: Axes, named: bool) -> None:
        draw_quantiles(ax, tables[environment], spec.styles, piece.labels)
        spec.mark(ax, upright=True)
        ax.set_xlabel(column_name(column))

    marked = spec.marked(column)
    return FigureSpec(
        tables,
        draw,
        f"{_capital(column_name(column))}, over all updates of the runs: median (dot), middle half (thick), 5 to 95 % "
        f"(thin), 1 and 99 % (ticks); a spread of updates, no confidence interval.{marked} "
        f"{_accounts(spec.runs, arms)}",
        f"Median, middle half, 5-95 %, 1 and 99 % of all updates of {_each(spec.runs)}.{marked}",
        spec.titles,
        shared="xy",
        tall=max(0.55, (0.75 + 0.17 * len(arms)) / 1.95),
        rows=len(arms),
    )


def scatter(spec: Resolved) -> FigureSpec:
    """A score against another metric: a panel per environment, a dot per arm."""
    results, arms, piece = spec.first, spec.arms, spec.piece
    metric, column = piece.metric or "auc_normalised", piece.against.partition(":")[0]
    tables, estimates = _parts(
        {one: scatter_numbers(results, metric, piece.against, one, arms) for one in spec.environments}
    )
    algorithms = dict(zip(results.runs["arm"], results.runs["algorithm"], strict=True))
    listed = arm_styles(list(dict.fromkeys(str(algorithms[arm]) for arm in arms)))
    styles = {arm: listed[str(algorithms[arm])] for arm in arms}
    across = np.concatenate([table["x"].to_numpy(np.float64) for table in tables.values()])

    def draw(environment: str, ax: Axes, named: bool) -> None:
        spec.mark(ax, upright=True)
        draw_scatter(ax, tables[environment], styles)
        scale_axis(ax, "x", across, column)
        ax.set_xlabel(metric_name(piece.against))
        ax.set_ylabel(metric_name(metric))

    marked = spec.marked(column)
    return FigureSpec(
        tables,
        draw,
        f"{_sentence(metric)} against {metric_name(piece.against)}, one dot per arm. "
        f"{interval_note(estimates, 'Dots: means of the runs. Bars')}{marked} {_accounts(spec.runs, arms)}",
        f"{_means(spec.runs, estimates)}.{marked}",
        spec.titles,
        {spec.called(name): style for name, style in listed.items()} if len(listed) > 1 else {},
        joined=False,
        shared="xy",
    )


def dose(spec: Resolved) -> FigureSpec:
    """A score against the values of one field: the environments in one panel, or a panel each for several sweeps."""
    sweeps, piece = spec.sweeps, spec.piece
    fields = {sweep.field for _, sweep in sweeps.values()}
    if len(fields) > 1:
        raise RlbenchError(f"{spec.where}: {', '.join(sorted(fields))} are swept; say which with field=.")
    name, metric = fields.pop(), piece.metric or "auc_normalised"
    scale = scale_of([value for _, sweep in sweeps.values() for value in sweep.values])
    places = spec.averaged if metric.endswith("_normalised") and len(spec.averaged) > 1 else []

    def line(called: str, variant: str, environments: Sequence[str]) -> Numbers:
        results, sweep = sweeps[variant]
        return sweep_numbers(Scored(results, metric), zip(sweep.values, sweep.arms, strict=True), environments, called)

    if len(sweeps) == 1:
        (variant,) = sweeps
        parts = [line(one, variant, [one]) for one in spec.environments]
        panels = {"": gathered([*parts, *([line(MEAN, variant, places)] if places else [])])}
        styles = arm_styles(spec.environments) | {MEAN: MEAN_STYLE}
    else:
        grounds = {spec.called(one): [one] for one in spec.environments}
        grounds |= {f"Mean of {len(places)} environments": places} if places else {}
        panels = {
            title: gathered([line(variant, variant, one) for variant in sweeps]) for title, one in grounds.items()
        }
        styles = _variant_styles(spec)

    def draw(panel: str, ax: Axes, named: bool) -> None:
        if piece.band:
            shade(ax, piece.band, piece.said, upright=True)
        if piece.mark is not None:
            mark_value(ax, float(scale.place([piece.mark])[0]))
        scale.apply(ax, name, piece.mark)
        _draw_sweep(spec, ax, panels[panel].table, styles, scale.place, named)
        ax.set_ylabel(metric_name(metric))

    text = f"{_sentence(metric)} against the {field_name(name)}"
    if piece.mark is not None:
        text += f" (dashed: {short(piece.mark)}{f', {piece.said}' if piece.said else ''})"
    side = " The values stand side by side, whatever lies between them." if scale.kind == "even" else ""
    return _sweep_spec(spec, panels, styles, draw, f"{text}.{side}", spec.environments)


def relative_sensitivity(spec: Resolved) -> FigureSpec:
    """A score against multiples of the usual value of each variant's own hyper-parameter, over all environments."""
    metric, sweeps = spec.piece.metric or "auc_normalised", spec.sweeps
    places = spec.averaged if metric.endswith("_normalised") else spec.environments
    if not places:
        raise RlbenchError(f"{spec.where}: no environment has a reference, so {metric} is not known.")
    parts, units, styles = [], [], _variant_styles(spec)
    for name, (results, sweep) in sweeps.items():
        scored = Scored(results, metric)
        known = [(value, arm) for value, arm in zip(sweep.values, sweep.arms, strict=True) if 0 < value < math.inf]
        unit, why = _unit(spec, name, sweep, sweep_numbers(scored, known, places, name).table)
        parts.append(sweep_numbers(scored, [(value / unit, arm) for value, arm in known], places, name))
        units.append(f"{spec.called(name)} {sweep.field} {unit:g} ({why})")
    panels = {"": gathered(parts)}
    over = f"mean of {len(places)} environments" if len(places) > 1 else places[0]

    def draw(panel: str, ax: Axes, named: bool) -> None:
        table = panels[panel].table
        multiples(ax, table["x"].to_numpy(np.float64))
        mark_value(ax, 1.0)
        _draw_sweep(spec, ax, table, styles, None, named)
        ax.set_xlabel("multiple of the hyper-parameter")
        ax.set_ylabel(f"{metric_name(metric)},\n{over}" if len(places) > 1 else metric_name(metric))

    text = f"{_sentence(metric)}, {over}, against multiples of one hyper-parameter of each variant; ×1 is "
    return _sweep_spec(spec, panels, styles, draw, f"{text}{', '.join(units)}.", places)


def _unit(spec: Resolved, name: str, sweep: Sweep, table: pd.DataFrame) -> tuple[float, str]:
    """Return the value of a sweep that counts as 1, and why it does."""
    given = spec.piece.relative_to
    for key in (name, sweep.name, sweep.field):
        if key in given:
            return float(given[key]), "given"
    if sweep.usual is not None:
        return sweep.usual, "default"
    if table.empty:
        raise RlbenchError(f"{spec.where}: {name} has no finished runs with a positive {sweep.field}.")
    return float(table["x"].to_numpy()[table["point"].to_numpy().argmax()]), "best of these runs"


def _variant_styles(spec: Resolved) -> dict[str, ArmStyle]:
    return styles_like({name: sweep.algorithm for name, (_, sweep) in spec.sweeps.items()})


def _draw_sweep(
    spec: Resolved,
    ax: Axes,
    table: pd.DataFrame,
    styles: Mapping[str, ArmStyle],
    place: Callable[[Array], Array] | None,
    named: bool,
) -> None:
    if table.empty:
        write_inside(ax, "Nothing to show.")
    labels = {name: spec.called(name) for name in styles}
    draw_points(ax, table, styles, labels, place=place, named=named)


def _sweep_spec(
    spec: Resolved,
    panels: Mapping[str, Numbers],
    styles: Mapping[str, ArmStyle],
    draw: Callable[[str, Axes, bool], None],
    text: str,
    places: Sequence[str],
) -> FigureSpec:
    tables, estimates = _parts(panels)
    runs = pd.concat([_runs_of(results, sweep.arms, places) for results, sweep in spec.sweeps.values()])
    arms = [arm for _, sweep in spec.sweeps.values() for arm in sweep.arms]
    return FigureSpec(
        tables,
        draw,
        f"{text} {interval_note(estimates, 'Points: means of the runs. Bars')} {_accounts(runs, arms)}",
        _means(runs, estimates),
        lines=spec.lines(styles, tables.values()),
        shared="y",
        tall=1.15,
    )


def _parts(numbers: Mapping[str, Numbers]) -> tuple[dict[str, pd.DataFrame], list[Estimate | Band]]:
    """Return the tables of the panels, and all estimates in them."""
    tables = {name: one.table for name, one in numbers.items()}
    return tables, [estimate for one in numbers.values() for estimate in one.estimates]


def ratio(piece: Showpiece) -> FigureSpec:
    """The effective ratio for both signs of the advantage; needs no results."""
    clip = piece.band or CLIP_RANGE
    signs = {"A > 0: raise its probability": 1.0, "A < 0: lower its probability": -1.0}
    return FigureSpec(
        {name: ratio_numbers(sign, clip) for name, sign in signs.items()},
        lambda name, ax, _: draw_ratio(ax, signs[name], clip),
        f"Effective ratio min(r A, clip(r) A) / A of the clipped objective, ratios clipped to {short(clip[0])} to "
        f"{short(clip[1])}, against the ratio r of new to old probability (Schulman et al. 2017, equation 7). Solid: "
        "the gradient of the objective is that of r A; dashed, on grey: it is exactly zero. Dotted: no clipping. The "
        "dot is where every update starts. Mathematics; no runs.",
        "Solid: full gradient. Dashed: no gradient. Dotted: without clipping.",
        tall=1.3,
    )


KINDS: Mapping[str, Callable[[Resolved], FigureSpec]] = {
    "curves": curves,
    "dose": dose,
    "stability": relative_sensitivity,
    "training": training,
    "distribution": distribution,
    "scatter": scatter,
}
WITHOUT_RUNS = "effective-ratio"


# Drawing and writing

_MOST = 10  # arms in one figure that nobody chose
_CAPTIONS = "captions.md"


class Drawing(NamedTuple):
    """A drawn figure, as `draw_showpieces` hands it out."""

    name: str
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Drawn:
    """A drawn figure with the tidy table of the numbers in it."""

    piece: Showpiece
    figure: Figure
    caption: str
    numbers: pd.DataFrame


def draw_showpieces(suite: Suite, members: Mapping[str, Results], style: str = "paper") -> Iterator[Drawing]:
    """Draw the figures of a suite, one after the other; `members` are the results of its experiments by name.

    A figure is left out if an experiment of it is not among the members. A suite that declares no figures has the
    usual ones of every member. Save a figure inside of `styled(style)`, as `write_showpieces` does.

    Raises:
        RlbenchError: a figure asks for what its experiment does not have.
    """
    for one in draw_all(suite.figures, members, style):
        yield Drawing(one.piece.name, one.figure, one.caption)


def draw_all(pieces: Sequence[Showpiece], members: Mapping[str, Results], style: str = "paper") -> Iterator[Drawn]:
    """Draw figures, the usual ones of every member if there are none; otherwise as `draw_showpieces`."""
    chosen = list(pieces) or [piece for name, results in members.items() for piece in usual(name, results)]
    for piece in chosen:
        if not missing(piece, members):
            with styled(style) as look:
                spec = figure_spec(piece, members)
                try:
                    figure = spec.compose(look, piece.title)
                except NoRoom as problem:
                    raise RlbenchError(f"Figure {piece.name!r}: {problem}") from problem
            yield Drawn(piece, figure, " ".join(f"{piece.caption} {spec.caption}".split()), spec.numbers)


def figure_spec(piece: Showpiece, members: Mapping[str, Results]) -> FigureSpec:
    """Return what a declared figure consists of."""
    if piece.kind == WITHOUT_RUNS:
        return ratio(piece)
    if piece.kind not in KINDS:
        hint = nearest(piece.kind, [*KINDS, WITHOUT_RUNS])
        raise RlbenchError(f"Figure {piece.name!r}: there is no kind {piece.kind!r}.{hint}")
    if not piece.experiments:
        raise RlbenchError(f"Figure {piece.name!r} of the kind {piece.kind!r} needs an experiment.")
    return KINDS[piece.kind](Resolved(piece, tuple(members[name] for name in piece.experiments)))


def missing(piece: Showpiece, members: Mapping[str, Results]) -> list[str]:
    """Return the experiments of a figure that are not among the members."""
    return [name for name in piece.experiments if name not in members]


def usual(name: str, results: Results) -> list[Showpiece]:
    """Return what is drawn of an experiment that declares no figures: curves, KL per update, and what was swept.

    Of many arms there are no curves and no KL: such a figure has to be declared, with some of them.
    """
    pieces = []
    few, learned = len(results.arms) <= _MOST, results.curves["return"].notna().any()
    if few and learned:
        pieces.append(Showpiece(f"{name}-curves", "curves", name, title="Learning curves"))
    if few and "kl" in results.updates and results.updates["kl"].notna().any():
        pieces.append(Showpiece(f"{name}-kl", "distribution", name, title="KL divergence per update"))
    swept = [one.field for one in find_sweeps(results.arm_entries.values()) if len(one.values) >= FEWEST]
    metric = "auc_normalised" if results.scores["auc_normalised"].notna().any() else "auc"
    for swept_field in dict.fromkeys(swept) if learned else ():
        title = f"Score against the {field_name(swept_field)}"
        pieces.append(Showpiece(f"{name}-{swept_field}", "dose", name, metric=metric, title=title, field=swept_field))
    return pieces


def write_showpieces(drawn: Iterable[Drawn], out_dir: str | Path, style: str = "paper", heading: str = "") -> list[str]:
    """Write drawn figures into a folder and return their names; each is written before the next is drawn.

    Raises:
        RlbenchError: the folder cannot be written.
    """
    out = Path(out_dir)
    captions, names = [f"# {heading or 'Figures'}\n"], []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for one in drawn:
            name = one.piece.name
            with styled(style) as look:
                write_figure(one.figure, out, name, look.dpi)
            write(out / f"{name}.csv", csv_text(one.numbers), inside=out)
            captions.append(f"## {name}\n\n{f'**{one.piece.title}.** ' if one.piece.title else ''}{one.caption}\n")
            names.append(name)
        write(out / _CAPTIONS, "\n".join(captions), inside=out)
    except OSError as problem:
        raise RlbenchError(f"Cannot write the figures to {out}: {problem.strerror or problem}.") from problem
    return names
