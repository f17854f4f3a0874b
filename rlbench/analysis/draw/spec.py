"""What the declaration of a paper figure (`rlbench.Showpiece`) refers to, and how its panels become a figure."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlbench.analysis.draw import frame
from rlbench.analysis.draw.axes import SHARE_COLUMNS, short
from rlbench.analysis.draw.marks import COLUMNS, MEAN, SCATTER, Numbers, Scored, mark_value, shade
from rlbench.analysis.draw.style import ArmStyle, Style, styles_like
from rlbench.analysis.scores.results import ArmEntry, Results
from rlbench.analysis.scores.scores import reference
from rlbench.analysis.stats.estimates import Band, Estimate, interval_name
from rlbench.errors import nearest
from rlbench.records import MEASURED
from rlbench.suite import Showpiece

_SETTING = re.compile(r"\s*\b([A-Za-z_]\w*)\s*=\s*(inf|[-+]?[\d.]+(?:[eE][-+]?\d+)?)$")
FEWEST = 3  # values that make a curve worth drawing unasked
_NAMED_PANEL = 1.65  # inches that a panel with named rows takes at least
MANY = 8  # values from which on they are those of a search, too many for a point with an interval each


@dataclass(frozen=True)
class Sweep:
    """Arms that differ in `field` alone, in the order of its `values`.

    `name` is what their labels share, or their algorithm; `usual` is the value of the arm that leaves the field as it
    is, None where every arm sets it.
    """

    name: str
    algorithm: str
    field: str
    values: tuple[float, ...]
    arms: tuple[str, ...]
    usual: float | None = None


def find_sweeps(entries: Iterable[ArmEntry], arms: Sequence[str] = (), fields: Sequence[str] = ()) -> list[Sweep]:
    """Return the sweeps of the fields (all, if none is named) among the arms (all, if none is named), in their order.

    Arms belong together if they agree in the algorithm and in every other field. Where the arms are named and one
    field is asked for, arms that differ in more are taken together too, since some fields only change together, such
    as the horizon and the number of minibatches. The label of an arm without fields says its value, `NAME=VALUE`.
    """
    listed = [arm for arm in map(_with_fields, entries) if not arms or arm.label in arms]
    names = list(fields) or list(dict.fromkeys(name for arm in listed for name in arm.fields))
    sweeps = [sweep for name in names for sweep in _sweeps_of(name, listed, exact=True)]
    if arms and len(fields) == 1 and {label for arm in sweeps for label in arm.arms} != {arm.label for arm in listed}:
        sweeps = list(_sweeps_of(fields[0], listed, exact=False))
    places = [arm.label for arm in listed]
    return sorted(sweeps, key=lambda sweep: min(places.index(arm) for arm in sweep.arms))


def _with_fields(arm: ArmEntry) -> ArmEntry:
    # The arm with the field that its label names, if its own are not known.
    match = _SETTING.search(arm.label)
    if arm.fields or not match:
        return arm
    named = {match[1]: float(match[2]), "label": arm.label[: match.start()]}
    return replace(arm, fields=named, settings=named)


def _sweeps_of(name: str, arms: Sequence[ArmEntry], *, exact: bool) -> Iterator[Sweep]:
    groups: dict[tuple[Any, ...], list[ArmEntry]] = {}
    for arm in arms:
        if number(arm.fields.get(name)) is not None:
            others = sorted((key, repr(value)) for key, value in arm.fields.items() if key != name) if exact else ()
            groups.setdefault((arm.algorithm, *others), []).append(arm)
    for group in groups.values():
        values = [float(number(arm.fields[name]) or 0.0) for arm in group]
        if len(group) > 1 and len(set(values)) == len(group):
            order = sorted(range(len(group)), key=values.__getitem__)
            usual = [value for value, arm in zip(values, group, strict=True) if name not in arm.settings]
            # What the labels share beside the setting, or else the algorithm.
            bare = {re.sub(rf"\s*\b{re.escape(name)}=\S+", "", arm.label).strip() for arm in group}
            shared = bare.pop() if len(bare) == 1 and "" not in bare else group[0].algorithm or name
            yield Sweep(
                shared,
                group[0].algorithm,
                name,
                tuple(values[index] for index in order),
                tuple(group[index].label for index in order),
                usual[0] if len(usual) == 1 else None,
            )


def number(value: Any) -> float | None:
    """Return a field's value as a number, infinity included, or None where it is none."""
    if value == "inf":
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(value)


def sweep_numbers(
    scored: Scored, points: Iterable[tuple[float, str]], environments: Sequence[str], line: str
) -> Numbers:
    """Return the mean over the environments of a metric against x, for `points` (x, arm), as one line."""
    estimates = [(x, scored.mean(arm, environments)) for x, arm in points]
    known = [(x, estimate) for x, estimate in estimates if np.isfinite(estimate.point)]
    rows = [(line, x, mean.point, mean.low, mean.high) for x, mean in known]
    return Numbers(pd.DataFrame(rows, columns=COLUMNS), [estimate for _, estimate in known])


def searched_fields(entries: Iterable[ArmEntry]) -> list[str]:
    """Return the fields that a search tries together: with `MANY` values or more, and not swept one at a time."""
    values: dict[tuple[str, str], set[float]] = {}
    entries = list(entries)
    swept = {sweep.field for sweep in find_sweeps(entries) if len(sweep.values) >= FEWEST}
    for arm in entries:
        for name, value in arm.fields.items():
            if (known := number(value)) is not None:
                values.setdefault((name, arm.algorithm), set()).add(known)
    return list(dict.fromkeys(name for (name, _), seen in values.items() if len(seen) >= MANY and name not in swept))


def setting_numbers(results: Results, metric: str, field: str, environment: str, arms: Sequence[str]) -> Numbers:
    """Return the mean of a metric of each arm on an environment, against the value of a field.

    There are no intervals: a dot may be of two runs, and the settings are what is to be seen.
    """
    scored, rows = Scored(results, metric), []
    for arm in arms:
        x, runs = number(results.arm_entries[arm].fields.get(field)), scored.values(arm, environment)
        if x is not None and runs.size:
            rows.append((arm, x, np.nan, np.nan, runs.mean(), np.nan, np.nan))
    return Numbers(pd.DataFrame(rows, columns=SCATTER), [])


def scatter_numbers(results: Results, metric: str, against: str, environment: str, arms: Sequence[str]) -> Numbers:
    """Return the means of two metrics of each arm on an environment, with their intervals."""
    upright, across = Scored(results, metric), Scored(results, against)
    rows = []
    estimates: list[Estimate | Band] = []
    for arm in arms:
        x, y = across.mean(arm, [environment]), upright.mean(arm, [environment])
        if np.isfinite([x.point, y.point]).all():
            rows.append((arm, x.point, x.low, x.high, y.point, y.low, y.high))
            estimates += [x, y]
    return Numbers(pd.DataFrame(rows, columns=SCATTER), estimates)


DrawNamed = Callable[[str, Axes, bool], None]  # draws the panel of a name, with names beside its lines or not


@dataclass(frozen=True)
class Drawn:
    """A drawn figure with the tidy table of the numbers in it."""

    piece: Showpiece
    figure: Figure
    caption: str
    numbers: pd.DataFrame


def compose(
    piece: Showpiece,
    style: Style,
    tables: Mapping[str, pd.DataFrame],
    draw: DrawNamed,
    caption: str,
    notes: str,
    *,
    titles: Mapping[str, str] | None = None,
    lines: Mapping[str, ArmStyle] | None = None,
    joined: bool = True,
    shared: str = "",
    tall: float = 1.0,
    rows: int = 0,
) -> Drawn:
    """Return a figure, laid out and with its positions fixed; within `styled`.

    tables   the numbers that are drawn in every panel, by its name; `titles` are what panels are called, if otherwise
    draw     draws the panel of a name on axes, with names beside its lines or not
    notes    what must be known to read the figure, on a slide in small letters below it
    lines    what is drawn in every panel, by the name it has there; none: lines need no names
    joined   whether they are lines, with ends that names can stand beside; otherwise markers, which are listed
    shared   the axes on which all panels have the same range: "", "x", "y" or "xy"
    tall     height of a row of panels, relative to the usual one
    rows     number of named rows of every panel, which then stand side by side; 0: no charts with rows

    Raises:
        CannotDraw: the names and ticks leave no room for the panels.
    """
    panels = len(tables)
    columns = {1: 1, 2: 2, 3: 3, 4: 2}.get(panels, 3 if panels <= 6 else 4)
    needed = 1.25 * rows * frame.letters("ytick.labelsize") / 72.0 * math.ceil(panels / columns)
    if rows and not (style.slide and needed <= 0.7 * style.slide):
        # Charts with rows stand below each other only where these have room.
        columns = min(panels, max(2, int(style.wide / _NAMED_PANEL)))
    columns = min(piece.columns, panels) or columns
    height = style.slide or style.height * math.ceil(panels / columns) * tall * (1.18 if panels == 1 else 1.0)
    texts = (piece.title, frame.note_lines([notes], style.wide - 0.5)) if style.titled else ("", "")
    figure = frame.new_figure(style.wide if panels > 1 else style.narrow, height, *texts)
    shown = [((titles or {}).get(name, name), partial(draw, name)) for name in tables]
    frame.draw_panels(figure, shown, columns, lines or {}, beside=joined, joined=joined, shared=shared)
    frame.settle(figure)
    numbers = [table.assign(panel=name) for name, table in tables.items()]
    whole = pd.concat([table for table in numbers if len(table)] or numbers, ignore_index=True)
    whole = whole[["panel", *(name for name in whole.columns if name != "panel")]]
    return Drawn(piece, figure, " ".join(f"{piece.caption} {caption}".split()), whole)


@dataclass(frozen=True, eq=False)
class Resolved:
    """A declared figure with the results that it is drawn from, at least one.

    What it asks for and the results do not have is a CannotDraw.
    """

    piece: Showpiece
    style: Style
    results: Sequence[Results]

    @property
    def first(self) -> Results:
        """The results of the first of its experiments."""
        return self.results[0]

    @cached_property
    def arms(self) -> list[str]:
        """The arms of the first experiment, in the order in which they are drawn."""
        return self._listed("arm", self.piece.arms, self.first.arms)

    @cached_property
    def environments(self) -> list[str]:
        """The environments, which all of the experiments have."""
        common = [name for name in self.first.environments if all(name in other.environments for other in self.results)]
        return self._listed("environment", self.piece.environments, common)

    def _listed(self, what: str, wanted: Sequence[str], known: Sequence[str]) -> list[str]:
        for name in wanted:
            if name not in known:
                raise frame.CannotDraw(f"{self._names} has no {what} {name!r}.{nearest(name, list(known))}")
        return list(wanted) or list(known)

    @property
    def _names(self) -> str:
        return " and ".join(f"experiment {results.experiment.name!r}" for results in self.results)

    @cached_property
    def averaged(self) -> list[str]:
        """The environments that a mean of normalised scores is taken over: those with a reference."""
        return [name for name in self.environments if reference(name, self.first.references) is not None]

    @cached_property
    def sweeps(self) -> dict[str, tuple[Results, Sweep]]:
        """The sweeps of the fields, with their results; of all fields with enough values, if none is named.

        By the names of their lines: that of the variant, with the field where it has several.
        """
        wanted = self.piece.swept
        sweeps = [
            (results, sweep)
            for results in self.results
            for sweep in find_sweeps(results.arm_entries.values(), self.piece.arms, wanted)
            if wanted or len(sweep.values) >= FEWEST
        ]
        if not sweeps:
            raise frame.CannotDraw(f"no arms of {self._names} differ in one {' or '.join(wanted) or 'field'} alone.")
        names = [sweep.name for _, sweep in sweeps]
        named: dict[str, tuple[Results, Sweep]] = {}
        for results, sweep in sweeps:
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

    def called(self, name: str) -> str:
        """Return what an arm, a variant or an environment is called in the figure."""
        mean = f"mean of {len(self.averaged)}" if name == MEAN else name
        return self.piece.labels.get(name, mean)

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

    def figure(
        self,
        panels: Mapping[str, Numbers],
        draw: DrawNamed,
        text: str,
        how: str,
        slide: str,
        marked: str = "",
        *,
        styles: Mapping[str, ArmStyle] | None = None,
        arms: Sequence[str] = (),
        runs: pd.DataFrame | None = None,
        **layout: Any,
    ) -> Drawn:
        """Return the figure of these panels, in which lines with `styles` are named; `layout` as in `compose`.

        `text` opens the caption, `how` says what its intervals belong to, `slide` what is drawn in a few words,
        `marked` what is marked. Then come how many of the `runs` (of these `arms`) a point rests on, their budget, and
        how many were planned.
        """
        runs = runs_of(self.first, self.arms, self.environments) if runs is None else runs
        used = runs.assign(used=runs["used"].astype(bool)).groupby(["environment", "arm"])["used"].sum()
        low, high = (int(used.min()), int(used.max())) if len(used) else (0, 0)
        each = f"{low} run{'s' * (low != 1)}" if low == high else f"{low} to {high} runs"
        steps = sorted(set(runs["steps"]))
        budget = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
        trained = "" if (runs["algorithm"] == MEASURED).all() else f", {budget} environment steps each"
        counts = frame.run_counts(runs, [arm for arm in arms or self.arms if arm in set(runs["arm"])])
        estimates = [estimate for numbers in panels.values() for estimate in numbers.estimates]
        name = interval_name(estimates) if estimates else ""
        interval = f" with {'its' if slide == 'Mean' else 'their'} {name}" if estimates else ""
        number = f"n = {each} per arm and environment{trained}."
        present = {str(line) for numbers in panels.values() for line in numbers.table["line"]}
        named: dict[str, Any] = {
            "titles": {name: self.called(name) for name in self.environments},
            "lines": {self.called(name): style for name, style in (styles or {}).items() if name in present},
        }
        tables = {name: numbers.table for name, numbers in panels.items()}
        caption = f"{text} {frame.interval_note(estimates, how)}{marked} {number} {counts}"
        notes = f"{slide} of {each}{interval}.{marked}"
        return compose(self.piece, self.style, tables, draw, caption, notes, **named | layout)


def runs_of(results: Results, arms: Sequence[str], environments: Sequence[str]) -> pd.DataFrame:
    """Return the rows of the scores that a figure is about."""
    scores = results.scores
    return scores[scores["arm"].isin(list(arms)) & scores["environment"].isin(list(environments))]
