"""Permutation tests and the correction for several comparisons."""

from __future__ import annotations

from math import comb, prod

import numpy as np
import numpy.typing as npt

from rlbench.analysis.statistics import Array, Scores, as_tasks

EXACT_LIMIT = 20_000
REPETITIONS = 9_999


def holm(p_values: npt.ArrayLike) -> Array:
    """Return Holm's step-down adjusted p-values, in the order given (S. Holm, Scand. J. Statist. 6, 1979)."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    result = np.empty_like(p)
    result[order] = np.minimum(adjusted, 1.0)
    return result


def smallest_p(scores: Scores, baseline: Scores) -> float:
    """Smallest p that `permutation_test` can give with these numbers of runs."""
    x, y = as_tasks(scores), as_tasks(baseline)
    splits = prod(comb(a.size + b.size, a.size) for a, b in zip(x, y, strict=True))
    mirrored = all(a.size == b.size for a, b in zip(x, y, strict=True))
    if splits > EXACT_LIMIT:
        return 1.0 / (REPETITIONS + 1)
    return min(1.0, (2.0 if mirrored else 1.0) / splits)
