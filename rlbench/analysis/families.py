"""Testing several comparisons at once: Westfall and Young's step-down of the largest |t|, and Holm's method.

P. H. Westfall and S. S. Young, Resampling-Based Multiple Testing, 1993; J. P. Romano and M. Wolf, "Exact and
approximate stepdown methods for multiple hypothesis testing", JASA 100, 2005. The step-down keeps what Holm throws
away: that comparisons with one baseline, or of one pair on one and on all environments, go together.

An arm that is already known to differ must not be mixed with the others, or their permutations say nothing about
them: after every rejection the runs are permuted again among the arms that the remaining hypotheses connect (the
condition of A. Petrondas and K. R. Gabriel, "Multiple comparisons by rerandomization tests", JASA 78, 1983). And no
adjusted p-value is below the p-value of its comparison alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from rlbench.analysis.permutation import (
    EXACT_LIMIT,
    REPETITIONS,
    Data,
    Hypothesis,
    Sums,
    all_rows,
    blocks,
    centre_of,
    check_paired,
    degrees_of_freedom,
    observed,
    random_rows,
    rearrangements,
    share_as_extreme,
    statistic,
)
from rlbench.analysis.statistics import Array
from rlbench.errors import RlbenchError

Alternative = Literal["two-sided", "greater", "less"]


@dataclass(frozen=True, eq=False)
class Family:
    """What a family of tests gave, `[hypotheses]` each in the order given; NaN where an arm has no run.

    `t` is the observed statistic, `p` the p-value of each comparison alone, `adjusted` the one that holds the
    probability of any false positive in the family.
    """

    t: Array
    p: Array
    adjusted: Array


@dataclass(frozen=True, eq=False)
class _Draws:
    """t as observed `[hypotheses]` and in the permutations `[rows, hypotheses]`; `exact` if those are all there are."""

    observed: Array
    permuted: Array
    exact: bool

    def p(self, column: int, among: Sequence[int]) -> float:
        """Return how often the largest of the columns `among` is at least the observed one of `column`."""
        return share_as_extreme(self.observed[column], self.permuted[:, list(among)].max(axis=1), self.exact)


def family(
    data: Data,
    hypotheses: Sequence[Hypothesis],
    *,
    paired: bool = False,
    alternative: Alternative = "two-sided",
    seed: int = 0,
    repetitions: int = REPETITIONS,
) -> Family:
    """Test every hypothesis of a family against its arm scoring differently, higher ("greater") or lower.

    All rearrangements are tried where there are at most `EXACT_LIMIT`, else `repetitions` random ones.

    Raises:
        RlbenchError: NaN or infinity among the scores, or unequal numbers of seeds where runs are paired.
    """
    if not all(np.isfinite(values).all() for values in data.values()):
        raise RlbenchError("A test was asked of scores with NaN or infinity; select the used runs first.")
    known = [index for index, one in enumerate(hypotheses) if _has_runs(data, one)]
    t, p, adjusted = (np.full(len(hypotheses), np.nan) for _ in range(3))
    tested = [hypotheses[index] for index in known]
    options = (paired, alternative, seed, repetitions)
    alone = [_draws(data, [one], *options) for one in tested]
    p[known] = [draws.p(0, [0]) for draws in alone]
    for index, one in zip(known, tested, strict=True):
        t[index] = statistic(_observed(data, [one], paired), one)[0]
    adjusted[known] = np.maximum(p[known], _step_down(data, tested, *options)) if len(known) > 1 else p[known]
    return Family(t, p, adjusted)


def holm(p_values: npt.ArrayLike) -> Array:
    """Return the p-values adjusted for being so many, in the order given; NaN stays NaN and does not count.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6,
    1979: holds the probability of any false positive in the family, whatever the dependence between the
    tests. For families of different kinds of tests, which share no permutations.
    """
    p = np.asarray(p_values, np.float64)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(order.size, 0, -1)), 1.0)
    return adjusted


def splits(data: Data, hypotheses: Sequence[Hypothesis], paired: bool) -> int:
    """Return in how many ways the runs of all that the hypotheses connect can be rearranged."""
    return prod(rearrangements(data, block, paired) for block in blocks(hypotheses))


def _step_down(
    data: Data, hypotheses: Sequence[Hypothesis], paired: bool, alternative: Alternative, seed: int, repetitions: int
) -> Array:
    """Return the step-down p-values: the most extreme first, against the largest of all that are left."""
    adjusted, floor = np.ones(len(hypotheses)), 0.0
    left = list(range(len(hypotheses)))
    while left:
        current = [hypotheses[index] for index in left]
        draws = _draws(data, current, paired, alternative, seed, repetitions)
        order = list(np.argsort(-draws.observed, kind="stable"))
        structure = blocks(current)
        while order and blocks([current[position] for position in order]) == structure:
            first = order[0]
            floor = max(floor, draws.p(first, order))
            adjusted[left[first]] = floor
            order.pop(0)
        left = [left[position] for position in sorted(order)]
    return adjusted


def _draws(
    data: Data, hypotheses: Sequence[Hypothesis], paired: bool, alternative: Alternative, seed: int, repetitions: int
) -> _Draws:
    """Permute all blocks of the hypotheses together and return their statistics on one scale."""
    permuted: dict[tuple[str, str], Sums] = {}
    structure = blocks(hypotheses)
    for block in structure:
        if paired:
            check_paired(data, block)
    ways = [rearrangements(data, block, paired) for block in structure]
    exact = prod(ways) <= EXACT_LIMIT
    grid = np.indices(ways).reshape(len(ways), -1) if exact else None
    streams = np.random.SeedSequence(seed).spawn(len(structure))
    for number, (block, stream) in enumerate(zip(structure, streams, strict=True)):
        centre = centre_of(data, block)
        if grid is not None:
            sums = all_rows(data, block, paired, centre).take(grid[number])
        else:
            sums = random_rows(data, block, paired, centre, np.random.default_rng(stream), repetitions)
        permuted |= {(block.environment, arm): sums for arm in block.arms}
    seen = _observed(data, hypotheses, paired)
    freedom = np.array([degrees_of_freedom(data, one, paired) for one in hypotheses])
    first = np.concatenate([statistic(seen, one) for one in hypotheses])
    rest = np.stack([statistic(permuted, one) for one in hypotheses], axis=1)
    return _Draws(comparable(first, freedom, alternative), comparable(rest, freedom, alternative), exact)


def _observed(data: Data, hypotheses: Sequence[Hypothesis], paired: bool) -> dict[tuple[str, str], Sums]:
    found: dict[tuple[str, str], Sums] = {}
    for block in blocks(hypotheses):
        sums = observed(data, block, paired, centre_of(data, block))
        found |= {(block.environment, arm): sums for arm in block.arms}
    return found


def comparable(t: Array, freedom: Array, alternative: Alternative) -> Array:
    """Return statistics `[..., hypotheses]` turned towards the alternative and put on one scale.

    The largest of several t means little where they have different degrees of freedom, as on one environment and
    over all: the one with the fewest would always set the bar. Each is then replaced by minus its tail probability
    in Student's distribution, which is monotone; with equal degrees of freedom nothing is changed.
    """
    turned = np.abs(t) if alternative == "two-sided" else t if alternative == "greater" else -t
    if (freedom == freedom[0]).all():
        return np.asarray(turned)
    return np.asarray(-stats.t.sf(turned, freedom))


def _has_runs(data: Data, hypothesis: Hypothesis) -> bool:
    return all(
        data[name, arm].size > 0 for name in hypothesis.environments for arm in (hypothesis.arm, hypothesis.baseline)
    )
