"""The figures of reports: of an experiment, one list of data; of a claim, its runs beside its effects.

A figure of an experiment's report is a function that draws it and an entry in `FIGURES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rlbench.analysis.draw import (
    arm_styles,
    plot_aggregate,
    plot_diagnostics,
    plot_difference,
    plot_improvement,
    plot_learning_curves,
    plot_profile,
    plot_reached,
    plot_scores,
)
from rlbench.analysis.draw.curves import curve_numbers, draw_learning_curves
from rlbench.analysis.draw.files import Picture
from rlbench.analysis.draw.frame import (
    DrawPanel,
    draw_panels,
    interval_words,
    name_rows,
    new_figure,
    note_lines,
    rows_height,
    run_counts,
    wrapped,
    write_inside,
)
from rlbench.analysis.draw.marks import (
    MEAN,
    MEAN_STYLE,
    Numbers,
    Scored,
    draw_points,
    draw_rows,
    draw_runs,
    gathered,
    mark_value,
)
from rlbench.analysis.draw.rows import METRIC_NAMES
from rlbench.analysis.draw.style import QUIET, ArmStyle
from rlbench.analysis.draw.sweep import sweep_numbers
from rlbench.analysis.draw.updates import QUANTITIES, RULE, scale_axis
from rlbench.analysis.judge.judged import JudgedResults
from rlbench.analysis.judge.verdicts import Part, Verdict, regions
from rlbench.analysis.report.claims import event_name, metric_name, place_name, short_labels
from rlbench.analysis.report.entries import Entry
from rlbench.analysis.report.measured import is_measured
from rlbench.analysis.scores.metrics import measure
from rlbench.analysis.scores.references import reference
from rlbench.analysis.scores.scores import ALL
from rlbench.analysis.stats.coverage import interval_name
from rlbench.analysis.stats.estimates import Band, Estimate
from rlbench.claims import BOUNDED, ORDERED, RETURNS, Claim
from rlbench.files import file_name

Case = dict[str, str]  # what is different between the pictures of an entry: environment, metric


class ReportFigure(NamedTuple):
    """An entry of the list: a picture for each of the `cases`, whose figure `make` returns.

    The texts hold {environment}, {place} (how file names end), {metric}, {arms}, {base} and what `_words` has.
    """

    cases: Callable[[JudgedResults], Iterable[Case]]
    name: str
    section: str
    title: str
    caption: str
    alt: str
    make: Callable[..., Figure]
    wide: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything in words, to be filled in."""
        return self.name, self.section, self.title, self.caption, self.alt


def pictures(results: JudgedResults) -> list[Picture]:
    """Return the figures of the report in the order in which they are shown; none where nothing was trained."""
    if is_measured(results):
        return []
    taken = {"all"}
    names = {environment: file_name(environment, taken, "environment") for environment in results.environments}
    found = []
    for entry in FIGURES:
        for case in entry.cases(results):
            words = _words(results, case, names)
            name, section, title, caption, alt = (text.format_map(words) for text in entry.texts)
            make = partial(entry.make, results, **case)
            found.append(Picture(name, section, title, caption, alt, make, wide=entry.wide))
    return found


def _words(results: JudgedResults, case: Case, names: Mapping[str, str]) -> dict[str, Any]:
    """Return what the texts of an entry are filled in with."""
    environment, metric = case.get("environment", ""), case.get("metric", results.metrics[0])
    several = len(results.environments) > 1
    return {
        "environment": environment,
        "place": f"-{names[environment]}" if environment else "",
        "on": f" on {environment}" if environment else "",
        "metric": metric,
        "metric_name": METRIC_NAMES[metric].capitalize(),
        "arms": ", ".join(results.arms),
        "base": results.baseline,
        "together": "All environments together" if several else "Normalised scores",
        "point": _SOURCED if results.experiment.source else _TRAINED,
        **_METRIC_WORDS.get(metric, {}),
    }


_TRAINED = "each point the mean return of the episodes that ended in the last tenth of the budget before it"
_SOURCED = "straight between the steps at which all are compared"
_METRIC_WORDS = {
    "auc": {
        "score": "The primary score: the mean of a run's learning curve, which rewards learning fast and staying good.",
        "after": ": over training",
        "before": "Over training: ",
    },
    "final": {
        "score": "The second score: the mean return in the last tenth of the training.",
        "after": ": final",
        "before": "Final: ",
    },
    "score": {"score": "The score of a run.", "after": "", "before": ""},
}


def _environments(results: JudgedResults) -> list[Case]:
    return [{"environment": name} for name in results.environments]


def _with_curves(results: JudgedResults) -> list[Case]:
    return [] if results.curves.empty else _environments(results)


def _with_reference(results: JudgedResults) -> list[Case]:
    cases = _with_curves(results)
    return [case for case in cases if reference(case["environment"], results.references) is not None]


def _all_curves(results: JudgedResults) -> list[Case]:
    return [{}] if not results.curves.empty and len(results.environments) > 1 else []


def _with_updates(results: JudgedResults) -> list[Case]:
    return [] if results.updates.empty else _environments(results)


def _metrics(results: JudgedResults) -> list[Case]:
    return [{"metric": metric} for metric in results.metrics]


def _each_score(results: JudgedResults) -> list[Case]:
    return [case | metric for case in _environments(results) for metric in _metrics(results)]


def _compared(results: JudgedResults) -> list[Case]:
    present = {one.environment for one in results.comparisons}
    return [case for case in _environments(results) if case["environment"] in present]


def _compared_together(results: JudgedResults) -> list[Case]:
    """Return one case for all environments where they are compared together, or the environments."""
    together = len(results.environments) == 1 or any(one.environment == ALL for one in results.comparisons)
    return [{}] if together and results.comparisons else _compared(results)


def _single(plot: Callable[..., Axes], row: float = 0.0) -> Callable[..., Figure]:
    """Return what makes a figure of a `plot` on one pair of axes, with a row of `row` inches per arm if it has rows."""

    def make(results: JudgedResults, **case: str) -> Figure:
        figure = new_figure(6.2, rows_height(results.arms, row) if row else 3.9)
        plot(results, **case, ax=figure.subplots())
        return figure

    return make


def _diagnostics(results: JudgedResults, environment: str) -> Figure:
    """Return a figure of small charts, two in a row, one per quantity, and the list of arms."""
    adapted = sorted(str(name) for name in results.updates.columns if str(name).startswith("field."))
    panels: list[tuple[str, DrawPanel]] = []
    for quantity in (*QUANTITIES, *adapted):

        def draw(ax: Axes, _: bool, quantity: str = quantity) -> None:
            plot_diagnostics(results, environment, quantity, legend=False, ax=ax)
            ax.set_ylabel("")

        panels.append((QUANTITIES.get(quantity, quantity.replace("field.", "adapted: ")), draw))
    notes = note_lines([RULE, run_counts(results.scores, results.arms, environment)], 7.3)
    figure = new_figure(7.6, 2.1 * (len(panels) // 2 + 1) + 0.8, environment, notes)
    draw_panels(figure, panels, 2, arm_styles(results.arms), beside=False)
    return figure


FIGURES = (
    ReportFigure(
        _with_curves,
        "learning-curves{place}",
        "Learning curves",
        "{environment}",
        "How the return of an episode grows with training. Each line is the mean over the used runs of an arm, {point}. "
        "The band is the interval of that mean at each step by itself, not for the whole line at once.",
        "Line chart of mean episode return against environment steps on {environment} for {arms}.",
        _single(plot_learning_curves),
    ),
    ReportFigure(
        _all_curves,
        "learning-curves-all",
        "Learning curves",
        "All environments",
        "The same, averaged over the environments after normalisation: 0 is a random policy, 1 the target of the "
        "environment. Every environment counts the same.",
        "Line chart of normalised return against the share of the budget for {arms}.",
        _single(plot_learning_curves),
    ),
    ReportFigure(
        _with_reference,
        "reached{place}",
        "Learning curves",
        "{environment}: half-way there",
        "The share of the runs whose learning curve had reached half of the way from the random policy to the target, "
        "after so many steps; runs that never do are counted, not dropped. The band is its interval at each step by "
        "itself.",
        "Step lines of the share of runs half-way to the target on {environment} for {arms}.",
        _single(plot_reached),
    ),
    ReportFigure(
        _each_score,
        "scores-{metric}{place}",
        "Scores of every run",
        "{environment}{after}",
        "{score} Every dot is one training run; the diamond is their mean, the bar its interval.",
        "Dot plot of the {metric} score of every run on {environment}, one row for each of {arms}.",
        _single(plot_scores, 0.48),
    ),
    ReportFigure(
        _metrics,
        "aggregate-{metric}",
        "{together}",
        "{before}IQM and mean",
        "Normalised scores of all environments (0 random policy, 1 target). The interquartile mean (IQM) leaves out "
        "the lowest and the highest quarter of the runs: steadier than the mean, but blind to rare collapses. The bars "
        "are their intervals.",
        "Normalised {metric} score, interquartile mean and mean with intervals, for {arms}.",
        _single(plot_aggregate, 0.42),
    ),
    ReportFigure(
        lambda _: [{}],
        "performance-profile",
        "{together}",
        "Performance profile",
        "For each normalised score, the share of runs that do better. A line further right and higher is better; where "
        "lines cross, the order depends on what counts as good. The band is the interval of the share at each score by "
        "itself.",
        "Step lines of the share of runs above each normalised score for {arms}.",
        _single(plot_profile),
    ),
    ReportFigure(
        _compared_together,
        "improvement{place}",
        "Against {base}",
        "How often better{on}",
        "The probability that a run of the arm scores higher than a run of {base}, a tie counted half: 0.5 means "
        "neither is better, 1 that every run wins. It says how often, not by how much. The bar is its interval.",
        "Probability of improvement over {base}, with intervals, one row per arm.",
        _single(plot_improvement, 0.36),
    ),
    ReportFigure(
        _compared,
        "difference{place}",
        "Against {base}",
        "How much better{on}",
        "{metric_name}: the mean over an arm's runs less that of {base}. The bar is the interval of the true "
        "difference; one that touches 0 leaves the question open.",
        "Difference of mean scores to {base} on {environment}, with intervals, one row per arm.",
        _single(plot_difference, 0.36),
    ),
    ReportFigure(
        _with_updates,
        "diagnostics{place}",
        "Inside the training",
        "{environment}",
        "What the updates did, defined the same way for every arm: KL divergence from the old to the new policy; share "
        "of samples whose probability ratio lies outside the clip range (0.2 for arms without one) in a gradient step; "
        "entropy of the policy; share of the return's variance that the value function explains; norm of the policy's "
        "gradient. Lines are medians over the runs, bands their middle half: a spread of runs, not a confidence "
        "interval. Dotted lines that end with a cross are runs that failed or diverged.",
        "Small line charts of the training diagnostics on {environment} for {arms}.",
        _diagnostics,
        wide=True,
    ),
)


# The figure of a claim: the runs behind the verdict on the left, and every part's effect against what is claimed.

VERDICT_STYLES: Mapping[str, ArmStyle] = {
    "supported": ArmStyle("#0b5cad", "o", ()),
    "refuted": ArmStyle("#b3400e", "X", ()),
    "inconclusive": ArmStyle("#5d6670", "D", ()),
    "undecidable": ArmStyle("#5d6670", "D", ()),
}
_CLAIMED = VERDICT_STYLES["supported"].color
_CLAIMED_AREA = "#cfe3f7"
_WIDTH = 9.4  # inches
_EVERY = 2  # of the points of a learning curve: fewer do for a small chart
_SHADED = (
    "Right: the effect in every part of the claim with its interval. The claim holds where the whole bar lies in the "
    "shaded area; an interval that crosses the edge is inconclusive."
)

CurvesOf = Callable[[JudgedResults, str, str], Numbers]


class Left(NamedTuple):
    """The left side of a figure: its panels, the height in inches that it needs, and the intervals in it."""

    panels: Sequence[tuple[str, DrawPanel]]
    height: float
    estimates: Sequence[Estimate | Band]
    lines: Mapping[str, ArmStyle] = {}
    columns: int = 1


def claim_pictures(entries: Iterable[Entry]) -> list[Picture]:
    """Return the figures of the claims that could be judged; there is none of an exact check."""

    @cache  # however many claims show a curve
    def curves(results: JudgedResults, arm: str, environment: str) -> Numbers:
        return curve_numbers(results, [environment], [arm], every=_EVERY)

    found = []
    for entry in entries:
        if entry.judged is not None and entry.results is not None:
            side, shown = _kind(entry.judged.claim, entry.results)
            arms = ", ".join(entry.judged.claim.arms)
            alt = f"{entry.statement} Two panels: the runs of {arms}, and the effects with intervals; {entry.verdict}."
            make = partial(_claim_figure, entry.judged, entry.results, side, curves)
            found.append(Picture(entry.name, "Claims", entry.statement, f"{shown} {_SHADED}", alt, make, wide=True))
    return found


Side = Callable[[Claim, JudgedResults, Sequence[str], CurvesOf], Left]


def _kind(claim: Claim, results: JudgedResults) -> tuple[Side, str]:
    """Return which left side suits a claim, and what it shows."""
    if claim.direction in ORDERED:
        return _ordered, "Left: the mean of each arm with its interval; thin lines are single environments."
    if claim.direction in BOUNDED:
        what = "the claimed threshold" if claim.event else "the claimed bound"
        return _dots, f"Left: every dot is a run, the diamond or marker their mean; dashed: {what}."
    if claim.metric.removesuffix("_normalised") in (*RETURNS, "drop") and not results.curves.empty:
        return _curves, "Left: learning curves, the mean episode return over training with its interval."
    return _dots, "Left: every dot is a run, the marker their mean with its interval."


def _claim_figure(verdict: Verdict, results: JudgedResults, side: Side, curves: CurvesOf) -> Figure:
    """Return the figure with both sides and what it says of its runs."""
    claim = verdict.claim
    environments = list(claim.environments or results.environments)
    left = side(claim, results, environments, curves)
    scores = results.scores
    counts = run_counts(scores[scores["environment"].isin(environments)], claim.arms)
    notes = note_lines([_intervals(left.estimates, verdict), counts], _WIDTH - 0.3)
    height = max(left.height, 1.5 + 0.27 * len(verdict.parts)) + 0.45
    figure = new_figure(_WIDTH, height, notes=notes)
    runs, effects = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.25, 1.0), wspace=0.03).flat
    draw_panels(runs, left.panels, left.columns, left.lines, beside=False)
    title, labels = part_labels(claim, verdict.parts)
    draw_panels(effects, [(wrapped(title, 32), lambda ax, _: _effects(ax, verdict, labels))], 1, {})
    return figure


def _intervals(drawn: Sequence[Estimate | Band], verdict: Verdict) -> str:
    """Say what the intervals on both sides are."""
    effects = [part.effect for part in verdict.parts]
    left, right = interval_words(drawn) if drawn else "", interval_words(effects)
    level, whole = effects[0].level, verdict.claim.level
    if level != whole:
        name = f"{100 * level:.3g} % interval each, so that {100 * whole:.3g} % holds for all together"
        right = right.replace(interval_name(effects), name, 1)
    if left == right:
        return f"Both sides: {left}."
    return " ".join([*([f"Left: {left}."] if left else []), f"Right: {right}."])


def _curves(claim: Claim, results: JudgedResults, environments: Sequence[str], curves: CurvesOf) -> Left:
    """Return the mean learning curves of every arm, a panel per environment, two beside each other."""
    styles = {arm: arm_styles(results.arms)[arm] for arm in claim.arms}
    numbers = {name: gathered([curves(results, arm, name) for arm in claim.arms]) for name in environments}

    def draw(name: str, ax: Axes, _: bool) -> None:
        draw_learning_curves(ax, results, name, styles, numbers[name], every=_EVERY)

    panels = [(place_name(name), partial(draw, name)) for name in environments]
    height = 0.55 + 1.75 * ceil(len(environments) / 2) + 0.2 * ceil(len(claim.arms) / 2)
    estimates = [one for table in numbers.values() for one in table.estimates]
    return Left(panels, height, estimates, styles, min(2, len(environments)))


def _dots(claim: Claim, results: JudgedResults, environments: Sequence[str], _: CurvesOf) -> Left:
    """Return every run as a dot in one row per environment and arm, with the mean and its interval, and the bound."""
    shared, short = short_labels(claim.arms)
    table = measure(results, claim.metric)
    table = table[table["arm"].isin(claim.arms) & table["environment"].isin(environments)]
    scored = Scored(results, claim.metric, cut=False)
    rows = [(name, arm, text) for name in environments for arm, text in zip(claim.arms, short, strict=True)]
    means = [scored.mean(arm, [name]) for name, arm, _ in rows]
    at = claim.condition[1] if claim.condition else claim.bound

    def draw(ax: Axes, _: bool) -> None:
        for row, ((name, arm, _text), mean) in enumerate(zip(rows, means, strict=True)):
            own = table[(table["arm"] == arm) & (table["environment"] == name)].sort_values("seed")
            value, used = own["value"].to_numpy(np.float64), own["used"].to_numpy(bool)
            draw_runs(ax, row, value, used, mean if claim.event is None else None, arm_styles(results.arms)[arm])
        if at is not None:
            mark_value(ax, at, color=_CLAIMED)
        name_rows(ax, [_row_label(claim, environments, name, text) for name, _, text in rows])
        scale_axis(ax, "x", np.array([*table["value"], *([at] if at is not None else [])], np.float64))
        ax.set_xlabel(wrapped(metric_name(claim.metric), 52))
        if not np.isfinite(table["value"]).any():
            write_inside(ax, "No run recorded this.")

    title = wrapped(claim.arms[0] if len(claim.arms) == 1 else shared, 44)
    return Left([(title, draw)], 1.3 + 0.33 * len(rows), means if claim.event is None else [])


def _row_label(claim: Claim, environments: Sequence[str], name: str, arm: str) -> str:
    if len(environments) == 1:
        return arm
    return f"{place_name(name)}, {arm}" if len(claim.arms) > 1 else place_name(name)


def _ordered(claim: Claim, results: JudgedResults, environments: Sequence[str], _: CurvesOf) -> Left:
    """Return means over ordered arms: thin lines per environment, a thick one for their mean, and what is claimed."""
    shared, short = short_labels(claim.arms)
    scored = Scored(results, claim.metric, cut=False)
    styles = arm_styles(environments)
    lines = {name: [name] for name in environments}
    # Returns of different environments have different units.
    together = len(environments) > 1 and claim.metric not in RETURNS
    if together:
        lines[MEAN], styles[MEAN] = list(environments), MEAN_STYLE
    numbers = {name: sweep_numbers(scored, enumerate(claim.arms), where, name) for name, where in lines.items()}
    whole = gathered(list(numbers.values()))
    last = numbers[list(lines)[-1]].table.set_index("x")["point"].reindex(range(len(claim.arms))).tolist()
    claimed = _claimed(claim, last) if together or len(environments) == 1 else ("", [])

    def draw(ax: Axes, _: bool) -> None:
        draw_points(ax, whole.table, styles)
        if claim.best in claim.arms and claimed[0]:
            ax.axvline(claim.arms.index(str(claim.best)), color=_CLAIMED_AREA, linewidth=9, zorder=0)
        if claimed[0]:
            ax.plot([0, len(claim.arms) - 1], claimed[1], color=_CLAIMED, linewidth=1.0, linestyle=(0, (4, 3)))
        scale_axis(ax, "y", whole.table["point"].to_numpy(np.float64))
        ax.set_xticks(range(len(claim.arms)), [wrapped(one, 12) for one in short])
        ax.set_xlabel(shared or "arm")
        ax.set_ylabel(wrapped(metric_name(claim.metric), 34))
        if whole.table.empty:
            write_inside(ax, "No run recorded this.")

    listed = {"mean of environments" if name == MEAN else place_name(name): styles[name] for name in lines}
    listed |= {claimed[0]: ArmStyle(_CLAIMED, "", (4.0, 3.0))} if claimed[0] else {}
    return Left([("", draw)], 3.4, whole.estimates, listed)


def _claimed(claim: Claim, points: Sequence[float]) -> tuple[str, list[float]]:
    """Return what the claim asks of a line of means, in words and as heights of both ends.

    That is the least rise or fall, or the level that its ends must not pass; no words where it asks for neither.
    """
    d, falls = claim.smallest_effect, claim.direction in ("decreasing", "dip")
    if claim.best in claim.arms:
        best = points[claim.arms.index(str(claim.best))]
        return "claimed of both ends", [best + d if falls else best - d] * 2
    if d > 0:
        end = points[0] - d if falls else points[0] + d
        return f"claimed: {'falls' if falls else 'rises'} more", [points[0], end]
    return "", []


def _effects(ax: Axes, verdict: Verdict, labels: Sequence[str]) -> None:
    """Draw the effect of every part with its adjusted interval, and shade where the claim says that it lies."""
    claim, parts = verdict.claim, verdict.parts
    support, refute = regions(claim)
    limits = sorted({end for one in (*support, *refute) for end in one if np.isfinite(end)})
    zero = [] if claim.direction in BOUNDED else [0.0]
    known = [end for part in parts for end in (part.effect.point, part.effect.low, part.effect.high)]
    finite = [value for value in (*known, *limits, *zero) if np.isfinite(value)]
    room = 0.12 * (max(finite) - min(finite) or 1.0)
    left, right = min(finite) - room, max(finite) + room
    for low, high in support:
        ax.axvspan(max(low, left), min(high, right), color=_CLAIMED_AREA, linewidth=0, zorder=0)
    for at in limits:
        mark_value(ax, at, color=_CLAIMED)
    for at in zero:
        ax.axvline(at, color=QUIET, linewidth=1.0, zorder=1.4)
    hollow = [row for row, part in enumerate(parts) if part.verdict == "inconclusive"]
    draw_rows(ax, labels, [part.effect for part in parts], [VERDICT_STYLES[part.verdict] for part in parts], hollow)
    ax.set_xlim(left, right)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(_effect_label(claim))
    if claim.event is not None:
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))


def part_labels(claim: Claim, parts: Sequence[Part]) -> tuple[str, list[str]]:
    """Return a title and the label of each part: what all of them share is in the title."""
    several = len({part.environment for part in parts}) > 1
    everywhere = {ALL: "mean of environments"}
    places = {part.environment: everywhere.get(part.environment, place_name(part.environment)) for part in parts}
    pairs = list(dict.fromkeys((part.arm, part.other) for part in parts))
    if len(pairs) == 1 or claim.direction in ("increasing", "decreasing"):
        arm, other = pairs[0]
        minus = "" if not other else f" minus {other}"
        title = "change over the arms" if claim.direction in ("increasing", "decreasing") else f"{arm}{minus}"
        return title, [places[part.environment] for part in parts]
    first = {arm for arm, _ in pairs}
    _, short = short_labels(list(dict.fromkeys(name for pair in pairs for name in pair if name)))
    names = dict(zip(dict.fromkeys(name for pair in pairs for name in pair if name), short, strict=True))
    labels = [f"− {names[part.other]}" if part.other else names[part.arm] for part in parts]
    where = [f", {places[part.environment]}" if several else "" for part in parts]
    title = f"{first.pop()} minus …" if len(first) == 1 else "each arm"
    return title, [label + place for label, place in zip(labels, where, strict=True)]


def _effect_label(claim: Claim) -> str:
    """Return what the axis of effects shows."""
    name = metric_name(claim.metric)
    if claim.event is not None:
        return wrapped(f"share of runs with {event_name(claim)}", 38)
    if claim.direction in BOUNDED:
        return wrapped(name, 38)
    return wrapped(f"{'change' if claim.direction in ('increasing', 'decreasing') else 'difference'} in {name}", 38)
