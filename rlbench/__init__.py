"""Compare on-policy reinforcement-learning algorithms properly: many seeds, intervals, verdicts."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm, Peer
    from rlbench.api import compare, run
    from rlbench.claims import Claim, Published
    from rlbench.data import Estimates, Params, Problem, Samples, Stats, Trajectory
    from rlbench.errors import RlbenchError
    from rlbench.fields import hyper, static
    from rlbench.improve import first_order
    from rlbench.records import Environment
    from rlbench.results import Results, load_policy, load_results
    from rlbench.study.experiment import Arm, Experiment, Measurement
    from rlbench.suite import Erratum, Exact, Showpiece, Suite
    from rlbench.training.policy import Policy

# Names are loaded when first used: importing rlbench must not cost the import of torch or pandas.
_HOMES = {
    name: home
    for home, names in {
        "algorithm": ("Algorithm", "Peer"),
        "fields": ("hyper", "static"),
        "api": ("compare", "run"),
        "claims": ("Claim", "Published"),
        "data": ("Estimates", "Params", "Problem", "Samples", "Stats", "Trajectory"),
        "errors": ("RlbenchError",),
        "improve": ("first_order",),
        "records": ("Environment",),
        "results": ("Results", "load_policy", "load_results"),
        "study.experiment": ("Arm", "Experiment", "Measurement"),
        "suite": ("Erratum", "Exact", "Showpiece", "Suite"),
        "training.policy": ("Policy",),
    }.items()
    for name in names
}

__all__ = [
    "Algorithm",
    "Arm",
    "Claim",
    "Environment",
    "Erratum",
    "Estimates",
    "Exact",
    "Experiment",
    "Measurement",
    "Params",
    "Peer",
    "Policy",
    "Problem",
    "Published",
    "Results",
    "RlbenchError",
    "Samples",
    "Showpiece",
    "Stats",
    "Suite",
    "Trajectory",
    "compare",
    "first_order",
    "hyper",
    "load_policy",
    "load_results",
    "run",
    "static",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rlbench' has no attribute {name!r}")
    return getattr(importlib.import_module(f"rlbench.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
