"""How calibration is measured: simulated experiments whose truth is known, counted.

A case is a function `case(simulations) -> iterable of Row`, registered by the decorator `case` in a module
`tests/statistics/cases_*.py`; `publish` collects them all. A row says how often something happened in `simulations`
independent simulated experiments, with the Clopper-Pearson bounds of that frequency (99 %): nothing here is asserted,
it is counted.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scipy import stats

COVERAGE = "coverage"  # share of intervals that hold the true value
FALSE_POSITIVES = "false positives"  # share of null experiments in which something was declared
POWER = "power"  # share of experiments with a true effect in which it was declared
BIAS = "bias"  # mean of estimate less truth, in standard deviations of a run
BOUNDS = 0.99  # level of the bounds of a frequency

FOLDER = Path(__file__).parent


class Row(NamedTuple):
    """One measured frequency: `rate` of `simulations`, with its bounds `low` and `high`.

    `kind` is one of the constants of this module, `nominal` what was promised (0.95 for an interval, 0.05 for a test,
    NaN for a power), `n` the runs per arm and environment.
    """

    kind: str
    what: str
    data: str
    n: int
    simulations: int
    rate: float
    low: float
    high: float
    nominal: float


@dataclass(frozen=True)
class Case:
    """A registered case; `full` and `fast` are its numbers of simulations for the published table and the tests."""

    name: str
    measure: Callable[[int], Iterable[Row]]
    full: int
    fast: int


CASES: dict[str, Case] = {}


def case(full: int, fast: int) -> Callable[[Callable[[int], Iterable[Row]]], Callable[[int], Iterable[Row]]]:
    """Register a case under its function's name."""

    def register(measure: Callable[[int], Iterable[Row]]) -> Callable[[int], Iterable[Row]]:
        name = measure.__name__
        assert name not in CASES, f"two calibration cases are called {name}"
        CASES[name] = Case(name, measure, full, fast)
        return measure

    return register


def all_cases() -> dict[str, Case]:
    """Import every `cases_*.py` beside this file and return what they registered, by name and in that order."""
    for file in sorted(FOLDER.glob("cases_*.py")):
        importlib.import_module(f"tests.statistics.{file.stem}")
    return CASES


def row(kind: str, what: str, data: str, n: int, hits: int, simulations: int, nominal: float = float("nan")) -> Row:
    """Return the row of `hits` in `simulations`."""
    bounds = stats.binomtest(int(hits), simulations).proportion_ci(BOUNDS, method="exact")
    return Row(kind, what, data, n, simulations, hits / simulations, float(bounds.low), float(bounds.high), nominal)
