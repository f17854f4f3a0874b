"""Looking at the runs several times: a group-sequential permutation test that stops arm by arm.

Seeds are added in stages, and after each stage the arms that are decided get no more. Looking often would find
something sooner or later; so the level is spent over the looks in proportion to the runs (Lan and DeMets' spending
function alpha t, Biometrika 70, 1983), and the boundary of a look is a quantile of the permutation distribution among
the permutations that no earlier look has stopped. Runs are permuted within their stage and environment, among all arms
that the undecided comparisons connect, which keeps the looks and the comparisons as dependent as they are.

It is the idea of T. Mathieu et al., "AdaStop", TMLR 2024 (arXiv 2306.10882), with four differences: the statistic is
absolute and studentised; comparisons that share an arm are permuted together; several environments are strata of one
test; and what is not decided is reported as undecided, not as equal.

Why the error is held over looks and comparisons together: each set of true hypotheses has a test of its own, of the
level alpha over all looks, whose permutations leave the set's arms exchangeable; the most extreme comparison is
decided first, against the largest of all that are open, and then the rest anew against their own boundaries
(the step-down of `families`). A comparison must also pass its boundaries alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from rlbench.analysis.stats.families import normal_scale
from rlbench.analysis.stats.permutation import (
    REPETITIONS,
    Data,
    Hypothesis,
    Sums,
    blocks,
    centre_of,
    observed,
    random_rows,
    statistic,
    tie_of,
)
from rlbench.analysis.stats.statistics import Array
from rlbench.errors import RlbenchError

ALPHA = 0.05
Outcome = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class Decision:
    """What is known of a hypothesis: the arm is better or worse than its baseline since look `look` (from 1 on).

    `undecided` has look 0. `t` is the statistic at that look, else at the latest one; `n_arm` and `n_baseline` count
    the runs it rests on, over all environments.
    """

    hypothesis: Hypothesis
    outcome: Outcome
    look: int
    t: float
    n_arm: int
    n_baseline: int


class _Looks(NamedTuple):
    """Statistics on one scale: as observed `[looks, hypotheses]`, and permuted `[looks, rows, hypotheses]`.

    In the `digits` behind the point, equal permutations summed in another order agree.
    """

    t: Array
    seen: Array
    permuted: Array
    digits: int


def decide(
    stages: Sequence[Data],
    hypotheses: Sequence[Hypothesis],
    looks: Sequence[int],
    *,
    alpha: float = ALPHA,
    seed: int = 0,
    repetitions: int = REPETITIONS,
) -> list[Decision]:
    """Return what is decided after `len(stages)` looks, in the order of the hypotheses.

    `stages` hold the scores of the runs that each stage added, `looks` the planned numbers of runs per arm and
    environment at every look, those to come included. Everything is computed again from the first look on, so that
    the answer depends on the scores alone and an interrupted experiment goes on where it was. An arm that is decided
    may lack scores in later stages.

    Raises:
        RlbenchError: the looks do not increase, there are more stages than looks, or a score is NaN or infinite.
    """
    _check(stages, looks)
    done: dict[int, Decision] = {}
    for look in range(1, len(stages) + 1):
        spent = [alpha * one / looks[-1] for one in looks[:look]]
        left = [index for index in range(len(hypotheses)) if index not in done]
        while left:
            asked = [hypotheses[index] for index in left]
            found = _rejected(_statistics(stages[:look], asked, seed, repetitions), spent)
            found = [position for position in found if _alone(stages[:look], asked[position], spent, seed, repetitions)]
            for position in found:
                done[left[position]] = _decision(stages[:look], asked[position], look)
            left = [index for position, index in enumerate(left) if position not in found]
            if not found:
                break
    return [done.get(index) or _decision(stages, hypothesis, 0) for index, hypothesis in enumerate(hypotheses)]


def in_play(decisions: Sequence[Decision]) -> set[tuple[str, str]]:
    """Return the (environment, arm) that an undecided comparison still needs runs of."""
    return {
        (name, arm)
        for one in decisions
        if one.outcome == "undecided"
        for name in one.hypothesis.environments
        for arm in (one.hypothesis.arm, one.hypothesis.baseline)
    }


def _rejected(looks: _Looks, spent: Sequence[float]) -> list[int]:
    """Return the hypotheses that a family's test has rejected at any of its looks, by position.

    Among the observed assignment and the permutations, at most the share `spent` may cross a boundary up to each look.
    """
    largest = np.concatenate([looks.seen[:, None], looks.permuted], axis=1).max(axis=2)  # [looks, 1 + rows]
    largest = np.round(largest, looks.digits)
    alive, crossed = np.ones(largest.shape[1], bool), 0
    for look, share in enumerate(spent):
        allowed = int(np.floor(share * largest.shape[1] + 1e-9)) - crossed
        boundary = _boundary(largest[look, alive], allowed)
        if largest[look, 0] >= boundary:
            return [int(one) for one in np.flatnonzero(np.round(looks.seen[look], looks.digits) >= boundary)]
        over = alive & (largest[look] >= boundary)
        crossed += int(over.sum())
        alive &= ~over
    return []


def _boundary(values: Array, allowed: int) -> float:
    """Return the smallest of the values that at most `allowed` of them reach; infinite and beyond if there is none."""
    ordered = np.unique(values)
    reaching = values.size - np.searchsorted(np.sort(values), ordered, side="left")
    fine = ordered[reaching <= allowed]
    return float(fine[0]) if fine.size else float("nan")  # nothing is at least NaN


def _alone(stages: Sequence[Data], hypothesis: Hypothesis, spent: Sequence[float], seed: int, rows: int) -> bool:
    return bool(_rejected(_statistics(stages, [hypothesis], seed, rows), spent))


def _statistics(stages: Sequence[Data], hypotheses: Sequence[Hypothesis], seed: int, repetitions: int) -> _Looks:
    """Return the statistics after every stage, with the permutations of earlier stages carried on."""
    structure = blocks(hypotheses)
    centres = [centre_of(stages[0], block) for block in structure]
    permuted: dict[tuple[str, str], Sums] = {}
    seen: dict[tuple[str, str], Sums] = {}
    signed, scaled, drawn = [], [], []
    for number, stage in enumerate(stages):
        for place, (block, centre) in enumerate(zip(structure, centres, strict=True)):
            rng = np.random.default_rng(np.random.SeedSequence([seed, number, place]))
            rows = random_rows(stage, block, False, centre, rng, repetitions)
            here = observed(stage, block, False, centre)
            for arm in block.arms:
                key = (block.environment, arm)
                permuted[key] = permuted[key] + rows if number else rows
                seen[key] = seen[key] + here if number else here
        counts = [_runs(stages[: number + 1], one) for one in hypotheses]
        freedom = np.array([max(sum(n + m - 2 for n, m in each), 1) for each in counts], np.float64)
        enough = [min(min(pair) for pair in each) >= 2 for each in counts]
        t = _columns(seen, hypotheses, enough)
        signed.append(t[0])
        uneven = (freedom != freedom[0]).any()
        sizes = [np.abs(one) for one in (t, _columns(permuted, hypotheses, enough))]
        first, rest = [normal_scale(one, freedom) for one in sizes] if uneven else sizes
        scaled.append(first)
        drawn.append(rest)
    tie = tie_of(
        np.concatenate([stage[block.environment, arm] for stage in stages for arm in block.arms]) for block in structure
    )
    return _Looks(np.stack(signed), np.concatenate(scaled), np.stack(drawn), int(1e-9 - np.log10(tie)))


def _columns(sums: dict[tuple[str, str], Sums], hypotheses: Sequence[Hypothesis], enough: Sequence[bool]) -> Array:
    """Return the statistics, `[rows, hypotheses]`; 0 where an arm has fewer than two runs somewhere."""
    rows = len(next(iter(sums.values())).total)
    columns = [statistic(sums, one) if can else np.zeros(rows) for one, can in zip(hypotheses, enough, strict=True)]
    return np.stack(columns, axis=1)


def _decision(stages: Sequence[Data], hypothesis: Hypothesis, look: int) -> Decision:
    upto = list(stages[:look]) if look else list(stages)
    counts = _runs(upto, hypothesis)
    enough = min(min(pair) for pair in counts) >= 2
    t = float(_statistics(upto, [hypothesis], 0, 1).t[-1, 0]) if enough else 0.0
    outcome: Outcome = "undecided" if not look else "better" if t > 0 else "worse"
    return Decision(hypothesis, outcome, look, t, sum(n for n, _ in counts), sum(m for _, m in counts))


def _runs(stages: Sequence[Data], hypothesis: Hypothesis) -> list[tuple[int, int]]:
    """Return the numbers of runs of both arms in every environment of a hypothesis."""
    empty = np.empty(0)
    sides = (hypothesis.arm, hypothesis.baseline)
    return [
        tuple(sum(stage.get((name, arm), empty).size for stage in stages) for arm in sides)  # type: ignore[misc]
        for name in hypothesis.environments
    ]


def _check(stages: Sequence[Data], looks: Sequence[int]) -> None:
    if list(looks) != sorted(set(looks)) or not looks or looks[0] < 1:
        raise RlbenchError(f"The numbers of runs at each look must increase, not {list(looks)}.")
    if not 0 < len(stages) <= len(looks):
        raise RlbenchError(f"{len(looks)} looks are planned, and there are {len(stages)} stages.")
    if not all(np.isfinite(values).all() for stage in stages for values in stage.values()):
        raise RlbenchError("A test was asked of scores with NaN or infinity; select the used runs first.")
