"""Numbers, estimates, p-values, counts, lists and times as text, with as many digits as it takes to see differences.

Scores may be returns of thousands or shares of a percent, so no number of digits fits all of them. It follows from the
widest interval of what is shown together, whose ends get two significant digits; without intervals from how far the
numbers lie apart, and where they do not, from their size. Numbers that are too small or too large for that are written
with an exponent.
"""

from collections.abc import Iterable, Sequence
from math import floor, log10
from typing import Any

import numpy as np
import pandas as pd

from rlbench.analysis.stats.estimates import Array, Estimate

NONE = "–"
ROUNDING = 1e-12  # of the size of numbers: what they differ by less does not count
_DECIMALS = 6  # more of them, or numbers from _LARGE on, and an exponent is easier to read
_LARGE = 1e9


def form_of(shown: Iterable[float | Estimate], least: int = 1, differences: Iterable[Estimate] = ()) -> str:
    """Return the format, as `.1f`, of numbers and estimates that are shown together, and of their `differences`.

    `least` is the smallest number of decimals. The same numbers in another unit have the same significant digits, as
    long as they have more than `least` decimals.
    """
    numbers = np.array([_parts(value) for value in shown]).reshape(-1, 3)
    everything = np.concatenate([numbers, np.array([_parts(value) for value in differences]).reshape(-1, 3)])
    size = _largest(np.abs(everything))
    if size == 0:
        return f".{least}f"
    points = numbers[np.isfinite(numbers[:, 0]), 0]
    apart = (_largest(everything[:, 2] - everything[:, 1]), float(np.ptp(points)) if points.size else 0.0)
    return _form(size, next((distance for distance in apart if distance > ROUNDING * size), size / 10), least)


def number(value: float, form: str = "", sign: str = "") -> str:
    """Return a number as text, a dash where there is none; `sign` "+" is shown of positive ones, too.

    Without a form it has three significant digits, thousands with commas and no exponent below a billion.
    """
    if not np.isfinite(value):
        return NONE
    if not form:
        value = float(f"{value:.3g}")
        form = ",.0f" if 999 < abs(value) < _LARGE else ".3g"
    return f"{value:{sign}z{form}}".replace("-", "−")


def text(estimate: Estimate, form: str = "", sign: str = "") -> str:
    """Return `12.3 [10.1, 14.6]`; without an interval the number alone.

    An interval that has a width is shown with one, in more digits where that takes more.
    """
    if not np.isfinite([estimate.point, estimate.low]).all():
        return number(estimate.point, form, sign)
    form = visible(estimate, form)
    point, low, high = (number(end, form, sign) for end in (estimate.point, estimate.low, estimate.high))
    return f"{point} [{low}, {high}]"


def visible(estimate: Estimate, form: str) -> str:
    """Return the format, or one with so many more digits that the ends of an interval with a width look different."""
    low, high = estimate.low, estimate.high
    size = max(abs(low), abs(high))
    if number(low, form) != number(high, form) or not high - low > ROUNDING * size:
        return form
    return _form(size, high - low, 0)


def p_value(p: float) -> str:
    """Return a p-value as `0.0123`, or `≤ 0.0001`, the smallest that a permutation test gives."""
    return "≤ 0.0001" if p <= 1e-4 else number(p)


def p_equals(p: float) -> str:
    """Return `p = 0.0123`, or `p ≤ 0.0001`."""
    return f"p {'' if p <= 1e-4 else '= '}{p_value(p)}"


def steps(value: float) -> str:
    """Return a number of steps, `1,000,000`, or 0.75 where steps are counted in something larger."""
    return f"{value:,.10g}"


def count(many: int, what: str) -> str:
    """Return `1 claim`, `1,200 claims`."""
    return f"{many:,} {what}{'' if many == 1 else 's'}"


def span(values: Iterable[float], between: str = " to ") -> str:
    """Return the smallest and the largest of whole numbers, `2 to 4`, or `2` where all are equal; a dash for none."""
    ends = sorted(int(value) for value in values)
    if not ends:
        return NONE
    return f"{ends[0]:,}" if ends[0] == ends[-1] else f"{ends[0]:,}{between}{ends[-1]:,}"


def ranges(seeds: Iterable[int]) -> str:
    """Return whole numbers in order, consecutive ones shortened: `0 to 9, 20`."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], int(seed)]
        else:
            parts.append([int(seed)])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def capital(words: str) -> str:
    """Return words with a capital first letter and the others as they are."""
    return words[:1].upper() + words[1:]


def listed(names: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def time(stamp: str) -> str:
    """Return an ISO time stamp for people: `2025-01-01 00:00:00 UTC`."""
    return stamp.replace("T", " ").replace("+00:00", " UTC")


def _parts(one: float | Estimate) -> tuple[float, float, float]:
    return (one.point, one.low, one.high) if isinstance(one, Estimate) else (float(one), np.nan, np.nan)


def _largest(values: Array) -> float:
    return float(values[np.isfinite(values)].max(initial=0.0))


def _form(size: float, apart: float, least: int) -> str:
    """Return the format of numbers up to `size` that shows what is `apart` with two significant digits."""
    first = floor(log10(apart))
    decimals = max(1 - first, least)
    if decimals <= _DECIMALS and size < _LARGE:
        return f".{decimals}f"
    return f".{min(max(floor(log10(size)) - first + 1, 1), 15)}e"


def csv_text(data: pd.DataFrame) -> str:
    """Return a table as CSV, full numbers, in which a spreadsheet sees no formulas.

    Text that begins like one, with `=`, `+`, `-`, `@`, a tab or a carriage return, and is no number gets an apostrophe
    before it.
    """
    harmless = data.copy()
    for place, kind in enumerate(data.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            harmless.isetitem(place, [_harmless(value) for value in data.iloc[:, place]])
    text: str = harmless.rename(columns=_harmless).to_csv(index=False, lineterminator="\n")
    return text


def _harmless(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
