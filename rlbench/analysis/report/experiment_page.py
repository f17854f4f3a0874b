"""The figures of a report: which ones, and what they show in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from rlbench.analysis.draw.annotate import rows_height, run_counts
from rlbench.analysis.draw.curves import list_arms
from rlbench.analysis.draw.diagnostics import QUANTITIES, RULE
from rlbench.analysis.draw.dots import METRIC_NAMES
from rlbench.analysis.draw.files import Picture, Rendered, render
from rlbench.analysis.draw.style import QUIET
from rlbench.analysis.judge.judged import JudgedResults
from rlbench.analysis.report.claims import claim_sentence, claims_table
from rlbench.analysis.report.files import PAGE, Table, fresh_folder, page, write_tables
from rlbench.analysis.report.measured import is_measured, measured_answer, measured_method, measured_tables
from rlbench.analysis.report.method import Method, describe, warnings
from rlbench.analysis.report.registration import of_experiment, registered, registration
from rlbench.analysis.report.reliability import reliability_tables
from rlbench.analysis.report.sentences import Answer, answer
from rlbench.analysis.report.tables import (
    accounts_table,
    aggregate_table,
    arms_table,
    causes_table,
    comparison_table,
    compute_table,
    score_table,
    stopped_table,
    summary_table,
)
from rlbench.analysis.scores.references import reference
from rlbench.analysis.scores.scores import ALL
from rlbench.errors import RlbenchError
from rlbench.files import file_name, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_WIDTH = 6.2  # inches
_WIDE = 7.6


def pictures(results: JudgedResults) -> list[Picture]:
    """Return the figures of the report in the order in which they are shown; none where nothing was trained."""
    if is_measured(results):
        return []
    shown = (_learning, _reached, _scores, _aggregate, _compared, _inside)
    return [picture for part in shown for picture in part(results)]


def _learning(results: Any) -> Iterator[Picture]:
    if results.curves.empty:
        return
    point = (
        "straight between the steps at which all are compared"
        if results.experiment.source
        else "each point the mean return of the episodes that ended in the last tenth of the budget before it"
    )
    caption = (
        "How the return of an episode grows with training. Each line is the mean over the used runs of an arm, "
        f"{point}. The band is the interval of that mean at each step by itself, not for the whole line at once."
    )
    for environment, name in _named(results):
        yield _one(
            f"learning-curves-{name}",
            "Learning curves",
            environment,
            caption,
            f"Line chart of mean episode return against environment steps on {environment} for {_arms(results)}.",
            partial(results.plot_learning_curves, environment=environment),
        )
    if len(results.environments) > 1:
        yield _one(
            "learning-curves-all",
            "Learning curves",
            "All environments",
            "The same, averaged over the environments after normalisation: 0 is a random policy, 1 the target of the "
            "environment. Every environment counts the same.",
            f"Line chart of normalised return against the share of the budget for {_arms(results)}.",
            results.plot_learning_curves,
        )


def _reached(results: Any) -> Iterator[Picture]:
    for environment, name in _named(results):
        if not results.curves.empty and reference(environment, results.references) is not None:
            yield _one(
                f"reached-{name}",
                "Learning curves",
                f"{environment}: half-way there",
                "The share of the runs whose learning curve had reached half of the way from the random policy to the "
                "target, after so many steps; runs that never do are counted, not dropped. The band is its interval at "
                "each step by itself.",
                f"Step lines of the share of runs half-way to the target on {environment} for {_arms(results)}.",
                partial(results.plot_reached, environment=environment),
            )


def _scores(results: Any) -> Iterator[Picture]:
    said = {
        "auc": "The primary score: the mean of a run's learning curve, which rewards learning fast and staying good.",
        "final": "The second score: the mean return in the last tenth of the training.",
        "score": "The score of a run.",
    }
    titles = {"auc": ": over training", "final": ": final", "score": ""}
    for environment, name in _named(results):
        for metric in results.metrics:
            yield _one(
                f"scores-{metric}-{name}",
                "Scores of every run",
                f"{environment}{titles[metric]}",
                f"{said[metric]} Every dot is one training run; the diamond is their mean, the bar its interval.",
                f"Dot plot of the {metric} score of every run on {environment}, one row for each of {_arms(results)}.",
                partial(results.plot_scores, environment=environment, metric=metric),
                height=rows_height(results.arms, 0.48),
            )


def _aggregate(results: Any) -> Iterator[Picture]:
    titles = {"auc": "Over training: ", "final": "Final: ", "score": ""}
    for metric in results.metrics:
        yield _one(
            f"aggregate-{metric}",
            _together(results),
            f"{titles[metric]}IQM and mean",
            "Normalised scores of all environments (0 random policy, 1 target). The interquartile mean (IQM) leaves "
            "out the lowest and the highest quarter of the runs: steadier than the mean, but blind to rare collapses. "
            "The bars are their intervals.",
            f"Normalised {metric} score, interquartile mean and mean with intervals, for {_arms(results)}.",
            partial(results.plot_aggregate, metric=metric),
            height=rows_height(results.arms, 0.42),
        )
    yield _one(
        "performance-profile",
        _together(results),
        "Performance profile",
        "For each normalised score, the share of runs that do better. A line further right and higher is better; where "
        "lines cross, the order depends on what counts as good. The band is the interval of the share at each "
        "score by itself.",
        f"Step lines of the share of runs above each normalised score for {_arms(results)}.",
        results.plot_profile,
    )


def _compared(results: Any) -> Iterator[Picture]:
    if not results.comparisons:
        return
    base, section = results.baseline, f"Against {results.baseline}"
    together = any(one.environment == ALL for one in results.comparisons) or len(results.environments) == 1
    places: list[tuple[str | None, str]]
    places = [(None, "")] if together else [(place, f"-{name}") for place, name in _named(results)]
    for place, suffix in places:
        yield _one(
            f"improvement{suffix}",
            section,
            "How often better" + (f" on {place}" if place else ""),
            f"The probability that a run of the arm scores higher than a run of {base}, a tie counted half: 0.5 means "
            "neither is better, 1 that every run wins. It says how often, not by how much. The bar is its "
            "interval.",
            f"Probability of improvement over {base}, with intervals, one row per arm.",
            partial(results.plot_improvement, environment=place),
            height=rows_height(results.arms, 0.36),
        )
    for environment, name in _named(results):
        if any(one.environment == environment for one in results.comparisons):
            yield _one(
                f"difference-{name}",
                section,
                f"How much better on {environment}",
                f"{METRIC_NAMES[results.metrics[0]].capitalize()}: the mean over an arm's runs less that of {base}. "
                "The bar is the interval of the true difference; one that touches 0 leaves the question open.",
                f"Difference of mean scores to {base} on {environment}, with intervals, one row per arm.",
                partial(results.plot_difference, environment=environment),
                height=rows_height(results.arms, 0.36),
            )


def _inside(results: Any) -> Iterator[Picture]:
    if results.updates.empty:
        return
    for environment, name in _named(results):
        yield Picture(
            f"diagnostics-{name}",
            "Inside the training",
            environment,
            "What the updates did, defined the same way for every arm: KL divergence from the old to the new "
            "policy; share of samples whose probability ratio lies outside the clip range (0.2 for arms without "
            "one) in a gradient step; entropy of the policy; share of the return's variance that the value function "
            "explains; norm of the policy's gradient. Lines are medians over the runs, bands their middle half: a "
            "spread of runs, not a confidence interval. Dotted lines that end with a cross are runs that failed or "
            "diverged.",
            f"Small line charts of the training diagnostics on {environment} for {_arms(results)}.",
            partial(_diagnostics, results, environment),
            wide=True,
        )


def _diagnostics(results: Any, environment: str) -> Figure:
    """Return a figure of small charts, two in a row, one per quantity, and the list of arms."""
    adapted = sorted(str(name) for name in results.updates.columns if str(name).startswith("field."))
    quantities = [*QUANTITIES, *adapted]
    rows = len(quantities) // 2 + 1
    figure = Figure(figsize=(_WIDE, 2.25 * rows + 0.5), layout="constrained")
    axes = list(figure.subplots(rows, 2).flat)
    for ax, quantity in zip(axes, quantities, strict=False):
        results.plot_diagnostics(ax, environment, quantity, legend=False)
        ax.set_title(ax.get_ylabel(), fontsize=10)
        ax.set_ylabel("")
    spare = axes[len(quantities)]
    for ax in axes[len(quantities) :]:
        ax.set_axis_off()
    list_arms(spare, results.arms, results.styles, position=(0.0, 1.0), absent="")
    figure.suptitle(environment, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    text = f"{RULE}\n{run_counts(results.scores, results.arms, environment, width=112)}"
    figure.supxlabel(text, x=0.01, ha="left", fontsize=8, color=QUIET, linespacing=1.35)
    return figure


def _one(
    name: str,
    section: str,
    title: str,
    caption: str,
    alt: str,
    draw: Callable[[Axes], Axes],
    height: float = 3.9,
) -> Picture:
    def make() -> Figure:
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure.subplots())
        return figure

    return Picture(name, section, title, caption, alt, make)


def _named(results: Any) -> list[tuple[str, str]]:
    taken = {"all"}
    return [(environment, file_name(environment, taken, "environment")) for environment in results.environments]


def _together(results: Any) -> str:
    return "All environments together" if len(results.environments) > 1 else "Normalised scores"


def _arms(results: Any) -> str:
    return ", ".join(results.arms)


# The report of an experiment: one self-contained HTML page, the figures and tables also as files.
#
#     OUT/report.html     opens offline, everything inside
#     OUT/figures/        NAME.svg, NAME.pdf, NAME.png
#     OUT/tables/         NAME.csv (full numbers), NAME.md, NAME.tex (as shown)
#
# The same runs and the same seed give the same bytes: nothing here reads a clock.

_ON_PAGE_ROWS = 400  # the page shows tables up to this length; the files hold all of it


def write_report(results: JudgedResults, out_dir: str | Path) -> Path:
    """Write the report of an experiment and return its page.

    Figures and tables of an earlier report in `out_dir` that this one does not have are removed.

    Raises:
        RlbenchError: no run was planned, or `out_dir` cannot be written.
    """
    if results.runs.empty:
        raise RlbenchError("There is nothing to report: the experiment plans no run.")
    tables = measured_tables(results) if is_measured(results) else [*all_tables(results), *reliability_tables(results)]
    out = Path(out_dir)
    try:
        figures = fresh_folder(out / "figures", ("svg", "pdf", "png"))
        write_tables(tables, fresh_folder(out / "tables", ("csv", "md", "tex")))
        rendered = [render(picture, figures) for picture in pictures(results)]
        path = out / PAGE
        write(path, page_html(results, tables, rendered), inside=out)
    except OSError as problem:
        raise RlbenchError(f"Cannot write the report to {out}: {problem.strerror or problem}.") from problem
    return path


def all_tables(results: JudgedResults) -> list[Table]:
    """Return every table of a report, the most important first."""
    tables = [
        summary_table(results),
        aggregate_table(results),
        comparison_table(results),
        claims_table(results),
        accounts_table(results),
        causes_table(results),
        stopped_table(results),
        compute_table(results),
        arms_table(results),
        score_table(results),
    ]
    return [table for table in tables if len(table.data)]


def page_html(results: JudgedResults, tables: Iterable[Table], rendered: Iterable[Rendered]) -> str:
    """Return the page with these tables and drawn figures in it."""
    measured = is_measured(results)
    said: Answer = measured_answer(results) if measured else answer(results)
    method: Method = measured_method(results) if measured else describe(results)
    sections: dict[str, list[Rendered]] = {}
    for one in rendered:
        sections.setdefault(one.picture.section, []).append(one)
    return page(
        "report.html.j2",
        name=results.experiment.name or "Experiment",
        answer=said,
        claims=[
            (one.verdict, f"{claim_sentence(one)} {registration(written)}")
            for one, written in zip(results.verdicts, registered(results), strict=True)
        ],
        registration=" ".join(of_experiment(results)[0]),
        method=method,
        warnings=warnings(results),
        tables={table.name: table for table in tables},
        sections=sections,
        longest=_ON_PAGE_ROWS,
    )
