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
from rlbench.analysis.stats.statistics import Array, Scores, as_tasks, check_same_tasks
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
    for index, one in zip(known, tested, strict=True):
        alone = _Permutations(data, [one], paired, alternative, seed, repetitions)
        t[index], p[index] = alone.statistic(one), _step_down([one], alone)[0]
    adjusted[known] = p[known]
    if len(known) > 1:
        together = _Permutations(data, tested, paired, alternative, seed, repetitions)
        adjusted[known] = np.maximum(p[known], _step_down(tested, together))
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


def _step_down(hypotheses: Sequence[Hypothesis], permutations: _Permutations) -> Array:
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
        self.tie = tie_of(np.concatenate([data[one.environment, arm] for arm in one.arms]) for one in structure)
        self._places = {name: number for number, name in enumerate(sorted({one.environment for one in structure}))}
        self._arms = sorted({arm for block in structure for arm in block.arms})
        self._freedom = {one: degrees_of_freedom(data, one, paired) for one in hypotheses}
        self._uneven = len(set(self._freedom.values())) > 1
        self._sums: dict[Block, Sums] = {}
        self._columns: dict[tuple[Hypothesis, tuple[Block, ...]], Array] = {}

    def statistic(self, hypothesis: Hypothesis) -> float:
        """Return t of a hypothesis, with its sign."""
        return float(statistic(self._seen([hypothesis]), hypothesis)[0])

    def observed(self, hypotheses: Sequence[Hypothesis]) -> Array:
        """Return the observed statistics on one scale, `[hypotheses]`."""
        seen = self._seen(hypotheses)
        return np.concatenate([self._scaled(statistic(seen, one), one) for one in hypotheses])

    def permuted(self, hypotheses: Sequence[Hypothesis]) -> tuple[Array, bool]:
        """Return the statistics if all blocks are permuted together, `[rows, hypotheses]`, and whether that is all."""
        structure = blocks(hypotheses)
        ways = [rearrangements(self._data, block, self._paired) for block in structure]
        exact = prod(ways) <= EXACT_LIMIT
        if exact:
            grid = np.indices(ways).reshape(len(ways), -1)
            every = [all_rows(self._data, one, self._paired, centre_of(self._data, one)) for one in structure]
            drawn = {one: sums.take(rows) for one, sums, rows in zip(structure, every, grid, strict=True)}
        else:
            drawn = self._sums = {block: self._sums.get(block) or self._draw(block) for block in structure}
        sums = {(block.environment, arm): (block, part) for block, part in drawn.items() for arm in block.arms}
        columns: dict[tuple[Hypothesis, tuple[Block, ...]], Array] = {}
        for one in hypotheses:
            own = [sums[name, one.arm] for name in one.environments]
            key = (one, tuple(block for block, _ in own))
            known = None if exact else self._columns.get(key)
            parts = {(block.environment, one.arm): part for block, part in own}
            columns[key] = self._scaled(statistic(parts, one), one) if known is None else known
        self._columns = {} if exact else columns
        return np.stack(list(columns.values()), axis=1), exact

    def _draw(self, block: Block) -> Sums:
        """Permute a block at random, from a stream of its environment and first arm."""
        entropy = [self._seed, self._places[block.environment], self._arms.index(block.arms[0])]
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
        return random_rows(self._data, block, self._paired, centre_of(self._data, block), rng, self._repetitions)

    def _seen(self, hypotheses: Sequence[Hypothesis]) -> dict[tuple[str, str], Sums]:
        found: dict[tuple[str, str], Sums] = {}
        for block in blocks(hypotheses):
            sums = observed(self._data, block, self._paired, centre_of(self._data, block))
            found |= {(block.environment, arm): sums for arm in block.arms}
        return found

    def _scaled(self, t: Array, hypothesis: Hypothesis) -> Array:
        turned = turn(t, self._alternative)
        return normal_scale(turned, self._freedom[hypothesis]) if self._uneven else turned


def turn(t: Array, alternative: Alternative) -> Array:
    """Return statistics so that large ones speak for the alternative."""
    return np.asarray(np.abs(t) if alternative == "two-sided" else t if alternative == "greater" else -t)


def normal_scale(t: Array, freedom: float | Array) -> Array:
    """Return t statistics as the normal ones that are about as improbable: monotone, and on one scale.

    The largest of several t means little where they have different degrees of freedom, as on one environment and
    over all: the one with the fewest would always set the bar. D. L. Wallace, "Bounds on normal approximations to
    Student's and the chi-square distributions", Annals of Mathematical Statistics 30, 1959.
    """
    size = (8 * freedom + 1) / (8 * freedom + 3) * np.sqrt(freedom * np.log1p(t**2 / freedom))
    return np.asarray(np.copysign(size, t))


def _has_runs(data: Data, hypothesis: Hypothesis) -> bool:
    return all(
        data[name, arm].size > 0 for name in hypothesis.environments for arm in (hypothesis.arm, hypothesis.baseline)
    )


# Tests of "no difference" between two arms; several at once: `families`, other nulls: `equivalence`, `trends`.
#
# The permutation test assumes nothing but that under the null hypothesis the runs of both arms come from one
# distribution (per environment); see `permutation` for its statistic, and for when runs are paired.

_ARM, _BASELINE = "arm", "baseline"


def permutation_test(
    scores: Scores,
    baseline: Scores,
    *,
    paired: bool = False,
    alternative: Alternative = "two-sided",
    shift: float = 0.0,
    seed: int = 0,
    repetitions: int = REPETITIONS,
) -> float:
    """Return the p-value of scores that exceed the baseline's by `shift`, stratified: arms change within a task only.

    The statistic is the sum over tasks of the difference of means over its standard error (Welch's t for one
    task, Student's t of the differences where runs are `paired`, which then stand in the same order of seeds). All
    rearrangements are tried where there are at most `EXACT_LIMIT`; otherwise p = (1 + exceeding) / (1 + repetitions)
    over random ones, never 0. NaN without runs on a side. With a `shift` the test is exact where the distributions
    differ by nothing else.

    Raises:
        RlbenchError: NaN or infinity, different numbers of tasks, or of seeds where runs are paired.
    """
    data, hypothesis = _as_data(scores, baseline)
    moved = {key: values - shift * (key[1] == _ARM) for key, values in data.items()}
    options = {"paired": paired, "seed": seed, "repetitions": repetitions}
    return float(family(moved, [hypothesis], alternative=alternative, **options).p[0])  # type: ignore[arg-type]


def smallest_p(scores: Scores, baseline: Scores, repetitions: int = REPETITIONS, *, paired: bool = False) -> float:
    """Smallest p-value `permutation_test` can give with so many runs; 1 with one run against one, NaN with
    none.

    With equal numbers each split has a mirror image of the same size, so that at least two are as extreme.
    """
    data, hypothesis = _as_data(scores, baseline)
    sizes = [values.size for values in data.values()]
    if min(sizes) == 0:
        return float("nan")
    ways = splits(data, [hypothesis], paired)
    if ways > EXACT_LIMIT:
        return 1.0 / (repetitions + 1)
    mirrored = all(data[name, _ARM].size == data[name, _BASELINE].size for name in hypothesis.environments)
    return (2.0 if mirrored else 1.0) / ways


def _as_data(scores: Scores, baseline: Scores) -> tuple[Data, Hypothesis]:
    x, y = as_tasks(scores, allow_empty=True), as_tasks(baseline, allow_empty=True)
    check_same_tasks(x, y)
    names = tuple(f"{number:04d}" for number in range(len(x)))
    data: dict[tuple[str, str], npt.NDArray[np.float64]] = {}
    for name, one, other in zip(names, x, y, strict=True):
        data |= {(name, _ARM): one, (name, _BASELINE): other}
    return data, Hypothesis(_ARM, _BASELINE, names)
