"""What the intervals were measured to cover, so that none is called a 95 % interval where it is not one.

`calibration.csv` beside this file is written by `python -m tests.statistics.publish`, which simulates experiments whose
truth is known; `docs/calibration.md` shows the same numbers. Here they are looked up by the name of the quantity and
the number of runs.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rlbench.analysis.stats.estimates import LEVEL, Band, Estimate

FILE = Path(__file__).with_name("calibration.csv")
LEAST = 0.93  # what a 95 % interval must at least cover, whatever the scores, to be called one

# Quantities that were not simulated by themselves, and the one that they are an instance of.
_SAME_AS = {
    "performance profile": "share of runs (Wilson)",
    "share of runs not there yet": "share of runs (Wilson)",
    "collapse probability": "share of runs (Wilson)",
}


class Coverage(NamedTuple):
    """What intervals covered at least and at most, over all kinds of scores, with `fewest` to `most` runs."""

    low: float
    high: float
    fewest: int
    most: int


def measured(quantity: str, runs: int) -> Coverage | None:
    """Return what 95 % intervals of a quantity covered with `runs` runs, or with the numbers simulated around it.

    None where nothing was simulated with so few runs.
    """
    found = _table().get(_SAME_AS.get(quantity, quantity), {})
    below, above = [n for n in found if n <= runs], [n for n in found if n >= runs]
    if not below:
        return None
    fewest = max(below)
    most = min(above, default=fewest)
    return Coverage(min(found[fewest][0], found[most][0]), max(found[fewest][1], found[most][1]), fewest, most)


def interval_name(estimates: Sequence[Estimate | Band]) -> str:
    """Return what an interval may be called: "95 % interval", or "nominal 95 % interval" and what it really covers.

    Of several estimates of the same quantity, such as the points of a figure, the one from the fewest runs counts
    among those that have an interval.
    """
    given = [one for one in estimates if np.isfinite(one.low).any()]
    if not given:
        return f"{_percent(LEVEL)} interval"
    least = min(given, key=lambda one: one.smallest)
    name = f"{_percent(least.level)} interval"
    simultaneous = isinstance(least, Band) and least.simultaneous
    quantity = "whole curve, simultaneous band" if simultaneous else least.quantity
    found = measured(quantity, least.smallest)
    if found is None or least.level != LEVEL:
        return f"nominal {name}"
    if found.low >= LEAST:
        return name
    runs = f"{found.fewest}" if found.fewest == found.most else f"{found.fewest} to {found.most}"
    held = f"{found.low * 100:.0f} to {found.high * 100:.0f} %"
    return f"nominal {name}, which held the truth in {held} of simulated experiments with {runs} runs"


@lru_cache
def _table() -> dict[str, dict[int, tuple[float, float]]]:
    """Return the least and the most that was covered: quantity -> runs -> (least, most)."""
    found: dict[str, dict[int, tuple[float, float]]] = {}
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "coverage":
                rate, sizes = float(row["rate"]), found.setdefault(row["what"], {})
                low, high = sizes.get(int(row["n"]), (rate, rate))
                sizes[int(row["n"])] = min(low, rate), max(high, rate)
    return found


def _percent(share: float) -> str:
    return f"{share * 100:g} %"
