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
from math import prod
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from rlbench.analysis.stats.permutation import (
    EXACT_LIMIT,
    REPETITIONS,
    Block,
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
    tie_of,
)
from rlbench.analysis.stats.statistics import Array
from rlbench.errors import RlbenchError

Alternative = Literal["two-sided", "greater", "less"]


class StepDown(NamedTuple):
    """What a family of tests gave, `[hypotheses]` each in the order given; NaN where an arm has no run.

    `p` is the p-value of each comparison alone, `adjusted` the one that holds the probability of any false positive in
    the family.
    """

    p: Array
    adjusted: Array


def step_down(
    data: Data,
    hypotheses: Sequence[Hypothesis],
    *,
    paired: bool = False,
    alternative: Alternative = "two-sided",
    seed: int = 0,
    repetitions: int = REPETITIONS,
) -> StepDown:
    """Test every hypothesis of a family against its arm scoring differently, higher ("greater") or lower ("less").

    Nothing is assumed but that under a true hypothesis the runs of both arms come from one distribution, in each
    environment. All rearrangements are tried where there are at most `EXACT_LIMIT`, else `repetitions` random ones.

    Raises:
        RlbenchError: NaN or infinity among the scores, or unequal numbers of seeds where runs are paired.
    """
    if not all(np.isfinite(values).all() for values in data.values()):
        raise RlbenchError("A test was asked of scores with NaN or infinity; select the used runs first.")
    p, adjusted = np.full((2, len(hypotheses)), np.nan)
    known = [
        index
        for index, hypothesis in enumerate(hypotheses)
        if all(data[name, arm].size for name in hypothesis.environments for arm in hypothesis.arms)
    ]
    for group in [[index] for index in known] + ([known] if len(known) > 1 else []):
        tested = [hypotheses[index] for index in group]
        p_values = _adjusted(tested, _Permutations(data, tested, paired, alternative, seed, repetitions))
        adjusted[group] = np.fmax(adjusted[group], p_values)
        if len(group) == 1:
            p[group] = p_values
    return StepDown(p, adjusted)


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


def signed(t: Array, alternative: Alternative) -> Array:
    """Return statistics so that large ones speak for the alternative."""
    return np.asarray(np.abs(t) if alternative == "two-sided" else t if alternative == "greater" else -t)


def _adjusted(hypotheses: Sequence[Hypothesis], permutations: _Permutations) -> Array:
    """Return the step-down p-values: the most extreme first, against the largest of all that are left."""
    adjusted, floor = np.ones(len(hypotheses)), 0.0
    seen = permutations.observed(hypotheses)
    order = list(np.argsort(-seen, kind="stable"))
    while order:
        current = [hypotheses[index] for index in order]
        permuted, exact = permutations.permuted(current)
        # [rows, left]: the largest of each hypothesis and all that are less extreme.
        largest = np.maximum.accumulate(permuted[:, ::-1], axis=1)[:, ::-1]
        structure, step = blocks(current), 0
        while step < len(order) and blocks(current[step:]) == structure:
            floor = max(floor, share_as_extreme(seen[order[step]], largest[:, step], exact, permutations.tie))
            adjusted[order[step]] = floor
            step += 1
        order = order[step:]
    return adjusted


class _Permutations:
    """Statistics of hypotheses on one scale, as observed and permuted; what stays the same is drawn once."""

    def __init__(
        self,
        data: Data,
        hypotheses: Sequence[Hypothesis],
        paired: bool,
        alternative: Alternative,
        seed: int,
        repetitions: int,
    ) -> None:
        self._data, self._paired, self._alternative = data, paired, alternative
        self._seed, self._repetitions = seed, repetitions
        structure = blocks(hypotheses)
        if paired:
            for block in structure:
                check_paired(data, block)
        self.tie = tie_of(np.concatenate([data[block.environment, arm] for arm in block.arms]) for block in structure)
        self._places = {name: number for number, name in enumerate(sorted({block.environment for block in structure}))}
        self._arms = sorted({arm for block in structure for arm in block.arms})
        self._degrees_of_freedom = {each: degrees_of_freedom(data, each, paired) for each in hypotheses}
        self._uneven = len(set(self._degrees_of_freedom.values())) > 1
        self._sums: dict[Block, Sums] = {}
        self._columns: dict[tuple[Hypothesis, tuple[Block, ...]], Array] = {}

    def observed(self, hypotheses: Sequence[Hypothesis]) -> Array:
        """Return the observed statistics on one scale, `[hypotheses]`."""
        seen: dict[tuple[str, str], Sums] = {}
        for block in blocks(hypotheses):
            sums = observed(self._data, block, self._paired, centre_of(self._data, block))
            seen |= {(block.environment, arm): sums for arm in block.arms}
        return np.concatenate([self._scaled(statistic(seen, each), each) for each in hypotheses])

    def permuted(self, hypotheses: Sequence[Hypothesis]) -> tuple[Array, bool]:
        """Return the statistics if all blocks are permuted together, `[rows, hypotheses]`, and whether that is all."""
        structure = blocks(hypotheses)
        ways = [rearrangements(self._data, block, self._paired) for block in structure]
        exact = prod(ways) <= EXACT_LIMIT
        if exact:
            grid = np.indices(ways).reshape(len(ways), -1)
            every = [all_rows(self._data, each, self._paired, centre_of(self._data, each)) for each in structure]
            drawn = {block: sums.take(rows) for block, sums, rows in zip(structure, every, grid, strict=True)}
        else:
            drawn = self._sums = {block: self._sums.get(block) or self._draw(block) for block in structure}
        sums = {(block.environment, arm): (block, part) for block, part in drawn.items() for arm in block.arms}
        columns: dict[tuple[Hypothesis, tuple[Block, ...]], Array] = {}
        for each in hypotheses:
            parts = [sums[name, each.arm] for name in each.environments]
            key = (each, tuple(block for block, _ in parts))
            if exact or key not in self._columns:
                by_arm = {(block.environment, each.arm): part for block, part in parts}
                columns[key] = self._scaled(statistic(by_arm, each), each)
            else:
                columns[key] = self._columns[key]
        self._columns = {} if exact else columns
        return np.stack(list(columns.values()), axis=1), exact

    def _draw(self, block: Block) -> Sums:
        """Permute a block at random, from a stream of its environment and first arm."""
        entropy = [self._seed, self._places[block.environment], self._arms.index(block.arms[0])]
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
        return random_rows(self._data, block, self._paired, centre_of(self._data, block), rng, self._repetitions)

    def _scaled(self, t: Array, hypothesis: Hypothesis) -> Array:
        sizes = signed(t, self._alternative)
        return normal_scale(sizes, self._degrees_of_freedom[hypothesis]) if self._uneven else sizes


def normal_scale(t: Array, degrees_of_freedom: float | Array) -> Array:
    """Return t statistics as the normal ones that are about as improbable: monotone, and on one scale.

    The largest of several t means little where they have different degrees of freedom, as on one environment and
    over all: the one with the fewest would always set the bar. D. L. Wallace, "Bounds on normal approximations to
    Student's and the chi-square distributions", Annals of Mathematical Statistics 30, 1959.
    """
    df = degrees_of_freedom
    size = (8 * df + 1) / (8 * df + 3) * np.sqrt(df * np.log1p(t**2 / df))
    return np.asarray(np.copysign(size, t))
