"""The figures of an experiment's report: each is a function that draws it, and an entry in `FIGURES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
from rlbench.analysis.draw.files import Picture
from rlbench.analysis.draw.frame import DrawPanel, draw_panels, new_figure, note_lines, rows_height, run_counts
from rlbench.analysis.draw.updates import QUANTITIES, RULE
from rlbench.analysis.format import capital
from rlbench.analysis.judge.verdicts import JudgedResults
from rlbench.analysis.report.tables import is_measured
from rlbench.analysis.scores.metrics import axis_label
from rlbench.analysis.scores.scores import ALL, reference
from rlbench.files import file_name

Case = dict[str, str]  # what is different between the pictures of an entry: environment, metric


class ReportFigure(NamedTuple):
    """An entry of the list: a picture for each of the `cases` (see `_cases`), whose figure `make` returns.

    The texts hold {environment}, {place} (how file names end), {metric}, {arms}, {base} and what `_words` has.
    """

    cases: str
    name: str
    section: str
    title: str
    caption: str
    alt: str
    make: Callable[..., Figure]
    wide: bool = False


def pictures(results: JudgedResults) -> list[Picture]:
    """Return the figures of the report in the order in which they are shown; none where nothing was trained."""
    if is_measured(results):
        return []
    taken = {"all"}
    names = {environment: file_name(environment, taken, "environment") for environment in results.environments}
    drawn, cases = [], _cases(results)
    for entry in FIGURES:
        for case in cases[entry.cases]:
            words = _words(results, case, names)
            name, section, title, caption, alt = (str(text).format_map(words) for text in entry[1:6])
            make = partial(entry.make, results, **case)
            drawn.append(Picture(name, section, title, caption, alt, make, wide=entry.wide))
    return drawn


def _words(results: JudgedResults, case: Case, names: Mapping[str, str]) -> dict[str, Any]:
    """Return what the texts of an entry are filled in with."""
    environment, metric = case.get("environment", ""), case.get("metric", results.metrics[0])
    several = len(results.environments) > 1
    return {
        "environment": environment,
        "place": f"-{names[environment]}" if environment else "",
        "on": f" on {environment}" if environment else "",
        "metric": metric,
        "metric_name": capital(axis_label(metric)),
        "arms": ", ".join(results.arms),
        "base": results.baseline,
        "together": "All environments together" if several else "Normalised scores",
        "point": _SOURCED if results.experiment.source else _TRAINED,
        **_METRIC_WORDS.get(metric, {}),
    }


_TRAINED = "each point the mean return of the episodes that ended in the last tenth of the budget before it."
_SOURCED = "straight between the steps at which all are compared."
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


def _cases(results: JudgedResults) -> dict[str, list[Case]]:
    """Return for which environments and metrics a figure is drawn, by what it needs."""
    places = [{"environment": name} for name in results.environments]
    metrics = [{"metric": metric} for metric in results.metrics]
    curves = [] if results.curves.empty else places
    present = {comparison.environment for comparison in results.comparisons}
    compared = [case for case in places if case["environment"] in present]
    return {
        "nothing": [{}],
        "curves": curves,
        "several curves": [{}] if len(curves) > 1 else [],
        "curves and a reference": [case for case in curves if reference(case["environment"], results.references)],
        "metrics": metrics,
        "scores": [case | metric for case in places for metric in metrics],
        "comparisons": compared,
        "comparisons of all": [{}] if ALL in present or (present and len(places) == 1) else compared,
        "updates": [] if results.updates.empty else places,
    }


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

        panels.append((axis_label(quantity), draw))
    notes = note_lines([RULE, run_counts(results.scores, results.arms, environment)], 7.3)
    figure = new_figure(7.6, 2.1 * (len(panels) // 2 + 1) + 0.8, environment, notes)
    draw_panels(figure, panels, 2, arm_styles(results.arms), beside=False)
    return figure


FIGURES = (
    ReportFigure(
        "curves",
        "learning-curves{place}",
        "Learning curves",
        "{environment}",
        "How the return of an episode grows with training. Each line is the mean over the used runs of an arm, {point} "
        "The band is the interval of that mean at each step by itself, not for the whole line at once.",
        "Line chart of mean episode return against environment steps on {environment} for {arms}.",
        _single(plot_learning_curves),
    ),
    ReportFigure(
        "several curves",
        "learning-curves-all",
        "Learning curves",
        "All environments",
        "The same, averaged over the environments after normalisation: 0 is a random policy, 1 the target of the "
        "environment. Every environment counts the same.",
        "Line chart of normalised return against the share of the budget for {arms}.",
        _single(plot_learning_curves),
    ),
    ReportFigure(
        "curves and a reference",
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
        "scores",
        "scores-{metric}{place}",
        "Scores of every run",
        "{environment}{after}",
        "{score} Every dot is one training run; the diamond is their mean, the bar its interval.",
        "Dot plot of the {metric} score of every run on {environment}, one row for each of {arms}.",
        _single(plot_scores, 0.48),
    ),
    ReportFigure(
        "metrics",
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
        "nothing",
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
        "comparisons of all",
        "improvement{place}",
        "Against {base}",
        "How often better{on}",
        "The probability that a run of the arm scores higher than a run of {base}, a tie counted half: 0.5 means "
        "neither is better, 1 that every run wins. It says how often, not by how much. The bar is its interval.",
        "Probability of improvement over {base}, with intervals, one row per arm.",
        _single(plot_improvement, 0.36),
    ),
    ReportFigure(
        "comparisons",
        "difference{place}",
        "Against {base}",
        "How much better{on}",
        "{metric_name}: the mean over an arm's runs less that of {base}. The bar is the interval of the true "
        "difference; one that touches 0 leaves the question open.",
        "Difference of mean scores to {base} on {environment}, with intervals, one row per arm.",
        _single(plot_difference, 0.36),
    ),
    ReportFigure(
        "updates",
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
