"""Compare on-policy reinforcement-learning algorithms properly: many seeds, intervals, verdicts."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm, hyper, static
    from rlbench.data import Estimates, Params, Samples, Stats, Trajectory
    from rlbench.errors import RlbenchError
    from rlbench.improve import Problem, first_order
    from rlbench.records import Environment

# Names are loaded when first used: importing rlbench must not cost the import of torch or pandas.
_HOMES = {
    "Algorithm": "algorithm",
    "Environment": "records",
    "Estimates": "data",
    "Params": "data",
    "Problem": "improve",
    "RlbenchError": "errors",
    "Samples": "data",
    "Stats": "data",
    "Trajectory": "data",
    "first_order": "improve",
    "hyper": "algorithm",
    "static": "algorithm",
}

__all__ = [
    "Algorithm",
    "Environment",
    "Estimates",
    "Params",
    "Problem",
    "RlbenchError",
    "Samples",
    "Stats",
    "Trajectory",
    "first_order",
    "hyper",
    "static",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rlbench' has no attribute {name!r}")
    return getattr(importlib.import_module(f"rlbench.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
