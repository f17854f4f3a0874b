"""Claims in words: their parts, effects and limits, and a sentence per claim."""

import re
from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite, isnan
from typing import Any

import numpy as np

from rlbench.analysis.format import NONE, capital, listed, number, p_equals, span, text
from rlbench.analysis.judge.verdicts import JudgedResults, Part, Verdict, clearance, regions
from rlbench.analysis.report.table import ends
from rlbench.analysis.scores.metrics import comparison_sign, metric_name
from rlbench.analysis.scores.scores import ALL, IDENTICAL
from rlbench.analysis.stats.estimates import Estimate
from rlbench.claims import DIRECTIONS, Claim

_LOG = "log2_"  # how the name of a metric begins whose differences are ratios
_NOT_RATIOS = ("std", "share")  # reductions of it whose differences are none


def claim_sentence(verdict: Verdict) -> str:
    """Say what the runs say of a claim, by its decisive part."""
    claim, part, failed = verdict.claim, decisive(verdict), verdict.with_failures
    sentences = [f"“{claim.statement}” is {verdict.verdict}."]
    if isfinite(part.effect.point):
        which = "the weakest" if verdict.verdict == "supported" else "the decisive one"
        many = f" ({which} of {len(verdict.parts)} parts)" if len(verdict.parts) > 1 else ""
        p = part.p_against if verdict.verdict == "refuted" else part.p
        same = part.effect.method == IDENTICAL
        sure = "every seed gave exactly the same result with both" if same else p_equals(p)
        meaning, effect = _effect_name(claim, part), effect_text(claim, part.effect)
        result = f"{effect}{' ' if claim.event else ', the '}{meaning}"
        where = capital(place_text(part.environment))
        sentences.append(f"{where}{many}: {result}; claimed: {claimed_text(claim)}; {sure}.")
    if part.size is not None and isfinite(part.size.point):
        sentences.append(f"{capital(part.size_name)}: {text(part.size)}.")
    if part.note and verdict.verdict in ("inconclusive", "undecidable"):
        sentences.append(part.note)
    elif verdict.verdict == "inconclusive" and isfinite(verdict.needed):
        sentences.append(f"About {verdict.needed:,.0f} runs per arm and environment would be needed.")
    elif verdict.verdict == "inconclusive":
        sentences.append("If the effect is as estimated, no reasonable number of runs would decide it.")
    if verdict.left_out:
        sentences.append(f"Left out: {verdict.left_out} of {verdict.planned} planned runs.")
    if failed is not None:
        instead = failed if failed == verdict.verdict else f"{failed} instead"
        sentences.append(f"If runs that failed or diverged count with the worst score, it is {instead}.")
    return " ".join(sentences)


def decisive(verdict: Verdict) -> Part:
    """Return the part that refutes most surely, or the least sure one; of equal p, by how far from the limit it is."""
    support, refute = regions(verdict.claim)

    def certainty(part: Part, p: float, places: Sequence[tuple[float, float]]) -> tuple[float, float]:
        """Return the p-value, 0 where none was needed, and how far out of its place the interval lies, in widths."""
        width = part.effect.high - part.effect.low
        return 0.0 if isnan(p) else p, -clearance(part.effect, places) / width if width > 0 else -inf

    if verdict.verdict == "refuted":
        refuting = (part for part in verdict.parts if part.verdict == "refuted")
        return min(refuting, key=lambda part: certainty(part, part.p_against, refute))
    open_parts = [part for part in verdict.parts if part.verdict == verdict.verdict]
    return max(open_parts, key=lambda part: (bool(part.note), *certainty(part, part.p, support)))


def claim_row(verdict: Verdict) -> dict[str, Any]:
    """Return a claim and its verdict, for the rows of its parts (`part_row`)."""
    row = {"claim": verdict.claim.statement, "verdict": verdict.verdict}
    row["verdict_with_failures"] = verdict.with_failures or verdict.verdict
    return row | {key: getattr(verdict.claim, key) for key in ("direction", "metric", "smallest_effect", "bound")}


def part_row(part: Part) -> dict[str, Any]:
    """Return a row with full numbers."""
    return {
        **{key: getattr(part, key) for key in ("arm", "other", "environment", "n_arm", "n_other")},
        **ends("effect", part.effect),
        "level": part.effect.level,
        "method": part.effect.method,
        **{key: getattr(part, key) for key in ("p", "p_against", "size_name")},
        **ends("size", part.size),
        "detectable": part.detectable,
        **ends("needed", part.needed, "n"),
        "part_verdict": part.verdict,
        "note": part.note,
    }


def part_name(part: Part) -> str:
    """Return which arm, against which other one, on which environment."""
    return f"{pair_name(part)} {place_text(part.environment)}"


def pair_name(part: Part) -> str:
    """Return which arm, and against which other one."""
    return f"{quoted(part.arm)} against {quoted(part.other)}" if part.other else quoted(part.arm)


def place_text(environment: str) -> str:
    """Return where a part holds: `on Acrobot-v1`, `on average over the environments`."""
    return "on average over the environments" if environment == ALL else f"on {environment}"


def quoted(label: str) -> str:
    """Return a label as it stands in a sentence: in quotation marks where it is more than one word."""
    return f"“{label}”" if " " in label else label


def needed_text(part: Part) -> str:
    """Return the number of runs that would decide a part, with its range."""
    if part.needed is None or isnan(part.needed.n):
        return NONE
    counts = (part.needed.n, part.needed.low, part.needed.high)
    n, low, high = (f"{count:,.0f}" if isfinite(count) else "∞" for count in counts)
    return f"{n} ({low} to {high})"


def runs_text(parts: Sequence[Part]) -> str:
    """Return the runs per arm and environment that entered: `20`, or `17–20`."""
    counts = [part.n_arm // len(part.environments) for part in parts]
    counts += [part.n_other // len(part.environments) for part in parts if part.n_other]
    return span(counts, "–")


def claimed_text(claim: Claim) -> str:
    """Return where the claim says that its effect lies, as `more than 0.05`; a share in percent."""
    (low, high), *others = regions(claim)[0]
    if others and not claim.smallest_effect:
        return f"not {_value(claim, 0.0)}"
    if others or (claim.bound is None and isfinite(high - low)):
        size = _size(claim)
        return f"{'beyond' if others else 'within'} {size if is_ratio(claim) else f'±{size}'}"
    if isfinite(high - low):
        return f"{_value(claim, low).removesuffix(' %')} to {_value(claim, high)}"
    return f"more than {_value(claim, low)}" if isfinite(low) else f"less than {_value(claim, high)}"


def is_ratio(claim: Claim) -> bool:
    """Return whether the claim is about a difference of logarithms, which is said as a ratio."""
    reduction = claim.metric.partition(":")[2]
    return claim.metric.startswith(_LOG) and claim.kind != "bound" and not reduction.startswith(_NOT_RATIOS)


def ratio(value: float) -> float:
    """Return the ratio that a difference of logarithms to the base 2 stands for."""
    return float(np.exp2(value))


def _value(claim: Claim, value: float) -> str:
    """Return a value of the claim's effect with its unit."""
    if claim.event is not None:
        return f"{number(100 * value)} %"
    return number(ratio(value) if is_ratio(claim) else value)


def _size(claim: Claim) -> str:
    """Return the claim's smallest effect with its unit."""
    d = claim.smallest_effect
    return f"a factor of {number(ratio(d))}" if is_ratio(claim) else _value(claim, d)


def effect_text(claim: Claim, effect: Estimate) -> str:
    """Return an effect with its interval: a share in percent, a difference of logarithms as a ratio."""
    if is_ratio(claim):
        return text(replace(effect, point=ratio(effect.point), low=ratio(effect.low), high=ratio(effect.high)))
    if claim.event is None or not isfinite(effect.point):
        return text(effect)
    point, low, high = (f"{100 * share:.0f} %" for share in (effect.point, effect.low, effect.high))
    return f"{point} [{low}, {high}]"


def event_name(claim: Claim) -> str:
    """Return what is counted by a claim about a share of runs."""
    return f"{metric_name(claim.metric)} {comparison_sign(claim.event or '')}"


def effect_meaning(claim: Claim, part: Part) -> str:
    """Say what the number of a part is: `difference in normalised return, ppo-clip minus trpo, on Acrobot-v1`.

    Where there never will be one, say why.
    """
    if part.verdict == "undecidable":
        return part.note.rstrip(".")
    return f"{_effect_name(claim, part)}, {place_text(part.environment)}"


def _effect_name(claim: Claim, part: Part) -> str:
    arm, other = quoted(part.arm), quoted(part.other)
    if claim.event is not None:
        return f"of the runs of {arm} have {event_name(claim)}"
    name = effect_metric(claim)
    if claim.kind == "bound":
        return f"{name} of {arm}"
    if is_ratio(claim):
        first, second = (other, arm) if claim.kind == "trend" else (arm, other)
        return f"ratio of the {name}, {first} to {second}"
    if claim.kind == "trend":
        return f"change in {name} from {arm} to {other}"
    return f"difference in {name}, {arm} minus {other}"


def effect_metric(claim: Claim) -> str:
    """Return the name of what the claim's effect is a difference or a ratio of."""
    return metric_name(claim.metric.removeprefix(_LOG) if is_ratio(claim) else claim.metric)


def parts_of_mean(results: JudgedResults, verdict: Verdict, part: Part) -> str:
    """Say what each environment contributes to a difference of means over several, or "" where it is none such."""
    claim, scores = verdict.claim, results.scores
    if part.environment != ALL or not part.other or claim.event is not None or claim.metric not in scores:
        return ""
    if not isfinite(part.effect.point) or is_ratio(claim):  # an environment lacks runs; of ratios none adds up
        return ""
    used = scores[scores["used"].astype(bool)]
    means = used.groupby(["arm", "environment"])[claim.metric].mean()
    each = [
        f"{place} {number(means[part.arm, place] - means[part.other, place], sign='+')}" for place in part.environments
    ]
    return f"On each environment: {listed(each)}; each counts the same."


def asked_text(claim: Claim, environments: Sequence[str]) -> str:
    """Say what the claim was taken to mean, in numbers; `environments` are those that it is about."""
    arms = [quoted(arm) for arm in claim.arms]
    where = "on average over the environments" if claim.over == "mean" else "on every environment"
    where = f"on {environments[0]}" if len(environments) == 1 else where
    words = DIRECTIONS[claim.direction].words.format(
        metric=f"share of runs with {event_name(claim)}" if claim.event else effect_metric(claim),
        arms=listed(arms) if len(arms) < 6 else f"each of {len(arms)} arms ({arms[0]} to {arms[-1]})",
        first=arms[0],
        last=arms[-1],
        best=quoted(claim.best or ""),
        others=_each(arms[1:]),
        by=f" by more than {_size(claim)}" if claim.smallest_effect else "",
        d=_size(claim),
        limits=claimed_text(claim),
    )
    return f"{words}, {where}"


def _each(arms: Sequence[str]) -> str:
    if len(arms) > 4:
        return f"each of {len(arms)} other arms"
    return f"{'each of ' * (len(arms) > 1)}{listed(arms)}"


def short_labels(arms: Sequence[str]) -> tuple[str, list[str]]:
    """Return how the labels begin (else: end), word by word, and each label without it.

    `ppo-clip clip=0.1`, `ppo-clip clip=0.2` give `ppo-clip, clip` and `0.1`, `0.2`; `10 actions`, `100 actions` give
    `actions` and `10`, `100`. Labels of different numbers of words stay as they are.
    """
    words = [arm.split() for arm in arms]
    length = len(words[0])
    if len(arms) < 2 or any(len(label) != length for label in words):
        return "", list(arms)
    same = [len({label[place] for label in words}) == 1 for place in range(length)]
    begin = same.index(False) if False in same else 0
    end = same[::-1].index(False) if False in same and not begin else 0
    shared, rest = words[0][:begin] + words[0][length - end :], [label[begin : length - end] for label in words]
    keys = {label[0].partition("=")[0] for label in rest if len(label) == 1 and "=" in label[0]}
    if len(keys) == 1 and all(len(label) == 1 and "=" in label[0] for label in rest):
        return ", ".join([*([" ".join(shared)] if shared else []), *keys]), [
            label[0].split("=", 1)[1] for label in rest
        ]
    return " ".join(shared).rstrip(","), [" ".join(label).rstrip(",") for label in rest]


def place_name(environment: str) -> str:
    """Return the label of an environment without its version, for figures: `CartPole`."""
    return re.sub(r"-v\d+(?=$|\()", "", environment)


def change_text(judged: Verdict) -> list[str]:
    """Say, from the numbers, what would change the verdict."""
    part = decisive(judged)
    if part.effect.method == IDENTICAL:
        lines = [
            f"{part_name(part)}: every seed gave exactly the same result with both, so the difference is 0 (claimed: "
            f"{claimed_text(judged.claim)}). Only settings in which the arms do something different would change that."
        ]
    elif judged.verdict == "undecidable":
        lines = [part.note, "More seeds of the same arms would not change that, unless a rare one has a value."]
    else:
        say = {"supported": _supported, "refuted": _refuted, "inconclusive": _inconclusive}
        lines = say[judged.verdict](judged, part)
    if (other := judged.with_failures) is not None:
        instead = ", too" if other == judged.verdict else " instead"
        lines.append(f"If runs that failed or diverged count with the worst possible score, it is {other}{instead}.")
    return lines


def _supported(verdict: Verdict, part: Part) -> list[str]:
    claim, support = verdict.claim, regions(verdict.claim)[0]
    lead = "" if (parts := len(verdict.parts)) == 1 else f"{capital(_all(parts))} parts support it; the weakest is "
    return [
        f"{lead}{part_name(part)}: its interval {effect_text(claim, part.effect)} stays "
        f"{distance(claim, clearance(part.effect, support))} clear of the limit (claimed: {claimed_text(claim)}). The "
        "verdict would be inconclusive if the interval reached the limit."
    ]


def _refuted(verdict: Verdict, part: Part) -> list[str]:
    claim, refute = verdict.claim, regions(verdict.claim)[1]
    against = sum(other.verdict == "refuted" for other in verdict.parts)
    lines, lead = [], ""
    if len(verdict.parts) > 1:
        others = {other.verdict for other in verdict.parts} - {"refuted"}
        rest = next((other for other in ("inconclusive", "undecidable") if other in others), "supported")
        alone = f"; without {'it' if against == 1 else 'them'} the claim would be {rest}" if others else ""
        which = capital(_all(against)) if against == len(verdict.parts) else f"{against} of {len(verdict.parts)}"
        lines.append(f"{which} parts refute{'s' * (against == 1)} it{alone}.")
        lead = "The clearest of them is " if against > 1 else "The decisive part is "
    beyond = distance(claim, clearance(part.effect, refute))
    lines.append(
        f"{lead}{part_name(part)}: the interval {effect_text(claim, part.effect)} lies {beyond} beyond "
        f"where the claim could be true (claimed: {claimed_text(claim)})."
    )
    return lines


def _inconclusive(verdict: Verdict, part: Part) -> list[str]:
    claim, parts, lines = verdict.claim, len(verdict.parts), []
    if parts > 1:
        inconclusive = sum(other.verdict == "inconclusive" for other in verdict.parts)
        are = "is" if inconclusive == 1 else "are"
        lines.append(f"{parts - inconclusive} of {parts} parts support it, {inconclusive} {are} inconclusive.")
    if not isfinite(part.effect.low):
        return [*lines, part.note or f"{part_name(part)}: there are too few runs for an interval."]
    reach = clearance(part.effect, regions(claim)[0])
    where = f"{part_name(part)}: the interval {effect_text(claim, part.effect)}"
    if reach > 0:
        lines.append(f"{where} would support it, but the corrected p of {number(part.p)} does not.")
    else:
        lines.append(f"{where} reaches {distance(claim, -reach)} beyond the limit (claimed: {claimed_text(claim)}).")
    if part.note:
        lines.append(part.note)
    elif isfinite(verdict.needed):
        needed = f"about {verdict.needed:,.0f} seeds per arm and environment would decide it"
        lines.append(f"If the effects and spreads are as estimated, {needed}.")
    else:
        lines.append("The estimated effect lies so close to the limit that no reasonable number of seeds would decide.")
    return lines


def distance(claim: Claim, value: float) -> str:
    """Return how far an effect reaches, with its unit."""
    if claim.event is not None:
        return f"{number(100 * value)} percentage points"
    return f"a factor of {number(ratio(value))}" if is_ratio(claim) else number(value)


def _all(count: int) -> str:
    return "both" if count == 2 else f"all {count}"
