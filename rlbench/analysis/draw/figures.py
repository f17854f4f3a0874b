"""Paper figures: what a figure that a suite declares (`rlbench.Showpiece`) consists of, drawing and writing it.

A kind of figure is a function from the resolved declaration to its specification, and an entry in `KINDS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlbench.analysis.draw import marks, updates
from rlbench.analysis.draw.curves import curve_numbers, draw_learning_curves
from rlbench.analysis.draw.frame import NoRoom, count_steps, write_figure, write_inside
from rlbench.analysis.draw.spec import (
    DrawNamed,
    FigureSpec,
    Resolved,
    described,
    metric_sentence,
    runs_of,
)
from rlbench.analysis.draw.style import ArmStyle, arm_styles, styled, styles_like
from rlbench.analysis.draw.sweep import (
    CLIP_RANGE,
    FEWEST,
    Sweep,
    draw_ratio,
    draw_scatter,
    find_sweeps,
    multiples,
    ratio_numbers,
    scale_of,
    scatter_numbers,
    sweep_numbers,
)
from rlbench.analysis.format import capital, csv_text
from rlbench.analysis.scores.metrics import axis_label, field_name, short_name
from rlbench.analysis.scores.results import Results
from rlbench.analysis.scores.scores import reference
from rlbench.analysis.stats.estimates import Array
from rlbench.errors import RlbenchError, explained, nearest
from rlbench.files import write
from rlbench.suite import Showpiece

# The kinds of figures


def curves(spec: Resolved) -> FigureSpec:
    """Learning curves, a panel per environment."""
    results, styles = spec.first, spec.styles
    panels = {name: curve_numbers(results, [name], spec.arms) for name in spec.environments}

    def draw(environment: str, ax: Axes, named: bool) -> None:
        labels = spec.piece.labels
        draw_learning_curves(ax, results, environment, styles, panels[environment], labels, named=named)
        scale = reference(environment, results.references)
        if scale is not None:
            marks.mark_value(ax, scale.target, upright=False)

    failed = spec.runs["status"].isin(["failed", "diverged"]).any()
    dots = " Dotted lines that end with a cross: runs that failed or diverged." if failed else ""
    text = "Undiscounted return of the training episodes against environment steps."
    how, target = "Line: mean of the runs. Band, at each step by itself", " Dashed: target return (normalised score 1)."
    parts = described(panels, draw, spec.runs, spec.arms, text, how, "Mean", target + dots)
    return FigureSpec(**parts, titles=spec.titles, lines=spec.lines(styles, panels))


def training(spec: Resolved) -> FigureSpec:
    """A column of the updates over training: a panel per environment, or one for all of a single arm."""
    column = spec.piece.metric or "clip_fraction"
    panels = {name: updates.training_numbers(spec.first, column, name, spec.arms) for name in spec.environments}
    styles = spec.styles
    if len(spec.arms) == 1:
        tables = [numbers.table.assign(line=name) for name, numbers in panels.items()]
        panels, styles = {"": marks.Numbers(pd.concat(tables, ignore_index=True), [])}, arm_styles(spec.environments)
    ends = [numbers.table[["point", "low", "high"]].to_numpy(np.float64).ravel() for numbers in panels.values()]
    reached = np.concatenate([*ends, spec.piece.band or ()])

    def draw(panel: str, ax: Axes, named: bool) -> None:
        spec.mark(ax, upright=False, label=len(panels) == 1)
        marks.draw_lines(ax, panels[panel].table, styles, spec.piece.labels, named=named)
        count_steps(ax)
        ax.set_ylabel(short_name(column))
        updates.scale_column(ax, column, reached)

    of = f" of {spec.called(spec.arms[0])}" if len(spec.arms) == 1 else ""
    text = f"{capital(axis_label(column))}{of} over training. Line: median of the runs; band: their middle half "
    text += "(a spread of the runs, no confidence interval)."
    slide = "Median and middle half"
    parts = described(panels, draw, spec.runs, spec.arms, text, "", slide, spec.marked(column))
    return FigureSpec(**parts, titles=spec.titles, lines=spec.lines(styles, panels), shared="y", tall=1.15)


def distribution(spec: Resolved) -> FigureSpec:
    """Quantiles of a column of the updates: a panel per environment, a row per arm."""
    column, arms = spec.piece.metric or "kl", spec.arms
    panels = {
        name: updates.quantile_numbers(spec.first, column, name, arms, spec.piece.mark) for name in spec.environments
    }

    def draw(environment: str, ax: Axes, named: bool) -> None:
        updates.draw_quantiles(ax, panels[environment].table, spec.styles, spec.piece.labels)
        spec.mark(ax, upright=True)
        ax.set_xlabel(short_name(column))

    text = f"{capital(short_name(column))}, over all updates of the runs: median (dot), middle half (thick), 5 to 95 % "
    text += "(thin), 1 and 99 % (ticks); a spread of updates, no confidence interval."
    slide = "Median, middle half, 5-95 %, 1 and 99 % of all updates"
    parts = described(panels, draw, spec.runs, arms, text, "", slide, spec.marked(column))
    tall = max(0.55, (0.75 + 0.17 * len(arms)) / 1.95)
    return FigureSpec(**parts, titles=spec.titles, shared="xy", tall=tall, rows=len(arms))


def scatter(spec: Resolved) -> FigureSpec:
    """A score against another metric: a panel per environment, a dot per arm."""
    results, arms, against = spec.first, spec.arms, spec.piece.against
    metric, column = spec.piece.metric or "auc_normalised", against.partition(":")[0]
    panels = {name: scatter_numbers(results, metric, against, name, arms) for name in spec.environments}
    algorithms = dict(zip(results.runs["arm"], results.runs["algorithm"], strict=True))
    listed = arm_styles(list(dict.fromkeys(str(algorithms[arm]) for arm in arms)))
    styles = {arm: listed[str(algorithms[arm])] for arm in arms}
    across = np.concatenate([numbers.table["x"].to_numpy(np.float64) for numbers in panels.values()])

    def draw(environment: str, ax: Axes, named: bool) -> None:
        spec.mark(ax, upright=True)
        draw_scatter(ax, panels[environment].table, styles)
        updates.scale_axis(ax, "x", across, column)
        ax.set_xlabel(short_name(against))
        ax.set_ylabel(short_name(metric))

    text, how = (
        f"{metric_sentence(metric)} against {short_name(against)}, one dot per arm.",
        "Dots: means of the runs. Bars",
    )
    parts = described(panels, draw, spec.runs, arms, text, how, "Means", spec.marked(column))
    lines = {spec.called(name): style for name, style in listed.items()} if len(listed) > 1 else {}
    return FigureSpec(**parts, titles=spec.titles, lines=lines, joined=False, shared="xy")


def dose(spec: Resolved) -> FigureSpec:
    """A score against the values of one field: the environments in one panel, or a panel each for several sweeps."""
    sweeps, piece = spec.sweeps, spec.piece
    fields = {sweep.field for _, sweep in sweeps.values()}
    if len(fields) > 1:
        raise RlbenchError(f"{spec.where}: {', '.join(sorted(fields))} are swept; say which with field=.")
    name, metric = fields.pop(), piece.metric or "auc_normalised"
    scale = scale_of([value for _, sweep in sweeps.values() for value in sweep.values])
    places = {place: [place] for place in spec.environments}
    if metric.endswith("_normalised") and len(spec.averaged) > 1:
        places[marks.MEAN] = spec.averaged

    def line(variant: str, place: str, called: str) -> marks.Numbers:
        results, sweep = sweeps[variant]
        points = zip(sweep.values, sweep.arms, strict=True)
        return sweep_numbers(marks.Scored(results, metric), points, places[place], called)

    if len(sweeps) == 1:
        (variant,) = sweeps
        panels = {"": marks.gathered([line(variant, place, place) for place in places])}
        styles = arm_styles(spec.environments) | {marks.MEAN: marks.MEAN_STYLE}
    else:
        called = {place: spec.called(place) for place in places}
        called[marks.MEAN] = f"Mean of {len(spec.averaged)} environments"
        panels = {called[place]: marks.gathered([line(key, place, key) for key in sweeps]) for place in places}
        styles = _variant_styles(spec)

    def draw(panel: str, ax: Axes, named: bool) -> None:
        if piece.band:
            marks.shade(ax, piece.band, piece.said, upright=True)
        if piece.mark is not None:
            marks.mark_value(ax, float(scale.place([piece.mark])[0]))
        scale.apply(ax, name, piece.mark)
        _draw_sweep(spec, ax, panels[panel].table, styles, scale.place, named)
        ax.set_ylabel(short_name(metric))

    text = f"{metric_sentence(metric)} against the {field_name(name)}"
    if piece.mark is not None:
        text += f" (dashed: {updates.short(piece.mark)}{f', {piece.said}' if piece.said else ''})"
    side = " The values stand side by side, whatever lies between them." if scale.kind == "even" else ""
    return _sweep_spec(spec, panels, styles, draw, f"{text}.{side}", spec.environments)


def relative_sensitivity(spec: Resolved) -> FigureSpec:
    """A score against multiples of the usual value of each variant's own hyper-parameter, over all environments."""
    metric, styles = spec.piece.metric or "auc_normalised", _variant_styles(spec)
    places = spec.averaged if metric.endswith("_normalised") else spec.environments
    if not places:
        raise RlbenchError(f"{spec.where}: no environment has a reference, so {metric} is not known.")
    lines, units = [], []
    for name, (results, sweep) in spec.sweeps.items():
        points = [(value, arm) for value, arm in zip(sweep.values, sweep.arms, strict=True) if 0 < value < math.inf]
        table, estimates = sweep_numbers(marks.Scored(results, metric), points, places, name)
        unit, why = _unit(spec, name, sweep, table)
        lines.append(marks.Numbers(table.assign(x=table["x"] / unit), estimates))
        units.append(f"{spec.called(name)} {sweep.field} {unit:g} ({why})")
    whole = marks.gathered(lines)
    over = f"mean of {len(places)} environments" if len(places) > 1 else places[0]

    def draw(_: str, ax: Axes, named: bool) -> None:
        multiples(ax, whole.table["x"].to_numpy(np.float64))
        marks.mark_value(ax, 1.0)
        _draw_sweep(spec, ax, whole.table, styles, None, named)
        ax.set_xlabel("multiple of the hyper-parameter")
        ax.set_ylabel(f"{short_name(metric)},\n{over}" if len(places) > 1 else short_name(metric))

    text = f"{metric_sentence(metric)}, {over}, against multiples of one hyper-parameter of each variant; ×1 is "
    return _sweep_spec(spec, {"": whole}, styles, draw, f"{text}{', '.join(units)}.", places)


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
    marks.draw_points(ax, table, styles, {name: spec.called(name) for name in styles}, place=place, named=named)


def _sweep_spec(
    spec: Resolved,
    panels: Mapping[str, marks.Numbers],
    styles: Mapping[str, ArmStyle],
    draw: DrawNamed,
    text: str,
    places: Sequence[str],
) -> FigureSpec:
    runs = pd.concat([runs_of(results, sweep.arms, places) for results, sweep in spec.sweeps.values()])
    arms = [arm for _, sweep in spec.sweeps.values() for arm in sweep.arms]
    parts = described(panels, draw, runs, arms, text, "Points: means of the runs. Bars", "Means")
    return FigureSpec(**parts, lines=spec.lines(styles, panels), shared="y", tall=1.15)


def ratio(piece: Showpiece) -> FigureSpec:
    """The effective ratio for both signs of the advantage; needs no results."""
    clip = piece.band or CLIP_RANGE
    low, high = map(updates.short, clip)
    signs = {"A > 0: raise its probability": 1.0, "A < 0: lower its probability": -1.0}
    return FigureSpec(
        {name: ratio_numbers(sign, clip) for name, sign in signs.items()},
        lambda name, ax, _: draw_ratio(ax, signs[name], clip),
        f"Effective ratio min(r A, clip(r) A) / A of the clipped objective, ratios clipped to {low} to {high}, "
        "against the ratio r of new to old probability (Schulman et al. 2017, equation 7). Solid: the gradient of the "
        "objective is that of r A; dashed, on grey: it is exactly zero. Dotted: no clipping. The dot is where every "
        "update starts. Mathematics; no runs.",
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


@dataclass(frozen=True)
class Drawn:
    """A drawn figure with the tidy table of the numbers in it."""

    piece: Showpiece
    figure: Figure
    caption: str
    numbers: pd.DataFrame


def draw_all(pieces: Sequence[Showpiece], members: Mapping[str, Results], style: str = "paper") -> Iterator[Drawn]:
    """Draw figures, one after the other; the usual ones of every member if none is declared.

    `members` are the results of experiments by name; a figure is left out if an experiment of it is not among them.
    Save a figure inside of `styled(style)`, as `write_showpieces` does.

    Raises:
        RlbenchError: a figure asks for what its experiment does not have.
    """
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
    swept = [sweep.field for sweep in find_sweeps(results.arm_entries.values()) if len(sweep.values) >= FEWEST]
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
    with explained(f"Cannot write the figures to {out}"):
        out.mkdir(parents=True, exist_ok=True)
        for figure in drawn:
            name = figure.piece.name
            with styled(style) as look:
                write_figure(figure.figure, out, name, look.dpi)
            write(out / f"{name}.csv", csv_text(figure.numbers), inside=out)
            title = f"**{figure.piece.title}.** " if figure.piece.title else ""
            captions.append(f"## {name}\n\n{title}{figure.caption}\n")
            names.append(name)
        write(out / _CAPTIONS, "\n".join(captions), inside=out)
    return names
