"""Figures for a paper and for slides: the second product beside the report.

A `Showpiece` says what is drawn; `draw_showpieces` draws those of a suite or, where it declares none, the usual ones
of every experiment. The functions `plot_*` draw one panel each on the Axes they are given, or on new ones, from the
tidy tables of the functions `*_numbers`.
"""

from rlbench.analysis.showpieces.drawing import Drawn, draw_all, draw_showpieces, usual
from rlbench.analysis.showpieces.lines import plot_band, plot_points
from rlbench.analysis.showpieces.looks import LOOKS, looking
from rlbench.analysis.showpieces.ratio import plot_ratio
from rlbench.analysis.showpieces.scatter import plot_scatter
from rlbench.analysis.showpieces.updates import plot_quantiles

__all__ = [
    "LOOKS",
    "Drawn",
    "draw_all",
    "draw_showpieces",
    "looking",
    "plot_band",
    "plot_points",
    "plot_quantiles",
    "plot_ratio",
    "plot_scatter",
    "usual",
]
