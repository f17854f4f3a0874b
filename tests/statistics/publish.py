"""Measures everything and publishes it: `python -m tests.statistics.publish [PART OF A CASE'S NAME ...]`.

Writes `rlbench/analysis/stats/calibration.csv`, from which intervals are named, and `docs/calibration.md`. With names
only the matching cases are measured and their rows replaced; with one that matches none, the page is written anew from
the file. One process, about fifteen minutes for all.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_type_hints

from rlbench.analysis.stats.estimates import FILE
from tests.statistics.calibration import BIAS, COVERAGE, FALSE_POSITIVES, POWER, Row, all_cases

PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"

_INTRODUCTION = """# Calibration: what the intervals and tests are worth

Every number here is counted in simulated experiments whose truth is known, by `python -m tests.statistics.publish`;
`make test` measures a part of them again, `pytest -m calibration` all. n: runs per arm and environment. S: simulated
experiments. ±: by how much, at most, the rates of a row are uncertain for that reason, in per cent (Clopper and
Pearson, 99 %). The scores are *normal*; *lognormal* (their logarithm has a spread of 1: a long upper tail); *bimodal*
(a fifth of the runs fails); *saturated* (normal, but cut off at a third of a standard deviation above the mean, as at a
highest possible score); *tied* (five possible values).
"""
_SECTIONS = {
    COVERAGE: (
        "Coverage of nominal 95 % intervals",
        "Share of intervals that held the true value, in per cent. Below 93 % for any kind of scores, rlbench calls an "
        "interval *nominal*, and reports say in their method what it covered. Where few runs can look as if none of "
        "them ever failed, no interval knows that some do: the mean of bimodal scores. In differences both arms have "
        "the same distribution, unless it says otherwise.",
    ),
    FALSE_POSITIVES: (
        "False positives of tests",
        "Share of experiments without any true effect in which at least one was declared, in per cent.",
    ),
    POWER: ("Power", "Share of experiments with a true effect in which it was declared, in per cent."),
    BIAS: ("Bias", "Mean of estimate less truth, in per cent of the standard deviation between runs."),
}


def measure(parts: Sequence[str]) -> None:
    """Measure and publish the cases whose names hold one of `parts`, or all."""
    write(read())
    for name, one in all_cases().items():
        if not parts or any(part in name for part in parts):
            start = time.perf_counter()
            rows = list(one.measure(one.full))
            write(read() | {name: rows})
            print(f"{name}: {len(rows)} rows in {time.perf_counter() - start:.0f} s", flush=True)


def read() -> dict[str, list[Row]]:
    """Return the published rows by case."""
    found: dict[str, list[Row]] = {}
    kinds = get_type_hints(Row)
    if FILE.is_file():
        with FILE.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                name = line.pop("case")
                values = {key: kinds[key](text) for key, text in line.items()}
                found.setdefault(name, []).append(Row(**values))
    return found


def write(rows: dict[str, list[Row]]) -> None:
    """Write the file and the page, in the order of the cases."""
    rows = {name: rows[name] for name in all_cases() if name in rows}
    with FILE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["case", *Row._fields])
        for name in rows:
            for one in rows[name]:
                numbers = [f"{value:.5g}" if isinstance(value, float) else value for value in one]
                writer.writerow([name, *numbers])
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page([one for name in rows for one in rows[name]]), encoding="utf-8")


def page(rows: Iterable[Row]) -> str:
    """Return the page: a table for each kind, one row for each quantity and kind of scores."""
    text = [_INTRODUCTION]
    rows = list(rows)
    for kind, (title, explanation) in _SECTIONS.items():
        own = [one for one in rows if one.kind == kind]
        if own:
            text += [f"## {title}\n", f"{explanation}\n", *_table(own)]
    return "\n".join(text)


def _table(rows: Sequence[Row]) -> list[str]:
    """Return a table for every set of numbers of runs that occurs."""
    lines: dict[tuple[str, str], dict[int, Row]] = {}
    for one in rows:
        lines.setdefault((one.what, one.data), {})[one.n] = one
    first = {what: place for place, (what, _) in reversed(list(enumerate(lines)))}
    lines = dict(sorted(lines.items(), key=lambda line: first[line[0][0]]))
    groups: dict[tuple[int, ...], list[tuple[str, str]]] = {}
    for key, cells in lines.items():
        groups.setdefault(tuple(cells), []).append(key)
    text = []
    for sizes, keys in groups.items():
        head = ["", "scores", *(f"n = {n}" for n in sizes), "S", "±"]
        text += [_line(head), _line(["---", "---", *["---:"] * (len(head) - 2)])]
        last = ""
        for what, data in keys:
            cells = lines[what, data]
            simulations = min(one.simulations for one in cells.values())
            error = max(max(one.rate - one.low, one.high - one.rate) for one in cells.values())
            rates = [f"{one.rate * 100:.1f}" for one in cells.values()]
            text.append(_line([what if what != last else "", data, *rates, f"{simulations:,}", f"{error * 100:.1f}"]))
            last = what
        text.append("")
    return text


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    measure(sys.argv[1:])
