"""Whether configurations of PPO-Clip whose clip fraction is 10 to 40 % learn better than the others."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import spearmanr

from mechanism_policies import algorithm
from rlbench import Environment
from rlbench.analysis.scores.scores import scores
from rlbench.records import RunRecord
from rlbench.store import Tables
from rlbench.training.trainer import train

Array = npt.NDArray[Any]

STEPS = 40_960  # 20 updates
BAND = (0.1, 0.4)
CLIPS = (0.05, 0.2, 0.5)
RATES = (1e-4, 3e-4, 1e-3)
EPOCHS = (4, 10)
IN, OUT, ALL = "in the band", "outside", "all configurations"


def measure(environment: Environment, seed: int) -> dict[str, dict[str, float]]:
    """Return the mean normalised area under the curve of the configurations in the band and outside."""
    records = []
    for epochs in EPOCHS:  # they cannot train in one pack
        pack = [
            algorithm("ppo-clip", clip=clip, lr=rate, epochs=epochs, entropy_coef=0.01, anneal_lr=False)
            for clip, rate in itertools.product(CLIPS, RATES)
        ]
        records += train(pack, environment, STEPS, [seed] * len(pack))
    fraction = np.array([record.updates["clip_fraction"].mean() for record in records])
    rates = np.array([rate for _, _, rate in itertools.product(EPOCHS, CLIPS, RATES)])
    return compared(fraction, areas(records, environment), rates)


def compared(fraction: Array, area: Array, rate: Array) -> dict[str, dict[str, float]]:
    """Return the three arms from clip fraction, area and step size of each configuration.

    A group without a configuration has no mean: NaN. `spearman` is the rank correlation of the area with the distance
    of the clip fraction from the band, `spearman_within_lr` its mean over the step sizes: what is left when those who
    clip little because they move little are not compared with the others.
    """
    distance = np.maximum(np.maximum(BAND[0] - fraction, fraction - BAND[1]), 0)
    inside = distance == 0
    found = {
        arm: {
            "area": float(area[group].mean()) if group.any() else np.nan,
            "share": float(group.mean()),
            "best": float(area[group].max()) if group.any() else np.nan,
        }
        for arm, group in ((IN, inside), (OUT, ~inside), (ALL, np.ones_like(inside)))
    }
    within = [rank_correlation(distance[rate == one], area[rate == one]) for one in np.unique(rate)]
    known = [one for one in within if np.isfinite(one)]
    found[ALL] |= {
        "spearman": rank_correlation(distance, area),
        "spearman_within_lr": float(np.mean(known)) if known else np.nan,
        "clip_fraction_lowest": float(fraction.min()),
        "clip_fraction_highest": float(fraction.max()),
    }
    return found


def rank_correlation(x: Array, y: Array) -> float:
    """Return Spearman's correlation; NaN where one of the two is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    return float(spearmanr(x, y).statistic)


def areas(records: list[RunRecord], environment: Environment) -> Array:
    """Return the normalised area under the learning curve of each record, by the definition of the scores."""
    cells = [f"{index:02}" for index in range(len(records))]
    runs = pd.DataFrame(
        {
            "cell": cells,
            "arm": cells,
            "algorithm": "ppo-clip",
            "environment": environment.label,
            "seed": 0,
            "steps": STEPS,
            "status": [record.status for record in records],
            "steps_done": [record.steps for record in records],
        }
    )
    episodes = pd.concat(
        [pd.DataFrame(record.episodes).assign(cell=cell) for cell, record in zip(cells, records, strict=True)]
    )
    table = scores(Tables(runs, episodes, pd.DataFrame()))
    return np.asarray(table.set_index("cell").loc[cells, "auc_normalised"], np.float64)
