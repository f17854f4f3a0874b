"""Runs that are killed at random moments of the whole pipeline end with the table of a run that nobody disturbed."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from rlbench.store import Tables
from tests.chaos import subject
from tests.chaos.campaign import Campaign

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

SHORT = 4
LONG = 25  # kills in each of `PARTS`
PARTS = 8
MOST = 9  # campaigns of a part, where it would do with three
LEAST = 7  # kills of a campaign


@pytest.fixture(scope="module")
def suite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return subject.write_suite(tmp_path_factory.mktemp("suite"), request.param)


@pytest.fixture(scope="module")
def reference(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return subject.undisturbed(suite, tmp_path_factory.mktemp("undisturbed"))


def campaigns(
    folder: Path, suite: Path, reference: Tables, seed: int, wanted: int, each: int, resumes: int = 0
) -> tuple[Counter[str], int]:
    """Run campaigns until `wanted` kills have hit; return them by kind, and after how many of them runs went on.

    Chance may have it that none hit a run that had a checkpoint; there are more campaigns then, until `resumes` did.
    """
    kills: Counter[str] = Counter()
    number = resumed = 0
    while kills.total() < wanted or (resumed < resumes and number < MOST):
        own = folder / str(number)
        own.mkdir()
        campaign = Campaign(own, suite, 1000 * seed + number)
        campaign.run(min(each, max(wanted - kills.total(), LEAST)), reference)
        kills += campaign.kills
        resumed += campaign.resumed
        number += 1
    print("\n".join(campaign.log))
    print(f"seed {seed}: {kills.total()} kills in {number} campaigns: {dict(kills)}; {resumed} times runs went on")
    return kills, resumed


@pytest.mark.parametrize("suite", [1600], indirect=True)
def test_killed_a_few_times(tmp_path: Path, suite: Path, reference: Tables) -> None:
    kills, _ = campaigns(tmp_path, suite, reference, seed=0, wanted=SHORT, each=SHORT)
    assert kills.total() >= SHORT


@pytest.mark.chaos
@pytest.mark.parametrize("suite", [6400], indirect=True)
@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_killed_two_hundred_times(tmp_path: Path, suite: Path, reference: Tables, part: int) -> None:
    kills, resumed = campaigns(tmp_path, suite, reference, seed=part, wanted=LONG, each=9, resumes=1)
    assert kills.total() >= LONG
    assert len(kills) >= 5  # of the kinds of kill
    assert resumed
