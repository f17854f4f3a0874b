"""Comparisons in plain English."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rlbench.analysis.draw.style import arm_styles
from rlbench.analysis.format import form_of, number, visible
from rlbench.analysis.judge.compare import ALPHA, Comparison
from rlbench.analysis.scores.identity import IDENTICAL
from rlbench.analysis.scores.scores import ALL
from rlbench.analysis.stats.coverage import interval_name
from rlbench.analysis.stats.estimates import NO_SPREAD, Estimate

if TYPE_CHECKING:
    from rlbench.analysis.judge.judged import JudgedResults


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


@dataclass(frozen=True)
class Line:
    """One comparison in words; `everywhere` if it is over all environments."""

    everywhere: bool
    text: str


@dataclass(frozen=True)
class ArmAnswer:
    """What was found about one arm; the first line is the one over all environments, if there is one.

    `verdict` is that line's, or the one on which all environments agree, or "mixed".
    """

    arm: str
    verdict: str
    color: str
    lines: list[Line]


@dataclass(frozen=True)
class Answer:
    """The opening of a report."""

    question: str
    short: list[str]
    arms: list[ArmAnswer]


def answer(results: JudgedResults) -> Answer:
    """Return the opening of the report of `results`."""
    question = results.experiment.question
    if not results.comparisons:
        return Answer(question, _without_comparison(results), [])
    order = [ALL, *results.environments]
    arms = []
    for arm in results.arms:
        own = [one for one in results.comparisons if one.arm == arm]
        if own:
            own.sort(key=lambda one: order.index(one.environment))
            lines = [Line(one.environment == ALL, sentence(one)) for one in own]
            arms.append(ArmAnswer(arm, _overall(own), arm_styles(results.arms)[arm].color, lines))
    return Answer(question, _short(results), arms)


def _short(results: JudgedResults) -> list[str]:
    """Return the answer in a sentence per place: all environments together first, then each one."""
    present = [one.environment for one in results.comparisons]
    places = [place for place in (ALL, *results.environments) if place in present]
    said = [_at(place, [one for one in results.comparisons if one.environment == place]) for place in places]
    score = "score" if results.metrics[0] == "score" else "return over training"
    key = f"In brackets: the mean {score} less that of {results.baseline}, with its 95 % interval"
    scale = "; over all environments on a scale from random policy = 0 to target = 1" if ALL in present else ""
    return [*said, f"{key}{scale}."]


def _at(place: str, comparisons: list[Comparison]) -> str:
    baseline = comparisons[0].baseline
    where = everywhere(comparisons[0].environments) if place == ALL else f"On {place}"
    parts = []
    for verdict, text in (("better", "better than"), ("worse", "worse than")):
        arms = [_with_effect(one) for one in comparisons if one.verdict == verdict]
        if arms:
            parts.append(f"{_join(arms)} {'is' if len(arms) == 1 else 'are'} {text} {baseline}")
    if same := [one.arm for one in comparisons if one.verdict == "identical"]:
        parts.append(f"every seed gave exactly the same with {_join([*same, baseline])}")
    without = [one.arm for one in comparisons if min(one.n_arm, one.n_baseline) == 0]
    undecided = [_with_effect(one) for one in comparisons if one.verdict == "undecided" and one.arm not in without]
    if undecided:
        parts.append(f"for {_join(undecided)} the runs do not decide it")
    if without:
        parts.append(f"{_join(without)} cannot be compared for want of finished runs")
    return f"{where}, {'; '.join(parts)}."


def _with_effect(one: Comparison) -> str:
    """Return the arm and by how much it scores higher than the baseline."""
    effect = one.difference
    form = visible(effect, form_of([effect], 2 if one.environment == ALL else 1))
    spread = "" if np.isnan(effect.low) else f", {number(effect.low, form)} to {number(effect.high, form)}"
    return f"{one.arm} ({number(effect.point, form, '+' if effect.point > 0 else '')}{spread})"


def _overall(own: list[Comparison]) -> str:
    """Return the verdict over all environments, or the one that all environments share, or "mixed"."""
    if own[0].environment == ALL:
        return own[0].verdict
    verdicts = {one.verdict for one in own}
    return verdicts.pop() if len(verdicts) == 1 else "mixed"


def _without_comparison(results: JudgedResults) -> list[str]:
    """Say what there is where nothing can be compared."""
    used = results.scores[results.scores["used"].astype(bool)]
    reason = (
        "There is one arm only, so there is nothing to compare it with."
        if len(results.arms) == 1
        else "The experiment names no baseline, so no arm is compared with another."
    )
    if used.empty:
        return ["No run finished, so there is no score to report.", reason]
    said = []
    for environment in results.environments:
        here = used.loc[used["environment"] == environment, list(results.metrics)]
        form = form_of(here.to_numpy(np.float64).ravel())
        for arm in results.arms:
            own = used[(used["arm"] == arm) & (used["environment"] == environment)]
            if len(own):
                runs = f"({len(own)} run{'s' if len(own) > 1 else ''})"
                score = number(own[results.metrics[0]].mean(), form)
                when = "" if results.metrics[0] == "score" else " over training"
                end = f" and {number(own['final'].mean(), form)} at its end" if "final" in results.metrics else ""
                said.append(f"On {environment}, {arm} scores {score} on average{when}{end} {runs}.")
    return [*said, reason]


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
