"""What a paper figure consists of: its panels and caption, and what its declaration (`rlbench.Showpiece`) refers to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlbench.analysis.draw.frame import draw_panels, interval_note, letters, new_figure, note_lines, run_counts, settle
from rlbench.analysis.draw.marks import MEAN, Numbers, mark_value, shade
from rlbench.analysis.draw.style import ArmStyle, Style, styles_like
from rlbench.analysis.draw.sweep import FEWEST, Sweep, find_sweeps
from rlbench.analysis.draw.updates import SHARE_COLUMNS, short
from rlbench.analysis.format import capital
from rlbench.analysis.scores.metrics import axis_label
from rlbench.analysis.scores.results import Results
from rlbench.analysis.scores.scores import reference
from rlbench.analysis.stats.coverage import interval_name
from rlbench.errors import RlbenchError, nearest
from rlbench.records import MEASURED
from rlbench.suite import Showpiece

DrawNamed = Callable[[str, Axes, bool], None]  # draws the panel of a name, with names beside its lines or not


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
    draw: DrawNamed
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
        whole = pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)
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
        texts = (title, note_lines([self.notes], style.wide - 0.5)) if style.titled else ("", "")
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
    """A declared figure with the results that it is drawn from, at least one.

    What it asks for and the results do not have is an RlbenchError.
    """

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
        """The arms of the first experiment, in the order in which they are drawn."""
        return self._listed("arm", self.piece.arms, self.first.arms)

    @cached_property
    def environments(self) -> list[str]:
        """The environments, which all of the experiments have."""
        common = [name for name in self.first.environments if all(name in other.environments for other in self.results)]
        return self._listed("environment", self.piece.environments, common)

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
            what = " or ".join(wanted) or "field"
            raise RlbenchError(f"{self.where}: no arms of {self._names} differ in one {what} alone.")
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

    @property
    def titles(self) -> dict[str, str]:
        """What the panels of the environments are called."""
        return {name: self.called(name) for name in self.environments}

    def called(self, name: str) -> str:
        """Return what an arm, a variant or an environment is called in the figure."""
        mean = f"mean of {len(self.averaged)}" if name == MEAN else name
        return self.piece.labels.get(name, mean)

    def lines(self, styles: Mapping[str, ArmStyle], panels: Mapping[str, Numbers]) -> dict[str, ArmStyle]:
        """Return the styles of the lines that some panel has, by what they are called in the figure."""
        present = {str(name) for numbers in panels.values() for name in numbers.table["line"]}
        return {self.called(name): style for name, style in styles.items() if name in present}

    @property
    def runs(self) -> pd.DataFrame:
        """The rows of the scores that the figure is about."""
        return runs_of(self.first, self.arms, self.environments)

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
        return " and ".join(f"experiment {results.experiment.name!r}" for results in self.results)


def runs_of(results: Results, arms: Sequence[str], environments: Sequence[str]) -> pd.DataFrame:
    """Return the rows of the scores that a figure is about."""
    scores = results.scores
    return scores[scores["arm"].isin(list(arms)) & scores["environment"].isin(list(environments))]


def described(
    panels: Mapping[str, Numbers],
    draw: DrawNamed,
    runs: pd.DataFrame,
    arms: Sequence[str],
    text: str,
    how: str,
    slide: str,
    marked: str = "",
) -> dict[str, Any]:
    """Return tables, drawing, caption and notes of a figure of these runs.

    `text` opens the caption, `how` says what its intervals belong to, `slide` what is drawn in a few words, `marked`
    what is marked. Then come how many runs a point rests on, their budget, and how many were planned.
    """
    estimates = [estimate for numbers in panels.values() for estimate in numbers.estimates]
    used = runs.assign(used=runs["used"].astype(bool)).groupby(["environment", "arm"])["used"].sum()
    low, high = (int(used.min()), int(used.max())) if len(used) else (0, 0)
    each = f"{low} run{'s' * (low != 1)}" if low == high else f"{low} to {high} runs"
    steps = sorted(set(runs["steps"]))
    budget = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    trained = "" if (runs["algorithm"] == MEASURED).all() else f", {budget} environment steps each"
    counts = run_counts(runs, [arm for arm in arms if arm in set(runs["arm"])])
    name = interval_name(estimates).partition(",")[0] if estimates else ""
    interval = f" with {'its' if slide == 'Mean' else 'their'} {name}" if estimates else ""
    number = f"n = {each} per arm and environment{trained}."
    return {
        "tables": {name: numbers.table for name, numbers in panels.items()},
        "draw": draw,
        "caption": f"{text} {interval_note(estimates, how)}{marked} {number} {counts}",
        "notes": f"{slide} of {each}{interval}.{marked}",
    }


def metric_sentence(metric: str) -> str:
    """Return what a metric is, to begin a sentence."""
    return capital(axis_label(metric))
