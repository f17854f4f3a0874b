"""Figures in three styles: of a report, for a paper, for slides.

Every `plot_*` function takes the results first, draws on the Axes it is given, or on new ones, and returns them; under
the axes it says what its intervals are and how many runs were planned, finished, failed and used. An arm looks the same
in all figures (`style`). Figures for a paper and for slides are declared by a `rlbench.Showpiece`; `draw_all` draws
them, or the usual ones of every experiment, and `write_showpieces` writes them.
"""

from rlbench.analysis.draw.curves import plot_action_map, plot_diagnostics, plot_learning_curves, plot_reached
from rlbench.analysis.draw.figures import draw_all, usual, write_showpieces
from rlbench.analysis.draw.rows import plot_aggregate, plot_difference, plot_improvement, plot_profile, plot_scores
from rlbench.analysis.draw.spec import Drawn
from rlbench.analysis.draw.style import arm_styles, styled, styles_of

__all__ = [
    "Drawn",
    "arm_styles",
    "draw_all",
    "plot_action_map",
    "plot_aggregate",
    "plot_diagnostics",
    "plot_difference",
    "plot_improvement",
    "plot_learning_curves",
    "plot_profile",
    "plot_reached",
    "plot_scores",
    "styled",
    "styles_of",
    "usual",
    "write_showpieces",
]
