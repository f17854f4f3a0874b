"""Reports of runs that were made in stages: how often was looked, and which verdicts that leaves.

Runs that stopped when they decided something look more decided than they are: an interval or p-value computed as if
their number had been fixed is too good. So only the group-sequential test's own decisions count as verdicts.

The record (`sequential` in an experiment's document, `rlbench.stages`) holds `looks` (numbers of seeds planned),
`looked`, `earlier` (other designs that were looked at before), `metric`, and `decisions`: arm, baseline, environments,
outcome, look, n_arm, n_baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlbench.analysis.compare import Comparison


def decided(comparisons: Sequence[Comparison], experiment: Mapping[str, Any]) -> list[Comparison]:
    """Return comparisons with the verdicts of the looks, where runs were made in stages; all others are undecided.

    Identical runs are no matter of chance, and remain so.
    """
    record = experiment.get("sequential")
    if not record:
        return list(comparisons)
    outcomes = {
        (one["arm"], one["baseline"], frozenset(one["environments"]), record["metric"]): one["outcome"]
        for one in record["decisions"]
    }
    return [
        one
        if one.verdict == "identical"
        else replace(
            one, verdict=outcomes.get((one.arm, one.baseline, frozenset(one.environments), one.metric), "undecided")
        )
        for one in comparisons
    ]


def looks_of(experiment: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know of runs that were made in stages, one sentence each; nothing otherwise."""
    record = experiment.get("sequential")
    if not record:
        return []
    looks, looked = record["looks"], record["looked"]
    often = f"{looked} time{'s' if looked != 1 else ''} of at most {len(looks)}"
    said = [
        f"Seeds were added in stages until the comparisons were decided: the runs were looked at {often} "
        f"(planned after {', '.join(map(str, looks))} seeds); none was trained twice. Verdicts "
        "are those of a group-sequential permutation test, which holds 5 % for any false decision over all looks and "
        f"comparisons; what it did not test has none. {_outcomes(record['decisions'])} All intervals and p-values, and "
        "the verdicts on claims, are computed as if the number of runs had been fixed: they are too sure."
    ]
    if record.get("earlier"):
        said.append(
            f"The same experiment was looked at before in {record['earlier']} other "
            f"design{'s' if record['earlier'] > 1 else ''} of the looks, so its error rate is no longer held."
        )
    return said


def _outcomes(decisions: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for one in decisions:
        where = f" on {one['environments'][0]}" if len(one["environments"]) == 1 else " over all environments"
        end = f"at look {one['look']}" if one["look"] else "to the end"
        parts.append(f"{one['arm']} against {one['baseline']}{where}: {one['outcome']} {end}")
    return f"{'; '.join(parts)}." if parts else ""
