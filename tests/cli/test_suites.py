"""`rlbench report DIR` and `rlbench agreement`: from a folder of experiments to its page, and two of them compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import Cli

MEASURED = """
from numpy.random import default_rng
from rlbench import Claim, Measurement


def measure(environment, seed):
    random = default_rng(seed)
    return {f"lambda={value}": {"variance": value + random.uniform(0.9, 1.1, 3)} for value in (0, 1)}


EXPERIMENT = Measurement(
    "variance",
    measure,
    ["lambda=0", "lambda=1"],
    ["CartPole-v1"],
    seeds=8,
    claims=[Claim("It grows", ["lambda=1", "lambda=0"], "greater", "variance:mean", id="18")],
)
"""
TRAINED = """
from rlbench import Arm, Claim, Experiment

TINY = {"horizon": 16, "minibatches": 1, "epochs": 1, "hidden": [4]}
EXPERIMENT = Experiment(
    "tiny",
    [Arm("ppo-clip", **TINY)],
    ["CartPole-v1"],
    seeds=2,
    steps=64,
    claims=[Claim("It hardly moves", ["ppo-clip"], "below", "kl:mean", bound=1.0, id="2")],
)
"""
SUITE = """
from rlbench import Erratum, Exact, Suite


def holds():
    return True, "1 + 1 = 2."


def raises():
    raise ValueError("nothing there")


SUITE = Suite(
    title="A small text on trial",
    checks=[Exact("It adds up", holds, id="1")],
    errata=[ERRATA],
    quick=["variance"],
    quick_seeds=3,
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a suite of two experiments."""
    made = tmp_path / "text"
    made.mkdir()
    for name, content in (("a.py", MEASURED), ("b.py", TRAINED), ("suite.py", SUITE.replace("ERRATA", ""))):
        (made / name).write_text(content)
    return made


def verdicts(file: Path) -> dict[str, str]:
    return {one["id"]: one["verdict"] for one in json.loads(file.read_text())["claims"]}


def test_a_folder_is_run_and_reported_and_its_replication_agrees(cli: Cli, folder: Path) -> None:
    nothing = cli("report", folder)
    assert nothing.exit_code == 2
    assert "No run of the suite 'text' is stored" in nothing.stderr
    assert cli("run", folder, "--workers", 0).exit_code == 0
    result = cli("report", folder)
    assert result.exit_code == 0, result.output
    assert "Of 3 claims, " in result.stdout
    home = Path("results/text")
    assert result.stdout.splitlines()[-1] == f"Report: {home / 'report.html'}"
    assert verdicts(home / "verdicts.json")["18"] == "supported"
    page = (home / "report.html").read_text()
    assert "each before any of its own runs was stored. None was changed since." in page
    assert "Underpowered" not in page
    assert len(pd.read_parquet(home / "runs" / "runs.parquet")) == 2 * 8 + 2
    manifest = json.loads((home / "manifest.json").read_text())
    assert any(name.startswith("numpy ") for name in manifest["packages"])
    assert len(manifest["machines"]) == 1

    again = ("--only", "variance", "--first-seed", 100)
    assert cli("run", folder, "--workers", 0, *again).exit_code == 0
    assert cli("report", folder, "--out", "again", *again).exit_code == 0
    said = cli("agreement", home, "again/verdicts.json")
    assert said.exit_code == 0
    assert said.stdout.startswith(f"2 of 2 claims that are decided in {home} have the same verdict in again")
    assert set(pd.read_parquet("again/runs/runs.parquet")["seed"]) == set(range(100, 108))


def test_a_report_can_be_made_again_from_what_was_published(cli: Cli, folder: Path) -> None:
    assert cli("run", folder, "--workers", 0).exit_code == 0
    assert cli("report", folder).exit_code == 0
    home = Path("results/text")
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    shutil.rmtree("results/store")
    result = cli("report", folder)
    assert result.exit_code == 0, result.output
    assert "There is no store: experiments and runs are those archived in results/text." in result.stderr
    after = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    changed = {path.name for path in after if after[path] != before[path]}
    assert changed == set()
    assert cli("report", folder, "--only", "tiny", "--out", "part").exit_code == 0
    assert set(verdicts(Path("part/verdicts.json"))) == {"1", "2"}
    for options in (("--quick",), ("--seeds", 2), ("--first-seed", 3), ("--steps", 32)):
        assert "No run of the suite 'text' is stored" in cli("report", folder, *options).stderr
    (home / "specification.json").write_text("{}")
    assert "The archived report in results/text is damaged" in cli("report", folder).stderr


def test_a_report_of_less_says_so_and_counts_what_is_missing(cli: Cli, folder: Path) -> None:
    assert cli("run", folder, "--quick", "--workers", 0).exit_code == 0
    assert cli("report", folder, "--quick", "--out", "quick").exit_code == 0
    page = Path("quick/report.html").read_text()
    assert "Underpowered: 1 of 2 experiments, 3 seeds instead of up to 8." in page
    assert set(verdicts(Path("quick/verdicts.json"))) == {"1", "18"}
    whole = cli("report", folder, "--out", "whole")
    assert whole.exit_code == 0, whole.output
    assert "12 planned runs are not stored." in whole.stdout
    assert verdicts(Path("whole/verdicts.json"))["2"] == "inconclusive"
    assert "No run of its arms is stored yet." in Path("whole/report.html").read_text()


def test_what_cannot_be_shown_makes_the_command_fail_but_not_the_page(cli: Cli, folder: Path) -> None:
    erratum = 'Erratum("1", "A sum", "part 1", "3", "2", raises)'
    (folder / "suite.py").write_text(SUITE.replace("ERRATA", erratum))
    assert cli("run", folder, "--quick", "--workers", 0).exit_code == 0
    result = cli("report", folder, "--quick")
    assert result.exit_code == 1
    assert "warning: Error 1: This could not be shown: ValueError: nothing there." in result.stderr
    assert "nothing there" in Path("results/text-quick/report.html").read_text()
    assert not Path("results/text/report.html").exists()  # that of everything, which a part must not replace


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("report", "tiny.py", "--quick"), "--quick chooses among the experiments of a folder"),
        (("report", "text", "--set", "ppo-clip.lr=1"), "--set goes with files"),
        (("report", "text", "--only", "varance"), "no experiment 'varance'"),
        (("agreement", "text", "text"), "Cannot read"),
    ],
)
def test_bad_input_is_one_sentence(
    cli: Cli, folder: Path, experiment: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = cli(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
