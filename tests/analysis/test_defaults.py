"""What is done where nothing is said: every function means the same by it."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

from rlbench.analysis.stats import intervals, power, sequential, survival, sweeps, tests

MODULES = [tests, intervals, power, sweeps, sequential, survival, survival, sweeps]
DEFAULTS = {"seed": 0, "level": 0.95, "alpha": 0.05, "power": 0.8, "paired": False, "simultaneous": False}
DEFAULTS |= {"increasing": True, "tasks": 1}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_defaults(module: ModuleType) -> None:
    found = [
        (name, parameter.name, parameter.default)
        for name, one in inspect.getmembers(module, inspect.isfunction)
        if one.__module__ == module.__name__
        for parameter in inspect.signature(one).parameters.values()
        if parameter.default is not parameter.empty and parameter.name in DEFAULTS
    ]
    assert found
    assert found == [(name, parameter, DEFAULTS[parameter]) for name, parameter, _ in found]
