"""The commands on good input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pandas as pd
import pytest
from click.testing import Result

ROOT = Path(__file__).parents[2]

Cli = Callable[..., Result]

QUICK = ["--workers", 0]


def test_run_then_report(cli: Cli, experiment: Path) -> None:
    result = cli("run", experiment, *QUICK)
    assert result.exit_code == 0, result.output
    assert "tiny: 2 arms x 1 environment x 2 seeds = 4 runs" in result.stdout
    assert "0 runs were stored already, 4 trained" in result.stdout
    assert "4 runs were stored already, 0 trained" in cli("run", experiment, *QUICK).stdout

    result = cli("report", experiment)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Report: results/tiny/")
    assert Path(result.stdout.split(": ", 1)[1].strip()).is_file()


def test_a_report_by_name_needs_no_experiment_file(
    cli: Cli, experiment: Path, reports: list[Any], tmp_path: Path
) -> None:
    cli("run", experiment, *QUICK)
    cli("report", experiment)
    experiment.unlink()
    result = cli("report", "tiny", "--out", tmp_path / "elsewhere")
    assert result.exit_code == 0, result.output
    (by_file, document, folder), (by_name, same, elsewhere) = reports
    assert (folder, elsewhere) == (Path("results/tiny"), tmp_path / "elsewhere")
    assert same.json == json.loads(json.dumps(document.json))
    pd.testing.assert_frame_equal(by_name.runs, by_file.runs)
    pd.testing.assert_frame_equal(by_name.episodes, by_file.episodes)


def test_claims_are_registered_before_the_runs_and_judged(cli: Cli, experiment: Path, reports: list[Any]) -> None:
    claim = "Claim('same', ['ppo-clip', 'actor-critic'], 'equivalent', 'kl:mean', 0.1)"
    text = experiment.read_text().replace("Arm, Experiment", "Arm, Claim, Experiment")
    experiment.write_text(text.replace("steps=64,", f"steps=64, claims=[{claim}],"))
    assert cli("run", experiment, *QUICK).exit_code == 0
    assert cli("report", experiment).exit_code == 0
    (_, document, _) = reports[0]
    assert [(entry["stored"], entry["planned"]) for entry in document.register] == [(0, 4)]
    experiment.write_text(experiment.read_text().replace("0.1", "0.2"))
    cli("run", experiment, *QUICK)
    cli("report", experiment)
    assert [entry["stored"] for entry in reports[1][1].register] == [0, 4]
    experiment.write_text(experiment.read_text().replace("'ppo-clip', ", "'ppo', "))
    result = cli("run", experiment, *QUICK)
    assert result.exit_code == 2
    assert "Claim 'same': there is no arm 'ppo'. Did you mean 'ppo-clip'?" in result.stderr


def test_plan_says_how_many_seeds_an_effect_needs(cli: Cli, experiment: Path) -> None:
    assert "rlbench run` comes first" in cli("plan", experiment).stderr
    cli("run", experiment, "--seeds", 4, *QUICK)
    for named in (experiment, "tiny"):
        result = cli("plan", named, *(["--seeds", 4] if named == experiment else []), "--effect", 1, "--metric", "auc")
        assert result.exit_code == 0, result.output
        row = next(line for line in result.stdout.splitlines() if line.startswith("CartPole-v1"))
        assert "4 vs 4" in row
        assert "more runs, about" in result.stdout


def test_run_until_decided_looks_in_stages_and_the_report_takes_what_was_run(
    cli: Cli, experiment: Path, reports: list[Any]
) -> None:
    result = cli("run", experiment, "--until-decided", "--seeds", 4, "--stage", 2, *QUICK)
    assert result.exit_code == 0, result.output
    assert "tiny: looks after 2, 4 seeds per arm and environment" in result.stdout
    assert "Look 2 of at most 2, after 4 seeds: inconclusive actor-critic." in result.stdout
    assert cli("report", experiment, "--seeds", 4).exit_code == 0
    assert cli("report", "tiny").exit_code == 0
    for tables, document, _ in reports:
        assert document.sequential["looked"] == 2
        assert len(tables.runs) == 8
    refused = cli("run", experiment, "--until-decided", *QUICK)
    assert refused.exit_code == 2
    assert "has 2 seeds at most, and stages of 5 would look at them once" in refused.stderr


def test_run_with_changes_trains_only_what_is_new(cli: Cli, experiment: Path) -> None:
    cli("run", experiment, *QUICK)
    result = cli("run", experiment, "--set", "ppo-clip.clip=0.1", "--seeds", 3, *QUICK)
    assert "2 runs were stored already, 4 trained" in result.stdout


def test_compare_says_the_answer_and_where_the_report_is(cli: Cli, reports: list[Any]) -> None:
    tiny = [f"--set={arm}.{field}" for arm in ("ppo-clip", "trpo") for field in ("horizon=16", "minibatches=1")]
    result = cli("compare", "ppo-clip", "trpo", "--env", "CartPole-v1", "--seeds", 2, "--steps", 64, *tiny, *QUICK)
    assert result.exit_code == 0, result.output
    header = next(line for line in result.stdout.splitlines() if line.startswith("environment"))
    assert "mean trpo" in header
    row = next(line for line in result.stdout.splitlines() if line.startswith("CartPole-v1"))
    assert "2 vs 2" in row
    assert "inconclusive" in row
    assert "95 % interval" in result.stdout
    ((tables, document, folder),) = reports
    assert len(tables.runs) == 4
    assert document.baseline == "trpo"
    name = "compare-ppo-clip-trpo-on-CartPole-v1"
    assert f"\nReport: {folder}/report.html\nNext: rlbench evaluate {name}\n      rlbench watch {name}" in result.stdout


def test_compare_takes_runs_that_were_trained_elsewhere(cli: Cli, reports: list[Any], tmp_path: Path) -> None:
    rows = [f"{arm},E,{seed},{score + seed}" for arm, score in (("mine", 50), ("theirs", 10)) for seed in range(8)]
    (tmp_path / "runs.csv").write_text("\n".join(["algorithm,environment,seed,score", *rows]))
    result = cli("compare", "--from", "runs.csv", "--baseline", "theirs", "--reference", "E=0,100")
    assert result.exit_code == 0, result.output
    assert "On E, mine is better than theirs. Mean score: 53.5 against 13.5, a difference of +40.0" in result.stdout
    cli("compare", "theirs", "mine", "--from", "runs.csv", "--out", "there")
    (_, first, folder), (_, second, other) = reports
    assert (first.baseline, folder) == ("theirs", Path("results/runs"))
    assert (second.baseline, other) == ("mine", Path("there"))


def test_compare_says_over_which_steps_and_at_which_points(cli: Cli, reports: list[Any], tmp_path: Path) -> None:
    rows = [
        f"{arm},E,{seed},{step / of},{score * step / of + seed}"
        for arm, of, last, score in (("often", 20, 40, 50), ("seldom", 4, 4, 10))
        for seed in range(4)
        for step in range(1, last + 1)
    ]
    rows += ["seldom,E,4,1,", "often,E,0,3,"]
    (tmp_path / "runs.csv").write_text("\n".join(["algorithm,environment,seed,step,score", *rows]))
    result = cli("compare", "--from", "runs.csv")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        "warning: 2 of 178 rows have no score, and are no points of a curve.",
        "warning: On E, 1 of 5 runs of seldom counts as failed: no score.",
        "warning: On E, the curves begin at steps 0.05 (often) to 0.25 (seldom) and end at steps 1 (seldom) to 2 "
        "(often); they are compared over the steps that all have, 0.25 to 1.",
        "warning: On E, the curves were written down at different steps, 4 to 16 points each; they are compared at 4 "
        "common ones, along straight lines.",
    ]
    assert "32.8 against 7.8, a difference of +25.0" in result.stdout  # the mean step is 0.625
    ((_, document, _),) = reports
    assert [f"warning: {note}" for note in document.notes] == result.stderr.splitlines()


def test_compare_takes_what_follows_from_and_shows_what_it_understood(cli: Cli, tmp_path: Path) -> None:
    for name, score in (("sac", 50), ("td3", 10)):
        for seed in (1, 2, 3, 4):
            folder = tmp_path / "logs" / name / f"Walk-v0_{seed}"
            folder.mkdir(parents=True)
            episodes = "".join(f"{score + seed},10,{time}\n" for time in range(1, 9))
            (folder / "0.monitor.csv").write_text(f'#{{"t_start": 1.5, "env_id": "Walk-v0"}}\nr,l,t\n{episodes}')
    shown = cli("compare", "--from", "logs/sac", "logs/td3", "--show").stdout.splitlines()
    assert shown[0].split() == ["path", "algorithm", "environment", "seed", "rows", "steps", "scores"]
    assert shown[7].split() == [
        "logs/td3/Walk-v0_3/0.monitor.csv",
        "td3",
        "Walk-v0",
        "3",
        "8",
        "10",
        "to",
        "80",
        "13",
        "to",
        "13",
    ]
    assert shown[9:] == [
        "8 files (monitor.csv): step is 'the sum of l', score is 'r', environment is 'env_id', names by "
        "{algorithm}/{environment}_{seed}."
    ]
    for paths in (["logs/sac", "logs/td3"], ["logs/sac", "--from", "logs/td3"], ["logs"]):
        result = cli("compare", "td3", "sac", "--from", *paths, "--out", "there", "--baseline", "td3")
        assert "On Walk-v0, sac is better than td3." in result.stdout
    (tmp_path / "td3").mkdir()
    assert cli("compare", "td3", "sac", "--from=logs", "logs/td3", "--show").exit_code == 2  # its runs are there twice


def test_compare_takes_the_references_that_rlbench_has(cli: Cli, reports: list[Any], tmp_path: Path) -> None:
    rows = [f"{arm},CartPole-v1,{seed},{score + seed}" for arm, score in (("a", 50), ("b", 10)) for seed in range(4)]
    rows += [f"{arm},Mine-v0,{seed},{score + seed}" for arm, score in (("a", 50), ("b", 10)) for seed in range(4)]
    (tmp_path / "runs.csv").write_text("\n".join(["algorithm,environment,seed,score", *rows]))
    for options, together in (
        ([], False),
        (["--reference", "builtin"], False),
        (["--reference", "builtin", "--reference", "Mine-v0=0,100"], True),
    ):
        result = cli("compare", "--from", "runs.csv", *options)
        assert result.exit_code == 0, result.output
        assert ("There is no answer over all environments." not in result.stdout) == together
        assert ("Over both environments" in result.stdout) == together


def test_algorithms_lists_names_files_and_fields(cli: Cli) -> None:
    result = cli("algorithms")
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert {"ppo-clip", "reinforce", "trpo"} <= set(names)
    assert names == sorted(names)
    assert "ppo_clip.py" in result.stdout
    verbose = cli("algorithms", "-v").stdout
    assert verbose.count("initial_log_std = ") == 1  # what all share is said once
    assert verbose.count("gae_lambda = ") == 5  # but a2c has its own default, and the peers all their fields
    assert "clip = 0.2  (hyper, at least 0.0)" in verbose.replace("at least 0)", "at least 0.0)")
    assert "gamma = 0.99  (hyper, 0 to 1)" in verbose
    assert "activation = tanh  (static, one of tanh, relu)" in verbose


def test_a_broken_plugin_is_reported_and_the_others_are_listed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlbench import registry

    trace = "Traceback (most recent call last):\n  ...\nImportError: no such thing\n"
    monkeypatch.setitem(registry._broken, "somebodys_plugin", trace)
    result = cli("algorithms")
    assert result.exit_code == 0
    assert result.stderr == "broken: somebodys_plugin: ImportError: no such thing\n"
    assert "ppo-clip" in result.stdout
    assert "Traceback" in cli("--debug", "algorithms").stderr


def test_a_new_plugin_passes_the_checks_and_compares(cli: Cli, reports: list[Any], tmp_path: Path) -> None:
    result = cli("new", "test-variant")
    assert result.exit_code == 0
    assert result.stdout == "Wrote test_variant.py. Next: rlbench check test_variant.py\n"
    before = (tmp_path / "test_variant.py").read_text()
    result = cli("check", "test_variant.py")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("test-variant\n  ok ")
    assert "FAILED" not in result.stdout
    assert cli("new", "test-variant").exit_code == 2
    assert (tmp_path / "test_variant.py").read_text() == before

    tiny = [f"--set={arm}.{field}" for arm in ("ppo-clip", "test-variant") for field in ("horizon=16", "minibatches=1")]
    more = ["--env", "CartPole-v1", "--seeds", 1, "--steps", 32, *tiny]
    result = cli("compare", "test-variant", "ppo-clip", "--plugin", "test_variant.py", *more, "--workers", 1)
    assert result.exit_code == 0, result.output  # its class reached a worker that cannot import the file
    assert reports[0][0].runs["status"].tolist() == ["finished", "finished"]


def test_a_failed_check_says_what_to_change_and_sets_the_status(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "from rlbench import Algorithm\n\n\nclass Wrong(Algorithm):\n    name = 'wrong-shape'\n\n"
        "    def surrogate(self, x):\n        return (x.ratio * x.advantage).mean()\n"
    )
    result = cli("check", "wrong.py")
    assert result.exit_code == 1
    assert "FAILED  surrogate is one finite number per sample: " in result.stdout
    assert "Traceback" not in result.output


def test_every_command_explains_itself(cli: Cli) -> None:
    for command in (
        "run",
        "report",
        "figures",
        "compare",
        "plan",
        "agreement",
        "algorithms",
        "check",
        "new",
        "lecture",
    ):
        result = cli(command, "--help")
        assert result.exit_code == 0
        assert result.stdout.startswith(f"Usage: rlbench {command}")
    assert "rlbench, version" in cli("--version").stdout


def test_the_experiments_that_come_with_it_are_given_out(cli: Cli, tmp_path: Path) -> None:
    result = cli("lecture", "--copy", "mine")
    assert result.stdout == f"Next: rlbench run {Path('mine') / 'ppo_vs_reinforce.py'}\n"
    shipped = {str(file.relative_to(ROOT / "experiments")) for file in (ROOT / "experiments").rglob("*.py")}
    assert {str(file.relative_to(tmp_path / "mine")) for file in (tmp_path / "mine").rglob("*")} == shipped | {
        "lecture",
        "lecture_mujoco",
        "variants",
    }
    again = cli("lecture", "--copy", "mine")
    assert (again.exit_code, again.stderr) == (2, "error: Cannot copy to mine: File exists.\n")


HEAVY = ("torch", "pandas", "matplotlib", "gymnasium", "numpy", "pyarrow", "scipy")


@pytest.mark.parametrize(
    "statement", ["import rlbench", "import rlbench.cli", "import rlbench.__main__", "dir(__import__('rlbench'))"]
)
def test_imports_are_light(statement: str) -> None:
    program = f"import sys; {statement}; print([name for name in {HEAVY} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    allowed = {"['numpy']", "[]"} if "cli" not in statement and "main" not in statement else {"[]"}
    assert answer.stdout.strip() in allowed


def test_all_public_names_load() -> None:
    import rlbench

    for name in rlbench.__all__:
        assert getattr(rlbench, name) is not None
    assert set(rlbench.__all__) <= set(dir(rlbench))
    assert {"Algorithm", "Experiment", "Arm", "run", "compare", "Results"} <= set(rlbench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rlbench.nothing


WALK = """
import gymnasium
import numpy as np

class Walk(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, slope=1.0):
        self.slope = slope

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 8
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(1, np.float32), self.slope * action, self.left == 0, False, {}

gymnasium.register("Walk-v0", entry_point="walk_env:Walk")
"""


@pytest.mark.parametrize("env", ["walk_env.py:Walk-v0", "walk_env:Walk-v0", "Walk-v0 --plugin walk_env.py"])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_environment_of_a_file_in_the_folder(
    cli: Cli, reports: list[Any], tmp_path: Path, env: str, workers: int
) -> None:
    gymnasium.registry.pop("Walk-v0", None)
    (tmp_path / "walk_env.py").write_text(f"{WALK}# {tmp_path}\n")  # a file that was never imported
    tiny = ["--seeds", 1, "--steps", 32, "--set", "random.horizon=16", "--workers", workers]
    more = ["--set", "random.gamma=0.9,0.99", "--env-arg", "slope=3.5"]
    result = cli("compare", "random", "--env", *env.split(), *tiny, *more)
    assert result.exit_code == 0, result.output
    runs, episodes, _ = reports[0][0]
    assert runs["status"].tolist() == ["finished", "finished"]
    assert runs["environment"].iloc[0].endswith("Walk-v0(slope=3.5)")
    assert set(episodes["return"] % 3.5) == {0.0}
    assert episodes["return"].sum() > 0


def test_arguments_of_environments_are_names_with_values(cli: Cli) -> None:
    result = cli("compare", "random", "--env", "CartPole-v1", "--env-arg", "g:9")
    assert (result.exit_code, "--env-arg takes NAME=VALUE, such as g=9.8, not 'g:9'." in result.stderr) == (2, True)


def test_a_report_of_runs_that_had_other_options_says_so(cli: Cli, experiment: Path) -> None:
    assert cli("run", experiment, "--seeds", 1, "--steps", 32, "--workers", 0).exit_code == 0
    result = cli("report", experiment, "--seeds", 2, "--steps", 64)
    assert (result.exit_code, "it ran with other --seeds, --steps or --set" in result.stderr) == (2, True)


def test_seeds_that_cannot_decide_are_said_before_training(cli: Cli, experiment: Path) -> None:
    result = cli("run", experiment)
    first, second = result.output.splitlines()[:2]
    assert first.endswith("= 4 runs")
    assert second.startswith("A permutation test of 2 against 2 runs cannot give a p below 0.33")
    assert "permutation test" not in cli("run", experiment, "--seeds", "4").output


def test_tune_searches_tries_what_it_found_on_fresh_seeds_and_keeps_it(cli: Cli, tmp_path: Path) -> None:
    tiny = [f"--set={arm}.{field}" for arm in ("ppo-clip", "trpo") for field in ("horizon=16", "minibatches=1")]
    asked = ["tune", "ppo-clip", "trpo", "--env", "CartPole-v1", "--steps", 64, "--trials", 8, "--fresh", 3, *tiny]
    result = cli(*asked, "--over", "lr", "--over", "entropy_coef=0..0.1", "--name", "found", *QUICK)
    assert result.exit_code == 0, result.output
    said = result.stdout.splitlines()
    assert said[0] == "found-search: 16 settings on 1 environment"
    assert "Round 1 of 2, 2 seeds: 8 of 16 are kept." in said
    page = (tmp_path / "results" / "found" / "report.html").read_text()
    assert "What the search found" in page
    assert {path.name for path in (tmp_path / "results" / "found" / "figures").glob("search-*.svg")} == {
        f"search-{what}.svg" for what in ("lr", "entropy_coef", "best-of")
    }
    tuned = cli("compare", "ppo-clip", "trpo", "--env", "CartPole-v1", "--steps", 64, "--tuned", "--seeds", 2, *QUICK)
    assert tuned.exit_code == 0, tuned.output
    refused = cli("compare", "ppo-clip", "trpo", "--env", "MountainCar-v0", "--tuned")
    assert refused.exit_code == 2
    assert "`rlbench tune ppo-clip --env MountainCar-v0` searches for them" in refused.stderr
    several = cli(*asked, "--set", "ppo-clip.clip=0.1,0.2", *QUICK)
    assert several.exit_code == 2
    assert "--over ALGORITHM.FIELD=VALUE,VALUE searches among several" in several.stderr
