"""The tables of a report on what its conclusions depend on: how failed runs count, and which arm was picked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rlbench.analysis.digits import form_of, number, text
from rlbench.analysis.references import possible_range
from rlbench.analysis.selection import pick_best
from rlbench.analysis.tables import Table

if TYPE_CHECKING:
    from rlbench.analysis.results import Results


def sensitivity_table(results: Results) -> Table:
    """The comparisons with the runs that finished, and with failures as the worst possible score."""
    data, shown = [], []
    for one in results.sensitivity:
        before, after = one.finished, one.with_failures
        form = form_of([before.difference, after.difference], 3 if before.normalised else 1)
        data.append(
            {"environment": before.environment, "arm": before.arm, "baseline": before.baseline}
            | {"failed_arm": after.n_arm - before.n_arm, "failed_baseline": after.n_baseline - before.n_baseline}
            | {"difference": before.difference.point, "verdict": before.verdict}
            | {"difference_with_failures": after.difference.point, "verdict_with_failures": after.verdict}
            | {"p_with_failures": after.p_adjusted, "changed": one.changed}
        )
        shown.append(
            {
                "Environment": before.environment,
                "Arm": before.arm,
                "Failed runs (arm, baseline)": f"{data[-1]['failed_arm']}, {data[-1]['failed_baseline']}",
                "Difference of the finished": text(before.difference, form, sign=True),
                "Verdict": before.verdict,
                "Difference with failures": text(after.difference, form, sign=True),
                "Verdict with failures": after.verdict + (" (changed)" if one.changed else ""),
            }
        )
    note = (
        "Failed and diverged runs with the worst possible score: the lowest return of the environment, or the lowest "
        "seen where that is not known. The truth lies between the two."
    )
    return Table("sensitivity", "If failures count as the worst score", pd.DataFrame(data), pd.DataFrame(shown), note)


def selection_table(results: Results) -> Table:
    """Of algorithms with several arms: by how much the best of them looks too good."""
    metric, scores = results.metrics[0], results.scores[results.scores["used"].astype(bool)]
    data, shown = [], []
    for environment in results.environments:
        for algorithm, runs in scores[scores["environment"] == environment].groupby("algorithm", sort=True):
            sweep = {str(arm): own[metric].to_numpy(np.float64) for arm, own in runs.groupby("arm")}
            if len(sweep) < 2 or min(map(len, sweep.values())) < 2:
                continue
            possible = possible_range([environment], results.references)
            found = pick_best(sweep, seed=results.seed, possible=possible)
            form = form_of([found.naive, found.corrected])
            data.append(
                {"environment": environment, "algorithm": algorithm, "settings": found.settings}
                | {"picked": found.picked, "naive": found.naive.point, "optimism": found.optimism}
                | {"corrected": found.corrected.point, "corrected_low": found.corrected.low}
                | {"corrected_high": found.corrected.high}
            )
            shown.append(
                {
                    "Environment": environment,
                    "Algorithm": str(algorithm),
                    "Best of": f"{found.settings}: {found.picked}",
                    "As it looks": text(found.naive, form),
                    "Too good by": number(found.optimism, form),
                    "Corrected": text(found.corrected, form),
                }
            )
    note = (
        "Whoever picks the best of several settings by these runs gets a score that is too good; here by how much, "
        "from bootstrapping the runs and the pick together. Running the picked setting on fresh seeds is better."
    )
    return Table("selection", "If the best setting is picked", pd.DataFrame(data), pd.DataFrame(shown), note)
