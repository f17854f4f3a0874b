"""Figures: every `plot_*` function draws on the Axes it is given, or on new ones, and returns them.

They take the tables of `rlbench.analysis.scores`. An arm looks the same in all of them (`style`), and each says under
its axes what its intervals are and how many runs were planned, finished, failed and used.
"""

from rlbench.analysis.figures.aggregates import plot_aggregate, plot_profile
from rlbench.analysis.figures.comparisons import plot_difference, plot_improvement
from rlbench.analysis.figures.curves import plot_learning_curves
from rlbench.analysis.figures.diagnostics import plot_diagnostics
from rlbench.analysis.figures.reached import plot_reached
from rlbench.analysis.figures.runs import plot_scores
from rlbench.analysis.figures.style import arm_styles

__all__ = [
    "arm_styles",
    "plot_aggregate",
    "plot_diagnostics",
    "plot_difference",
    "plot_improvement",
    "plot_learning_curves",
    "plot_profile",
    "plot_reached",
    "plot_scores",
]
