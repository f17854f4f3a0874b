"""Comparisons in plain English."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlbench.analysis.compare import ALL, ALPHA, Comparison
from rlbench.analysis.coverage import interval_name
from rlbench.analysis.digits import form_of, visible
from rlbench.analysis.identity import IDENTICAL
from rlbench.analysis.intervals import NO_SPREAD, Estimate

METRIC_NAMES = {
    "auc": "return over training (area under the learning curve)",
    "final": "return over the last tenth of the training",
    "last100": "return of the last 100 episodes",
    "score": "score",
}


def sentence(comparison: Comparison) -> str:
    """Say one comparison in plain English: verdict, size, how often, how sure, and from how many runs."""
    parts = [_verdict(comparison)]
    if comparison.verdict == "identical":
        parts.append(_size(comparison))
    else:
        if min(comparison.n_arm, comparison.n_baseline) > 0:
            parts += [_size(comparison), _how_often(comparison), _how_sure(comparison)]
        parts += [_ceiling(comparison), _too_few(comparison), _power(comparison)]
    parts.append(_left_out(comparison))
    return " ".join(part for part in parts if part)


def _verdict(c: Comparison) -> str:
    where = _where(c)
    if min(c.n_arm, c.n_baseline) == 0:
        nobody = c.arm if c.n_arm == 0 else c.baseline
        return f"{where}, {c.arm} cannot be compared with {c.baseline}: no run of {nobody} can be used."
    if np.isnan(c.p_value):
        return (
            f"{where}, {c.arm} cannot be compared with {c.baseline}: one of them has an environment without a used run."
        )
    if c.verdict == "undecided":
        return (
            f"{where}, it is undecided whether {c.arm} or {c.baseline} scores higher; "
            "this is no evidence that they are equal."
        )
    if c.verdict == "identical":
        return (
            f"{where}, {c.arm} and {c.baseline} are identical: every seed gave exactly the same with both, so what "
            "distinguishes them never took effect."
        )
    return f"{where}, {c.arm} is {c.verdict} than {c.baseline}."


def _size(c: Comparison) -> str:
    if np.isnan(c.difference.point):
        return ""
    form = form_of_comparison(c)
    scale = ", normalised to random policy = 0 and target = 1" if c.normalised else ""
    return (
        f"Mean {METRIC_NAMES[c.metric]}{scale}: {c.mean_arm.point:z{form}} against "
        f"{c.mean_baseline.point:z{form}}, a difference of {c.difference.point:+z{form}} "
        f"({_interval(c.difference, f'+z{form}')})."
    )


def _how_often(c: Comparison) -> str:
    if np.isnan(c.improvement.point):
        return ""
    return (
        f"A run of {c.arm} scores higher than a run of {c.baseline} with probability "
        f"{c.improvement.point:.2f} ({_interval(c.improvement, '.2f')})."
    )


def _how_sure(c: Comparison) -> str:
    if np.isnan(c.p_value):
        return ""
    runs = f"{c.n_arm} and {c.n_baseline} runs"
    if c.comparisons > 1:
        corrected = f"{_p(c.p_value)}, and {_p(c.p_adjusted)} corrected for {c.comparisons} comparisons"
    else:
        corrected = _p(c.p_value)
    return f"Permutation test on {runs}: {corrected}."


def _ceiling(c: Comparison) -> str:
    if c.difference.method == NO_SPREAD and c.difference.point == 0:
        return "All runs of both have exactly the same score, so this score cannot tell them apart."
    return ""


def _too_few(c: Comparison) -> str:
    if not c.smallest_p >= ALPHA:
        return ""
    return (
        f"So few runs can give no p below {c.smallest_p:.2g}: this test could not have decided at the {ALPHA} level "
        f"however large the difference; at least {c.fewest} runs per arm are needed."
    )


def _power(c: Comparison) -> str:
    """Say what an undecided comparison could have found."""
    if c.verdict != "undecided" or c.smallest_p >= ALPHA or not c.detectable > 0:
        return ""
    return f"So many runs find a difference of {c.detectable:{form_of_comparison(c)}} with probability 0.8."


def _left_out(c: Comparison) -> str:
    sides = ((c.arm, c.planned_arm, c.n_arm), (c.baseline, c.planned_baseline, c.n_baseline))
    missing = [f"{planned - n} of {planned} planned runs of {arm}" for arm, planned, n in sides if n < planned]
    if not missing:
        return ""
    validity = "; the result holds for the others" if min(c.n_arm, c.n_baseline) > 0 else ""
    return f"Left out: {' and '.join(missing)}, which did not finish or have no score{validity}."


def everywhere(environments: Sequence[str]) -> str:
    """Return how a sentence over all environments begins."""
    return "Over both environments" if len(environments) == 2 else f"Over all {len(environments)} environments"


def _where(c: Comparison) -> str:
    if c.environment == ALL:
        return everywhere(c.environments)
    return f"On {c.environment}"


def form_of_comparison(c: Comparison) -> str:
    """Return the format of a comparison's scores, in which its interval can be seen."""
    return visible(c.difference, form_of([c.mean_arm, c.mean_baseline], 2 if c.normalised else 1, [c.difference]))


def _interval(estimate: Estimate, form: str) -> str:
    if np.isnan(estimate.low) or estimate.method == IDENTICAL:
        return estimate.method
    name, _, caution = interval_name([estimate]).partition(", ")
    return f"{name} {estimate.low:{form}} to {estimate.high:{form}}{', ' if caution else ''}{caution}"


def _p(p: float) -> str:
    return f"p = {p:.2g}" if p >= 0.0001 else "p < 0.0001"
