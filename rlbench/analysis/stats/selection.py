"""Selection bias: the best of several settings looks better than it is.

Of settings that are all alike, the one with the best mean of a few runs was lucky; its score, and its lead over an arm
that was not tuned, are too good (A. Patterson, S. Neumann, M. White and A. White, "Empirical Design in Reinforcement
Learning", JMLR 25, 2024, section 4). Two answers: bootstrap the sweep and the pick together, or run the picked setting
again on fresh seeds. The second is the better one, and costs runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlbench.analysis.stats import intervals
from rlbench.analysis.stats.estimates import ANYTHING, LEVEL, REPETITIONS, Estimate, Range, as_tasks, within
from rlbench.analysis.stats.intervals import mean_interval
from rlbench.errors import RlbenchError


@dataclass(frozen=True)
class Selection:
    """The setting with the highest mean of a sweep.

    `naive` is its mean with the interval that ignores the pick, `optimism` by how much picking raises such a mean on
    average, and `corrected` the mean without it, with an interval that knows of the pick. `settings` is the size of the
    sweep.
    """

    picked: str
    settings: int
    naive: Estimate
    optimism: float
    corrected: Estimate


def pick_best(
    sweep: Mapping[str, npt.ArrayLike],
    *,
    seed: int = 0,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
    possible: Range = ANYTHING,
) -> Selection:
    """Pick the setting with the highest mean and estimate its true mean by bootstrapping sweep and pick together.

    `sweep` holds the scores of the runs, `[runs]`, of every setting by name; of equal means the first name in the
    alphabet is picked. In each bootstrap sample of the whole sweep the best setting is picked anew; the mean that it
    was picked for, less its mean in the data, is what picking adds, its average the `optimism` (R. J. Tibshirani and
    R. Tibshirani, Annals of Applied Statistics 3, 2009), and its quantiles give the basic bootstrap interval of the
    picked setting's true mean. Where the best setting stands out, picking adds little and this corrects too much: the
    interval ends at the wider of its own and the naive one's. Resampled deviations are widened by sqrt(n / (n - 1)).

    Raises:
        RlbenchError: fewer than two settings, or one with fewer than two runs, or a score that is not finite.
    """
    names = sorted(sweep)
    runs = [np.sort(as_tasks(np.asarray(sweep[name], np.float64))[0]) for name in names]
    if len(names) < 2 or min(len(own) for own in runs) < 2:
        raise RlbenchError("A pick is among at least two settings, of at least two runs each.")
    means = np.array([own.mean() for own in runs])
    drawn = intervals.counts([len(own) for own in runs], seed, repetitions)
    resampled = np.stack(
        [
            mean + np.sqrt(len(own) / (len(own) - 1)) * np.einsum("bn,n->b", times / len(own), own - mean)
            for own, mean, times in zip(runs, means, drawn, strict=True)
        ],
        axis=1,
    )
    best = resampled.argmax(1)
    gain = resampled[np.arange(repetitions), best] - means[best]
    winner = int(means.argmax())
    naive = mean_interval(runs[winner], seed=seed, level=level, repetitions=repetitions, possible=possible)
    below, above = np.quantile(gain, [(1 - level) / 2, (1 + level) / 2])
    optimism = float(gain.mean())
    low, high = naive.point - float(above), naive.point - float(below)
    ends = naive.point - optimism, min(low, naive.low), max(high, naive.high)
    n, smallest = sum(map(len, runs)), min(map(len, runs))
    corrected = Estimate(*ends, level, n, "bootstrap of sweep and pick", smallest, "best of a sweep")
    return Selection(names[winner], len(names), naive, optimism, within(corrected, possible))
