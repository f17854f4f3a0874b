"""Paper figures: drawing and writing those that a suite declares (`rlbench.Showpiece`).

A kind of figure is a function that draws what the resolved declaration asks for, and an entry in `KINDS`.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes

from rlbench.analysis.draw import axes, frame, marks
from rlbench.analysis.draw.curves import (
    curve_numbers,
    draw_action_map,
    draw_learning_curves,
    quantile_numbers,
    training_numbers,
)
from rlbench.analysis.draw.rows import aggregates, profile_numbers
from rlbench.analysis.draw.spec import (
    FEWEST,
    Drawn,
    DrawNamed,
    Resolved,
    compose,
    find_sweeps,
    runs_of,
    scatter_numbers,
    searched_fields,
    setting_numbers,
    sweep_numbers,
)
from rlbench.analysis.draw.style import FIXED, QUIET, ArmStyle, Style, arm_styles, ordered_styles, styled, styles_like
from rlbench.analysis.format import capital, csv_text
from rlbench.analysis.judge.verdicts import JudgedResults
from rlbench.analysis.scores.metrics import axis_label, field_name, short_name
from rlbench.analysis.scores.results import COSTS, Results
from rlbench.analysis.scores.scores import ALL, reference
from rlbench.analysis.stats.estimates import Array, Estimate
from rlbench.analysis.stats.sweeps import best_of
from rlbench.errors import RlbenchError, explained, nearest
from rlbench.files import file_name, write
from rlbench.suite import Showpiece

# The kinds of figures


def curves(spec: Resolved) -> Drawn:
    """Learning curves, a panel per environment."""
    results, against = spec.first, spec.piece.against or "steps"
    panels = {name: curve_numbers(results, [name], spec.arms, against=against) for name in spec.environments}

    def draw(environment: str, ax: Axes, named: bool) -> None:
        called = spec.called if named else None
        draw_learning_curves(ax, results, environment, spec.styles, panels[environment], named=called, against=against)
        if scale := reference(environment, results.references):
            marks.mark_value(ax, scale.target, upright=False)

    stopped = runs_of(results, spec.arms, spec.environments)["status"].isin(["failed", "diverged"]).any()
    marked = " Dashed: target return (normalised score 1)."
    marked += " Dotted lines that end with a cross: runs that failed or diverged." if stopped else ""
    text = f"Undiscounted return of the training episodes against {COSTS[against]}."
    text += " They grow evenly with the environment steps of an arm's runs." if against != "steps" else ""
    how = "Line: mean of the runs. Band, at each step by itself"
    return spec.figure(panels, draw, text, how, "Mean", marked, styles=spec.styles)


def training(spec: Resolved) -> Drawn:
    """A column of the updates over training: a panel per environment, or one for all of a single arm."""
    column, styles, of = spec.piece.metric or "clip_fraction", spec.styles, ""
    panels = {name: training_numbers(spec.first, column, name, spec.arms) for name in spec.environments}
    if len(spec.arms) == 1:
        tables = [numbers.table.assign(line=name) for name, numbers in panels.items()]
        panels, styles = {"": marks.Numbers(pd.concat(tables, ignore_index=True), [])}, arm_styles(spec.environments)
        of = f" of {spec.called(spec.arms[0])}"
    ends = [numbers.table[["point", "low", "high"]].to_numpy(np.float64).ravel() for numbers in panels.values()]
    reached = np.concatenate([*ends, spec.piece.band or ()])

    def draw(panel: str, ax: Axes, named: bool) -> None:
        spec.mark(ax, upright=False, label=len(panels) == 1)
        marks.draw_lines(ax, panels[panel].table, styles, named=spec.called if named else None)
        frame.count_steps(ax)
        ax.set_ylabel(short_name(column))
        axes.scale_column(ax, column, reached)

    text = f"{capital(axis_label(column))}{of} over training. Line: median of the runs; band: their middle half "
    text += "(a spread of the runs, no confidence interval)."
    slide, marked = "Median and middle half", spec.marked(column)
    return spec.figure(panels, draw, text, "", slide, marked, styles=styles, shared="y", tall=1.15)


def distribution(spec: Resolved) -> Drawn:
    """Quantiles of a column of the updates: a panel per environment, a row per arm."""
    piece, rows = spec.piece, len(spec.arms)
    column = piece.metric or "kl"
    panels = {name: quantile_numbers(spec.first, column, name, spec.arms, piece.mark) for name in spec.environments}

    def draw(environment: str, ax: Axes, named: bool) -> None:
        marks.draw_quantiles(ax, panels[environment].table, spec.styles, spec.called)
        spec.mark(ax, upright=True)
        ax.set_xlabel(short_name(column))

    text = f"{capital(short_name(column))}, over all updates of the runs: median (dot), middle half (thick), 5 to 95 % "
    text += "(thin), 1 and 99 % (ticks); a spread of updates, no confidence interval."
    slide = "Median, middle half, 5-95 %, 1 and 99 % of all updates"
    tall = max(0.55, (0.75 + 0.17 * rows) / 1.95)
    return spec.figure(panels, draw, text, "", slide, spec.marked(column), shared="xy", tall=tall, rows=rows)


def scatter(spec: Resolved) -> Drawn:
    """A score against another metric, or the values of a field: a panel per environment, a dot per arm."""
    results, field = spec.first, "".join(spec.piece.swept)
    against = spec.piece.against or "clip_fraction:mean"
    metric, column = spec.piece.metric or "auc_normalised", field or against.partition(":")[0]
    numbers, across = (setting_numbers, field) if field else (scatter_numbers, against)
    if field:  # a setting under which runs fail is a bad one
        results = results.failures_as_worst(metric.removesuffix("_normalised"))
    panels = {name: numbers(results, metric, across, name, spec.arms) for name in spec.environments}
    algorithms = dict(zip(results.runs["arm"], map(str, results.runs["algorithm"]), strict=True))
    listed = arm_styles(list(dict.fromkeys(algorithms[arm] for arm in spec.arms)))
    styles = {arm: listed[algorithms[arm]] for arm in spec.arms}
    if len(listed) == 1:  # then the arms are named, and otherwise their algorithms
        listed = styles = ordered_styles(spec.arms)
    called = field_name(field) if field else short_name(against)
    values = np.concatenate([each.table["x"].to_numpy(np.float64) for each in panels.values()])

    def draw(environment: str, ax: Axes, named: bool) -> None:
        spec.mark(ax, upright=True)
        marks.draw_scatter(ax, panels[environment].table, styles)
        axes.scale_axis(ax, "x", values, column)
        ax.set_xlabel(called)
        ax.set_ylabel(short_name(metric))

    text = f"{capital(axis_label(metric))} against {called}, one dot per arm."
    text += " Runs that failed or diverged count with the worst possible score." if field else ""
    lines = {spec.called(name): style for name, style in listed.items()} if len(listed) > 1 else {}
    how, marked = "Dots: means of the runs. Bars", spec.marked(column)
    return spec.figure(panels, draw, text, how, "Means", marked, lines=lines, joined=False, shared="xy")


def best_of_settings(spec: Resolved) -> Drawn:
    """The score to expect of the best setting against how many are tried: a panel per environment, a line each."""
    metric, results = spec.piece.metric or "auc_normalised", spec.first
    scored = marks.Scored(results.failures_as_worst(metric.removesuffix("_normalised")), metric).table
    algorithms = scored["arm"].map({arm: entry.algorithm for arm, entry in results.arm_entries.items()})
    scored = scored[scored["arm"].isin(spec.arms)].assign(algorithm=algorithms)
    styles = arm_styles(list(dict.fromkeys(map(str, scored["algorithm"]))))
    panels, seeds = dict[str, marks.Numbers](), set[int]()
    for place in spec.environments:
        lines = []
        for algorithm, runs in scored[scored["environment"] == place].groupby("algorithm", sort=False):
            table = runs.pivot_table("value", "arm", "seed").dropna(axis=1)  # the seeds that all settings have
            if min(table.shape) > 1:
                band = best_of(table.to_numpy(np.float64), seed=results.seed)
                lines.append(marks.band_numbers(str(algorithm), np.arange(1.0, len(table) + 1), band))
                seeds.add(table.shape[1])
        panels[place] = marks.gathered(lines)
    if not seeds:
        raise frame.CannotDraw("no algorithm has several settings with two seeds that all of them have.")

    def draw(place: str, ax: Axes, named: bool) -> None:
        marks.draw_lines(ax, panels[place].table, styles, named=spec.called if named else None)
        ax.set_xlabel("settings tried")
        ax.set_ylabel(f"{short_name(metric)} of the best")

    each = " or ".join(str(number - 1) for number in sorted(seeds))
    text = f"{capital(axis_label(metric))} to expect of the best of so many settings, tried at random with {each} "
    text += (
        f"run{'s' * (each != '1')} each; the best is scored by another run. Runs that failed or diverged count with "
    )
    text += "the worst possible score."
    return spec.figure(panels, draw, text, "Line: mean over all choices. Band", "Mean", styles=styles, shared="y")


def dose(spec: Resolved) -> Drawn:
    """A score against the values of one field: the environments in one panel, or a panel each for several sweeps."""
    sweeps, piece = spec.sweeps, spec.piece
    fields = {sweep.field for _, sweep in sweeps.values()}
    if len(fields) > 1:
        raise frame.CannotDraw(f"{', '.join(sorted(fields))} are swept; say which with field=.")
    name, metric = fields.pop(), piece.metric or "auc_normalised"
    scale = axes.scale_of([value for _, sweep in sweeps.values() for value in sweep.values])
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
        _draw_sweep(spec, ax, panels[panel].table, styles, named, scale.place)
        ax.set_ylabel(short_name(metric))

    text = f"{capital(axis_label(metric))} against the {field_name(name)}"
    if piece.mark is not None:
        text += f" (dashed: {axes.short(piece.mark)}{f', {piece.said}' if piece.said else ''})"
    side = " The values stand side by side, whatever lies between them." if scale.kind == "even" else ""
    return _sweep_figure(spec, panels, styles, draw, f"{text}.{side}", spec.environments)


def relative_sensitivity(spec: Resolved) -> Drawn:
    """A score against multiples of the usual value of each variant's own hyper-parameter, over all environments."""
    metric, styles, given = spec.piece.metric or "auc_normalised", _variant_styles(spec), spec.piece.relative_to
    places = spec.averaged if metric.endswith("_normalised") else spec.environments
    if not places:
        raise frame.CannotDraw(f"no environment has a reference, so {metric} is not known.")
    lines, units = [], []
    for name, (results, sweep) in spec.sweeps.items():
        points = [(value, arm) for value, arm in zip(sweep.values, sweep.arms, strict=True) if 0 < value < math.inf]
        table, estimates = sweep_numbers(marks.Scored(results, metric), points, places, name)
        keys = [key for key in (name, sweep.name, sweep.field) if key in given]
        if keys:
            unit, why = float(given[keys[0]]), "given"
        elif sweep.usual is not None:
            unit, why = sweep.usual, "default"
        elif table.empty:
            raise frame.CannotDraw(f"{name} has no finished runs with a positive {sweep.field}.")
        else:
            unit, why = float(table["x"].to_numpy()[table["point"].to_numpy().argmax()]), "best of these runs"
        lines.append(marks.Numbers(table.assign(x=table["x"] / unit), estimates))
        units.append(f"{spec.called(name)} {sweep.field} {unit:g} ({why})")
    whole = marks.gathered(lines)
    over = f"mean of {len(places)} environments" if len(places) > 1 else places[0]

    def draw(_: str, ax: Axes, named: bool) -> None:
        axes.multiples(ax, whole.table["x"].to_numpy(np.float64))
        marks.mark_value(ax, 1.0)
        _draw_sweep(spec, ax, whole.table, styles, named)
        ax.set_xlabel("multiple of the hyper-parameter")
        ax.set_ylabel(f"{short_name(metric)},\n{over}" if len(places) > 1 else short_name(metric))

    text = f"{capital(axis_label(metric))}, {over}, against multiples of one hyper-parameter of each variant; ×1 is "
    return _sweep_figure(spec, {"": whole}, styles, draw, f"{text}{', '.join(units)}.", places)


def _variant_styles(spec: Resolved) -> dict[str, ArmStyle]:
    return styles_like({name: sweep.algorithm for name, (_, sweep) in spec.sweeps.items()})


def _draw_sweep(
    spec: Resolved,
    ax: Axes,
    table: pd.DataFrame,
    styles: Mapping[str, ArmStyle],
    named: bool,
    place: Callable[[Array], Array] | None = None,
) -> None:
    if table.empty:
        frame.write_inside(ax, "Nothing to show.")
    marks.draw_points(ax, table, styles, place=place, named=spec.called if named else None)


def _sweep_figure(
    spec: Resolved,
    panels: Mapping[str, marks.Numbers],
    styles: Mapping[str, ArmStyle],
    draw: DrawNamed,
    text: str,
    places: Sequence[str],
) -> Drawn:
    runs = pd.concat([runs_of(results, sweep.arms, places) for results, sweep in spec.sweeps.values()])
    arms = [arm for _, sweep in spec.sweeps.values() for arm in sweep.arms]
    how = "Points: means of the runs. Bars"
    layout: dict[str, Any] = {"styles": styles, "arms": arms, "runs": runs, "shared": "y", "tall": 1.15}
    return spec.figure(panels, draw, text, how, "Means", **layout)


def scores(spec: Resolved) -> Drawn:
    """The score of every run as a dot and their mean: a panel per environment, a row per arm."""
    metric, results = spec.piece.metric or spec.first.metrics[0], spec.first
    scored, runs = marks.Scored(results, metric), runs_of(results, spec.arms, spec.environments)
    panels = {place: _rows({arm: scored.mean(arm, [place]) for arm in spec.arms}) for place in spec.environments}

    def draw(place: str, ax: Axes, named: bool) -> None:
        for row, (arm, mean) in enumerate(zip(spec.arms, panels[place].estimates, strict=True)):
            own = runs[(runs["arm"] == arm) & (runs["environment"] == place) & runs[metric].notna()]
            value, used = own[metric].to_numpy(np.float64), own["used"].to_numpy(bool)
            marks.draw_runs(ax, row, value, used, mean, spec.styles[arm]._replace(marker="d"))  # type: ignore[arg-type]
        frame.name_rows(ax, [spec.called(arm) for arm in spec.arms])
        ax.set_xlabel(short_name(metric))

    text = f"{capital(axis_label(metric))}: a dot for every run; runs that failed or diverged are crosses."
    return _row_chart(spec, panels, draw, text, "Diamond: mean of the used runs. Bar", "Runs and means")


def iqm(spec: Resolved) -> Drawn:
    """Interquartile mean and mean of the normalised scores of all environments, a row per arm."""
    metric = spec.piece.metric or spec.first.metrics[0]
    known = aggregates(spec.first, metric)
    arms = [arm for arm in spec.arms if arm in known]
    if not arms:
        raise frame.CannotDraw("no arm has used runs on every environment that has a reference.")
    parts = [_rows({arm: known[arm][place] for arm in arms}) for place in (0, 1)]
    panels = {"": marks.gathered([part._replace(table=part.table.assign(x=place)) for place, part in enumerate(parts)])}

    def draw(_: str, ax: Axes, named: bool) -> None:
        for row, arm in enumerate(arms):
            marks.draw_estimate(ax, row - 0.14, known[arm][0], spec.styles[arm])
            marks.draw_estimate(ax, row + 0.16, known[arm][1], spec.styles[arm], hollow=True)
        frame.name_rows(ax, [spec.called(arm) for arm in arms])
        ax.set_xlabel(short_name(f"{metric}_normalised"))

    text = f"{capital(axis_label(f'{metric}_normalised'))} over all environments: interquartile mean (filled) and mean "
    return _row_chart(spec, panels, draw, f"{text}(hollow).", "Bars", "IQM (filled) and mean", rows=len(arms))


def profile(spec: Resolved) -> Drawn:
    """The share of runs that score more than each normalised score, over all environments."""
    metric = spec.piece.metric or spec.first.metrics[0]
    numbers = profile_numbers(spec.first, metric, spec.arms)
    if not numbers.estimates:
        raise frame.CannotDraw("no arm has used runs on every environment that has a reference.")

    def draw(_: str, ax: Axes, named: bool) -> None:
        marks.draw_lines(ax, numbers.table, spec.styles, steps=True, named=spec.called if named else None)
        ax.set_xlabel(short_name(f"{metric}_normalised"))
        ax.set_ylabel("share of runs above")

    text = f"Share of runs that score more than each {axis_label(f'{metric}_normalised')}, over all environments."
    how = "Band, at each score by itself"
    return spec.figure({"": numbers}, draw, text, how, "Share", styles=spec.styles, tall=1.15)


def improvement(spec: Resolved) -> Drawn:
    """The probability that a run of each arm beats one of the baseline, a row per arm."""
    return _compared(
        spec, "improvement", 0.5, "P(better than {})", "Probability that a run scores higher than one of {}"
    )


def difference(spec: Resolved) -> Drawn:
    """By how much the mean score of each arm exceeds that of the baseline, a row per arm."""
    return _compared(spec, "difference", 0.0, "difference to {}", "Difference of the mean score to that of {}")


def _compared(spec: Resolved, what: str, neutral: float, label: str, said: str) -> Drawn:
    """Draw an estimate of every comparison with the baseline: all environments together first, where that is known."""
    results = JudgedResults.of(spec.first)
    found = {(one.environment, one.arm): getattr(one, what) for one in results.comparisons}
    places = [*([] if spec.piece.environments else [ALL]), *spec.environments]
    rows = {place: {arm: found[place, arm] for arm in spec.arms if (place, arm) in found} for place in places}
    panels = {place: _rows(known) for place, known in rows.items() if known}
    if not panels:
        raise frame.CannotDraw("nothing is compared with a baseline.")

    def draw(place: str, ax: Axes, named: bool) -> None:
        arms = list(rows[place])
        marks.mark_value(ax, neutral)
        marks.draw_rows(
            ax, [spec.called(arm) for arm in arms], list(rows[place].values()), [spec.styles[a] for a in arms]
        )
        ax.set_xlabel(label.format(spec.called(results.baseline or "")))

    text = f"{said.format(spec.called(results.baseline or ''))}; dashed: neither is better. “{ALL}”: normalised scores."
    return _row_chart(spec, panels, draw, text, "Bar", "Estimate", shared="x" if what == "improvement" else "")


def _rows(estimates: Mapping[str, Estimate]) -> marks.Numbers:
    """Return the numbers of a chart with a row per arm."""
    rows = [(arm, np.nan, one.point, one.low, one.high) for arm, one in estimates.items()]
    return marks.Numbers(pd.DataFrame(rows, columns=marks.COLUMNS), list(estimates.values()))


def _row_chart(
    spec: Resolved,
    panels: Mapping[str, marks.Numbers],
    draw: DrawNamed,
    text: str,
    how: str,
    slide: str,
    *,
    rows: int = 0,
    shared: str = "",
) -> Drawn:
    rows = rows or max(len(numbers.table) for numbers in panels.values())
    tall = max(0.55, (0.75 + 0.2 * rows) / 1.95)
    return spec.figure(panels, draw, text, how, slide, shared=shared, tall=tall, rows=rows)


_GRADIENT, _NONE = FIXED["ppo-clip"].color, FIXED["reinforce"].color
_RANGE = (0.0, 2.0)
CLIP_RANGE = (0.8, 1.2)


def effective_ratio(ratio: Array, sign: float, clip: tuple[float, float] = CLIP_RANGE) -> Array:
    """Return min(r A, clip(r) A) / A for an advantage of this sign, and the ratio clipped to the range `clip`."""
    return np.minimum(ratio * sign, np.clip(ratio, *clip) * sign) / sign


def ratio_numbers(sign: float, clip: tuple[float, float] = CLIP_RANGE) -> pd.DataFrame:
    """Return the effective ratio over the ratio: line (whether there is a gradient), x, point, low, high."""
    edge = clip[1] if sign > 0 else clip[0]
    before, after = np.array([_RANGE[0], edge]), np.array([edge, _RANGE[1]])
    parts = {"gradient": before if sign > 0 else after, "no gradient": after if sign > 0 else before}
    frames = [
        pd.DataFrame({"line": name, "x": x, "point": effective_ratio(x, sign, clip), "low": np.nan, "high": np.nan})
        for name, x in parts.items()
    ]
    return pd.concat(frames, ignore_index=True)


def _draw_ratio(ax: Axes, table: pd.DataFrame, sign: float, clip: tuple[float, float]) -> None:
    width = rcParams["lines.linewidth"]
    ax.plot(_RANGE, _RANGE, color="#b5b5b5", linewidth=0.6 * width, linestyle=(0, (1, 1.5)), zorder=1.8)
    ax.plot([1.0], [1.0], "o", color="#000000", zorder=3.0)
    for name, color, dash in (("gradient", _GRADIENT, "solid"), ("no gradient", _NONE, (0, (2.2, 1.0)))):
        rows = table[table["line"] == name]
        thick = {"linewidth": 1.8 * width, "solid_capstyle": "butt"}
        ax.plot(rows["x"], rows["point"], color=color, linestyle=dash, zorder=2.2, **thick)
    flat = table[table["line"] == "no gradient"]["x"]
    ax.axvspan(flat.min(), flat.max(), facecolor="#e9e9e9", alpha=0.7, linewidth=0, zorder=0.5)
    # Into the free corner on each side: what happens there.
    above, below = (0.06, 1.94, "left", "top"), (1.94, 0.06, "right", "bottom")
    up = sign > 0
    far, edge = ("below", f"above {axes.short(clip[1])}") if up else ("above", f"below {axes.short(clip[0])}")
    for (x, y, across, along), color, text in (
        (above if up else below, _GRADIENT, f"full gradient,\nalso far {far} 1"),
        (below if up else above, QUIET, f"no gradient\n{edge}"),
    ):
        ax.text(x, y, text, ha=across, va=along, color=color, linespacing=1.15, zorder=3.0)
    ax.set_xlim(_RANGE)
    ax.set_ylim(_RANGE)
    ax.set_aspect("equal")
    ticks = [0.0, clip[0], 1.0, clip[1], 2.0]
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(ticks, [axes.short(tick) for tick in ticks])
    ax.set_xlabel("ratio r")
    ax.set_ylabel("min(r A, clip(r) A) / A")


def ratio(piece: Showpiece, style: Style) -> Drawn:
    """The effective ratio for both signs of the advantage; needs no results."""
    clip = piece.band or CLIP_RANGE
    low, high = map(axes.short, clip)
    signs = {"A > 0: raise its probability": 1.0, "A < 0: lower its probability": -1.0}
    tables = {name: ratio_numbers(sign, clip) for name, sign in signs.items()}
    return compose(
        piece,
        style,
        tables,
        lambda name, ax, _: _draw_ratio(ax, tables[name], signs[name], clip),
        f"Effective ratio min(r A, clip(r) A) / A of the clipped objective, ratios clipped to {low} to {high}, "
        "against the ratio r of new to old probability (Schulman et al. 2017, equation 7). Solid: the gradient of the "
        "objective is that of r A; dashed, on grey: it is exactly zero. Dotted: no clipping. The dot is where every "
        "update starts. Mathematics; no runs.",
        "Solid: full gradient. Dashed: no gradient. Dotted: without clipping.",
        tall=1.3,
    )


def policy_map(spec: Resolved) -> Drawn:
    """What the median policy of each arm does over two variables of the state, and what it expects, side by side.

    Of one arm it is shown how that came to be, where policies are kept from its training.
    """
    results, place = spec.first, spec.environments[0]
    if len(spec.environments) > 1 and not spec.piece.environments:
        raise frame.CannotDraw(f"there are several environments: {', '.join(spec.environments)}; name one.")
    try:
        steps = results.policy_steps(spec.arms[0], place) if len(spec.arms) == 1 else []
        places = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), _MAPPED)).round().astype(int))
        steps = [steps[at] for at in places] if len(steps) > 1 else []
        variables = spec.piece.swept if spec.piece.field else ()
        found = results.action_map(place, spec.arms, variables, steps=steps)
    except RlbenchError as problem:
        raise frame.CannotDraw(f"{problem}") from problem
    named = {"action": found.action, "value": "value"}
    lines = list(dict.fromkeys(found.table["arm"]))
    panels = {f"{spec.called(line)}: {named[what]}": (line, what) for what in named for line in lines}

    def draw(panel: str, ax: Axes, _: bool) -> None:
        draw_action_map(ax, found, *panels[panel])

    def numbers(line: str, what: str) -> marks.Numbers:
        own = found.table[found.table["arm"] == line]
        return marks.Numbers(own.rename(columns={"arm": "line", what: "point"})[["line", "x", "y", "point"]], [])

    text = (
        f"What the policy of the median run of {spec.called(spec.arms[0]) if steps else 'each arm'} does on {place}"
        f"{' in the course of its training' if steps else ''}, over {' and '.join(found.names)}: "
        f"{found.action}, and the value that it expects (each in units of its own training). Other variables of the "
        "state are at the median of what the policies visit. The median is of the runs whose policies are kept."
    )
    tables = {panel: numbers(*which) for panel, which in panels.items()}
    runs = runs_of(results, spec.arms, [place])
    return spec.figure(tables, draw, text, "", "One policy of each arm", runs=runs, tall=1.2)


KINDS: Mapping[str, Callable[[Resolved], Drawn]] = {
    "curves": curves,
    "dose": dose,
    "stability": relative_sensitivity,
    "training": training,
    "distribution": distribution,
    "scatter": scatter,
    "best-of": best_of_settings,
    "scores": scores,
    "iqm": iqm,
    "profile": profile,
    "improvement": improvement,
    "difference": difference,
    "policy-map": policy_map,
}
WITHOUT_RUNS = "effective-ratio"


# Drawing and writing

_MOST = 10  # arms in one figure that nobody chose
_MAPPED = 3  # in one map
_SMALL_STATES = ("CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1")  # of which a map says much


def draw_all(
    pieces: Sequence[Showpiece], members: Mapping[str, Results], style: str | Style = "paper"
) -> Iterator[Drawn]:
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
                try:
                    drawn = draw_figure(piece, look, members)
                except frame.CannotDraw as problem:
                    if piece.kind == "policy-map" and not pieces:  # nobody asked for it, and a policy may be missing
                        continue
                    raise RlbenchError(f"Figure {piece.name!r}: {problem}") from problem
            yield drawn


def draw_figure(piece: Showpiece, style: Style, members: Mapping[str, Results]) -> Drawn:
    """Draw a declared figure; within `styled`."""
    if piece.kind == WITHOUT_RUNS:
        return ratio(piece, style)
    if piece.kind not in KINDS:
        hint = nearest(piece.kind, [*KINDS, WITHOUT_RUNS])
        raise frame.CannotDraw(f"there is no kind {piece.kind!r}.{hint}")
    if not piece.experiments:
        raise RlbenchError(f"Figure {piece.name!r} of the kind {piece.kind!r} needs an experiment.")
    return KINDS[piece.kind](Resolved(piece, style, [members[name] for name in piece.experiments]))


def missing(piece: Showpiece, members: Mapping[str, Results]) -> list[str]:
    """Return the experiments of a figure that are not among the members."""
    return [name for name in piece.experiments if name not in members]


def usual(name: str, results: Results) -> list[Showpiece]:
    """Return what is drawn of an experiment that declares no figures: curves, KL per update, policies, what was swept.

    Of many arms there are no curves and no KL: such a figure has to be declared, with some of them. Of a search there
    are the score against each field, and that of the best of so many settings.
    """
    pieces = []
    few, learned = len(results.arms) <= _MOST, results.curves["return"].notna().any()
    if few and learned:
        pieces.append(Showpiece(f"{name}-curves", "curves", name, title="Learning curves"))
    if few and "kl" in results.updates and results.updates["kl"].notna().any():
        pieces.append(Showpiece(f"{name}-kl", "distribution", name, title="KL divergence per update"))
    for place in results.environments if few and len(results.arms) <= _MAPPED else ():
        if place.partition("(")[0] in _SMALL_STATES and results.keeps_policies:
            label = f"{name}-policy-map-{place}" if len(results.environments) > 1 else f"{name}-policy-map"
            title = f"What the policies do on {place}"
            pieces.append(Showpiece(file_name(label), "policy-map", name, environments=[place], title=title))
    entries, metric = results.arm_entries.values(), "auc"
    if results.scores["auc_normalised"].notna().any():
        metric = "auc_normalised"
    searched = searched_fields(entries)
    swept = [sweep.field for sweep in find_sweeps(entries) if len(sweep.values) >= FEWEST]
    for swept_field in dict.fromkeys([*searched, *swept]) if learned else ():
        title, kind = f"Score against the {field_name(swept_field)}", "scatter" if swept_field in searched else "dose"
        pieces.append(Showpiece(f"{name}-{swept_field}", kind, name, metric=metric, title=title, field=swept_field))
    if searched and learned:
        title = "How much search each algorithm needs"
        pieces.append(Showpiece(f"{name}-best-of", "best-of", name, metric=metric, title=title))
    return pieces


def write_showpieces(
    drawn: Iterable[Drawn],
    out_dir: str | Path,
    style: str | Style = "paper",
    heading: str = "",
    kinds: Collection[str] = ("pdf", "png", "svg"),
) -> list[str]:
    """Write drawn figures into a folder, as files of `kinds`, and return their names; each before the next is drawn.

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
                frame.write_figure(figure.figure, out, name, look.dpi, kinds)
            write(out / f"{name}.csv", csv_text(figure.numbers), inside=out)
            title = f"**{figure.piece.title}.** " if figure.piece.title else ""
            captions.append(f"## {name}\n\n{title}{figure.caption}\n")
            names.append(name)
        write(out / "captions.md", "\n".join(captions), inside=out)
    return names
