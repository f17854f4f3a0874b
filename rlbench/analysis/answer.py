"""What a report opens with: the question, the answer in a sentence, and the reasons per arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rlbench.analysis.compare import ALL, Comparison
from rlbench.analysis.digits import form_of, number, visible
from rlbench.analysis.sentences import everywhere, sentence

if TYPE_CHECKING:
    from rlbench.analysis.results import Results


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


def answer(results: Results) -> Answer:
    """Return the opening of the report of `results`."""
    question = str(results.experiment.get("question") or "")
    if not results.comparisons:
        return Answer(question, _without_comparison(results), [])
    order = [ALL, *results.environments]
    arms = []
    for arm in results.arms:
        own = [one for one in results.comparisons if one.arm == arm]
        if own:
            own.sort(key=lambda one: order.index(one.environment))
            lines = [Line(one.environment == ALL, sentence(one)) for one in own]
            arms.append(ArmAnswer(arm, _overall(own), results.styles[arm].color, lines))
    return Answer(question, _short(results), arms)


def _short(results: Results) -> list[str]:
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


def _without_comparison(results: Results) -> list[str]:
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
