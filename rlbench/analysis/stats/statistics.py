"""Statistics of run scores: pure functions of arrays, one number per training run.

Every function takes `Scores`: either one array `[..., runs]` for one task (an environment), or a sequence of
such arrays, one per task, whose numbers of runs may differ. The last axis is the runs; leading axes
(bootstrap repetitions) are kept, so the result is `[...]`. Scores must be finite and every task needs at
least one run.

Over several tasks every task counts the same in `mean`, `optimality_gap`, `probability_of_improvement` and
`performance_profile` (the mean over tasks of the per-task value); `iqm` and `median` pool the runs of all
tasks. Scores of different tasks are comparable only after normalisation by fixed references, see
`references`.

Source of the definitions: R. Agarwal, M. Schwarzer, P. S. Castro, A. Courville and M. G. Bellemare, "Deep
Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021; called [Agarwal 2021] below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from rlbench.errors import RlbenchError

Array = npt.NDArray[np.float64]
Scores = Array | Sequence[float] | Sequence[npt.ArrayLike]
Statistic = Callable[[Sequence[Array]], Array]


def as_tasks(scores: Scores, *, allow_empty: bool = False) -> list[Array]:
    """Return the scores as a list of float arrays, one per task, each `[..., runs]`.

    An ndarray or a sequence of plain numbers is ONE task; any other sequence holds one array per task.

    Raises:
        RlbenchError: no task, a task without runs (unless `allow_empty`), or a score that is NaN or infinite.
    """
    several = isinstance(scores, list | tuple) and any(np.ndim(part) > 0 for part in scores)
    tasks = [np.asarray(part, np.float64) for part in (scores if several else [scores])]
    if any(task.ndim == 0 or (task.shape[-1] == 0 and not allow_empty) for task in tasks):
        raise RlbenchError("A statistic needs at least one run in every environment, and here one has none.")
    if not all(np.isfinite(task).all() for task in tasks):
        raise RlbenchError("A statistic was asked of scores with NaN or infinity; select the used runs first.")
    return tasks


def check_same_tasks(scores: Sequence[Array], baseline: Sequence[Array]) -> None:
    """Raise RlbenchError unless both sides have the same number of tasks."""
    if len(scores) != len(baseline):
        raise RlbenchError(
            f"Both arms need scores on the same environments, but have {len(scores)} and {len(baseline)}."
        )


def mean(scores: Scores) -> Array:
    """Mean over the runs of each task, then over tasks; `[...]`. With equal run counts the pooled mean."""
    return _over_tasks([task.mean(-1) for task in as_tasks(scores)])


def median(scores: Scores) -> Array:
    """Median of the pooled scores of all tasks; `[...]`.

    [Agarwal 2021] use "median" for another number, the median over tasks of the tasks' means; with the
    handful of tasks compared here that one says little, and for one task it is the mean.
    """
    return np.asarray(np.median(_pool(scores), axis=-1))


def iqm(scores: Scores) -> Array:
    """Interquartile mean [Agarwal 2021]: mean of the pooled scores without the lowest and highest quarter.

    Cuts floor(n / 4) scores at each end, as `scipy.stats.trim_mean(scores, 0.25)` does; fewer than four
    scores are therefore not trimmed at all, and of ten scores six remain. Note that it hides rare collapses
    of single runs.
    """
    pooled = np.sort(_pool(scores), axis=-1)
    cut = pooled.shape[-1] // 4
    return np.asarray(pooled[..., cut : pooled.shape[-1] - cut].mean(-1))


def optimality_gap(scores: Scores, target: float = 1.0) -> Array:
    """How far the runs stay below `target`: the mean of max(target - score, 0) [Agarwal 2021].

    A score beyond the target earns nothing, so a lucky run does not make up for a failed one.
    """
    return _over_tasks([np.maximum(target - task, 0.0).mean(-1) for task in as_tasks(scores)])


def probability_of_improvement(scores: Scores, baseline: Scores) -> Array:
    """Probability that a random run scores more than a random run of the baseline on the same task; `[...]`.

    Per task the Mann-Whitney U statistic over n m, a tie counts one half; then the mean over tasks [Agarwal
    2021]. It says how often, not by how much.

    Raises:
        RlbenchError: the two sides have different numbers of tasks.
    """
    x, y = as_tasks(scores), as_tasks(baseline)
    check_same_tasks(x, y)
    return _over_tasks([_superiority(a, b) for a, b in zip(x, y, strict=True)])


def performance_profile(scores: Scores, thresholds: npt.ArrayLike) -> Array:
    """Share of runs that score strictly more than each threshold, mean over tasks [Agarwal 2021].

    `thresholds` is `[thresholds]`, the result `[..., thresholds]`.
    """
    tau = np.asarray(thresholds, np.float64)
    shares = []
    for task in as_tasks(scores):
        ordered = np.sort(task, axis=-1)
        if ordered.ndim == 1:
            shares.append(1.0 - np.searchsorted(ordered, tau, side="right") / ordered.size)
        else:
            shares.append((ordered[..., None] > tau).mean(-2))  # [..., runs, thresholds] -> [..., thresholds]
    return _over_tasks(shares)


def _superiority(x: Array, y: Array) -> Array:
    """P(X > Y) + P(X = Y) / 2 over all pairs of one task; `[..., n]` and `[..., m]` to `[...]`."""
    above = (x[..., :, None] > y[..., None, :]).mean((-2, -1))
    below = (x[..., :, None] < y[..., None, :]).mean((-2, -1))
    return np.asarray((1.0 + above - below) / 2.0)


def _pool(scores: Scores) -> Array:
    tasks = as_tasks(scores)
    return tasks[0] if len(tasks) == 1 else np.concatenate(tasks, axis=-1)


def _over_tasks(values: Sequence[npt.ArrayLike]) -> Array:
    return np.asarray(np.mean(np.stack([np.asarray(value) for value in values]), axis=0))
