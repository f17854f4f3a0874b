"""What `rlbench compare` says of many environments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.cli.conftest import Cli


def table(games: int, arms: int) -> str:
    """Return a table of scores in which every arm is better by 50 than the one before."""
    rng, lines = np.random.default_rng(0), ["algorithm,environment,seed,score"]
    for game in range(games):
        for arm in range(arms):
            lines += [f"a{arm},game{game:02},{seed},{100 + 50 * arm + rng.normal():.2f}" for seed in range(5)]
    return "\n".join(lines)


def test_many_comparisons_are_counted_and_the_overall_answer_is_there_or_why_not(
    cli: Cli, reports: list[Any], tmp_path: Path
) -> None:
    file = tmp_path / "games.csv"
    file.write_text(table(21, 3))
    lines = cli("compare", "--from", file, "--baseline", "a0").output.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["arm", "environments", "better", "worse", "identical", "inconclusive"],
        ["a1", "21", "21", "0", "0", "0"],
        ["a2", "21", "21", "0", "0", "0"],
    ]
    assert lines[4] == (
        "There is no answer over all environments. No reference scores are given for 21 of 21 environments: their "
        "scores are not normalised and not in any result over all environments. Give them, as --reference "
        "'*=RANDOM,TARGET'."
    )
    assert len(lines) == 7
    output = cli("compare", "--from", file, "--baseline", "a0", "--reference", "*=0,200").output
    assert output.count("Over all 21 environments") == 2
    assert "There is no answer" not in output


def test_few_comparisons_are_listed_one_by_one(cli: Cli, reports: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "games.csv"
    file.write_text(table(2, 2))
    output = cli("compare", "--from", file, "--baseline", "a0").output
    assert output.splitlines()[0].startswith("environment")
    assert "On game00, a1 is better than a0." in output
    assert "No reference scores are given for game00 and game01: their" in output
