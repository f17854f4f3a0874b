"""The figures of both kinds of reports: those of an experiment, and a figure for every claim of a suite.

The figure of a claim shows the runs behind the verdict on the left, and every part's effect against what is claimed on
the right. A new figure of an experiment is a `yield` in `_pictures`.
"""

import base64
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from rlbench.analysis import draw
from rlbench.analysis.draw import frame, marks
from rlbench.analysis.draw.axes import scale_axis
from rlbench.analysis.draw.curves import QUANTITIES, RULE, curve_numbers, draw_learning_curves
from rlbench.analysis.draw.spec import sweep_numbers
from rlbench.analysis.draw.style import QUIET, ArmStyle, arm_styles, styled, styles_of
from rlbench.analysis.format import capital, number
from rlbench.analysis.judge.verdicts import JudgedResults, Part, Verdict, regions
from rlbench.analysis.report.claims import effect_metric, event_name, is_ratio, place_name, ratio, short_labels
from rlbench.analysis.report.entries import Entry, Progress
from rlbench.analysis.scores.metrics import axis_label, measure, metric_name
from rlbench.analysis.scores.results import COSTS
from rlbench.analysis.scores.scores import ALL, reference
from rlbench.analysis.stats.estimates import Band, Estimate, interval_name
from rlbench.claims import RETURNS, Claim
from rlbench.files import file_name, write
from rlbench.records import OF_EVALUATIONS

_WORTH_PROCESSES = 30  # figures from which on it pays to write their files in processes of their own
_MOST_PROCESSES = 4


@dataclass(frozen=True)
class Picture:
    """A figure of a report: `make` draws it, `alt` describes it to those who cannot see it, `uri` is it on the page.

    One that is not drawn here has its `files` by their kinds, "png" and perhaps a film, "webp", with the URI `film`.
    """

    name: str
    section: str
    title: str
    caption: str
    alt: str
    make: Callable[[], Figure] | None = None
    wide: bool = False
    uri: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    film: str = ""

    def draw(self) -> Figure:
        """Return the figure, in the style of a report."""
        assert self.make is not None
        with styled("report"):
            return self.make()


def render(
    pictures: Sequence[Picture], directory: Path, kinds: Collection[str], progress: Progress = lambda *_: None
) -> list[Picture]:
    """Draw pictures, write NAME.svg and files of `kinds` into a directory that exists, and return them with URIs.

    Those that have their files already come last.
    """
    given = [picture for picture in pictures if picture.files]
    pictures = [picture for picture in pictures if not picture.files]
    processes = min(os.cpu_count() or 1, _MOST_PROCESSES) if len(pictures) >= _WORTH_PROCESSES else 0
    drawn: list[Picture] = []
    with ProcessPoolExecutor(max(processes, 1), get_context("spawn")) as pool:  # which start when they are given work
        left = [pool.submit(_save, each.draw(), each.name, directory, kinds) for each in pictures] if processes else []
        for done, picture in enumerate(pictures):
            uri = left[done].result() if left else _save(picture.draw(), picture.name, directory, kinds)
            drawn.append(replace(picture, uri=uri))
            progress("figures drawn", done + 1, len(pictures))
    for picture in given:
        for kind, data in picture.files.items():
            write(directory / f"{picture.name}.{kind}", data, inside=directory)
        uris = {kind: _uri(f"image/{kind}", data) for kind, data in picture.files.items()}
        drawn.append(replace(picture, uri=uris["png"], film=uris.get("webp", "")))
    return drawn


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


_NUMBERS = re.compile(r"-?\d+\.\d+")


def _svg_uri(svg: str) -> Markup:
    """Return a figure of matplotlib's as a URI that looks the same and has half the letters.

    Lines are relative and in tenths of a point, which nobody sees; names of groups, comments and the metadata are left
    out; and what a URI may hold stays as it is.
    """
    svg = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'(?<=<g) id="[^"]*"|\s?transform="rotate\(-0 [^"]*\)"', "", re.sub(r">\s+<", "><", svg))
    svg = re.sub(r' d="([^"]*)"', lambda found: f' d="{_short_path(found[1].split())}"', svg)
    svg = re.sub(r' [xy]="[^"]*"', lambda found: _NUMBERS.sub(lambda one: _short(float(one[0])), found[0]), svg)
    if fonts := Counter(re.findall(r"font-family: [^;\"]*; ?", svg)).most_common(1):  # once for all texts
        svg = svg.replace(fonts[0][0], "").replace("<svg ", f'<svg style="{fonts[0][0]}" ', 1)
    svg = re.sub(r"font-family: [^;\"]*", lambda found: found[0].replace("'", ""), svg)
    svg = re.sub("<[^>]*>", lambda tag: tag[0].replace('"', "'").replace("; ", ";").replace(": ", ":"), svg)
    return Markup("data:image/svg+xml," + quote(" ".join(svg.split()), safe=" !$'()*+,-./:;<=>?@[]_{|}~"))


def _short_path(words: Sequence[str]) -> str:
    """Return a path of moves and lines with relative lines; one with curves, a marker, in hundredths of a point."""
    if not {word for word in words if word.isalpha()} <= {"M", "L", "z"}:
        return " ".join(
            _NUMBERS.sub(lambda one: f"{float(one[0]):.2f}".rstrip("0").rstrip("."), word) for word in words
        )
    path, at, last, (x, y) = "", 0, "", (0.0, 0.0)
    while at < len(words):
        command, before = words[at], (x, y)
        if command == "z":
            path, at, last = f"{path}z", at + 1, "z"
            continue
        x, y = (round(float(word), 1) for word in words[at + 1 : at + 3])
        pair = (x, y) if command == "M" else (x - before[0], y - before[1])
        letter = "M" if command == "M" else " " if last == "L" else "l"  # a letter goes for all pairs that follow
        path, at, last = f"{path}{letter}{_short(pair[0])} {_short(pair[1])}", at + 3, command
    return path


def _short(value: float) -> str:
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _save(figure: Figure, name: str, directory: Path, kinds: Collection[str]) -> str:
    with styled("report") as style:
        frame.settle(figure)
        files = frame.write_figure(figure, directory, name, style.dpi, {"svg", *kinds})
    return _svg_uri(files["svg"].decode("utf-8"))


# The figures of an experiment


def pictures(results: JudgedResults) -> list[Picture]:
    """Return the figures of the report in the order in which they are shown; none where nothing was trained."""
    return [] if results.measured else list(_pictures(results))


# Of a metric: what its scores are, and how a title ends and begins with it.
_METRICS = {
    "auc": (
        "The primary score: the mean of a run's learning curve, which rewards learning fast and staying good.",
        ": over training",
        "Over training: ",
    ),
    "final": ("The second score: the mean return in the last tenth of the training.", ": final", "Final: "),
    "eval_final": (
        "The return of the final policy in episodes apart from training, in which it takes its most likely actions.",
        ": final policy",
        "Final policy: ",
    ),
    "score": ("The score of a run.", "", ""),
}


def _pictures(results: JudgedResults) -> Iterator[Picture]:
    taken = {"all"}
    names = {place: file_name(place, taken, "environment") for place in results.environments}
    arms, base, single = ", ".join(results.arms), results.baseline, partial(_single, results)
    curves = [] if results.curves.empty else results.environments
    present = {comparison.environment for comparison in results.comparisons}
    section = "Learning curves"
    for place in curves:
        yield Picture(
            f"learning-curves-{names[place]}",
            section,
            place,
            "How the return of an episode grows with training. Each line is the mean over the used runs of an arm, "
            f"{_SOURCED if results.experiment.source else _TRAINED} The band is the interval of that mean at each step "
            "by itself, not for the whole line at once.",
            f"Line chart of mean episode return against environment steps on {place} for {arms}.",
            single(draw.plot_learning_curves, environment=place),
        )
    for place, kind in itertools.product(curves if results.is_evaluated else (), _EVALUATED):
        yield Picture(
            f"evaluations-{kind}-{names[place]}",
            section,
            f"{place}: evaluated, {kind}",
            f"The return of episodes apart from training, in which the policy does not learn and {_EVALUATED[kind]}. "
            "All runs play the same episodes. Each line is the mean over the used runs of an arm.",
            f"Line chart of the mean return of evaluations against environment steps on {place} for {arms}.",
            single(draw.plot_learning_curves, environment=place, kind=kind),
        )
    if len(curves) > 1:
        yield Picture(
            "learning-curves-all",
            section,
            "All environments",
            "The return of an episode, averaged over the environments after normalisation: 0 is a random policy, 1 the "
            "target of the environment. Every environment counts the same.",
            f"Line chart of normalised return against the share of the budget for {arms}.",
            single(draw.plot_learning_curves),
        )
    for place in (place for place in curves if reference(place, results.references)):
        yield Picture(
            f"reached-{names[place]}",
            section,
            f"{place}: half-way there",
            "The share of the runs whose learning curve had reached half of the way from the random policy to the "
            "target, after so many steps; runs that never do are counted, not dropped. The band is its interval at "
            "each step by itself.",
            f"Step lines of the share of runs half-way to the target on {place} for {arms}.",
            single(draw.plot_reached, environment=place),
        )
    for place, metric in itertools.product(results.environments, results.metrics):
        yield Picture(
            f"scores-{metric}-{names[place]}",
            "Scores of every run",
            f"{place}{_METRICS[metric][1]}",
            f"{_METRICS[metric][0]} Every dot is one training run; the diamond is their mean, the bar its interval.",
            f"Dot plot of the {metric} score of every run on {place}, one row for each of {arms}.",
            single(draw.plot_scores, 0.48, environment=place, metric=metric),
        )
    section = "All environments together" if len(results.environments) > 1 else "Normalised scores"
    for metric in results.metrics:
        yield Picture(
            f"aggregate-{metric}",
            section,
            f"{_METRICS[metric][2]}IQM and mean",
            "Normalised scores of all environments (0 random policy, 1 target). The interquartile mean (IQM) leaves "
            "out the lowest and the highest quarter of the runs: steadier than the mean, but blind to rare collapses. "
            "The bars are their intervals.",
            f"Normalised {metric} score, interquartile mean and mean with intervals, for {arms}.",
            single(draw.plot_aggregate, 0.42, metric=metric),
        )
    yield Picture(
        "performance-profile",
        section,
        "Performance profile",
        "For each normalised score, the share of runs that do better. A line further right and higher is better; where "
        "lines cross, the order depends on what counts as good. The band is the interval of the share at each score by "
        "itself.",
        f"Step lines of the share of runs above each normalised score for {arms}.",
        single(draw.plot_profile),
    )
    section, compared = f"Against {base}", [place for place in results.environments if place in present]
    together = ALL in present or (present and len(results.environments) == 1)
    for place in [""] if together else compared:
        yield Picture(
            f"improvement-{names[place]}" if place else "improvement",
            section,
            f"How often better on {place}" if place else "How often better",
            f"The probability that a run of the arm scores higher than a run of {base}, a tie counted half: 0.5 means "
            "neither is better, 1 that every run wins. It says how often, not by how much. The bar is its interval.",
            f"Probability of improvement over {base}, with intervals, one row per arm.",
            single(draw.plot_improvement, 0.36, environment=place or None),
        )
    for place in compared:
        yield Picture(
            f"difference-{names[place]}",
            section,
            f"How much better on {place}",
            f"{capital(axis_label(results.metrics[0]))}: the mean over an arm's runs less that of {base}. The bar is "
            "the interval of the true difference; one that touches 0 leaves the question open.",
            f"Difference of mean scores to {base} on {place}, with intervals, one row per arm.",
            single(draw.plot_difference, 0.36, environment=place),
        )
    for drawn in draw.draw_all([], {"search": results.searched}, "report") if results.searched else ():
        title, alt = drawn.piece.title, f"{drawn.piece.title}, for {arms}. {drawn.caption}"
        make = partial(_as_drawn, drawn.figure)
        yield Picture(drawn.piece.name, "The search for settings", title, drawn.caption, alt, make, wide=True)
    for place in [] if results.updates.empty else results.environments:
        yield Picture(
            f"diagnostics-{names[place]}",
            "Inside the training",
            place,
            "What the updates did, defined the same way for every arm: KL divergence from the old to the new policy; "
            "share of samples whose probability ratio lies outside the clip range (0.2 for arms without one) in a "
            "gradient step; entropy of the policy; share of the return's variance that the value function explains; "
            "norm of the policy's gradient. Lines are medians over the runs, bands their middle half: a spread of "
            "runs, not a confidence interval. Dotted lines that end with a cross are runs that failed or diverged.",
            f"Small line charts of the training diagnostics on {place} for {arms}.",
            partial(_diagnostics, results, place),
            wide=True,
        )


def curves_of_runs(results: JudgedResults, arms: Sequence[str] = (), most: int = 60_000) -> dict[str, Any]:
    """Return the learning curve of every run, of these `arms` or all, as the page's script takes them; empty if none.

    Together they have about `most` points at most. `rates` are what a step cost the runs of an arm, by `against`.
    """
    arms, styles = list(arms or results.arms), styles_of(results)
    curves = results.curves[results.curves["arm"].isin(arms)]
    if results.measured or curves.empty:
        return {}
    every, environments = ceil(len(curves) / most), []
    begun = results.runs[results.runs["steps_done"] > 0]
    known = [cost for cost in COSTS if cost == "steps" or (begun[cost] > 0).all()]
    for place in results.environments:
        runs = curves[curves["environment"] == place]
        table = runs.pivot(index=["arm", "seed", "used"], columns="step", values="return").iloc[:, every - 1 :: every]
        lines = [
            {"arm": arms.index(arm), "seed": int(seed), "used": bool(used)}
            | {"curve": [None if np.isnan(value) else float(f"{value:.4g}") for value in curve]}
            for (arm, seed, used), curve in zip(table.index, table.to_numpy(np.float64), strict=True)
        ]
        here = [arm for arm in arms if arm in table.index.get_level_values("arm")]
        rates = {arms.index(arm): [results.rate(cost, place, arm) for cost in known] for arm in here}
        steps = [float(step) for step in table.columns]
        environments.append({"name": place, "steps": steps, "rates": rates, "runs": lines})
    looks = [(arm, styles[arm].color, " ".join(map(str, styles[arm].dash))) for arm in arms]
    return {"arms": looks, "against": [COSTS[cost] for cost in known], "environments": environments}


_EVALUATED = {"deterministic": "takes its most likely actions", "sampled": "draws its actions, as in training"}
_TRAINED = "each point the mean return of the episodes that ended in the last tenth of the budget before it."
_SOURCED = "straight between the steps at which all are compared."


def _as_drawn(figure: Figure) -> Figure:
    return figure


def _single(results: JudgedResults, plot: Callable[..., Axes], row: float = 0.0, **case: Any) -> Callable[[], Figure]:
    """Return what makes a figure of a plot on one pair of axes; `row` is in inches, if there is one per arm."""

    def make() -> Figure:
        figure = frame.new_figure(6.2, frame.rows_height(results.arms, row) if row else 3.9)
        plot(results, **case, ax=figure.subplots())
        return figure

    return make


def _diagnostics(results: JudgedResults, environment: str) -> Figure:
    """Return a figure of small charts, two in a row, one per quantity, and the list of arms."""

    def panel(quantity: str, ax: Axes, _: bool) -> None:
        draw.plot_diagnostics(results, environment, quantity, legend=False, note=False, ax=ax)
        ax.set_ylabel("")

    adapted = sorted(str(name) for name in results.updates.columns if str(name).startswith("field."))
    panels = [(axis_label(name), partial(panel, name)) for name in (*QUANTITIES, *adapted)]
    notes = frame.note_lines([RULE, frame.run_counts(results.scores, results.arms, environment)], 7.3)
    figure = frame.new_figure(7.6, 2.1 * (len(panels) // 2 + 1) + 0.8, environment, notes)
    frame.draw_panels(figure, panels, 2, styles_of(results), beside=False)
    return figure


# The figures of claims

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


class Left(NamedTuple):
    """The left side of a figure: its panels, the height in inches that it needs, and the intervals in it."""

    panels: Sequence[tuple[str, frame.DrawPanel]]
    height: float
    estimates: Sequence[Estimate | Band]
    lines: Mapping[str, ArmStyle] = {}
    columns: int = 1


Side = Callable[[Claim, JudgedResults, Sequence[str]], Left]
CurvesOf = Callable[[JudgedResults, str, str], marks.Numbers]


def claim_pictures(entries: Iterable[Entry]) -> list[Picture]:
    """Return the figures of the claims that could be judged; there is none of an exact check."""

    @cache  # however many claims show a curve
    def curves(results: JudgedResults, arm: str, environment: str) -> marks.Numbers:
        return curve_numbers(results, [environment], [arm], every=_EVERY)

    drawn = []
    for entry in entries:
        if entry.judged is not None and entry.results is not None:
            side, shown = _kind(entry.judged.claim, entry.results, curves)
            arms = ", ".join(entry.judged.claim.arms)
            alt = f"{entry.statement} Two panels: the runs of {arms}, and the effects with intervals; {entry.verdict}."
            make = partial(_claim_figure, entry.judged, entry.results, side)
            drawn.append(Picture(entry.name, "Claims", entry.statement, f"{shown} {_SHADED}", alt, make, wide=True))
    return drawn


def _kind(claim: Claim, results: JudgedResults, curves: CurvesOf) -> tuple[Side, str]:
    """Return which left side suits a claim, and what it shows."""
    if claim.kind in ("trend", "inner"):
        return _ordered, "Left: the mean of each arm with its interval; thin lines are single environments."
    if claim.kind == "bound":
        what = "the claimed threshold" if claim.event else "the claimed bound"
        return _dots, f"Left: every dot is a run, the diamond or marker their mean; dashed: {what}."
    metric = claim.metric.removesuffix("_normalised")
    if metric in (*RETURNS, "drop") and metric not in OF_EVALUATIONS and not results.curves.empty:
        caption = "Left: learning curves, the mean episode return over training with its interval."
        return partial(_curves, curves), caption
    return _dots, "Left: every dot is a run, the marker their mean with its interval."


def _claim_figure(verdict: Verdict, results: JudgedResults, side: Side) -> Figure:
    claim = verdict.claim
    environments = list(claim.environments or results.environments)
    left = side(claim, results, environments)
    values = measure(results, claim.metric)
    scores = results.scores.assign(used=values["used"].to_numpy(bool) & values["value"].notna().to_numpy())
    counts = frame.run_counts(scores[scores["environment"].isin(environments)], claim.arms)
    notes = frame.note_lines([_intervals(left.estimates, verdict), counts], _WIDTH - 0.3)
    height = max(left.height, 1.5 + 0.27 * len(verdict.parts)) + 0.45
    figure = frame.new_figure(_WIDTH, height, notes=notes)
    runs, effects = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.25, 1.0), wspace=0.03).flat
    frame.draw_panels(runs, left.panels, left.columns, left.lines, beside=False)
    title, labels = _part_labels(claim, verdict.parts)
    frame.draw_panels(effects, [(frame.wrapped(title), lambda ax, _: _effects(ax, verdict, labels))], 1, {})
    return figure


def _intervals(drawn: Sequence[Estimate | Band], verdict: Verdict) -> str:
    """Say what the intervals on both sides are."""
    effects = [part.effect for part in verdict.parts]
    left, right = frame.interval_words(drawn) if drawn else "", frame.interval_words(effects)
    level, whole = effects[0].level, verdict.claim.level
    if level != whole:
        name = f"{100 * level:.3g} % interval each, so that {100 * whole:.3g} % holds for all together"
        right = right.replace(interval_name(effects), name, 1)
    if left == right:
        return f"Both sides: {left}."
    return f"Left: {left}. Right: {right}." if left else f"Right: {right}."


def _curves(curves: CurvesOf, claim: Claim, results: JudgedResults, environments: Sequence[str]) -> Left:
    """Return the mean learning curves of every arm, a panel per environment, two beside each other."""
    styles = styles_of(results, claim.arms)
    numbers = {name: marks.gathered([curves(results, arm, name) for arm in claim.arms]) for name in environments}

    def panel(name: str, ax: Axes, _: bool) -> None:
        draw_learning_curves(ax, results, name, styles, numbers[name], every=_EVERY)

    panels = [(place_name(name), partial(panel, name)) for name in environments]
    height = 0.55 + 1.75 * ceil(len(environments) / 2) + 0.2 * ceil(len(claim.arms) / 2)
    estimates = [estimate for table in numbers.values() for estimate in table.estimates]
    return Left(panels, height, estimates, styles, min(2, len(environments)))


def _dots(claim: Claim, results: JudgedResults, environments: Sequence[str]) -> Left:
    """Return every run as a dot in one row per environment and arm, with the mean and its interval, and the bound."""
    shared, short = short_labels(claim.arms)
    table = measure(results, claim.metric)
    table = table[table["arm"].isin(claim.arms) & table["environment"].isin(environments)]
    scored = marks.Scored(results, claim.metric, cut=False)
    rows = [(name, arm, text) for name in environments for arm, text in zip(claim.arms, short, strict=True)]
    means = [scored.mean(arm, [name]) for name, arm, _ in rows]
    at, styles = claim.condition[1] if claim.condition else claim.bound, styles_of(results, claim.arms)
    # What differs between the rows: the arms, the environments, or both.
    words = [([place_name(name)] if len(environments) > 1 else []) + [text] for name, _, text in rows]
    labels = [", ".join(both[: 2 if len(claim.arms) > 1 else 1]) for both in words]

    def panel(ax: Axes, _: bool) -> None:
        for row, ((name, arm, _text), mean) in enumerate(zip(rows, means, strict=True)):
            runs = table[(table["arm"] == arm) & (table["environment"] == name)].sort_values("seed")
            value, used = runs["value"].to_numpy(np.float64), runs["used"].to_numpy(bool)
            marks.draw_runs(ax, row, value, used, mean if claim.event is None else None, styles[arm])
            if not np.isfinite(value).any():
                marks.write_row(ax, row)
        if at is not None:
            marks.mark_value(ax, at, color=_CLAIMED)
        frame.name_rows(ax, labels)
        shown = np.array([*table["value"], *([at] if at is not None else [])], np.float64)
        scale_axis(ax, "x", shown)
        if ax.get_xscale() == "linear" and len(set(shown)) > 1 >= len(set(table["value"])):
            room = 0.12 * (np.nanmax(shown) - np.nanmin(shown))  # all runs are equal, beside the bound
            ax.set_xlim(np.nanmin(shown) - room, np.nanmax(shown) + room)
        ax.set_xlabel(frame.wrapped(metric_name(claim.metric), 52))
        if not np.isfinite(table["value"]).any():
            frame.write_inside(ax, "No run recorded this.")

    title = frame.wrapped(claim.arms[0] if len(claim.arms) == 1 else shared, 44)
    return Left([(title, panel)], 1.3 + 0.33 * len(rows), means if claim.event is None else [])


def _ordered(claim: Claim, results: JudgedResults, environments: Sequence[str]) -> Left:
    """Return means over ordered arms: thin lines per environment, a thick one for their mean, and what is claimed."""
    shared, short = short_labels(claim.arms)
    scored = marks.Scored(results, claim.metric, cut=False)
    styles = arm_styles(environments)
    lines = {name: [name] for name in environments}
    # Returns of different environments have different units.
    together = len(environments) > 1 and claim.metric not in RETURNS
    if together:
        lines[marks.MEAN], styles[marks.MEAN] = list(environments), marks.MEAN_STYLE
    numbers = {name: sweep_numbers(scored, enumerate(claim.arms), where, name) for name, where in lines.items()}
    whole = marks.gathered(list(numbers.values()))
    last = numbers[list(lines)[-1]].table.set_index("x")["point"].reindex(range(len(claim.arms))).tolist()
    words, claimed = _claimed(claim, last) if together or len(environments) == 1 else ("", [])

    def panel(ax: Axes, _: bool) -> None:
        marks.draw_points(ax, whole.table, styles)
        if claim.best in claim.arms and words:
            ax.axvline(claim.arms.index(str(claim.best)), color=_CLAIMED_AREA, linewidth=9, zorder=0)
        if words:
            ax.plot([0, len(claim.arms) - 1], claimed, color=_CLAIMED, linewidth=1.0, linestyle=(0, (4, 3)))
        scale_axis(ax, "y", whole.table["point"].to_numpy(np.float64))
        ax.set_xticks(range(len(claim.arms)), [frame.wrapped(label, 12) for label in short])
        ax.set_xlabel(shared or "arm")
        ax.set_ylabel(frame.wrapped(metric_name(claim.metric), 34))
        if whole.table.empty:
            frame.write_inside(ax, "No run recorded this.")

    listed = {"mean of environments" if name == marks.MEAN else place_name(name): styles[name] for name in lines}
    listed |= {words: ArmStyle(_CLAIMED, "", (4.0, 3.0))} if words else {}
    return Left([("", panel)], 3.4, whole.estimates, listed)


def _claimed(claim: Claim, points: Sequence[float]) -> tuple[str, list[float]]:
    """Return what the claim asks of a line of means, in words and as heights of both ends.

    That is the least rise or fall, or the level that its ends must not pass; no words where it asks for neither.
    """
    falls = claim.direction in ("decreasing", "dip")
    rise = -claim.smallest_effect if falls else claim.smallest_effect
    if claim.best in claim.arms:
        return "claimed of both ends", [points[claim.arms.index(str(claim.best))] - rise] * 2
    if rise:
        return f"claimed: {'falls' if falls else 'rises'} more", [points[0], points[0] + rise]
    return "", []


def _effects(ax: Axes, verdict: Verdict, labels: Sequence[str]) -> None:
    """Draw the effect of every part with its adjusted interval, and shade where the claim says that it lies."""
    claim, parts = verdict.claim, verdict.parts
    support, refute = regions(claim)
    limits = sorted({end for region in (*support, *refute) for end in region if np.isfinite(end)})
    zero = [] if claim.kind == "bound" else [0.0]
    known = [end for part in parts for end in (part.effect.point, part.effect.low, part.effect.high)]
    finite = [value for value in (*known, *limits, *zero) if np.isfinite(value)]
    room = 0.12 * (max(finite) - min(finite) or 1.0)
    left, right = min(finite) - room, max(finite) + room
    for low, high in support:
        ax.axvspan(max(low, left), min(high, right), color=_CLAIMED_AREA, linewidth=0, zorder=0)
    for at in limits:
        marks.mark_value(ax, at, color=_CLAIMED)
    for at in zero:
        ax.axvline(at, color=QUIET, linewidth=1.0, zorder=1.4)
    hollow = [row for row, part in enumerate(parts) if part.verdict == "inconclusive"]
    styles = [VERDICT_STYLES[part.verdict] for part in parts]
    marks.draw_rows(ax, labels, [part.effect for part in parts], styles, hollow)
    ax.set_xlim(left, right)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    name = metric_name(claim.metric)
    if claim.event is not None:
        name = f"share of runs with {event_name(claim)}"
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    elif is_ratio(claim):
        name = f"ratio of the {effect_metric(claim)}"
        ax.xaxis.set_major_formatter(FuncFormatter(_ratio))
    elif claim.kind != "bound":
        name = f"{'change' if claim.direction in _TRENDS else 'difference'} in {name}"
    ax.set_xlabel(frame.wrapped(name, 30))


_TRENDS = ("increasing", "decreasing")


def _ratio(value: float, _: int | None) -> str:
    return number(ratio(value))


def _part_labels(claim: Claim, parts: Sequence[Part]) -> tuple[str, list[str]]:
    """Return a title and the label of each part: what all of them share is in the title."""
    places = ["mean of environments" if part.environment == ALL else place_name(part.environment) for part in parts]
    pairs = list(dict.fromkeys((part.arm, part.other) for part in parts))
    if claim.direction in _TRENDS:
        return "change over the arms", places
    first = pairs[0][0]
    if len(pairs) == 1:
        by = "to" if is_ratio(claim) else "minus"
        return f"{first} {by} {pairs[0][1]}" if pairs[0][1] else first, places
    arms = list(dict.fromkeys(name for pair in pairs for name in pair if name))
    names = dict(zip(arms, short_labels(arms)[1], strict=True))
    labels = [f"− {names[part.other]}" if part.other else names[part.arm] for part in parts]
    if len({part.environment for part in parts}) > 1:
        labels = [f"{label}, {place}" for label, place in zip(labels, places, strict=True)]
    return f"{first} minus …" if len({arm for arm, _ in pairs}) == 1 else "each arm", labels
