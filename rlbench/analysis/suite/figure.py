"""The figure of a claim: on the left the runs, on the right the verdict against what is claimed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from math import ceil

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from rlbench.analysis.bands import curve_band
from rlbench.analysis.coverage import interval_name
from rlbench.analysis.estimates import Band, Estimate
from rlbench.analysis.figures.accounts import run_counts
from rlbench.analysis.figures.style import QUIET, wrapped
from rlbench.analysis.measures import measure
from rlbench.analysis.picturefiles import Picture
from rlbench.analysis.references import possible_range
from rlbench.analysis.results import Results
from rlbench.analysis.suite import panels
from rlbench.analysis.suite.effects import effects
from rlbench.analysis.suite.entries import Entry
from rlbench.analysis.suite.panels import Learnt
from rlbench.analysis.verdicts import Verdict
from rlbench.claims import BOUNDED, ORDERED, RETURNS, Claim

_WIDTH = 9.4  # inches
_EVERY = 2  # of the points of a learning curve: fewer do for a small chart
_FOOTER_WIDTH = 150  # characters

SHADED = (
    "Right: the effect in every part of the claim with its interval. The claim holds where the whole bar lies in the "
    "shaded area; a bar that crosses its edge decides nothing."
)


class Curves:
    """Learning curves of arms with their bands; each is computed once, however many claims show it."""

    def __init__(self) -> None:
        self._tables: dict[int, dict[tuple[str, str], pd.DataFrame]] = {}
        self._learnt: dict[tuple[int, str, str], Learnt] = {}

    def __call__(self, results: Results, arm: str, environment: str) -> Learnt:
        """Return the curves of an arm on an environment."""
        key = (id(results), arm, environment)
        if key not in self._learnt:
            self._learnt[key] = self._made(results, arm, environment)
        return self._learnt[key]

    def _made(self, results: Results, arm: str, environment: str) -> Learnt:
        if id(results) not in self._tables:
            groups = results.curves.groupby(["arm", "environment"], sort=False)
            self._tables[id(results)] = {(str(key[0]), str(key[1])): table for key, table in groups}
        own = self._tables[id(results)].get((arm, environment), results.curves.iloc[:0])
        wide = own.pivot(index="seed", columns="step", values="return").iloc[:, _EVERY - 1 :: _EVERY]
        seeds = set(own["seed"][own["used"].astype(bool)])
        used, stopped = wide[wide.index.isin(seeds)], wide[~wide.index.isin(seeds)]
        band = None
        if len(used):
            possible = possible_range([environment], results.references)
            band = curve_band([used.to_numpy(float)], seed=results.seed, possible=possible)
        return Learnt(wide.columns.to_numpy(float), band, stopped.to_numpy(float))


def claim_picture(entry: Entry, curves: Curves) -> Picture | None:
    """Return the figure of a claim, None of an exact check or of a claim that could not be judged."""
    if entry.judged is None or entry.results is None:
        return None
    kind, shown = _kind(entry.judged.claim, entry.results)
    arms = ", ".join(entry.judged.claim.arms)
    return Picture(
        entry.name,
        "Claims",
        entry.statement,
        f"{shown} {SHADED}",
        f"{entry.statement} Two panels: the runs of {arms}, and the effects with intervals; {entry.verdict}.",
        partial(_figure, entry.judged, entry.results, kind, curves),
        wide=True,
    )


def _kind(claim: Claim, results: Results) -> tuple[str, str]:
    """Return which figure suits a claim, and what its left side shows."""
    if claim.direction in ORDERED:
        return "doses", "Left: the mean of each arm with its interval; thin lines are single environments."
    if claim.direction in BOUNDED:
        what = "the claimed threshold" if claim.event else "the claimed bound"
        return "dots", f"Left: every dot is a run, the diamond or marker their mean; dashed: {what}."
    if claim.metric.removesuffix("_normalised") in (*RETURNS, "drop") and not results.curves.empty:
        return "curves", "Left: learning curves, the mean episode return over training with its interval."
    return "dots", "Left: every dot is a run, the marker their mean with its interval."


def _figure(verdict: Verdict, results: Results, kind: str, curves: Curves) -> Figure:
    """Return the figure with both sides and what it says of its runs."""
    claim = verdict.claim
    environments = list(claim.environments or results.environments)
    height = max(_left_height(kind, claim, environments), 1.5 + 0.27 * len(verdict.parts))
    figure = Figure(figsize=(_WIDTH, height + 0.45), layout=ConstrainedLayoutEngine(w_pad=0.08))
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.25, 1.0), wspace=0.03).flat
    table = measure(results, claim.metric)
    table = table[table["arm"].isin(claim.arms) & table["environment"].isin(environments)]
    drawn: Sequence[Estimate | Band]
    if kind == "curves":
        drawn = _small_multiples(left, claim, environments, results, curves)
    elif kind == "doses":
        ax = left.subplots()
        drawn = panels.doses(ax, table, verdict, results)
        left.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    else:
        drawn = panels.runs_as_dots(left.subplots(), table, verdict, results)
    effects(right.subplots(), verdict)
    shown = results.scores[results.scores["environment"].isin(environments)]
    sentences = (_interval_note(drawn, verdict), run_counts(shown, claim.arms))
    text = "\n".join(line for one in sentences for line in textwrap.wrap(one, _FOOTER_WIDTH))
    figure.supxlabel(text, x=0.01, ha="left", fontsize=7.5, color=QUIET, linespacing=1.35)
    return figure


def _left_height(kind: str, claim: Claim, environments: list[str]) -> float:
    """Return the height in inches that the left side needs."""
    if kind == "doses":
        return 3.4
    if kind == "curves":
        return 0.55 + 1.75 * ceil(len(environments) / 2) + 0.2 * ceil(len(claim.arms) / 2)
    return 1.3 + 0.33 * len(claim.arms) * len(environments)


def _small_multiples(
    figure: SubFigure, claim: Claim, environments: list[str], results: Results, curves: Curves
) -> list[Band]:
    """Draw the learning curves on every environment, two beside each other, and list the arms below."""
    columns = min(2, len(environments))
    axes: list[Axes] = list(figure.subplots(ceil(len(environments) / columns), columns, squeeze=False).flat)
    drawn = []
    for ax, name in zip(axes, environments, strict=False):
        drawn += panels.learning_curves(ax, name, claim, results, curves)
    for ax in axes[len(environments) :]:
        ax.set_axis_off()
    for ax in axes[max(len(environments) - columns, 0) : len(environments)]:
        ax.set_xlabel("environment steps", fontsize=9)
    figure.supylabel("episode return", fontsize=9)
    handles = [
        Line2D([], [], color=style.color, linestyle=style.line, linewidth=1.8, label=wrapped(arm, 30))
        for arm, style in ((arm, results.styles[arm]) for arm in claim.arms)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, handlelength=2.6)
    return drawn


def _interval_note(drawn: Sequence[Estimate | Band], verdict: Verdict) -> str:
    """Say what the intervals on both sides are."""
    left = f"{interval_name(drawn)} ({_methods(drawn)})" if drawn else ""
    found = [part.effect for part in verdict.parts]
    level, whole = found[0].level, verdict.claim.level
    name = interval_name(found)
    if level != whole:
        name = f"{100 * level:.3g} % interval each, so that {100 * whole:.3g} % holds for all together"
    right = f"{name} ({_methods(found)})"
    if left == right:
        return f"Both sides: {left}."
    return " ".join([*([f"Left: {left}."] if left else []), f"Right: {right}."])


def _methods(estimates: Sequence[Estimate | Band]) -> str:
    return ", ".join(dict.fromkeys(one.method for one in estimates))
