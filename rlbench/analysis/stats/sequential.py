"""Interim analyses: a group-sequential permutation test that stops arm by arm.

Seeds are added in stages, and after each stage, at a look, the arms that are decided are stopped. Looking often would
find something sooner or later; so the level is spent over the looks in proportion to the runs (Lan and DeMets' spending
function alpha t, Biometrika 70, 1983), and the boundary of a look is a quantile of the permutation distribution among
the permutations that no earlier look has stopped. Runs are permuted within their stage and environment, among all arms
that the open comparisons connect, which keeps the looks and the comparisons as dependent as they are.

It is the idea of T. Mathieu et al., "AdaStop", TMLR 2024 (arXiv 2306.10882), with four differences: the statistic is
absolute and studentised; comparisons that share an arm are permuted together; several environments are strata of one
test; and what is not decided is reported as inconclusive, not as equal.

Why the error is held over looks and comparisons together: each set of true hypotheses has a test of its own, of the
level alpha over all looks, whose permutations leave the set's arms exchangeable; the most extreme comparison is
decided first, against the largest of all that are open, and then the rest anew against their own boundaries
(the step-down of `tests`). A comparison must also pass its boundaries alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from rlbench.analysis.stats import tests
from rlbench.analysis.stats.estimates import Array
from rlbench.analysis.stats.tests import PERMUTATIONS, Data, Hypothesis, Pool, Sums
from rlbench.errors import RlbenchError

ALPHA = 0.05
Outcome = Literal["better", "worse", "inconclusive"]


@dataclass(frozen=True)
class Decision(Hypothesis):
    """What is known of a hypothesis: the arm is better or worse than its baseline since look `look` (from 1 on).

    `inconclusive` has look 0. `t` is the statistic at that look, else at the latest one; `n_arm` and `n_baseline` count
    the runs it rests on, over all environments.
    """

    outcome: Outcome
    look: int
    t: float
    n_arm: int
    n_baseline: int


class _Interim(NamedTuple):
    """Statistics on one scale: as observed `[looks, hypotheses]`, and permuted `[looks, rows, hypotheses]`.

    `t` is observed, on its own scale. In the `digits` behind the point, equal permutations summed in another order
    agree.
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
    repetitions: int = PERMUTATIONS,
) -> list[Decision]:
    """Return what is decided after `len(stages)` looks, in the order of the hypotheses.

    `stages` hold the scores of the runs that each stage added, `looks` the planned numbers of runs per arm and
    environment at every look, those to come included. Everything is computed again from the first look on, so that
    the answer depends on the scores alone and an interrupted experiment goes on where it was. An arm that is decided
    may lack scores in later stages.

    Raises:
        RlbenchError: the looks do not increase, there are more stages than looks, or a score is NaN or infinite.
    """
    if list(looks) != sorted(set(looks)) or not looks or looks[0] < 1:
        raise RlbenchError(f"The numbers of runs at each look must increase, not {list(looks)}.")
    if not 0 < len(stages) <= len(looks):
        raise RlbenchError(f"{len(looks)} looks are planned, and there are {len(stages)} stages.")
    if not all(np.isfinite(values).all() for stage in stages for values in stage.values()):
        raise RlbenchError("A test was asked of scores with NaN or infinity; select the used runs first.")
    done: dict[int, Decision] = {}
    for look in range(1, len(stages) + 1):
        now, spent = stages[:look], [alpha * runs / looks[-1] for runs in looks[:look]]
        left = list(range(len(hypotheses)))
        while left := [index for index in left if index not in done]:
            together = _statistics(now, [hypotheses[index] for index in left], seed, repetitions)
            stopped = [left[position] for position in _rejected(together, spent)]
            alone = {index: _statistics(now, [hypotheses[index]], seed, repetitions) for index in stopped}
            stopped = [index for index in stopped if _rejected(alone[index], spent)]
            done |= {index: _decision(now, hypotheses[index], look) for index in stopped}
            if not stopped:
                break
    return [done.get(index) or _decision(stages, hypothesis, 0) for index, hypothesis in enumerate(hypotheses)]


def in_play(decisions: Sequence[Decision]) -> set[tuple[str, str]]:
    """Return the (environment, arm) that an open comparison still needs runs of."""
    open_ones = [decision for decision in decisions if decision.outcome == "inconclusive"]
    return {(name, arm) for decision in open_ones for name in decision.environments for arm in decision.arms}


def _rejected(interim: _Interim, spent: Sequence[float]) -> list[int]:
    """Return the hypotheses that a family's test has rejected at any of its looks, by position.

    Among the observed assignment and the permutations, at most the share `spent` may cross a boundary up to each look.
    """
    largest = np.concatenate([interim.seen[:, None], interim.permuted], axis=1).max(axis=2)  # [looks, 1 + rows]
    largest = np.round(largest, interim.digits)
    alive, crossed = np.ones(largest.shape[1], bool), 0
    for look, share in enumerate(spent):
        allowed = int(np.floor(share * largest.shape[1] + 1e-9)) - crossed
        boundary = _boundary(largest[look, alive], allowed)
        if largest[look, 0] >= boundary:
            return np.flatnonzero(np.round(interim.seen[look], interim.digits) >= boundary).tolist()
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


def _statistics(stages: Sequence[Data], hypotheses: Sequence[Hypothesis], seed: int, repetitions: int) -> _Interim:
    """Return the statistics after every stage, with the permutations of earlier stages carried on."""
    structure = tests.blocks(hypotheses)
    centres = [Pool(stages[0], block, False).centre for block in structure]
    permuted: dict[tuple[str, str], Sums] = {}
    seen: dict[tuple[str, str], Sums] = {}
    t, scaled, drawn = [], [], []
    for number, stage in enumerate(stages):
        for place, (block, centre) in enumerate(zip(structure, centres, strict=True)):
            rng = np.random.default_rng(np.random.SeedSequence([seed, number, place]))
            pool = Pool(stage, block, False, centre)
            mixed, here = pool.random(rng, repetitions), pool.observed()
            for arm in block.arms:
                key = (block.environment, arm)
                permuted[key] = permuted[key] + mixed if number else mixed
                seen[key] = seen[key] + here if number else here
        pooled = _pooled(stages[: number + 1], hypotheses)
        enough = [min(map(min, tests.run_counts(pooled, each))) >= 2 for each in hypotheses]
        df = np.array([tests.degrees_of_freedom(pooled, each, False) for each in hypotheses], np.float64)
        both, tested = [], list(zip(hypotheses, enough, strict=True))
        for sums, rows in ((seen, 1), (permuted, repetitions)):
            # 0 where an arm has fewer than two runs somewhere.
            columns = [tests.statistic(sums, each) if can else np.zeros(rows) for each, can in tested]
            both.append(np.stack(columns, axis=1))
        t.append(both[0][0])
        both = [tests.normal_scale(np.abs(each), df) if (df != df[0]).any() else np.abs(each) for each in both]
        scaled.append(both[0])
        drawn.append(both[1])
    tie = tests.tie_of(np.concatenate([pooled[block.environment, arm] for arm in block.arms]) for block in structure)
    return _Interim(np.stack(t), np.concatenate(scaled), np.stack(drawn), int(1e-9 - np.log10(tie)))


def _decision(stages: Sequence[Data], hypothesis: Hypothesis, look: int) -> Decision:
    counts = tests.run_counts(_pooled(stages, [hypothesis]), hypothesis)
    enough = min(map(min, counts)) >= 2
    t = float(_statistics(stages, [hypothesis], 0, 1).t[-1, 0]) if enough else 0.0
    outcome: Outcome = "inconclusive" if not look else "better" if t > 0 else "worse"
    asked = hypothesis.arm, hypothesis.baseline, hypothesis.environments
    return Decision(*asked, outcome, look, t, sum(n for n, _ in counts), sum(m for _, m in counts))


def _pooled(stages: Sequence[Data], hypotheses: Sequence[Hypothesis]) -> dict[tuple[str, str], Array]:
    """Return the scores of all stages together; an arm that was stopped lacks scores in later ones."""
    keys = {(name, arm) for each in hypotheses for name in each.environments for arm in each.arms}
    return {key: np.concatenate([stage.get(key, np.empty(0)) for stage in stages]) for key in keys}
