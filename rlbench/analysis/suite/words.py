"""A verdict in words: what was measured, what came out, on what it hangs and what would change it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from rlbench.analysis.claimtable import brief, limits, number, part_name
from rlbench.analysis.compare import ALL
from rlbench.analysis.intervals import Estimate
from rlbench.analysis.suite.entries import Entry, claim_runs
from rlbench.analysis.tables import NONE
from rlbench.analysis.verdicts import Part, Verdict, clearance, regions
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


def effect_meaning(claim: Claim, part: Part) -> str:
    """Say what the number of a part is: `difference in normalised return, ppo-clip minus trpo, on Acrobot-v1`."""
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
        return f"{what} of {_listed(arms)} is {limits(claim)}, {where}"
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


def change_text(entry: Entry) -> list[str]:
    """Say, from the numbers, what would change the verdict."""
    judged, hinge = entry.judged, entry.hinge
    if judged is None or hinge is None:
        return []
    said = {"supported": _supported, "refuted": _refuted, "inconclusive": _inconclusive}[judged.verdict](judged, hinge)
    if judged.with_failures is not None:
        other = judged.with_failures
        counted = "If the runs that failed or diverged count as the worst possible score, it is"
        said.append(f"{counted} {other}{', too' if other == judged.verdict else ' instead'}.")
    return said


def counts_text(entry: Entry) -> str:
    """Count the runs of a claim's arms: planned, finished, failed, diverged, missing, and those that entered."""
    if entry.claim is None or entry.results is None:
        return ""
    status = claim_runs(entry.claim, entry.results)["status"].value_counts()
    counts = [f"{status[name]} {name}" for name in ("finished", "diverged", "failed", "missing") if status.get(name)]
    said = f"{status.sum()} runs planned: {', '.join(counts)}."
    if entry.judged is not None and entry.judged.left_out:
        said += f" {entry.judged.left_out} did not enter the verdict."
    return said


def _supported(verdict: Verdict, hinge: Part) -> list[str]:
    support, _ = regions(verdict.claim)
    lead = "" if len(verdict.parts) == 1 else f"All {len(verdict.parts)} parts support it; the closest call is "
    margin = clearance(hinge.effect, support)
    return [
        f"{lead}{part_name(hinge)}: its interval {effect_text(verdict.claim, hinge.effect)} stays {number(margin)} "
        f"clear of the limit (claimed: {limits(verdict.claim)}). The verdict would be inconclusive if the interval "
        "reached the limit."
    ]


def _refuted(verdict: Verdict, hinge: Part) -> list[str]:
    _, refute = regions(verdict.claim)
    against = [part for part in verdict.parts if part.verdict == "refuted"]
    said = []
    if len(verdict.parts) > 1:
        others = {part.verdict for part in verdict.parts if part.verdict != "refuted"}
        rest = "supported" if others == {"supported"} else "inconclusive"
        alone = f"; without {'it' if len(against) == 1 else 'them'} the claim would be {rest}" if others else ""
        verb = "refutes" if len(against) == 1 else "refute"
        said.append(f"{len(against)} of {len(verdict.parts)} parts {verb} it{alone}.")
    lead = "" if len(verdict.parts) == 1 else "The clearest of them is " if len(against) > 1 else "It hangs on "
    said.append(
        f"{lead}{part_name(hinge)}: the interval {effect_text(verdict.claim, hinge.effect)} lies "
        f"{number(clearance(hinge.effect, refute))} beyond the point from which the claim cannot be true "
        f"(claimed: {limits(verdict.claim)})."
    )
    return said


def _inconclusive(verdict: Verdict, hinge: Part) -> list[str]:
    support, _ = regions(verdict.claim)
    undecided = [part for part in verdict.parts if part.verdict == "inconclusive"]
    said = []
    if len(verdict.parts) > 1:
        fine = len(verdict.parts) - len(undecided)
        said.append(f"{fine} of {len(verdict.parts)} parts support it, {len(undecided)} decide nothing.")
    if not np.isfinite(hinge.effect.low):
        return [*said, hinge.note or f"{part_name(hinge)}: there are too few runs for an interval."]
    reach = clearance(hinge.effect, support)
    where = f"{part_name(hinge)}: the interval {effect_text(verdict.claim, hinge.effect)}"
    if reach > 0:
        said.append(f"{where} would support it, but the corrected p of {number(hinge.p)} does not.")
    else:
        said.append(f"{where} reaches {number(-reach)} beyond the limit (claimed: {limits(verdict.claim)}).")
    if hinge.note:
        said.append(hinge.note)
    elif np.isfinite(verdict.needed):
        said.append(
            f"If the effects and spreads are as estimated, about {verdict.needed:,.0f} seeds per arm and environment "
            "would decide it."
        )
    else:
        said.append("The estimated effect lies so close to the limit that no reasonable number of seeds would decide.")
    return said


def _listed(names: Sequence[str]) -> str:
    if len(names) > 5:
        return f"each of {len(names)} arms ({names[0]} to {names[-1]})"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
