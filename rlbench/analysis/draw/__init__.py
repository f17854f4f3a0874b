"""Figures: every `plot_*` function draws on the Axes it is given, or on new ones, and returns them.

An arm looks the same in all of them (`style`), and each figure of a report says under its axes what its intervals are
and how many runs were planned, finished, failed and used. Figures for a paper and for slides are described by a
`rlbench.Showpiece`; `draw_showpieces` draws those of a suite, or the usual ones of every experiment.
"""

from rlbench.analysis.draw.curves import plot_learning_curves, plot_reached
from rlbench.analysis.draw.diagnostics import plot_diagnostics
from rlbench.analysis.draw.dots import plot_scores
from rlbench.analysis.draw.effects import plot_aggregate, plot_difference, plot_improvement, plot_profile
from rlbench.analysis.draw.paper import Drawn, draw_all, draw_showpieces, usual
from rlbench.analysis.draw.scatter import plot_ratio, plot_scatter
from rlbench.analysis.draw.series import plot_band, plot_points
from rlbench.analysis.draw.style import LOOKS, arm_styles, looking
from rlbench.analysis.draw.updates import plot_quantiles

__all__ = [
    "LOOKS",
    "Drawn",
    "arm_styles",
    "draw_all",
    "draw_showpieces",
    "looking",
    "plot_aggregate",
    "plot_band",
    "plot_diagnostics",
    "plot_difference",
    "plot_improvement",
    "plot_learning_curves",
    "plot_points",
    "plot_profile",
    "plot_quantiles",
    "plot_ratio",
    "plot_reached",
    "plot_scatter",
    "plot_scores",
    "usual",
]
