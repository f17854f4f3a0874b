"""The showpieces of swept hyper-parameters: a score against their values, or against multiples of a usual value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rlbench.analysis.draw import captions
from rlbench.analysis.draw.chosen import Chosen, styles_like
from rlbench.analysis.draw.frame import Panel, Sheet, in_panels
from rlbench.analysis.draw.scale import field_name, scale_of, short
from rlbench.analysis.draw.series import (
    ALL,
    MEAN,
    Numbers,
    Scored,
    count_multiples,
    gathered,
    mark_value,
    plot_points,
    shade,
    sweep_numbers,
)
from rlbench.analysis.draw.style import ArmStyle, arm_styles
from rlbench.analysis.draw.sweeps import Sweep
from rlbench.analysis.scores.results import Results
from rlbench.errors import RlbenchError

DEFAULT = "auc_normalised"
_MEANS = "Points: means of the runs. Bars"


def dose(chosen: Chosen) -> Sheet:
    """A score against the values of one field: the environments in one panel, or a panel each for several sweeps."""
    sweeps = named_sweeps(chosen)
    fields = {one.field for _, one in sweeps.values()}
    if len(fields) > 1:
        raise RlbenchError(f"{chosen.where}: {', '.join(sorted(fields))} are swept; say which with field=.")
    metric, field = chosen.piece.metric or DEFAULT, fields.pop()
    scale = scale_of([value for _, one in sweeps.values() for value in one.values])
    if len(sweeps) == 1:
        panels, styles = _one_sweep(chosen, *next(iter(sweeps.values())), metric)
    else:
        panels, styles = _several(chosen, sweeps, metric), _styles(sweeps)

    def draw(panel: str, ax: Axes, named: bool) -> None:
        _mark(chosen, ax, scale.place([chosen.piece.mark or 0.0])[0])
        scale.apply(ax, field, chosen.piece.mark)
        names = _called(chosen, list(panels[panel].table["line"]))
        plot_points(panels[panel].table, scale, styles=styles, labels=names, named=named, ax=ax)
        ax.set_ylabel(captions.metric_name(metric))

    said = f"{captions.metric_sentence(metric)} against the {field_name(field)}"
    if chosen.piece.mark is not None:
        said += f" (dashed: {short(chosen.piece.mark)}{f', {chosen.piece.said}' if chosen.piece.said else ''})"
    side = " The values stand side by side, whatever lies between them." if scale.kind == "even" else ""
    return _sheet(chosen, panels, styles, draw, f"{said}.{side}", sweeps)


def stability(chosen: Chosen) -> Sheet:
    """A score against multiples of the usual value of each variant's own hyper-parameter, over all environments."""
    metric, sweeps = chosen.piece.metric or DEFAULT, named_sweeps(chosen)
    places = chosen.averaged if metric.endswith("_normalised") else chosen.environments
    if not places:
        raise RlbenchError(f"{chosen.where}: no environment has a reference, so {metric} is not known.")
    units = {name: _unit(chosen, name, *sweep, metric, places) for name, sweep in sweeps.items()}
    numbers = {
        name: sweep_numbers(Scored(results, metric), _positive(sweep), places, name, units[name][0])
        for name, (results, sweep) in sweeps.items()
    }
    panels, styles = {"": gathered(list(numbers.values()))}, _styles(sweeps)
    over = f"mean of {len(places)} environments" if len(places) > 1 else places[0]

    def draw(panel: str, ax: Axes, named: bool) -> None:
        names = _called(chosen, list(panels[panel].table["line"]))
        count_multiples(ax, panels[panel].table["x"].to_numpy(np.float64), "multiple of the hyper-parameter")
        plot_points(panels[panel].table, styles=styles, labels=names, named=named, ax=ax)
        ax.set_ylabel(f"{captions.metric_name(metric)},\n{over}" if len(places) > 1 else captions.metric_name(metric))

    of = ", ".join(
        f"{chosen.called(name)} {sweeps[name][1].field} {unit:g} ({why})" for name, (unit, why) in units.items()
    )
    said = (
        f"{captions.metric_sentence(metric)}, {over}, against multiples of one hyper-parameter of each "
        f"variant; ×1 is {of}."
    )
    return _sheet(chosen, panels, styles, draw, said, sweeps, places)


def named_sweeps(chosen: Chosen) -> dict[str, tuple[Results, Sweep]]:
    """Return the sweeps by the names of their lines: that of the variant, with the field where it has several."""
    found = chosen.sweeps
    names = [sweep.name for _, sweep in found]
    named: dict[str, tuple[Results, Sweep]] = {}
    for results, sweep in found:
        name = sweep.name if names.count(sweep.name) == 1 else f"{sweep.name}: {sweep.field}"
        while name in named:
            name += "'"
        named[name] = (results, sweep)
    return named


def _one_sweep(
    chosen: Chosen, results: Results, sweep: Sweep, metric: str
) -> tuple[dict[str, Numbers], dict[str, ArmStyle]]:
    """Return one panel with a line per environment, and one for their mean where they can be averaged."""
    scored = Scored(results, metric)
    lines = [sweep_numbers(scored, sweep, [one], one) for one in chosen.environments]
    styles = arm_styles(chosen.environments)
    places = chosen.averaged
    if metric.endswith("_normalised") and len(places) > 1:
        lines.append(sweep_numbers(scored, sweep, places, ALL))
        styles[ALL] = MEAN
    return {"": gathered(lines)}, styles


def _several(chosen: Chosen, sweeps: Mapping[str, tuple[Results, Sweep]], metric: str) -> dict[str, Numbers]:
    """Return a panel per environment with a line per sweep, and one for the mean of the environments."""
    scored = {name: Scored(results, metric) for name, (results, _) in sweeps.items()}

    def panel(environments: Sequence[str]) -> Numbers:
        lines = [sweep_numbers(scored[name], sweep, environments, name) for name, (_, sweep) in sweeps.items()]
        return gathered(lines)

    panels = {chosen.called(one): panel([one]) for one in chosen.environments}
    places = chosen.averaged
    if metric.endswith("_normalised") and len(places) > 1:
        panels[f"Mean of {len(places)} environments"] = panel(places)
    return panels


def _unit(
    chosen: Chosen, name: str, results: Results, sweep: Sweep, metric: str, places: Sequence[str]
) -> tuple[float, str]:
    """Return the value of a sweep that counts as 1, and why it does."""
    given = chosen.piece.relative_to
    for key in (name, sweep.name, sweep.field):
        if key in given:
            return float(given[key]), "given"
    if sweep.usual is not None:
        return sweep.usual, "default"
    scored = Scored(results, metric)
    points = [scored.mean(arm, places).point for arm in sweep.arms]
    known = [index for index, value in enumerate(sweep.values) if np.isfinite(points[index]) and 0 < value < np.inf]
    if not known:
        raise RlbenchError(f"{chosen.where}: {name} has no finished runs with a positive {sweep.field}.")
    return sweep.values[max(known, key=points.__getitem__)], "best of these runs"


def _positive(sweep: Sweep) -> Sweep:
    """Return the part of a sweep that has a place on a logarithmic axis."""
    kept = [(value, arm) for value, arm in zip(sweep.values, sweep.arms, strict=True) if 0 < value < np.inf]
    values, arms = zip(*kept, strict=True) if kept else ((), ())
    return Sweep(sweep.name, sweep.algorithm, sweep.field, values, arms, sweep.usual)


def _styles(sweeps: Mapping[str, tuple[Results, Sweep]]) -> dict[str, ArmStyle]:
    return styles_like({name: sweep.algorithm for name, (_, sweep) in sweeps.items()})


def _called(chosen: Chosen, names: Sequence[str]) -> dict[str, str]:
    mean = {ALL: f"mean of {len(chosen.averaged)}"}
    return {name: mean.get(name) or chosen.called(name) for name in dict.fromkeys(names)}


def _mark(chosen: Chosen, ax: Axes, place: float) -> None:
    piece = chosen.piece
    if piece.band:
        shade(ax, piece.band, piece.said, upright=True)
    if piece.mark is not None:
        mark_value(ax, place, "")


def _sheet(
    chosen: Chosen,
    panels: Mapping[str, Numbers],
    styles: Mapping[str, ArmStyle],
    draw: Callable[[str, Axes, bool], None],
    said: str,
    sweeps: Mapping[str, tuple[Results, Sweep]],
    places: Sequence[str] | None = None,
) -> Sheet:
    present = {line for numbers in panels.values() for line in numbers.table["line"]}
    lines = [name for name in styles if name in present]
    estimates = [one for numbers in panels.values() for one in numbers.estimates]
    parts = [
        captions.shown_runs(results.scores, sweep.arms, places or chosen.environments)
        for results, sweep in sweeps.values()
    ]
    shown = pd.concat(parts)
    arms = [arm for _, sweep in sweeps.values() for arm in sweep.arms]
    return Sheet(
        [Panel(title, partial(draw, title)) for title in panels],
        in_panels({title: numbers.table for title, numbers in panels.items()}),
        f"{said} {captions.intervals(_MEANS, estimates)} {captions.accounts(shown, arms)}",
        {called: styles[name] for name, called in _called(chosen, lines).items()},
        shared="y",
        tall=1.15,
        notes=f"Means of {captions.runs_each(shown)} with their {captions.short_interval(estimates)}",
    )
