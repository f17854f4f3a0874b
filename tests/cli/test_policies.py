"""`rlbench evaluate`, `rlbench watch`, and what a comparison prints of them."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rlbench
from tests.cli.conftest import TINY, Cli

FILMS = importlib.util.find_spec("imageio_ffmpeg") is not None and importlib.util.find_spec("pygame") is not None
needs_films = pytest.mark.skipif(not FILMS, reason="needs rlbench[video]")
PLUGIN = """
import gymnasium
import torch
from rlbench import Algorithm

class Small(Algorithm):
    name = "small-net"

    def network(self, observations, outputs):
        return torch.nn.Linear(observations, outputs + 1)

    def surrogate(self, x):
        return x.ratio * x.advantage

class Walk(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Box(-9, 9, (1,)), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.np_random.normal(size=1).astype("float32"), {}

    def step(self, action):
        self.time += 1
        return self.np_random.normal(size=1).astype("float32"), float(action), self.time == 5, False, {}

gymnasium.register("Stroll-v0", entry_point=Walk)
"""


@pytest.fixture(name="trained")
def _trained(cli: Cli, experiment: Path) -> Cli:
    assert cli("run", experiment, "--workers", 0, "--evaluate-every", 32, "--evaluation-episodes", 2).exit_code == 0
    return cli


def test_an_evaluation_is_a_table_and_what_must_be_known_to_read_it(trained: Cli) -> None:
    result = trained("evaluate", "tiny", "--episodes", 3, "--out", "episodes.csv")
    assert result.exit_code == 0, result.output
    header, first, second, _, said, *_ = result.stdout.splitlines()
    assert header.split() == ["environment", "arm", "runs", "deterministic", "sampled", "length"]
    table = pd.read_csv("episodes.csv")
    assert len(table) == 2 * 2 * 2 * 3
    means = table.groupby(["arm", "actions"])["return"].mean()
    for line, arm in ((first, "ppo-clip"), (second, "actor-critic")):
        words = line.split()
        assert words[:3] == ["CartPole-v1", arm, "2"]
        assert words[3] == f"{means[arm, 'deterministic']:.1f}"
    assert said.startswith(
        "Mean return of 3 episodes per run with the most likely actions and sampled actions, the same "
    )
    assert "over runs." in said


def test_an_evaluation_of_some_runs(trained: Cli) -> None:
    result = trained("evaluate", "tiny", "--arm", "ppo-clip", "--seed", "best", "--sampled", "--episodes", 2)
    assert result.exit_code == 0, result.output
    header, row, *_, last = result.stdout.splitlines()
    assert header.split() == ["environment", "arm", "runs", "sampled", "length"]
    assert row.split()[:3] == ["CartPole-v1", "ppo-clip", "1"]
    assert last == "Chosen among several seeds: a further run is expected at the mean of all of them, not here."
    result = trained("evaluate", "tiny", "--seed", 1, "--deterministic", "--episodes", 2, "--arm", "ppo-clip")
    assert result.exit_code == 0, result.output
    assert "seeds" not in result.stdout


def test_an_evaluation_elsewhere(trained: Cli) -> None:
    options = ("--on", "CartPole-v1", "--env-arg", "sutton_barto_reward=true", "--episodes", 2, "--out", "there.csv")
    result = trained("evaluate", "tiny", *options)
    assert result.exit_code == 0, result.output
    table = pd.read_csv("there.csv")
    assert table["on"].unique().tolist() == ["CartPole-v1(sutton_barto_reward=True)"]
    assert (table["return"] <= 0).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("evaluate", "tiny", "--arm", "ppo-clp"),
            "There is no arm 'ppo-clp' in these results. Did you mean 'ppo-clip'?",
        ),
        (("evaluate", "tiny", "--seed", "bst"), "It is a seed, or best, median or worst, not bst."),
        (("evaluate", "tiny", "--seed", "7"), "There is no run of ppo-clip on CartPole-v1 with seed 7"),
        (("evaluate", "tiny", "--on", "Pendulum-v1"), "cannot act in Pendulum-v1"),
        (("evaluate", "tiny", "--on", "CartPole-v9"), "Gymnasium knows no environment 'CartPole-v9'"),
        (("evaluate", "tiny", "--env-arg", "g=5"), "--env-arg goes with --on."),
        (("evaluate", "tiny", "--episodes", "0"), "0 is not in the range"),
        (("evaluate", "tin"), "no experiment that ran as 'tin'. Did you mean 'tiny'?"),
        (("evaluate", "tiny", "--out", "no/where.csv"), "Cannot write no/where.csv"),
        (("watch", "tiny", "--out", "film.avi"), "A film is FILE.mp4 or FILE.gif, not 'film.avi'."),
        (("watch", "tiny", "--environment", "Acrobot-v1"), "There is no environment 'Acrobot-v1' in these results."),
    ],
)
def test_mistakes_are_one_sentence(trained: Cli, arguments: tuple[str, ...], said: str) -> None:
    result = trained(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_policies_that_are_not_kept_are_said(cli: Cli, experiment: Path) -> None:
    assert cli("run", experiment, "--workers", 0, "--keep-policies", "none").exit_code == 0
    for command in ("evaluate", "watch"):
        result = cli(command, "tiny")
        assert result.exit_code == 2
        assert "No policy of" in result.stderr or "imageio" in result.stderr


def test_a_film_needs_its_packages(trained: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = trained("watch", "tiny")
    assert result.exit_code == 2
    assert result.stderr.strip().endswith("pip install 'rlbench[video]' installs what films need.")


@needs_films
def test_a_film_shows_the_arms_side_by_side(trained: Cli) -> None:
    import imageio.v2 as imageio

    result = trained("watch", "tiny", "--episodes", 2, "--seed", 1)
    assert result.exit_code == 0, result.output
    first, second, last = result.stdout.splitlines()
    assert last == "Film: tiny-CartPole-v1.mp4"
    film = imageio.get_reader("tiny-CartPole-v1.mp4")
    width, height = film.get_meta_data()["size"]
    assert (width % 16, height % 16) == (0, 0)
    assert (width, height) > (2 * 600, 400)
    lengths = []
    for line, arm in ((first, "ppo-clip"), (second, "actor-critic")):
        assert line.startswith(f"{arm}, seed 1: returns ")
        returns = [float(each) for each in line.split("returns ")[1].split(", ")]
        policy = rlbench.load_policy("tiny", arm=arm, seed=1)
        table = rlbench.load_results("tiny").evaluate(arm, seed=1, episodes=2)
        assert table[table["actions"] == "deterministic"]["return"].tolist() == returns
        assert policy.algorithm == arm
        lengths.append(returns)  # CartPole gives 1 a step
    hold = round(0.6 * film.get_meta_data()["fps"])
    # Every episode is as long as its longest arm's, its first picture included, and the end is held.
    assert film.count_frames() == sum(max(pair) + hold for pair in zip(*lengths, strict=True))
    frame = film.get_data(0)
    left, right = frame[:, :600], frame[:, 606:1206]
    assert (left < 100).any()
    assert (right < 100).any()  # a cart each
    assert [path.name for path in Path().glob(".*mp4")] == []


@needs_films
def test_a_film_may_be_a_gif_of_one_arm(trained: Cli) -> None:
    from PIL import Image

    result = trained("watch", "tiny", "--arm", "ppo-clip", "--episodes", 1, "--sampled", "--out", "pole.gif")
    assert result.exit_code == 0, result.output
    with Image.open("pole.gif") as gif:
        assert getattr(gif, "n_frames", 1) > 3
        assert gif.width < 700


def test_what_a_comparison_prints_works_as_printed(cli: Cli) -> None:
    result = cli("compare", "ppo-clip", "reinforce", "--env", "CartPole-v1", "--seeds", 2, "--steps", 4096)
    assert result.exit_code == 0, result.output
    evaluate, watch = result.stdout.splitlines()[-2:]
    assert evaluate.startswith("Next: rlbench evaluate compare-ppo-clip-reinforce-on-CartPole-v1")
    words = shlex.split(evaluate.removeprefix("Next: rlbench "))
    assert cli(*words, "--episodes", 2).exit_code == 0
    words = shlex.split(watch.strip().partition("  #")[0])[1:]
    assert words[0] == "watch"
    if FILMS:
        assert cli(*words, "--episodes", 1).exit_code == 0


def test_what_a_comparison_prints_names_the_files_that_it_needs(cli: Cli) -> None:
    Path("mine.py").write_text(PLUGIN)
    asked = ("compare", "small-net", "ppo-clip", "--plugin", "mine.py", "--env", "mine.py:Stroll-v0")
    fields = ("--set", "small-net.horizon=64", "--set", "ppo-clip.horizon=64")
    result = cli(*asked, "--seeds", 2, "--steps", 256, *fields, "--workers", 0)
    assert result.exit_code == 0, result.output
    words = shlex.split(result.stdout.splitlines()[-2].removeprefix("Next: rlbench "))
    assert words.count("mine.py") == 1
    table = cli(*words, "--episodes", 2, "--out", "episodes.csv")
    assert table.exit_code == 0, table.output
    assert set(pd.read_csv("episodes.csv")["length"]) == {5}


def test_evaluations_are_asked_for_on_the_command_line(cli: Cli, experiment: Path) -> None:
    options = ("--evaluate-every", 16, "--evaluation-episodes", 2)
    assert cli("run", experiment, "--workers", 0, *options).exit_code == 0
    results = rlbench.load_results("tiny")
    assert np.isfinite(results.updates["eval_return"]).all()
    assert cli("report", experiment, *options).exit_code == 0
    plain = cli("report", experiment)
    assert plain.exit_code == 2  # those are other runs
    assert "with other --seeds" in plain.stderr
    result = cli("run", experiment, "--evaluation-episodes", 2)
    assert result.exit_code == 2
    assert "--evaluation-episodes goes with --evaluate-every" in result.stderr
    assert TINY  # the arms have rollouts of 16 steps
