"""One arm against the baseline: how often it is better, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rlbench.analysis.compare import ALL, Comparison
from rlbench.analysis.figures.accounts import add_footer, interval_note, run_counts
from rlbench.analysis.figures.rows import draw_estimate, label_width, name_rows, rows_height
from rlbench.analysis.figures.runs import METRIC_NAMES
from rlbench.analysis.figures.style import QUIET, ArmStyle, arm_styles, drawing, say
from rlbench.analysis.intervals import Estimate

NOTHING = (
    "There is nothing to compare here: it takes a baseline and another arm, and for all environments together "
    "a reference for each."
)


def plot_improvement(
    comparisons: Sequence[Comparison],
    scores: pd.DataFrame,
    environment: str | None = None,
    *,
    styles: Mapping[str, ArmStyle] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the probability that a run of each arm scores higher than one of the baseline, with its interval.

    `comparisons` come from `rlbench.analysis.compare`. Without an `environment`: all of them together.
    """
    chosen = _choose(comparisons, environment)
    label = f"probability that a run scores higher than one of {chosen[0].baseline}" if chosen else ""
    estimates = [one.improvement for one in chosen]
    meaning = "0.5: neither is better. Bar"
    return _plot(chosen, estimates, scores, styles, ax, middle=0.5, meaning=meaning, label=label, limits=(-0.03, 1.03))


def plot_difference(
    comparisons: Sequence[Comparison],
    scores: pd.DataFrame,
    environment: str | None = None,
    *,
    styles: Mapping[str, ArmStyle] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw by how much the mean score of each arm exceeds that of the baseline, with its interval.

    On one `environment` in its own returns; without one, on all of them together, in normalised score.
    """
    chosen = _choose(comparisons, environment)
    unit = "normalised return" if chosen and chosen[0].normalised else "return"
    label = f"difference to {chosen[0].baseline} in {unit}" if chosen else ""
    estimates = [one.difference for one in chosen]
    return _plot(chosen, estimates, scores, styles, ax, middle=0.0, meaning="0: no difference. Bar", label=label)


def _plot(
    chosen: Sequence[Comparison],
    estimates: Sequence[Estimate],
    scores: pd.DataFrame,
    styles: Mapping[str, ArmStyle] | None,
    ax: Axes | None,
    *,
    middle: float,
    meaning: str,
    label: str,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Draw an estimate per comparison in rows, with the value that means no difference in the `middle`."""
    arms = [one.arm for one in chosen]
    with drawing(ax, height=rows_height(arms, 0.36)) as ax:
        _draw_rows(ax, chosen, estimates, scores, styles, middle)
        if chosen:
            if limits is not None:
                ax.set_xlim(limits)
            ax.set_xlabel(label)
        note = interval_note(estimates, meaning)
        add_footer(ax, note, _metric(chosen), _counts(chosen, scores), left=label_width(arms))
    return ax


def _choose(comparisons: Sequence[Comparison], environment: str | None) -> list[Comparison]:
    """Return the comparisons on `environment`; on all together by default, or on the only one there is."""
    present = list(dict.fromkeys(one.environment for one in comparisons))
    if environment is None:
        environment = ALL if ALL in present or len(present) != 1 else present[0]
    return [one for one in comparisons if one.environment == environment]


def _draw_rows(
    ax: Axes,
    chosen: Sequence[Comparison],
    estimates: Sequence[Estimate],
    scores: pd.DataFrame,
    styles: Mapping[str, ArmStyle] | None,
    middle: float,
) -> None:
    if not chosen:
        say(ax, NOTHING)
        return
    styles = styles or arm_styles(list(dict.fromkeys(scores["arm"])))
    ax.axvline(middle, color=QUIET, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1.5)
    for row, (one, estimate) in enumerate(zip(chosen, estimates, strict=True)):
        if np.isfinite(estimate.point):
            draw_estimate(ax, row, estimate, styles[one.arm], marker=styles[one.arm].marker)
        else:
            ax.annotate("no used run", (0.02, row), xycoords=("axes fraction", "data"), va="center", color=QUIET)
    name_rows(ax, [one.arm for one in chosen])
    environment = chosen[0].environment
    ax.set_title("All environments" if environment == ALL else environment)


def _metric(chosen: Sequence[Comparison]) -> str:
    return f"Score: {METRIC_NAMES[chosen[0].metric]}." if chosen else ""


def _counts(chosen: Sequence[Comparison], scores: pd.DataFrame) -> str:
    if not chosen:
        return run_counts(scores, list(dict.fromkeys(scores["arm"])))
    arms = [*(one.arm for one in chosen), chosen[0].baseline]
    return run_counts(scores, arms, None if chosen[0].environment == ALL else chosen[0].environment)
