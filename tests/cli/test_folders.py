"""`rlbench run` of a suite's folder and of several files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from rlbench.store import Store
from rlbench.store.folders import read_register

Cli = Callable[..., Result]

QUICK = ["--workers", 0]
MEMBER = """
from rlbench import Arm, Claim, Experiment
from tiny_fields import TINY

EXPERIMENT = Experiment(
    "{name}",
    [Arm("ppo-clip", lr=[{rates}], **TINY), Arm("actor-critic", **TINY)],
    ["CartPole-v1"],
    seeds=3,
    steps=32,
    claims=[Claim("{name} says", ["actor-critic"], "above", "kl:mean", bound=0.0)],
)
"""
MEASURED = """
from rlbench import Claim, Measurement

def measure(environment, seed):
    {before}
    return {{"a": {{"x": seed}}, "b": {{"x": [seed, seed + 1]}}}}

EXPERIMENT = Measurement("numbers", measure, ["a", "b"], ["chain"], seeds=4, question="What?",
                         claims=[Claim("b is more", ["b", "a"], "greater", "x:mean", paired=True)])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.mkdir()
    (path / "tiny_fields.py").write_text("TINY = dict(horizon=16, minibatches=1, epochs=1, hidden=[4])\n")
    (path / "a.py").write_text(MEMBER.format(name="one", rates="1e-4, 1e-3"))
    (path / "b.py").write_text(MEMBER.format(name="two", rates="1e-3, 1e-2"))
    (path / "c.py").write_text(MEASURED.format(before=""))
    (path / "suite.py").write_text("from rlbench import Suite\nSUITE = Suite(quick=['two'], quick_seeds=2)\n")
    return path


def seeds(folder: Path) -> list[int]:
    """Return the seeds that are stored."""
    return sorted({manifest["identity"]["seed"] for manifest in Store(folder / "results").list().values()})


def test_a_folder_is_run_as_one(cli: Cli, folder: Path, tmp_path: Path) -> None:
    result = cli("run", folder, *QUICK)
    assert result.exit_code == 0, result.output
    assert "text: 3 experiments, 20 runs (6 more are shared between experiments)" in result.stdout
    assert "text: 0 runs were stored already, 20 trained" in result.stdout
    assert result.stdout.endswith(f"Next: rlbench report {folder}\n")
    assert len(read_register(tmp_path / "results/text")) == 1
    for name in ("one", "two", "numbers"):
        own = tmp_path / "results/text/experiments" / name
        assert json.loads((own / "experiment.json").read_text())["experiment"]["name"] == name
        assert read_register(own)[0]["stored"] == 0
    assert not (tmp_path / "results/one").exists()
    assert "text: 20 runs were stored already, 0 trained" in cli("run", folder, *QUICK).stdout


def test_parts_of_a_folder_and_other_seeds(cli: Cli, folder: Path, tmp_path: Path) -> None:
    assert "text: 1 experiment, 6 runs\n" in cli("run", folder, "--quick", *QUICK).stdout
    assert seeds(tmp_path) == [0, 1]
    result = cli("run", folder, "--only", "numbers", "--only", "one", "--first-seed", 100, *QUICK)
    assert "text: 2 experiments, 17 runs\n" in result.stdout
    assert seeds(tmp_path) == [0, 1, 100, 101, 102, 103]
    assert "text: 1 experiment, 3 runs\n" in cli("run", folder, "--quick", "--seeds", 1, *QUICK).stdout
    (entry,) = read_register(tmp_path / "results/text")  # of the whole suite, whatever part of it is run
    assert [one["statement"] for one in entry["claims"]] == ["one says", "two says", "b is more"]
    (entry,) = read_register(tmp_path / "results/text/experiments/one")
    assert entry["stored"] == 0


def test_several_files_are_trained_together(cli: Cli, folder: Path, tmp_path: Path) -> None:
    result = cli("run", folder / "a.py", folder / "b.py", "--set", "ppo-clip.clip=0.1", *QUICK)
    assert "one, two: 2 experiments, 12 runs (6 more" in result.stdout
    assert (tmp_path / "results/one/experiment.json").is_file()
    twice = cli("run", folder / "a.py", folder / "a.py", *QUICK)
    assert "Two experiments are called 'one'" in twice.stderr


def test_failures_are_counted_and_named(cli: Cli, folder: Path) -> None:
    (folder / "c.py").write_text(MEASURED.format(before="assert seed != 2, 'not this one'"))
    result = cli("run", folder, "--seeds", 3, *QUICK)
    assert result.exit_code == 1
    assert "0 runs diverged, 2 failed." in result.stderr
    assert "failed: numbers, a on chain, seed 2: AssertionError: not this one" in result.stderr
    assert "Traceback" in cli("--debug", "run", folder, "--seeds", 3, *QUICK).stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["text", "--set", "ppo-clip.lr=1"], "--set goes with files"),
        (["text", "--until-decided"], "--until-decided goes with files"),
        (["text/a.py", "--quick"], "--quick chooses among the experiments of a folder"),
        (["text/a.py", "--only", "one"], "--only chooses among the experiments of a folder"),
        (["text", "--only", "on"], "has no experiment 'on'. Did you mean 'one'"),
        (["text", "--seeds", "0"], "seeds must be at least 1"),
        (["text", "--first-seed", "-1"], "a seed must be a whole number from 0 to 2**63 - 1, not -1"),
        (["text/c.py", "--until-decided"], "has no baseline, so there is nothing to decide in stages"),
        (["text/c.py", "--steps", "64"], "trains nothing, so it has no budget"),
    ],
)
def test_options_that_do_not_go_together(cli: Cli, folder: Path, options: list[str], said: str) -> None:
    result = cli("run", *options, *QUICK)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_steps_are_for_what_trains(cli: Cli, folder: Path) -> None:
    assert cli("run", folder, "--steps", 16, "--seeds", 1, *QUICK).exit_code == 0


def test_one_file_takes_a_first_seed(cli: Cli, folder: Path, tmp_path: Path) -> None:
    assert "x 3 seeds = 9 runs" in cli("run", folder / "a.py", "--first-seed", 50, *QUICK).stdout
    assert seeds(tmp_path) == [50, 51, 52]


def test_a_measurement_has_a_report_and_a_plan(cli: Cli, folder: Path, tmp_path: Path) -> None:
    assert "numbers: 2 arms x 1 environment x 4 seeds = 8 runs" in cli("run", folder / "c.py", *QUICK).stdout
    result = cli("report", folder / "c.py")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "results/numbers/report.html").read_text()
    for said in ("What?", "What was measured", "b is more", "4 per environment (0 to 3)", "Nothing was trained"):
        assert said in page
    for said in ("Learning curve", "reference returns", "IQM", "nan"):
        assert said not in page
    table = (tmp_path / "results/numbers/tables/summary.csv").read_text().splitlines()
    assert table[0] == "environment,arm,column,seeds,mean,mean_low,mean_high"
    assert table[1].startswith("chain,a,x,4,1.5,")
    result = cli("plan", "numbers")
    assert result.exit_code == 0, result.output
    assert "Claim: b is more" in result.stdout


def test_a_measurement_without_a_number_has_a_report(cli: Cli, folder: Path, reports: list[Any]) -> None:
    from rlbench.analysis.report.tables import all_tables
    from rlbench.results import Results

    (folder / "c.py").write_text(
        MEASURED.format(before="raise OSError('none')").replace("claims=", "design='', claims=")
    )
    assert cli("run", folder / "c.py", *QUICK).exit_code == 1
    assert cli("report", folder / "c.py").exit_code == 0
    ((tables, document, _),) = reports
    found = {table.name: table for table in all_tables(Results(replace(document, claims=()), tables))}
    assert found["summary"].data.empty
    assert len(found["stopped-runs"].data) == 8
