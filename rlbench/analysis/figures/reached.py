"""How many runs had reached a threshold after how many steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from rlbench.analysis.figures.accounts import add_footer, interval_note, run_counts
from rlbench.analysis.figures.curves import list_arms
from rlbench.analysis.figures.style import ArmStyle, arm_styles, count_steps, drawing, say
from rlbench.analysis.milestones import steps_to_threshold
from rlbench.analysis.references import Reference
from rlbench.analysis.survival import survival_band


def plot_reached(
    curves: pd.DataFrame,
    scores: pd.DataFrame,
    environment: str,
    threshold: float = 0.5,
    *,
    arms: Sequence[str] | None = None,
    styles: Mapping[str, ArmStyle] | None = None,
    references: Mapping[str, Reference] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of runs whose curve had reached a normalised return, by environment steps.

    One minus the Kaplan-Meier curve, see `rlbench.analysis.survival`; runs that failed or diverged count as never
    getting there. `curves` and `scores` are the tables of `rlbench.analysis.scores`.
    """
    arms = list(arms if arms is not None else dict.fromkeys(scores["arm"]))
    styles = styles or arm_styles(arms)
    here = curves[curves["environment"] == environment]
    table = steps_to_threshold(here, threshold, references)
    at = np.concatenate([[0.0], np.unique(here["step"].to_numpy(np.float64))])
    bands = []
    with drawing(ax) as ax:
        for arm in arms:
            own = table[table["arm"] == arm]
            if own.empty:
                continue
            band = survival_band(own["steps"], own["reached"], at)
            bands.append(band)
            style = styles[arm]
            reached = 1 - band.point
            ax.step(at, reached, where="post", color=style.color, linestyle=style.line, linewidth=1.9, label=arm)
            # Where all runs are there or none is, the bands of all arms would only cover each other.
            inside = np.isfinite(band.low) & (reached > 0) & (reached < 1)
            low, high = np.where(inside, 1 - band.high, reached), np.where(inside, 1 - band.low, reached)
            ax.fill_between(at, low, high, step="post", color=style.color, alpha=0.13, linewidth=0)
        ax.set_title(environment)
        count_steps(ax)
        ax.set_ylabel(f"share of runs that reached {threshold:g}")
        if bands:
            ax.set_ylim(-0.02, 1.02)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
            list_arms(ax, arms, styles, absent="no run")
        else:
            say(ax, "There are no curves here, or no reference that would make their returns comparable.")
        add_footer(
            ax,
            f"Normalised return of {threshold:g} (0 random, 1 target). Runs that failed or diverged never got there.",
            interval_note(bands, "Band, at each step by itself where some but not all runs are there"),
            run_counts(scores, arms, environment),
        )
    return ax
