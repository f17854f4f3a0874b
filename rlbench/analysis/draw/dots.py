"""The score of every single run, with the mean of its arm."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rlbench.analysis.draw.frame import (
    ABOVE_LEGEND,
    add_footer,
    drawing,
    interval_note,
    list_marks,
    name_rows,
    rows_height,
    run_counts,
    write_inside,
)
from rlbench.analysis.draw.marks import draw_runs
from rlbench.analysis.draw.style import INK, arm_styles
from rlbench.analysis.scores.references import possible_range
from rlbench.analysis.scores.results import Results
from rlbench.analysis.stats.estimates import Estimate
from rlbench.analysis.stats.intervals import mean_interval

METRIC_NAMES: Mapping[str, str] = {
    "auc": "mean return over training (area under the curve)",
    "final": "final return (last tenth of the budget)",
    "last100": "mean return of the last 100 episodes",
    "auc_normalised": "normalised mean return over training (0 random, 1 target)",
    "final_normalised": "normalised final return (0 random, 1 target)",
    "last100_normalised": "normalised return of the last 100 episodes (0 random, 1 target)",
    "score": "score",
    "score_normalised": "normalised score (0 random, 1 target)",
}


def plot_scores(
    results: Results, environment: str | None = None, metric: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw every run as a dot, one row per arm, and below the dots the mean of the used runs with its interval.

    Without an `environment` and with several in the results, the dots are the normalised scores of all of them.
    A run that failed or diverged is a cross at what it had reached when it stopped; it does not enter the mean.
    """
    places, arms, metric = results.environments, results.arms, metric or results.metrics[0]
    environment = results.known_environment(environment) or (places[0] if len(places) == 1 else None)
    column = metric if environment else f"{metric}_normalised"
    scores, styles = results.scores, arm_styles(arms)
    shown = [environment] if environment else places
    possible = possible_range(shown, results.references, normalised=environment is None)
    means: list[Estimate] = []
    stopped = False
    with drawing(ax, rows_height(arms, 0.48)) as ax:
        for row, arm in enumerate(arms):
            own = scores[(scores["arm"] == arm) & scores["environment"].isin(shown) & scores[column].notna()]
            own = own.sort_values(["environment", "seed"])
            used, value = own["used"].to_numpy(bool), own[column].to_numpy(np.float64)
            tasks = [group.to_numpy(np.float64) for _, group in own[used].groupby("environment")[column]]
            mean = mean_interval(tasks, seed=results.seed, possible=possible) if tasks else None
            draw_runs(ax, row, value, used, mean, styles[arm]._replace(marker="d"))
            means += [mean] if mean else []
            stopped |= not used.all()
        name_rows(ax, arms)
        ax.set_title(environment or "All environments", pad=ABOVE_LEGEND)
        ax.set_xlabel(METRIC_NAMES[column])
        handles = [
            Line2D([], [], color=INK, linestyle="", marker="o", markersize=4.5, alpha=0.7, label="one run"),
            Line2D([], [], color=INK, linewidth=2.2, marker="d", markersize=6, label="mean"),
            Line2D(
                [], [], color=INK, linestyle="", marker="x", markersize=5, markeredgewidth=1.4, label="stopped early"
            ),
        ]
        if means or stopped:
            list_marks(ax, handles if stopped else handles[:2])
        else:
            write_inside(ax, "No run has a score here.")
        add_footer(ax, interval_note(means, "Bar"), run_counts(scores, arms, environment), rows=arms)
    return ax
