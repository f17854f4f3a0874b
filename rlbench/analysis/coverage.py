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

from rlbench.analysis.estimates import LEVEL, Band, Estimate

FILE = Path(__file__).with_name("calibration.csv")
LEAST = 0.93  # what a 95 % interval must at least cover, whatever the scores, to be called one

# Quantities that were not simulated by themselves, and the one that they are an instance of.
_SAME_AS = {
    "performance profile": "share of runs (Wilson)",
    "share of runs not there yet": "share of runs (Wilson)",
    "collapse probability": "share of runs (Wilson)",
    "difference of collapse probabilities": "difference of shares (Newcombe)",
}


def measured(quantity: str, runs: int) -> tuple[int, float, float] | None:
    """Return (n, least, most): what 95 % intervals of a quantity covered with `n` runs, over all kinds of scores.

    `n` is the largest simulated number of runs that is not above `runs`; None where nothing was simulated.
    """
    found = _table().get(_SAME_AS.get(quantity, quantity), {})
    sizes = [n for n in found if n <= runs]
    return (max(sizes), *found[max(sizes)]) if sizes else None


def interval_name(estimates: Sequence[Estimate | Band]) -> str:
    """Return what an interval may be called: "95 % interval", or "nominal 95 % interval" and what it really covers.

    Of several estimates of the same quantity, such as the points of a figure, the one from the fewest runs counts.
    """
    with_interval = [one for one in estimates if one.smallest > 1] or list(estimates)
    if not with_interval:
        return f"{_percent(LEVEL)} interval"
    least = min(with_interval, key=lambda one: one.smallest)
    name = f"{_percent(least.level)} interval"
    if least.smallest < 2:
        return name
    simultaneous = isinstance(least, Band) and least.simultaneous
    quantity = "whole curve, simultaneous band" if simultaneous else least.quantity
    found = measured(quantity, least.smallest)
    if found is None or least.level != LEVEL:
        return f"nominal {name}"
    n, low, high = found
    if low >= LEAST:
        return name
    return f"nominal {name}, which held the truth in {_range(low, high)} of simulated experiments with {n} runs"


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


def _range(low: float, high: float) -> str:
    return f"{low * 100:.0f} to {high * 100:.0f} %"
