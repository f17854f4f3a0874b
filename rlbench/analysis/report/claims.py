"""Claims in a report: the table of verdicts, and a sentence per claim."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rlbench.analysis.format import NONE, form_of, text
from rlbench.analysis.judge.verdicts import Part, Verdict, clearance, regions
from rlbench.analysis.report.files import Table
from rlbench.analysis.scores.identity import IDENTICAL
from rlbench.analysis.scores.scores import ALL
from rlbench.analysis.stats.estimates import Estimate
from rlbench.claims import BOUNDED, Claim

if TYPE_CHECKING:
    from rlbench.analysis.judge.judged import JudgedResults


def claims_table(results: JudgedResults) -> Table:
    """One row per part of every claim, with its numbers."""
    data, shown = [], []
    for verdict in results.verdicts:
        for part in verdict.parts:
            data.append(part_row(verdict, part))
            shown.append(
                {
                    "Claim": verdict.claim.statement,
                    "Part": part_name(part),
                    "Metric": verdict.claim.metric,
                    "Runs": str(part.n_arm) if not part.n_other else f"{part.n_arm} vs {part.n_other}",
                    "Effect": brief(part.effect),
                    "Claimed": limits(verdict.claim),
                    "p corrected": "0.0001 or less" if part.p <= 1e-4 else number(part.p),
                    "Verdict": part.verdict,
                    "Runs needed": needed_text(part),
                }
            )
    return Table(
        "claims",
        "Claims, part by part",
        pd.DataFrame(data),
        pd.DataFrame(shown),
        "Effect: the difference of means, change, mean or share that the claim is about, with its interval at the "
        "claim's level, adjusted for its number of parts. p: of the claim being false there. Runs needed: per arm and "
        "environment, to decide with probability 0.8 if the effect and the spread are what was estimated; in brackets "
        "what the uncertainty of the spread leaves open.",
    )


def claim_sentence(verdict: Verdict) -> str:
    """Say what the runs say of a claim, by the part on which it hangs."""
    claim, hinge = verdict.claim, decisive(verdict)
    said = [f"“{claim.statement}” is {verdict.verdict}."]
    many = f" (the {'weakest' if verdict.verdict == 'supported' else 'decisive'} of {len(verdict.parts)} parts)"
    if np.isfinite(hinge.effect.point):
        p = hinge.p_against if verdict.verdict == "refuted" else hinge.p
        where = part_name(hinge) + (many if len(verdict.parts) > 1 else "")
        sure = "p ≤ 0.0001" if p <= 1e-4 else f"p = {number(p)}"
        sure = "every seed gave exactly the same with both" if hinge.effect.method == IDENTICAL else sure
        said.append(f"{where}: {claim.metric} {brief(hinge.effect)}, claimed {limits(claim)}; {sure}.")
    if hinge.size is not None and np.isfinite(hinge.size.point):
        said.append(f"{hinge.size_name}: {brief(hinge.size)}.")
    if hinge.note and verdict.verdict in ("inconclusive", "undecidable"):
        said.append(hinge.note)
    elif verdict.verdict == "inconclusive" and np.isfinite(verdict.needed):
        said.append(f"About {verdict.needed:.0f} runs per arm and environment would have been needed.")
    elif verdict.verdict == "inconclusive":
        said.append("No reasonable number of runs would decide it if the effect is what was estimated.")
    if verdict.left_out:
        said.append(f"Left out: {verdict.left_out} of {verdict.planned} planned runs.")
    if verdict.with_failures is not None:
        instead = (
            verdict.with_failures if verdict.with_failures == verdict.verdict else f"{verdict.with_failures} instead"
        )
        said.append(f"If those that failed or diverged count as the worst score, it is {instead}.")
    return " ".join(said)


def limits(claim: Claim) -> str:
    """Return what the claim says of its effect, as `> 0.05`."""
    d, bound = claim.smallest_effect, claim.bound or 0.0
    if claim.direction == "within":
        return f"{number(bound - d)} to {number(bound + d)}"
    if claim.direction in ("equivalent", "different"):
        return f"{'within' if claim.direction == 'equivalent' else 'beyond'} ±{number(d)}"
    below = claim.direction in ("less", "decreasing", "dip", "below", "not-greater")
    beyond = claim.direction not in ("not-less", "not-greater")
    return f"{'<' if below else '>'} {number(bound + (-d if below == beyond else d))}"


def brief(estimate: Estimate) -> str:
    """Return an estimate with three significant digits, or as many as show its interval; a dash where there is none."""
    if not np.isfinite(estimate.point):
        return NONE
    if not np.isfinite(estimate.low):
        return number(estimate.point)
    low, high = number(estimate.low), number(estimate.high)
    if low == high and estimate.low < estimate.high:
        return text(estimate, form_of([estimate], 0))
    return f"{number(estimate.point)} [{low}, {high}]"


def part_row(verdict: Verdict, part: Part) -> dict[str, Any]:
    """Return a row with full numbers."""
    claim, size, needed = verdict.claim, part.size, part.needed
    return {
        "claim": claim.statement,
        "verdict": verdict.verdict,
        "verdict_with_failures": verdict.with_failures or verdict.verdict,
        "direction": claim.direction,
        "metric": claim.metric,
        "smallest_effect": claim.smallest_effect,
        "bound": claim.bound,
        "arm": part.arm,
        "other": part.other,
        "environment": part.environment,
        "n_arm": part.n_arm,
        "n_other": part.n_other,
        "effect": part.effect.point,
        "effect_low": part.effect.low,
        "effect_high": part.effect.high,
        "level": part.effect.level,
        "method": part.effect.method,
        "p": part.p,
        "p_against": part.p_against,
        "size_name": part.size_name,
        "size": size.point if size else np.nan,
        "size_low": size.low if size else np.nan,
        "size_high": size.high if size else np.nan,
        "detectable": part.detectable,
        "needed": needed.n if needed else np.nan,
        "needed_low": needed.low if needed else np.nan,
        "needed_high": needed.high if needed else np.nan,
        "part_verdict": part.verdict,
        "note": part.note,
    }


def decisive(verdict: Verdict) -> Part:
    """Return the part that refutes most surely, or the least sure one; of equal p, by how far from the limit it is."""
    support, refute = regions(verdict.claim)
    if verdict.verdict == "refuted":
        refuting = (part for part in verdict.parts if part.verdict == "refuted")
        return min(refuting, key=lambda part: (_sure(part.p_against), -_sureness(part, refute)))
    open_parts: Sequence[Part] = [part for part in verdict.parts if part.verdict == verdict.verdict]
    return max(open_parts, key=lambda part: (bool(part.note), _sure(part.p), -_sureness(part, support)))


def _sure(p: float) -> float:
    """Return a p-value, 0 where none was needed."""
    return 0.0 if np.isnan(p) else p


def _sureness(part: Part, places: Sequence[tuple[float, float]]) -> float:
    """Return how far inside its interval lies, in widths of the interval."""
    width = part.effect.high - part.effect.low
    return clearance(part.effect, places) / width if width > 0 else np.inf


def part_name(part: Part) -> str:
    """Return which arm, against which other one, on which environment."""
    against = f" against {part.other}" if part.other else ""
    return f"{part.arm}{against} on {part.environment}"


def needed_text(part: Part) -> str:
    """Return the number of runs that would decide a part, with its range."""
    if part.needed is None or np.isnan(part.needed.n):
        return NONE
    n, low, high = (
        f"{one:.0f}" if np.isfinite(one) else "∞" for one in (part.needed.n, part.needed.low, part.needed.high)
    )
    return f"{n} ({low} to {high})"


def number(value: float) -> str:
    """Return three significant digits, thousands with commas and without an exponent."""
    if not np.isfinite(value):
        return NONE
    short = f"{value:.3g}"
    return (f"{float(short):,.0f}" if 999 < abs(float(short)) < 1e9 else short).replace("-", "−")


# What the columns are called, and what they are: of the scores, the runs, and the updates (`rlbench.records`).
COLUMNS: dict[str, tuple[str, str]] = {
    "auc": ("return over training", "the mean of a run's learning curve, the area under it over its width"),
    "final": ("final return", "the mean return of the episodes that ended in the last tenth of the budget"),
    "last100": ("return of the last 100 episodes", "the mean return of the last 100 episodes of a run"),
    "drop": ("drop", "by how much the end of a run's learning curve lies below its highest point"),
    "seconds": ("seconds per run", "a run's share of the time that its batch of runs took"),
    "gradient_steps": ("gradient steps", "gradients of policy or value that a run computed"),
    "samples": ("samples", "samples that gradients were computed from, each as often as it was used"),
    "kl": ("KL divergence", "KL(old || new) of an update, mean over the visited states, in nats"),
    "kl_max": ("largest KL divergence", "the largest KL(old || new) of an update over the visited states, in nats"),
    "entropy": ("entropy", "mean entropy of the policy after an update, in nats"),
    "outside_band": ("share outside the clip range", "share of samples whose ratio leaves 1 ± ε after an update"),
    "ratio_max": ("largest ratio", "the largest probability ratio of new to old policy after an update"),
    "explained_variance": ("explained variance", "share of the variance of the targets that the value explains"),
    "clip_fraction": ("clip fraction", "share of a minibatch whose ratio leaves 1 ± ε, mean over gradient steps"),
    "clip_killed": ("clipped share", "share of a minibatch whose gradient the clip switches off"),
    "value_loss": ("value loss", "half the mean squared error of the value, mean over gradient steps"),
    "grad_norm": ("gradient norm", "norm of the policy's gradient before it is clipped, mean over gradient steps"),
    "return": ("episode return", "undiscounted sum of the rewards of an episode"),
    "length": ("episode length", "environment steps of an episode"),
}
_REDUCED = {
    "mean": "mean of a run",
    "final": "mean of the last tenth of a run",
    "min": "smallest of a run",
    "max": "largest of a run",
    "std": "standard deviation within a run",
    "last": "last of a run",
}
_SHARE = re.compile(r"share([<>]=?)(.+)")


def metric_name(metric: str) -> str:
    """Return what a metric is called: `normalised return over training`, `KL divergence (mean of a run)`."""
    column, _, reduction = metric.partition(":")
    plain = column.removesuffix("_normalised")
    name = COLUMNS.get(plain, (plain.replace("field.", "adapted ").replace("_", " "), ""))[0]
    name = f"normalised {name}" if plain != column else name
    if match := _SHARE.fullmatch(reduction):
        return f"share of {_rows(column)} with {name} {_sign(match[1])} {match[2]}"
    return f"{name} ({_reduction(reduction)})" if reduction else name


def metric_definition(metric: str) -> str:
    """Say exactly what a metric is, in one or two sentences."""
    column, _, reduction = metric.partition(":")
    plain = column.removesuffix("_normalised")
    known = COLUMNS.get(plain, ("", ""))[1]
    said = f"{metric}: {known or f'the recorded number “{plain}”'}."
    if reduction:
        said += f" One number per run: {_reduction(reduction)}."
    if plain != column:
        said += " Normalised: 0 is a random policy, 1 the target of the environment."
    return said


def _reduction(reduction: str) -> str:
    if match := _SHARE.fullmatch(reduction):
        return f"the share of values {_sign(match[1])} {match[2]}"
    return _REDUCED.get(reduction) or f"{100 * float(reduction[1:]):g} % quantile of a run"


def _rows(column: str) -> str:
    return "episodes" if column in ("return", "length") else "updates"


def _sign(text: str) -> str:
    return text.replace(">=", "≥").replace("<=", "≤")


def event_name(claim: Claim) -> str:
    """Return what is counted by a claim about a share of runs."""
    return f"{metric_name(claim.metric)} {_sign(claim.event or '')}"


def effect_text(claim: Claim, effect: Estimate) -> str:
    """Return an effect with its interval: a share in percent, everything else in units of the metric."""
    if claim.event is None or not np.isfinite(effect.point):
        return brief(effect)
    point, low, high = (f"{100 * one:.0f} %" for one in (effect.point, effect.low, effect.high))
    return f"{point} [{low}, {high}]"


def claimed_text(claim: Claim) -> str:
    """Return what the claim says of its effect, as `> 0.05`; of a share, in percent."""
    if claim.event is None or claim.bound is None:
        return limits(claim)
    percent = replace(claim, bound=100 * claim.bound, smallest_effect=100 * claim.smallest_effect, event=None)
    return f"{limits(percent)} %"


def effect_meaning(claim: Claim, part: Part) -> str:
    """Say what the number of a part is: `difference in normalised return, ppo-clip minus trpo, on Acrobot-v1`.

    Where there never will be one, say why.
    """
    if part.verdict == "undecidable":
        return part.note.rstrip(".")
    name = metric_name(claim.metric)
    where = "mean over the environments" if part.environment == ALL else f"on {part.environment}"
    if claim.event is not None:
        return f"of the runs of {part.arm} have {event_name(claim)}, {where}"
    if claim.direction in BOUNDED:
        return f"{name} of {part.arm}, {where}"
    if claim.direction in ("increasing", "decreasing"):
        return f"change in {name} from {part.arm} to {part.other}, {where}"
    return f"difference in {name}, {part.arm} minus {part.other}, {where}"


def runs_text(parts: Sequence[Part]) -> str:
    """Return the runs per arm and environment that entered: `20`, or `17–20`."""
    counts = [part.n_arm // len(part.environments) for part in parts]
    counts += [part.n_other // len(part.environments) for part in parts if part.n_other]
    if not counts:
        return NONE
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)}–{max(counts)}"


def asked_text(claim: Claim, environments: Sequence[str]) -> str:
    """Say what the claim was taken to mean, in numbers; `environments` are those that it is about."""
    name, arms = metric_name(claim.metric), claim.arms
    d = f" by more than {number(claim.smallest_effect)}" if claim.smallest_effect else ""
    where = "on average over the environments" if claim.over == "mean" else "on every environment"
    where = f"on {environments[0]}" if len(environments) == 1 else where
    others = " and ".join(arms[1:]) if len(arms) < 4 else f"each of {len(arms) - 1} other arms"
    if claim.direction in BOUNDED:
        what = f"the share of runs with {event_name(claim)}" if claim.event else name
        return f"{what} of {_listed(arms)} is {claimed_text(claim)}, {where}"
    said = {
        "greater": f"{name} of {arms[0]} exceeds that of {others}{d}",
        "less": f"{name} of {arms[0]} stays below that of {others}{d}",
        "different": f"{name} of {arms[0]} and of {others} differ{d}",
        "equivalent": f"{name} of {arms[0]} and of {others} differ by less than {number(claim.smallest_effect)}",
        "not-less": f"{name} of {arms[0]} is at most {number(claim.smallest_effect)} below that of {others}",
        "not-greater": f"{name} of {arms[0]} is at most {number(claim.smallest_effect)} above that of {others}",
        "increasing": f"{name} rises from {arms[0]} to {arms[-1]}{d}",
        "decreasing": f"{name} falls from {arms[0]} to {arms[-1]}{d}",
        "peak": f"{name} of {claim.best} exceeds that of both {arms[0]} and {arms[-1]}{d}",
        "dip": f"{name} of {claim.best} stays below that of both {arms[0]} and {arms[-1]}{d}",
    }
    return f"{said[claim.direction]}, {where}"


def _listed(names: Sequence[str]) -> str:
    if len(names) > 5:
        return f"each of {len(names)} arms ({names[0]} to {names[-1]})"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def short_labels(arms: Sequence[str]) -> tuple[str, list[str]]:
    """Return how the labels begin (else: end), word by word, and each label without it.

    `ppo-clip clip=0.1`, `ppo-clip clip=0.2` give `ppo-clip, clip` and `0.1`, `0.2`; `10 actions`, `100 actions` give
    `actions` and `10`, `100`. Labels of different numbers of words stay as they are.
    """
    words = [arm.split() for arm in arms]
    length = len(words[0])
    if len(arms) < 2 or any(len(own) != length for own in words):
        return "", list(arms)
    same = [len({own[place] for own in words}) == 1 for place in range(length)]
    begin = same.index(False) if False in same else 0
    end = same[::-1].index(False) if False in same and not begin else 0
    shared, rest = words[0][:begin] + words[0][length - end :], [own[begin : length - end] for own in words]
    keys = {own[0].partition("=")[0] for own in rest if len(own) == 1 and "=" in own[0]}
    if len(keys) == 1 and all(len(own) == 1 and "=" in own[0] for own in rest):
        return ", ".join([*([" ".join(shared)] if shared else []), *keys]), [own[0].partition("=")[2] for own in rest]
    return " ".join(shared).rstrip(","), [" ".join(own).rstrip(",") for own in rest]


def place_name(environment: str) -> str:
    """Return the label of an environment without its version, for figures: `CartPole`."""
    return re.sub(r"-v\d+(?=$|\()", "", environment)
