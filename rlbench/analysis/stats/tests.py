"""Permuting runs between arms: one studentised statistic, for pairs, families and stages of seeds.

A hypothesis says that two arms have the same distribution of scores in some environments. Where several are true
together, the arms they connect are exchangeable within each environment, so runs are permuted among all of them at
once: comparisons that share an arm keep their dependence. Each environment is a stratum: runs never leave it.

Paired or not. Runs of one seed share the streams of the environment, of the initial weights, of the action noise and
of the minibatch permutations (`rlbench.training.state`), whatever the algorithm: that makes pairing by seed real
here, and it is not real between runs trained elsewhere with seeds that merely have the same number. How much it is
worth is another matter: two different algorithms take different actions after the first update, their runs drift
apart, and with little correlation a paired test loses half of its degrees of freedom for nothing. So tests are
unpaired unless asked; the unpaired test stays valid for seeds in common, where it errs on the safe side.

The statistic is Welch's t, over several environments the sum of the differences of means over its standard error.
Studentised, the test also holds its level asymptotically where only the means agree: E. Chung and J. P. Romano,
"Exact and asymptotically robust permutation tests", Annals of Statistics 41, 2013.

Several comparisons are tested at once by the step-down of the largest |t| (P. H. Westfall and S. S. Young,
Resampling-Based Multiple Testing, 1993; J. P. Romano and M. Wolf, JASA 100, 2005). It keeps what Holm's method throws
away: that comparisons with one baseline, or of one pair on one and on all environments, go together. An arm that is
already known to differ must not be mixed with the others, or their permutations say nothing about them: after every
rejection the runs are permuted again among the arms that the remaining hypotheses connect (the condition of
A. Petrondas and K. R. Gabriel, JASA 78, 1983). And no adjusted p-value is below that of its comparison alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations, pairwise, permutations, product
from math import comb, factorial, prod
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from rlbench.analysis.stats.estimates import Array
from rlbench.errors import RlbenchError

EXACT_LIMIT = 20_000  # rearrangements up to which all of them are tried
PERMUTATIONS = 9_999

_TIE = 1e-9  # equal rearrangements summed in another order may differ in the last bits
_LAST_BITS = 64 * float(np.finfo(np.float64).eps)

Alternative = Literal["two-sided", "greater", "less"]
Index = npt.NDArray[np.intp]
Data = Mapping[tuple[str, str], Array]
"""Scores by (environment, arm): `[runs]`, and `[seeds]` in the same order for every arm where runs are paired."""


@dataclass(frozen=True)
class Hypothesis:
    """The arm scores like the baseline in each of the environments."""

    arm: str
    baseline: str
    environments: tuple[str, ...]

    @property
    def arms(self) -> tuple[str, str]:
        """The arm and its baseline."""
        return self.arm, self.baseline


@dataclass(frozen=True)
class Block:
    """Arms of one environment that some hypotheses connect: their runs are permuted with each other."""

    environment: str
    arms: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Sums:
    """Runs of a block, rearranged in `rows` ways, as sums that two stages of one experiment can add.

    Unpaired, the columns are the arms: `counts` `[columns]` runs, `total` and `square` `[rows, columns]` of their
    scores. Paired, the columns are pairs of arms and the sums are over the differences within a seed. `scale` is the
    size of the scores, against which a variance counts as rounding.
    """

    columns: tuple[object, ...]
    counts: npt.NDArray[np.int64]
    total: Array
    square: Array
    scale: float
    paired: bool

    def difference(self, arm: str, baseline: str) -> tuple[Array, Array]:
        """Return mean(arm) - mean(baseline) and its squared standard error, `[rows]` each."""
        if self.paired:
            sign = 1.0 if (arm, baseline) in self.columns else -1.0
            mean, variance = self._mean(self.columns.index((arm, baseline) if sign > 0 else (baseline, arm)))
            return sign * mean, variance
        (x, vx), (y, vy) = (self._mean(self.columns.index(name)) for name in (arm, baseline))
        return x - y, vx + vy

    def take(self, rows: Index) -> Sums:
        """Return some of the rows, in the order of `rows`."""
        return replace(self, total=self.total[rows], square=self.square[rows])

    def __add__(self, later: Sums) -> Sums:
        counts, total, square = self.counts + later.counts, self.total + later.total, self.square + later.square
        return Sums(self.columns, counts, total, square, max(self.scale, later.scale), self.paired)

    def _mean(self, column: int) -> tuple[Array, Array]:
        n = int(self.counts[column])
        mean = self.total[:, column] / n
        variance = np.maximum(self.square[:, column] / n - mean**2, 0.0) / max(n - 1, 1)
        return mean, np.where(variance <= 1e-14 * self.scale**2, 0.0, variance)


def blocks(hypotheses: Sequence[Hypothesis]) -> list[Block]:
    """Return the connected arms of every environment, sorted: what may be permuted if all hypotheses are true."""
    connected = []
    for environment in sorted({name for hypothesis in hypotheses for name in hypothesis.environments}):
        groups: list[set[str]] = []
        for hypothesis in hypotheses:
            if environment in hypothesis.environments:
                joined = set(hypothesis.arms)
                apart = [group for group in groups if not group & joined]
                groups = [*apart, joined.union(*(group for group in groups if group & joined))]
        connected += [Block(environment, tuple(sorted(group))) for group in groups]
    return sorted(connected, key=lambda block: (block.environment, block.arms))


def rearrangements(sizes: Sequence[int], paired: bool) -> int:
    """Return in how many ways runs can be assigned to arms of so many runs each, or of so many seeds where paired."""
    if paired:
        return int(factorial(len(sizes)) ** sizes[0])
    return prod(comb(sum(sizes[index:]), size) for index, size in enumerate(sizes))


class Pool:
    """The runs of a block less `centre`, by default their mean: as they were observed, and rearranged."""

    def __init__(self, data: Data, block: Block, paired: bool, centre: float | None = None) -> None:
        groups = [data[block.environment, arm] for arm in block.arms]
        self._arms, self._paired, self.sizes = block.arms, paired, [group.size for group in groups]
        if paired and len(set(self.sizes)) > 1:
            counted = ", ".join(f"{arm} {size}" for arm, size in zip(block.arms, self.sizes, strict=True))
            raise RlbenchError(
                f"A paired test needs the same seeds in every arm, but on {block.environment} they have: {counted}."
            )
        if centre is None:
            pooled = np.sort(np.concatenate(groups))
            flat = pooled.size == 0 or pooled[0] == pooled[-1]  # then exactly the value of all, without rounding
            centre = float(pooled[:1].sum() if flat else pooled.mean())
        self.centre = centre
        groups = [group - centre for group in groups]
        self._values = np.stack(groups, axis=1) if paired else np.concatenate(groups)  # [seeds, arms], or [runs]

    def observed(self) -> Sums:
        """Return the sums as they were observed, one row."""
        return self._sums(self._values[None])

    def every(self) -> Sums:
        """Return the sums of all rearrangements, the observed one among them."""
        if self._paired:
            each = np.array(list(permutations(range(len(self._arms)))))  # [ways, arms]
            ways = np.array(list(product(range(len(each)), repeat=len(self._values))))  # [rows, seeds]
            repeated = self._values[None].repeat(len(ways), axis=0)  # [rows, seeds, arms]
            return self._sums(np.take_along_axis(repeated, each[ways], axis=2))
        rows = np.array(list(_assignments(tuple(range(self._values.size)), self.sizes)), dtype=np.intp)
        return self._sums(np.sort(self._values)[rows])

    def random(self, rng: np.random.Generator, rows: int) -> Sums:
        """Return the sums of `rows` random rearrangements; the order of the runs does not matter."""
        return self._sums(rng.permuted(np.sort(self._values, axis=-1)[None].repeat(rows, axis=0), axis=-1))

    def _sums(self, values: Array) -> Sums:
        """Sum `[rows, runs]`, in which the runs of one arm follow those of another, or `[rows, seeds, arms]`."""
        scale = float(np.abs(values[0]).max(initial=0.0))
        if self._paired:
            pairs = list(combinations(range(len(self._arms)), 2))
            moved = [values[..., i] - values[..., j] for i, j in pairs]
            names = tuple((self._arms[i], self._arms[j]) for i, j in pairs)
            total, square = (np.stack([(pair**power).sum(1) for pair in moved], axis=1) for power in (1, 2))
            return Sums(names, np.full(len(pairs), values.shape[1]), total, square, scale, True)
        filled = np.flatnonzero(self.sizes)  # an arm may have no run in a stage, and its sums are 0
        starts = (np.cumsum(self.sizes) - np.array(self.sizes))[filled].astype(np.intp)
        total, square = np.zeros((2, len(values), len(self.sizes)))
        if filled.size:
            total[:, filled] = np.add.reduceat(values, starts, axis=1)
            square[:, filled] = np.add.reduceat(values**2, starts, axis=1)
        return Sums(self._arms, np.array(self.sizes), total, square, scale, False)


def _assignments(runs: tuple[int, ...], sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield every assignment of `runs` to groups of `sizes`, each as one tuple, group after group."""
    if len(sizes) == 1:
        yield runs
        return
    for chosen in combinations(runs, sizes[0]):
        left = tuple(run for run in runs if run not in chosen)
        for rest in _assignments(left, sizes[1:]):
            yield chosen + rest


def statistic(sums: Mapping[tuple[str, str], Sums], hypothesis: Hypothesis) -> Array:
    """Return Welch's t of the arm against its baseline over the hypothesis' environments, `[rows]`.

    `sums` by (environment, arm). Positive where the arm scores higher, 0 where nothing differs, infinite for a
    difference without any spread.
    """
    parts = [sums[name, hypothesis.arm] for name in hypothesis.environments]
    moved = [part.difference(hypothesis.arm, hypothesis.baseline) for part in parts]
    shift = reduce(np.add, [difference for difference, _ in moved])
    variance = reduce(np.add, [error for _, error in moved])
    tolerance = 1e-12 * np.sqrt(sum(part.scale**2 for part in parts))
    shift = np.where(np.abs(shift) <= tolerance, 0.0, shift)
    certain = np.where(shift == 0, 0.0, np.copysign(np.inf, shift))
    return np.asarray(np.where(variance > 0, shift / np.sqrt(np.where(variance > 0, variance, 1.0)), certain))


def tie_of(samples: Iterable[Array]) -> float:
    """Return by how much statistics of the same scores, rearranged, may differ through rounding alone.

    Each sample holds the scores that are permuted with each other. The further they are from 0 in comparison to their
    spread, the fewer digits are left of what they differ by.
    """
    spreads = [(float(np.abs(sample).max()), float(np.ptp(sample))) for sample in samples if sample.size]
    return max([_TIE, *(_LAST_BITS * size / spread for size, spread in spreads if spread > 0)])


def share_as_extreme(seen: float, permuted: Array, exact: bool, tie: float = _TIE) -> float:
    """Return the p-value: how often a permuted statistic `[rows]` is at least the observed one, or ties with it.

    Over random permutations (1 + count) / (1 + rows), never 0: B. Phipson and G. K. Smyth, "Permutation p-values
    should never be zero", Statistical Applications in Genetics and Molecular Biology 9, 2010. If `exact`, the rows are
    all there are, the observed one among them.
    """
    extreme, rows = int((permuted >= _bar(seen, tie)).sum()), len(permuted)
    return extreme / rows if exact else (1 + extreme) / (1 + rows)


def _bar(seen: float, tie: float) -> float:
    """Return the least statistic that ties with one."""
    return seen - tie * max(abs(seen), 1.0) if np.isfinite(seen) else seen


def _ranked(seen: Array, tie: float) -> list[int]:
    """Return the places of statistics from the largest on; what ties with the one before it keeps its place's order.

    Rounding must not decide which of two is tested first: the adjusted p-values would depend on the scores' unit.
    """
    ranked: list[int] = np.argsort(-seen, kind="stable").tolist()
    ties, tied = 0, dict.fromkeys(ranked, 0)
    for before, place in pairwise(ranked):
        ties += int(seen[place] < _bar(seen[before], tie))
        tied[place] = ties
    return sorted(ranked, key=lambda place: (tied[place], place))


def degrees_of_freedom(data: Data, hypothesis: Hypothesis, paired: bool) -> float:
    """Return the pooled degrees of freedom of a hypothesis, at least 1."""
    return max(sum(n - 1 if paired else n + m - 2 for n, m in run_counts(data, hypothesis)), 1)


def run_counts(data: Data, hypothesis: Hypothesis) -> list[tuple[int, int]]:
    """Return the numbers of runs of both arms in every environment of a hypothesis."""
    return [(data[name, hypothesis.arm].size, data[name, hypothesis.baseline].size) for name in hypothesis.environments]


def smallest_p(counts: Sequence[tuple[int, int]], *, paired: bool = False) -> float:
    """Return the smallest two-sided p-value that so many runs of two arms can give; `counts` per environment.

    With equal numbers each split has a mirror image of the same size, so that at least two are as extreme. 1 with one
    run against one, NaN without runs on a side.
    """
    if min(map(min, counts)) == 0:
        return float("nan")
    ways = prod(rearrangements(sizes, paired) for sizes in counts)
    if ways > EXACT_LIMIT:
        return 1.0 / (PERMUTATIONS + 1)
    return (2.0 if all(n == m for n, m in counts) else 1.0) / ways


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
    repetitions: int = PERMUTATIONS,
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
    order = _ranked(seen, permutations.tie)
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
            seen |= dict.fromkeys(((block.environment, arm) for arm in block.arms), self._pool(block).observed())
        return np.concatenate([self._scaled(statistic(seen, each), each) for each in hypotheses])

    def permuted(self, hypotheses: Sequence[Hypothesis]) -> tuple[Array, bool]:
        """Return the statistics if all blocks are permuted together, `[rows, hypotheses]`, and whether that is all."""
        structure = blocks(hypotheses)
        pools = {block: self._pool(block) for block in structure}
        ways = [rearrangements(pool.sizes, self._paired) for pool in pools.values()]
        exact = prod(ways) <= EXACT_LIMIT
        if exact:
            grid = np.indices(ways).reshape(len(ways), -1)
            drawn = {block: pool.every().take(rows) for (block, pool), rows in zip(pools.items(), grid, strict=True)}
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
        return self._pool(block).random(rng, self._repetitions)

    def _pool(self, block: Block) -> Pool:
        return Pool(self._data, block, self._paired)

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
