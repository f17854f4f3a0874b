"""A verdict in words: what was measured, what came out, on what it hangs and what would change it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rlbench.analysis.claimtable import brief, limits, number
from rlbench.analysis.compare import ALL
from rlbench.analysis.intervals import Estimate
from rlbench.analysis.tables import NONE
from rlbench.analysis.verdicts import Part
from rlbench.claims import BOUNDED, Claim

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
