"""Compare the measurements of a run with the committed ones, and write `results/benchmarks/`; run as a module.

    python -m benchmarks.publish MEASURED.json [--dry-run] [--tolerance 1.3]

Exits with 1 if a benchmark has become more than `tolerance` times as costly, in units of the calibration workload.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figure import draw
from benchmarks.results import TOLERANCE, Change, compare, from_pytest, measurements
from benchmarks.tables import page

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "results" / "benchmarks"
FILE = "benchmarks.json"


def committed() -> dict[str, Any] | None:
    """Return the committed document; None where there is none."""
    shown = subprocess.run(
        ["git", "-C", str(ROOT), "show", f"HEAD:{(FOLDER / FILE).relative_to(ROOT).as_posix()}"],
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Any] | None = json.loads(shown.stdout) if shown.returncode == 0 else None
    return found


def describe(changes: Sequence[Change], tolerance: float) -> str:
    """Return what changed, regressions first."""
    lines = [
        f"{change.factor:6.2f} x  {change.name}{'   REGRESSION' if change.regressed(tolerance) else ''}"
        for change in changes
        if change.regressed(tolerance) or (change.factor < 1 / tolerance and not change.uncertain)
    ]
    if unsure := [change.name for change in changes if change.uncertain]:
        lines.append(f"Not judged, since the machine was slow for a while in one of the two runs: {', '.join(unsure)}")
    worse = sum(change.regressed(tolerance) for change in changes)
    head = (
        f"{len(changes)} benchmarks compared with the committed ones: {worse} more than {tolerance:g} times as costly"
    )
    return "\n".join([head, *lines])


def write(document: Mapping[str, Any], folder: Path) -> None:
    """Write the document, the tables and the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (folder / "table.md").write_text(page(document), encoding="utf-8")
    draw(document, folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and write unless told not to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path, help="what pytest --benchmark-json wrote")
    parser.add_argument("--dry-run", action="store_true", help="compare only, and print the tables")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    asked = parser.parse_args(arguments)
    document = from_pytest(json.loads(asked.measured.read_text(encoding="utf-8")))
    print(page(document))
    earlier = committed()
    changes = compare(measurements(document), measurements(earlier)) if earlier else []
    print(describe(changes, asked.tolerance) if earlier else "No figures are committed to compare with.")
    if not asked.dry_run:
        write(document, FOLDER)
        print(f"Written to {FOLDER.relative_to(ROOT)}.")
    return int(any(change.regressed(asked.tolerance) for change in changes))


if __name__ == "__main__":
    sys.exit(main())
