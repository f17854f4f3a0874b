"""The lecture's errors: all are listed, and each demonstration finds what it is about."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rlbench import Erratum
from rlbench.userfiles import import_file

FOLDER = Path(__file__).parents[2] / "experiments" / "lecture"
ERRATA: dict[str, Erratum] = {
    erratum.number: erratum for erratum in import_file(FOLDER / "suite.py", "suite").SUITE.errata
}
NOT_DEMONSTRATED = {"21"}

FOUND = {
    "1": r"stores 500 steps and makes 0 updates: 2\d episodes .* average 0\.00\. .* makes 3 updates",
    "2": r"RuntimeError.*: 9\.$",
    "3": r"2048 samples have 4,194,304 .* all are 1\.000 to 1\.000.* 17\.2 GB",
    "4": r"10\.900 instead of 1\.000.* right: 1\.000",
    "5": r"99\.34.* 1\.00 instead of 99\.35.* 75 steps",
    "6a": r"is 0\.000, 0\.0.* clipped ratios is 0\.0%",
    "6b": r"12 and 12 gradient steps",
    "8a": r"AttributeError.* finished",
    "8b": r"IndexError.* 100,800 .* 210",
    "9a": r"agree in every",
    "9f": r"2,096,128",
    "9g": r"10 that .* is 1 after",
    "9h": r"is nan; .* is 0\.",
    "10a": r"NameError",
    "11": r"SyntaxError.*never closed",
    "12a": r"gradients is 0 instead of",
    "12b": r"0 are changed",
    "13": r"at most [1-9]e-0[67]",
    "14": r"from 0\.5 to 0\.[0-4]\d; .* to 0\.[6-9]",
    "15": r"is 2\.76 .* 0\.69",
    "16a": r"1\.5 counts as 1\.5 .* 0\.7 as 0\.7",
    "17a": r"to 0\.031; .* still 1",
    "17b": r"3 updates .* 1\.6, .* -0\.6 .* 209,715",
    "18a": r"0\.5 at a limit of 0\.5 and 1\.0 at 1\.0",
    "19a": r"500, and 99\.34",
    "19b": r"has 2 actions",
    "20a": r"becomes 45\.2",
    "20b": r"gradients 1000 times as long, Adam's steps 1\.0",
    "22": r"320 .* 4 in the listing: 80 times",
}


def numbers(text: str) -> list[float]:
    return [float(one) for one in re.findall(r"\d+\.?\d*", text)]


def say(number: str) -> str:
    demonstrate = ERRATA[number].demonstrate
    assert demonstrate is not None
    return demonstrate()


def test_every_error_is_listed_and_complete() -> None:
    leading = [re.match(r"\d+", number) for number in ERRATA]
    listed = [int(one[0]) for one in leading if one]
    assert listed == sorted(listed)
    assert set(listed) == set(range(1, 23))
    assert len(ERRATA) == len(import_file(FOLDER / "suite.py", "suite").SUITE.errata)
    for erratum in ERRATA.values():
        assert erratum.title, erratum.number
        assert erratum.source, erratum.number
        assert erratum.wrong.endswith("."), erratum.number
        assert erratum.right.endswith("."), erratum.number


@pytest.mark.parametrize("number", sorted(set(ERRATA) - NOT_DEMONSTRATED))
def test_a_demonstration_says_what_it_measured(number: str) -> None:
    sentence = say(number)
    assert sentence.endswith(".")
    assert re.search(FOUND.get(number, r"\d"), sentence), sentence


def test_what_cannot_be_checked_here_says_so() -> None:
    assert {number for number, one in ERRATA.items() if one.demonstrate is None} == NOT_DEMONSTRATED
    assert "not checked here" in ERRATA["21"].right


@pytest.mark.parametrize("number", ["3", "9a", "9e"])
def test_a_demonstration_says_the_same_again(number: str) -> None:
    assert say(number) == say(number)


def test_the_values_gradient_is_many_times_the_policys() -> None:
    times = numbers(say("7").partition("is ")[2])[0]
    assert 30 < times < 300


def test_more_is_outside_the_band_than_is_clipped() -> None:
    outside, killed = numbers(say("10b"))[:2]
    assert outside > killed > 0


def test_a_narrower_range_moves_the_policy_less() -> None:
    kls = [float(one) for one in re.findall(r"0\.\d{5}", say("18b"))]
    assert kls == sorted(kls)
    assert len(kls) == 4
