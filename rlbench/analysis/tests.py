"""Tests of "no difference" between two arms; several at once: `families`, other nulls: `equivalence`, `trends`.

The permutation test assumes nothing but that under the null hypothesis the runs of both arms come from one
distribution (per environment); see `permutation` for its statistic, and for when runs are paired.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rlbench.analysis.families import Alternative, family, holm, splits
from rlbench.analysis.permutation import EXACT_LIMIT, REPETITIONS, Data, Hypothesis
from rlbench.analysis.statistics import Scores, as_tasks, check_same_tasks

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


__all__ = ["EXACT_LIMIT", "REPETITIONS", "holm", "permutation_test", "smallest_p"]
