"""What `make mutants` changes, which tests it asks, and that what was judged by hand is still there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests import mutants

ROOT = Path(__file__).parents[1]
CODE = b"""from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os


@cached(1)
def caf\xc3\xa9(x: int = 3) -> "int":
    '''Text is left alone.'''
    y, z = {}, f"{x + 1}"
    y["\xc3\xa9"] = x**2
    if y:
        print(y)
    return min(x, 0.5) if x < 2 and not x else -x
"""
CHANGED = """3 -> 4
y["é"] = x**2 -> pass
x**2 -> x * 2
2 -> 3
y -> not (y)
print(y) -> pass
x < 2 and not x -> x < 2 or not x
x < 2 and not x -> not x
x < 2 and not x -> x < 2
x < 2 -> not (x < 2)
x < 2 -> x <= 2
2 -> 3
not x -> x
min -> max
0.5 -> 0.75
-x -> x"""


def test_the_changes_of_a_file() -> None:
    before, changes = CODE.decode().splitlines(), []
    for line, shown, text in mutants.faults(CODE):
        compile(text, "changed", "exec")
        pairs = zip(before, text.decode().splitlines(), strict=True)
        assert [number for number, (one, other) in enumerate(pairs, 1) if one != other] == [line]
        changes.append(shown.removeprefix(f"{before[line - 1].strip()}: ").rpartition(", column")[0])
    assert sorted(changes) == sorted(CHANGED.splitlines())


def test_the_nearest_tests_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "COPY", ROOT)
    survival = mutants.nearest("rlbench/analysis/stats/survival.py", "analysis/test_*")
    assert survival[0] == "tests/analysis/test_survival.py"
    assert {"tests/analysis/test_tails.py", "tests/analysis/test_defaults.py"} < set(survival)
    assert "tests/analysis/test_trends.py" not in survival
    nobody = mutants.nearest("rlbench/functional/compiled.py", "functional/test_*")
    assert sorted(nobody) == sorted(str(test.relative_to(ROOT)) for test in ROOT.glob("tests/functional/test_*.py"))


def test_what_is_judged_to_be_no_fault_can_still_be_drawn() -> None:
    judged = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text(encoding="utf-8"))
    for file, reasons in judged.items():
        found = {one for _, one, _ in mutants.faults((ROOT / file).read_bytes())}
        assert set(reasons) <= found, file
        assert all(reasons.values()), file
